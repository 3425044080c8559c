package stacktest

import (
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"replyworker/internal/config"
)

// judge returns how a client that is not the product's connects with the product's settings. It reads
// them by itself, so that a mistake of the product's in that shows.
func judge(t testing.TB, cfg *config.Config) []kgo.Opt {
	t.Helper()
	opts := []kgo.Opt{
		kgo.SeedBrokers(cfg.KafkaBrokers...), kgo.FetchMaxWait(50 * time.Millisecond),
		kgo.MetadataMinAge(100 * time.Millisecond), // topics of tests are new
	}
	if cfg.KafkaTLS {
		opts = append(opts, kgo.DialTLSConfig(judgeTLS(t, cfg)))
	}
	password, err := cfg.ReadSecret("kafka-sasl-password-file")
	require.NoError(t, err)
	user, secret := cfg.KafkaSASLUsername, password.Reveal()
	switch cfg.KafkaSASLMechanism {
	case "PLAIN":
		opts = append(opts, kgo.SASL(plain.Auth{User: user, Pass: secret}.AsMechanism()))
	case "SCRAM-SHA-256":
		opts = append(opts, kgo.SASL(scram.Auth{User: user, Pass: secret}.AsSha256Mechanism()))
	case "SCRAM-SHA-512":
		opts = append(opts, kgo.SASL(scram.Auth{User: user, Pass: secret}.AsSha512Mechanism()))
	}
	return opts
}

func judgeTLS(t testing.TB, cfg *config.Config) *tls.Config {
	t.Helper()
	c := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots(t, cfg, "kafka-ca-file")}
	if cfg.KafkaCertFile != "" {
		pair, err := tls.LoadX509KeyPair(cfg.KafkaCertFile, cfg.KafkaKeyFile)
		require.NoError(t, err)
		c.Certificates = []tls.Certificate{pair}
	}
	return c
}

// roots returns the certificates that a setting names, nil for the system's where it names none.
func roots(t testing.TB, cfg *config.Config, setting string) *x509.CertPool {
	t.Helper()
	pem, err := cfg.ReadFile(setting)
	require.NoError(t, err)
	if pem == nil {
		return nil
	}
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(pem), "%s has no certificate", setting)
	return pool
}

// leaders asks one broker how many partitions of a topic have a leader, -1 where it does not answer.
func (k *Kafka) leaders(broker int32, topic string) int {
	req := kmsg.NewPtrMetadataRequest()
	rt := kmsg.NewMetadataRequestTopic()
	rt.Topic = new(topic)
	req.Topics = append(req.Topics, rt)
	res, err := k.client.Broker(int(broker)).Request(k.t.Context(), req)
	if err != nil {
		return -1
	}
	n := 0
	for _, t := range res.(*kmsg.MetadataResponse).Topics {
		for _, p := range t.Partitions {
			if p.ErrorCode == 0 && p.Leader >= 0 {
				n++
			}
		}
	}
	return n
}

// topicConfig asks one broker for a setting of a topic.
func (k *Kafka) topicConfig(broker int32, topic, name string) string {
	req := kmsg.NewPtrDescribeConfigsRequest()
	rr := kmsg.NewDescribeConfigsRequestResource()
	rr.ResourceType, rr.ResourceName, rr.ConfigNames = kmsg.ConfigResourceTypeTopic, topic, []string{name}
	req.Resources = append(req.Resources, rr)
	res, err := k.client.Broker(int(broker)).Request(k.t.Context(), req)
	if err != nil {
		return ""
	}
	for _, r := range res.(*kmsg.DescribeConfigsResponse).Resources {
		for _, c := range r.Configs {
			if c.Name == name && c.Value != nil {
				return *c.Value
			}
		}
	}
	return ""
}
