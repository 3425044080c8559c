package servers

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// listener is one of a broker's listeners, by Kafka's name for it.
type listener string

const (
	controller listener = "CONTROLLER"
	internal   listener = "INTERNAL" // among brokers
	plain      listener = "PLAIN"
	secure     listener = "SECURE" // TLS and SASL
	proxied    listener = "PROXIED"
)

// listeners returns those that a broker has.
func listeners(withProxy bool) []listener {
	all := []listener{controller, internal, plain, secure}
	if withProxy {
		all = append(all, proxied)
	}
	return all
}

// properties returns the server.properties of a broker: few partitions, short timeouts, and as safe as
// a production cluster in what is acknowledged.
func properties(all []*broker, b *broker, certs certificates, over map[string]string) string {
	props := cluster(all)
	maps.Copy(props, identity(all, b))
	maps.Copy(props, security(certs))
	maps.Copy(props, over)
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(props)) {
		fmt.Fprintf(&text, "%s=%s\n", name, props[name])
	}
	return text.String()
}

// cluster is what all brokers have in common.
func cluster(all []*broker) map[string]string {
	replicas := strconv.Itoa(len(all))
	acknowledge := strconv.Itoa(len(all)/2 + 1)
	return map[string]string{
		"auto.create.topics.enable":      "false",
		"default.replication.factor":     replicas,
		"min.insync.replicas":            acknowledge,
		"num.partitions":                 "1",
		"unclean.leader.election.enable": "false",

		"group.initial.rebalance.delay.ms": "0",
		"group.min.session.timeout.ms":     "500",

		"offsets.topic.num.partitions":                     "4",
		"offsets.topic.replication.factor":                 replicas,
		"transaction.state.log.num.partitions":             "4",
		"transaction.state.log.replication.factor":         replicas,
		"transaction.state.log.min.isr":                    acknowledge,
		"share.coordinator.state.topic.num.partitions":     "1",
		"share.coordinator.state.topic.replication.factor": replicas,
		"share.coordinator.state.topic.min.isr":            acknowledge,

		// A broker that is gone is noticed soon, and one that is back follows soon.
		"broker.heartbeat.interval.ms":       "500",
		"broker.session.timeout.ms":          "4000",
		"replica.fetch.backoff.ms":           "200",
		"replica.lag.time.max.ms":            "10000",
		"controller.quorum.fetch.timeout.ms": "2000",

		"num.network.threads": "2",
		"num.io.threads":      "4",
	}
}

// identity is what only this broker has.
func identity(all []*broker, b *broker) map[string]string {
	var voters, listen, advertise, protocols []string
	for _, other := range all {
		voters = append(voters, fmt.Sprintf("%d@%s", other.id, other.addr(controller)))
	}
	for _, l := range listeners(b.proxy != "") {
		listen = append(listen, fmt.Sprintf("%s://%s", l, b.addr(l)))
		protocol := "PLAINTEXT"
		if l == secure {
			protocol = "SASL_SSL"
		}
		protocols = append(protocols, fmt.Sprintf("%s:%s", l, protocol))
		switch l {
		case controller:
		case proxied:
			advertise = append(advertise, fmt.Sprintf("%s://%s", l, b.proxy))
		default:
			advertise = append(advertise, fmt.Sprintf("%s://%s", l, b.addr(l)))
		}
	}
	return map[string]string{
		"process.roles":                  "broker,controller",
		"node.id":                        strconv.Itoa(b.id),
		"log.dirs":                       b.dir + "/data",
		"controller.quorum.voters":       strings.Join(voters, ","),
		"controller.listener.names":      string(controller),
		"inter.broker.listener.name":     string(internal),
		"listeners":                      strings.Join(listen, ","),
		"advertised.listeners":           strings.Join(advertise, ","),
		"listener.security.protocol.map": strings.Join(protocols, ","),
	}
}

// security is of the secure listener.
func security(certs certificates) map[string]string {
	return map[string]string{
		"listener.name.secure.sasl.enabled.mechanisms":        "SCRAM-SHA-512",
		"listener.name.secure.scram-sha-512.sasl.jaas.config": "org.apache.kafka.common.security.scram.ScramLoginModule required;",
		"listener.name.secure.ssl.client.auth":                "none",
		"listener.name.secure.ssl.enabled.protocols":          "TLSv1.2,TLSv1.3",
		"listener.name.secure.ssl.keystore.type":              "PEM",
		"listener.name.secure.ssl.keystore.location":          certs.store,
		"listener.name.secure.ssl.truststore.type":            "PEM",
		"listener.name.secure.ssl.truststore.location":        certs.ca,
	}
}
