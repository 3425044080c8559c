package doctor_test

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/segmentio/kafka-go"
	"github.com/stretchr/testify/require"

	"replyworker/internal/doctor"
	"replyworker/internal/kafkaio"
)

func refused(address string) error {
	return &net.OpError{Op: "dial", Net: "tcp", Addr: textAddr(address), Err: fmt.Errorf("connect: connection refused")}
}

type textAddr string

func (textAddr) Network() string  { return "tcp" }
func (a textAddr) String() string { return string(a) }

// afterBootstrap are the checks that need a broker that answers.
var afterBootstrap = []string{"brokers", "topics", "copies", "group", "lag", "unread"}

func TestNoBrokerAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, b := range w.settings.KafkaBrokers {
		w.kafka.knocks[b] = refused(b)
	}
	w.requires(verdict{
		"kafka-brokers", doctor.Failed, "kafka-1:9092, kafka-2:9092: connect: connection refused", "that Kafka runs",
	}, afterBootstrap...)
}

// TestOneBrokerIsAway holds that what follows asks only those that answer.
func TestOneBrokerIsAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.kafka.knocks["kafka-2:9092"] = refused("kafka-2:9092")
	w.requires(verdict{
		"kafka-brokers", doctor.Warned, "1 of 2 do not answer: kafka-2:9092: connect: connection refused",
		"",
	}, "brokers")
	require.Equal(t, [][]string{{"kafka-1:9092", "kafka-2:9092"}, {"kafka-1:9092"}}, w.kafka.begun)
}

// TestNoClientForThoseThatAnswer holds that no check is left out without a word.
func TestNoClientForThoseThatAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.cfg.Kafka
	w.cfg.Kafka = func(brokers []string) (doctor.Kafka, error) {
		if len(brokers) == 1 {
			return nil, errors.New("gone")
		}
		return first(brokers)
	}
	w.kafka.knocks["kafka-2:9092"] = refused("kafka-2:9092")
	w.requires(verdict{"brokers", doctor.Failed, "gone", ""}, append(afterBootstrap[1:], "kafka-brokers")...)
}

func TestAdvertisedAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.kafka.knocks["kafka-3:9092"] = &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{
		Err:  "no such host",
		Name: "kafka-3", IsNotFound: true,
	}}
	w.requires(verdict{"brokers", doctor.Failed, "kafka-3:9092: so broker 3 is advertised: ", "advertised.listeners"})
	require.Contains(t, w.results()["brokers"].Detail, "no such host")
}

func TestKafkaHints(t *testing.T) {
	t.Parallel()
	for hint, err := range map[string]error{
		"kafka-ca-file":         fmt.Errorf("TLS: %w", x509.UnknownAuthorityError{}),
		"kafka-sasl-mechanism":  fmt.Errorf("login: %w", kafka.SASLAuthenticationFailed),
		"kafka-acls":            fmt.Errorf("ask: %w", kafka.ClusterAuthorizationFailed),
		"kafka-tls":             fmt.Errorf("x: %w", kafkaio.ErrNotKafka),
		"speaks TLS wants it":   fmt.Errorf("x: %w", io.EOF),
		"Kafka from 2.1 on":     &kafkaio.UnspokenError{Requests: []string{"Fetch"}},
		"can be reached from h": fmt.Errorf("whatever"),
	} {
		w := newWorld(t)
		w.kafka.err = err
		w.requires(verdict{"brokers", doctor.Failed, err.Error(), hint}, afterBootstrap[1:]...)
	}
}

// change changes what the cluster tells of a topic.
func (w *world) change(topic string, change func(*kafkaio.TopicState)) {
	state := w.kafka.cluster.Topics[topic]
	state.Partitions = append([]kafkaio.PartitionState{}, state.Partitions...)
	change(&state)
	w.kafka.cluster.Topics[topic] = state
}

func TestTopics(t *testing.T) {
	t.Parallel()
	const jobs = "topic reply-jobs"
	for name, row := range map[string]struct {
		topic  string
		change func(*kafkaio.TopicState)
		want   verdict
		others []string
	}{
		"missing": {
			"reply-outcomes", func(s *kafkaio.TopicState) {
				*s = kafkaio.TopicState{Err: &kafkaio.MissingTopicsError{Topics: []string{"reply-outcomes"}}}
			},
			verdict{"topic reply-outcomes", doctor.Failed, "there is none", "worker topics create"},
			nil,
		},
		"no jobs": {
			"reply-jobs", func(s *kafkaio.TopicState) {
				*s = kafkaio.TopicState{Err: &kafkaio.MissingTopicsError{Topics: []string{"reply-jobs"}}}
			},
			verdict{jobs, doctor.Failed, "there is none", "worker topics create"},
			[]string{"lag", "unread"},
		},
		"hidden": {
			"reply-dead-letters", func(s *kafkaio.TopicState) { *s = kafkaio.TopicState{Err: kafka.TopicAuthorizationFailed} },
			verdict{"topic reply-dead-letters", doctor.Failed, "the right Describe is missing", "Write on the topic with kafka-acls"},
			nil,
		},
		"another error": {
			"reply-outcomes", func(s *kafkaio.TopicState) { *s = kafkaio.TopicState{Err: kafka.InvalidTopic} },
			verdict{"topic reply-outcomes", doctor.Failed, "Invalid Topic", ""},
			nil,
		},
		"nothing told": {
			"reply-outcomes", func(s *kafkaio.TopicState) { *s = kafkaio.TopicState{} },
			verdict{"topic reply-outcomes", doctor.Failed, "do not tell of its partitions", "ask again"},
			nil,
		},
		"no right to read": {
			"reply-jobs", func(s *kafkaio.TopicState) { s.Rights = 1 << kafkaio.RightWrite },
			verdict{jobs, doctor.Failed, "the right Read is missing", "Read on the topic"},
			nil,
		},
		"no right to write": {
			"reply-dead-letters", func(s *kafkaio.TopicState) { s.Rights = 1 << kafkaio.RightRead },
			verdict{"topic reply-dead-letters", doctor.Failed, "the right Write is missing", "Write on the topic"},
			nil,
		},
		"resolutions are not written by workers": {
			"reply-resolutions", func(s *kafkaio.TopicState) { s.Rights = 1 << kafkaio.RightDescribeConfigs },
			verdict{"topic reply-resolutions", doctor.Passed, "compacted", ""},
			nil,
		},
		"without a leader": {
			"reply-jobs", func(s *kafkaio.TopicState) { s.Partitions[4].Leader = -1 },
			verdict{jobs, doctor.Failed, "1 partition has no leader: reply-jobs/4", "start the brokers"},
			nil,
		},
		"one copy": {
			"reply-jobs", func(s *kafkaio.TopicState) { s.Partitions[5].Replicas, s.Partitions[5].InSync = 1, 2 },
			verdict{"copies", doctor.Warned, "one copy of reply-jobs", "--replication-factor 3"},
			nil,
		},
		"as many as must be in sync": {
			"reply-jobs", func(s *kafkaio.TopicState) { s.Partitions[5].Replicas, s.Partitions[5].InSync = 2, 2 },
			verdict{"copies", doctor.Warned, "min.insync.replicas is the number of copies of reply-jobs", "one less"},
			nil,
		},
		"behind": {
			"reply-jobs", func(s *kafkaio.TopicState) { s.Partitions[1].InSync = 2 },
			verdict{"copies", doctor.Warned, "copies are missing or behind: reply-jobs/1", "start the brokers"},
			nil,
		},
		"too few in sync": {
			"reply-outcomes", func(s *kafkaio.TopicState) { s.Partitions[1].InSync, s.Partitions[2].InSync = 1, 2 },
			verdict{
				"copies", doctor.Failed,
				"nothing can be written: reply-outcomes/1; copies are missing or behind: reply-outcomes/2", "start the brokers",
			},
			nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.change(row.topic, row.change)
			w.requires(row.want, row.others...)
		})
	}
}

func TestTopicSettings(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		topic, setting, value string
		want                  verdict
	}{
		{"reply-jobs", "retention.ms", "1209600000", verdict{
			"topic reply-jobs", doctor.Warned,
			"not less than claim-retention", "retention.ms",
		}},
		{"reply-dead-letters", "max.message.bytes", "1048588", verdict{
			"topic reply-dead-letters", doctor.Warned,
			"should be 1114124", "1114124",
		}},
		{"reply-resolutions", "cleanup.policy", "delete", verdict{
			"topic reply-resolutions", doctor.Warned,
			"should be compact", "compact",
		}},
		{"reply-outcomes", "min.insync.replicas", "1", verdict{
			"copies", doctor.Warned,
			"min.insync.replicas is 1 for reply-outcomes", "to 2",
		}},
		{"reply-outcomes", "min.insync.replicas", "3", verdict{"copies", doctor.Warned, "while any broker is away nothing", ""}},
	} {
		w := newWorld(t)
		w.kafka.settings[row.topic][row.setting] = row.value
		w.requires(row.want)
	}
}

// TestSettingsThatMayNotBeRead holds that a right which clients are often refused is no failure.
func TestSettingsThatMayNotBeRead(t *testing.T) {
	t.Parallel()
	all := []string{"topic reply-outcomes", "topic reply-dead-letters", "topic reply-resolutions"}
	w := newWorld(t)
	w.kafka.settings, w.kafka.denied = nil, kafka.TopicAuthorizationFailed
	w.requires(verdict{
		"topic reply-jobs", doctor.Warned, "the right DescribeConfigs is missing",
		"DescribeConfigs on the topic",
	}, all...)
	w.kafka.denied = kafka.RequestTimedOut
	w.requires(verdict{"topic reply-jobs", doctor.Warned, "its settings cannot be checked: ", "can be reached"}, all...)
}

func TestNoTopicsAtAll(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name := range w.kafka.cluster.Topics {
		w.kafka.cluster.Topics[name] = kafkaio.TopicState{Err: &kafkaio.MissingTopicsError{Topics: []string{name}}}
	}
	w.requires(verdict{"copies", doctor.Skipped, "there are no topics", ""},
		"topic reply-jobs", "topic reply-outcomes", "topic reply-dead-letters", "topic reply-resolutions", "lag", "unread")
}

func TestGroups(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		group  kafkaio.Group
		err    error
		want   verdict
		others []string
	}{
		"not there yet": {
			kafkaio.Group{State: kafkaio.GroupDead},
			nil,
			verdict{"group", doctor.Passed, "replyworker is not there yet", ""},
			[]string{"lag"},
		},
		"empty": {
			kafkaio.Group{State: kafkaio.GroupEmpty, Protocol: "consumer"},
			nil,
			verdict{"group", doctor.Passed, "has no members", ""},
			[]string{"lag"},
		},
		"too many": {
			kafkaio.Group{State: "Stable", Protocol: "consumer", Members: 7},
			nil,
			verdict{"group", doctor.Warned, "7 members for 6 partitions", "run fewer workers"},
			nil,
		},
		"of Connect": {
			kafkaio.Group{State: "Stable", Protocol: "connect", Members: 2},
			nil,
			verdict{"group", doctor.Failed, `of type "connect"`, "another kafka-group"},
			nil,
		},
		"foreign": {
			kafkaio.Group{State: kafkaio.GroupDead, Foreign: true, Protocol: "share", Members: 1},
			nil,
			verdict{"group", doctor.Failed, "a protocol that workers do not speak", "another kafka-group"},
			nil,
		},
		"denied": {
			kafkaio.Group{},
			kafka.GroupAuthorizationFailed,
			verdict{"group", doctor.Failed, "Group Authorization Failed", "Read on the group"},
			[]string{"lag", "unread"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.kafka.group, w.kafka.groupErr = row.group, row.err
			w.requires(row.want, row.others...)
		})
	}
}

func TestOffsets(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		offsets kafkaio.PartitionOffsets
		members int
		want    verdict
	}{
		"read": {kafkaio.PartitionOffsets{First: 3, End: 10, Committed: 10}, 0, verdict{
			"lag", doctor.Passed,
			"0 to be read", "",
		}},
		"nobody reads": {kafkaio.PartitionOffsets{First: 3, End: 10, Committed: 4}, 0, verdict{
			"lag", doctor.Warned,
			"6 to be read in 1 partition, and no worker", "worker run",
		}},
		"never read": {kafkaio.PartitionOffsets{First: 3, End: 10, Committed: -1}, 1, verdict{
			"lag", doctor.Passed,
			"7 to be read in 1 partition; 1 partition has no committed offset", "",
		}},
		"past the end": {kafkaio.PartitionOffsets{First: 0, End: 2, Committed: 9}, 1, verdict{
			"lag", doctor.Warned,
			"past the end of reply-jobs/0 (9, ends at 2)", "anew",
		}},
		"lost": {kafkaio.PartitionOffsets{First: 8, End: 10, Committed: 4}, 1, verdict{
			"unread", doctor.Failed,
			"up to 4 records went by retention before they were read: reply-jobs/0 (from 4 to 7)", "send them again",
		}},
		"never read, gone": {kafkaio.PartitionOffsets{First: 8, End: 10, Committed: -1}, 1, verdict{
			"unread", doctor.Passed,
			"nothing has gone", "",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			row.offsets.Topic = "reply-jobs"
			w.kafka.offsets, w.kafka.group.Members = []kafkaio.PartitionOffsets{row.offsets}, row.members
			w.requires(row.want)
		})
	}
	w := newWorld(t)
	w.kafka.lagErr = kafka.RequestTimedOut
	w.requires(verdict{"lag", doctor.Failed, "Request Timed Out", ""}, "unread")
}
