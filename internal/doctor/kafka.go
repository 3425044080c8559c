package doctor

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"

	"replyworker/internal/config"
	"replyworker/internal/kafkaio"
	"replyworker/internal/topics"
)

// atOnce is how many brokers or topics are asked at a time.
const atOnce = 8

// The names of Kafka's checks.
const (
	checkBootstrap = "kafka-brokers"
	checkBrokers   = "brokers"
	checkTopics    = "topics"
	checkCopies    = "copies"
	checkGroup     = "group"
	checkLag       = "lag"
	checkUnread    = "unread"
)

func (c Config) kafka(ctx context.Context) []Result {
	l := &list{}
	others := []string{checkBrokers, checkTopics, checkCopies, checkGroup, checkLag, checkUnread}
	first, err := c.Kafka(c.Settings.KafkaBrokers)
	if err != nil {
		l.failed(checkBootstrap, err.Error(), kafkaHint(err))
		l.skipped("there is no client for Kafka", others...)
		return *l
	}
	defer first.Close()
	answering := c.bootstrap(ctx, l, first)
	if len(answering) == 0 {
		l.skipped("no broker answers", others...)
		return *l
	}
	client, err := c.Kafka(answering) // one that hangs would take the time of all that follows
	if err != nil {
		l.failed(checkBrokers, err.Error(), kafkaHint(err))
		l.skipped("there is no client for the brokers that answer", others[1:]...)
		return *l
	}
	defer client.Close()
	cluster, err := client.Cluster(ctx, topics.Names(c.Settings)...)
	if err != nil {
		l.failed(checkBrokers, c.timed(ctx, err), kafkaHint(err))
		l.skipped("the brokers tell nothing of the cluster", others[1:]...)
		return *l
	}
	c.brokers(ctx, l, client, cluster, answering)
	partitions := c.topics(ctx, l, client, cluster)
	c.group(ctx, l, client, partitions)
	return *l
}

// timed words an error; that of time that is over names the setting.
func (c Config) timed(ctx context.Context, err error) string {
	if errors.Is(context.Cause(ctx), errTime) {
		return fmt.Sprintf("no answer within start-timeout (%s): %v", c.Settings.StartTimeout, err)
	}
	return err.Error()
}

// knock knocks at addresses, and returns for each why it cannot be used, nil where it can.
func knock(ctx context.Context, client Kafka, addresses []string) []error {
	refused := make([]error, len(addresses))
	sideBySide(len(addresses), func(i int) { refused[i] = client.Knock(ctx, addresses[i]) })
	return refused
}

// bootstrap checks the configured addresses, and returns those that answer.
func (c Config) bootstrap(ctx context.Context, l *list, client Kafka) []string {
	all := c.Settings.KafkaBrokers
	var answering []string
	var silent silence
	for i, err := range knock(ctx, client, all) {
		if err == nil {
			answering = append(answering, all[i])
			continue
		}
		silent.add(all[i], c.timed(ctx, err), kafkaHint(err))
	}
	var found findings
	switch n := len(all) - len(answering); {
	case len(answering) == 0:
		silent.each(found.fail)
	case n > 0:
		silent.each(found.warn)
		found.texts[0] = fmt.Sprintf("%d of %d do not answer: %s", n, len(all), found.texts[0])
	}
	found.end(l, checkBootstrap, count(len(all), "address answers", "addresses answer"))
	return answering
}

// silence is why addresses do not answer, those together that have the same reason.
type silence struct {
	reasons, hints []string
	addresses      [][]string
}

func (s *silence) add(address, reason, hint string) {
	for _, before := range []string{"dial tcp " + address + ": ", "TLS with " + address + ": ", address + ": "} {
		reason = strings.ReplaceAll(reason, before, "")
	}
	i := slices.Index(s.reasons, reason)
	if i < 0 {
		i = len(s.reasons)
		s.reasons, s.hints, s.addresses = append(s.reasons, reason), append(s.hints, hint), append(s.addresses, nil)
	}
	s.addresses[i] = append(s.addresses[i], address)
}

// each calls note with what there is to say, and to do, for each reason.
func (s *silence) each(note func(text, hint string)) {
	for i, reason := range s.reasons {
		note(few(s.addresses[i])+": "+reason, s.hints[i])
	}
}

// brokers checks the address that each broker advertises: where a worker goes for its partitions.
func (c Config) brokers(ctx context.Context, l *list, client Kafka, cluster kafkaio.Cluster, known []string) {
	var unknown []kafkaio.Broker
	var addresses []string
	for _, b := range cluster.Brokers {
		if !slices.Contains(known, b.Address) {
			unknown = append(unknown, b)
			addresses = append(addresses, b.Address)
		}
	}
	var silent silence
	for i, err := range knock(ctx, client, addresses) {
		if err == nil {
			continue
		}
		hint := kafkaHint(err)
		if away(err) {
			hint = "start the broker, or make its advertised.listeners an address that can be reached from here"
		}
		silent.add(unknown[i].Address, fmt.Sprintf("so broker %d is advertised: %s", unknown[i].ID, c.timed(ctx, err)), hint)
	}
	var found findings
	silent.each(found.fail)
	found.end(l, checkBrokers, count(len(cluster.Brokers), "broker, which answers at the address that it advertises",
		"brokers, which answer at the addresses that they advertise"))
}

// away says that an address could not be connected to.
func away(err error) bool {
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return true
	}
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}

// kafkaHint says what to do about an error of Kafka's.
func kafkaHint(err error) string {
	switch {
	case len(config.Faults(err)) > 0:
		return "" // they say it themselves
	case kafkaio.LoginRefused(err):
		return "check kafka-sasl-mechanism, kafka-sasl-username and what is in kafka-sasl-password-file"
	case kafkaio.Denied(err):
		return "give the user the right with kafka-acls"
	case untrusted(err):
		return "check kafka-ca-file, and that the name in kafka-brokers is one of the certificate's"
	case errors.Is(err, kafkaio.ErrNotKafka):
		return "check kafka-brokers and kafka-tls"
	}
	if _, ok := errors.AsType[*kafkaio.UnspokenError](err); ok {
		return "run brokers that speak it: Kafka from 2.1 on"
	}
	if strings.Contains(err.Error(), "tls:") || errors.Is(err, io.EOF) {
		return "check kafka-tls: a broker that speaks TLS wants it on, another wants it off"
	}
	return "check kafka-brokers, and that Kafka runs and can be reached from here"
}

// untrusted says that a server's certificate is the cause.
func untrusted(err error) bool {
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	return errors.As(err, &unknown) || errors.As(err, &name) || errors.As(err, &invalid)
}
