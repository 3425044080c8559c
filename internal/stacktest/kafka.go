package stacktest

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"replyworker/internal/app"
	"replyworker/internal/config"
	"replyworker/internal/dedupe"
	"replyworker/internal/devstack"
	"replyworker/internal/kafkaio"
)

// patience is how long a server may take for what it does in milliseconds when it is well.
const patience = time.Minute

// pause is how long to wait before a server is asked again.
const pause = 5 * time.Millisecond

// Kafka is a broker, or a cluster of them, with topics and groups of one test's own.
type Kafka struct {
	t        testing.TB
	embedded *devstack.Kafka // nil where the brokers are real
	cfg      *config.Config
	env      []string
	own      string // what the names of this test begin with; nothing on an embedded broker
	client   *kgo.Client
	admin    *kadm.Client
	brokers  []int32 // their numbers
	changes  int     // of topics' settings, so far
}

// NewKafka returns a Kafka with the topics given, each with its number of partitions and a replica on
// each broker. The topics, and clients that it makes, are gone when the test has ended.
func NewKafka(t testing.TB, topics map[string]int) *Kafka {
	t.Helper()
	k := &Kafka{t: t, env: settings(t, kafkaPrefix)}
	if k.env == nil {
		k.embed()
	} else {
		k.own = "test-" + dedupe.NewToken() + "-"
	}
	k.cfg = load(t, k.env)
	k.client = k.Client()
	k.admin = kadm.NewClient(k.client)
	brokers, err := k.admin.ListBrokers(t.Context())
	require.NoError(t, err)
	k.brokers = brokers.NodeIDs()
	alike := map[int][]string{}
	for name, partitions := range topics {
		alike[partitions] = append(alike[partitions], k.Topic(name))
	}
	for partitions, names := range alike {
		k.create(partitions, nil, names...)
	}
	return k
}

func (k *Kafka) embed() {
	k.t.Helper()
	broker, err := devstack.StartKafka(devstack.KafkaConfig{})
	require.NoError(k.t, err)
	k.t.Cleanup(broker.Close)
	k.embedded = broker
	k.env = []string{kafkaPrefix + "BROKERS=" + broker.Addr()}
}

// Embedded returns the embedded broker, and skips the test where the brokers are real. needs says what
// for, as in "to refuse single produce requests".
func (k *Kafka) Embedded(needs string) *devstack.Kafka {
	k.t.Helper()
	if k.embedded == nil {
		k.t.Skipf("needs %s, which only the embedded broker does", needs)
	}
	return k.embedded
}

// Real says that the brokers are not the embedded one.
func (k *Kafka) Real() bool { return k.embedded == nil }

// Env returns the settings with which the product reaches the brokers.
func (k *Kafka) Env() []string { return k.env }

// Topic returns what the brokers call a topic of this test. A name that it has returned stays as it is.
func (k *Kafka) Topic(name string) string { return k.named(name) }

// Group returns what the brokers call a group, or a transactional id, of this test. A name that it has
// returned stays as it is.
func (k *Kafka) Group(name string) string { return k.named(name) }

func (k *Kafka) named(name string) string {
	if strings.HasPrefix(name, k.own) {
		return name
	}
	return k.own + name
}

// Client returns a client that is not the product's, for judging it. It closes when the test ends.
func (k *Kafka) Client(opts ...kgo.Opt) *kgo.Client {
	k.t.Helper()
	client, err := kgo.NewClient(append(judge(k.t, k.cfg), opts...)...)
	require.NoError(k.t, err)
	k.t.Cleanup(client.Close)
	return client
}

// Admin returns a client for topics, groups and offsets. It closes when the test ends.
func (k *Kafka) Admin() *kadm.Client { return k.admin }

// Product returns the product's own client. It closes when the test ends.
func (k *Kafka) Product() *kafkaio.Client {
	k.t.Helper()
	client, err := app.Kafka(k.cfg)
	require.NoError(k.t, err)
	k.t.Cleanup(client.Close)
	return client
}

// CreateTopic makes a topic with a replica on each broker, and returns when every broker knows it.
func (k *Kafka) CreateTopic(name string, partitions int, config map[string]string) {
	k.t.Helper()
	values := map[string]*string{}
	for key, value := range config {
		values[key] = &value
	}
	k.create(partitions, values, k.Topic(name))
}

func (k *Kafka) create(partitions int, config map[string]*string, names ...string) {
	k.t.Helper()
	res, err := k.admin.CreateTopics(k.t.Context(), int32(partitions), int16(len(k.brokers)), config, names...)
	require.NoError(k.t, err, "make topics %q", names)
	for name, topic := range res {
		// The client asks again where an answer was slow.
		if !errors.Is(topic.Err, kerr.TopicAlreadyExists) {
			require.NoError(k.t, topic.Err, "make topic %s: %s", name, topic.ErrMessage)
		}
	}
	if k.embedded == nil {
		k.t.Cleanup(func() { k.delete(names) })
	}
	for _, name := range names {
		k.AwaitPartitions(name, partitions)
	}
}

func (k *Kafka) delete(names []string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(k.t.Context()), patience)
	defer cancel()
	_, _ = k.admin.DeleteTopics(ctx, names...) // the test may have deleted some
}

// DeleteTopic removes a topic, and returns when no broker knows it.
func (k *Kafka) DeleteTopic(name string) {
	k.t.Helper()
	name = k.Topic(name)
	_, err := k.admin.DeleteTopic(k.t.Context(), name)
	require.NoError(k.t, err)
	for _, b := range k.brokers {
		require.Eventually(k.t, func() bool { return k.leaders(b, name) == 0 }, patience, pause,
			"broker %d should not know %s", b, name)
	}
}

// SetTopicConfig sets one setting of a topic, and returns when every broker obeys it.
func (k *Kafka) SetTopicConfig(topic, name, value string) {
	k.t.Helper()
	topic = k.Topic(topic)
	k.setTopicConfig(topic, name, value)
	if k.embedded == nil {
		// A broker tells of a setting a little before its logs obey it. One change comes after another: when
		// it tells of a second, of something that nobody needs, the first is done.
		k.changes++
		k.setTopicConfig(topic, "delete.retention.ms", strconv.Itoa(1_000_000+k.changes))
	}
}

func (k *Kafka) setTopicConfig(topic, name, value string) {
	k.t.Helper()
	change := []kadm.AlterConfig{{Op: kadm.SetConfig, Name: name, Value: &value}}
	res, err := k.admin.AlterTopicConfigs(k.t.Context(), change, topic)
	require.NoError(k.t, err)
	require.NoError(k.t, res[0].Err)
	for _, b := range k.brokers {
		require.Eventually(k.t, func() bool { return k.topicConfig(b, topic, name) == value }, patience, pause,
			"broker %d should know %s of %s", b, name, topic)
	}
}

// AwaitPartitions waits until every broker tells of so many partitions of a topic, and each partition's
// leader knows that it is one, which is a little later.
func (k *Kafka) AwaitPartitions(name string, partitions int) {
	k.t.Helper()
	name = k.Topic(name)
	for _, b := range k.brokers {
		require.Eventually(k.t, func() bool { return k.leaders(b, name) == partitions }, patience, pause,
			"broker %d should know %d partitions of %s", b, partitions, name)
	}
	require.Eventually(k.t, func() bool {
		ends, err := k.admin.ListEndOffsets(k.t.Context(), name)
		return err == nil && ends.Error() == nil && len(ends[name]) == partitions
	}, patience, pause, "the leaders of %s should answer", name)
}
