package servers_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"replyworker/test/servers"
)

const topic = "things"

// kafkaOptions are a client's of the settings.
func kafkaOptions(t *testing.T, settings []string) []kgo.Opt {
	t.Helper()
	cfg := load(t, settings)
	opts := []kgo.Opt{kgo.SeedBrokers(cfg.KafkaBrokers...), kgo.DefaultProduceTopic(topic)}
	if cfg.KafkaTLS {
		opts = append(opts, kgo.DialTLSConfig(trust(t, cfg, "kafka-ca-file")))
	}
	if cfg.KafkaSASLMechanism != "" {
		require.Equal(t, "SCRAM-SHA-512", cfg.KafkaSASLMechanism)
		login := scram.Auth{User: cfg.KafkaSASLUsername, Pass: secret(t, cfg, "kafka-sasl-password-file")}
		opts = append(opts, kgo.SASL(login.AsSha512Mechanism()))
	}
	return opts
}

func kafkaClient(t *testing.T, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(opts...)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

// produce writes a record, acknowledged by all that must.
func produce(ctx context.Context, t *testing.T, c *kgo.Client, value string) {
	t.Helper()
	require.NoError(t, c.ProduceSync(ctx, kgo.StringRecord(value)).FirstErr(), "produce %s", value)
}

// consume reads the topic from its beginning until it has had all values.
func consume(ctx context.Context, t *testing.T, opts []kgo.Opt, values ...string) {
	t.Helper()
	c := kafkaClient(t, append(slices.Clone(opts), kgo.ConsumeTopics(topic), kgo.ConsumerGroup(rand(t)),
		kgo.SessionTimeout(time.Second), kgo.HeartbeatInterval(200*time.Millisecond),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	values = slices.Clone(values)
	for len(values) > 0 {
		fetches := c.PollFetches(ctx)
		require.NoError(t, ctx.Err(), "waiting for %v", values)
		fetches.EachRecord(func(r *kgo.Record) {
			values = slices.DeleteFunc(values, func(v string) bool { return v == string(r.Value) })
		})
	}
}

// rand is the name of a group that nobody else has.
func rand(t *testing.T) string {
	t.Helper()
	return t.Name() + "-" + strconv.FormatInt(time.Now().UnixNano(), 36)
}

func TestKafka(t *testing.T) {
	for _, brokers := range []int{1, 3} {
		t.Run(fmt.Sprintf("%d brokers", brokers), func(t *testing.T) {
			ctx := needReal(t)
			k, err := servers.StartKafka(ctx, servers.KafkaConfig{Dir: t.TempDir(), Brokers: brokers})
			require.NoError(t, err)
			t.Cleanup(k.Close)
			pids := kafkaPIDs(k)
			require.Len(t, pids, brokers)
			require.Empty(t, k.ProxiedAddrs())

			plain, secure := kafkaOptions(t, k.Settings(false)), kafkaOptions(t, k.Settings(true))
			created, err := kadm.NewClient(kafkaClient(t, plain...)).CreateTopic(ctx, 3, -1, nil, topic)
			require.NoError(t, err)
			require.NoError(t, created.Err)
			require.EqualValues(t, brokers, created.ReplicationFactor, "the default")
			c := kafkaClient(t, plain...)
			produce(ctx, t, c, "plain")
			produce(ctx, t, kafkaClient(t, secure...), "secure")
			consume(ctx, t, secure, "plain", "secure")
			locked(ctx, t, k)
			survives(ctx, t, k, c, plain)

			pids = kafkaPIDs(k)
			k.Close()
			gone(t, pids)
		})
	}
}

// locked holds that the secure addresses want the right password, and TLS.
func locked(ctx context.Context, t *testing.T, k *servers.Kafka) {
	t.Helper()
	cfg := load(t, k.Settings(true))
	ask := func(opts ...kgo.Opt) error {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		return kafkaClient(t, append(opts, kgo.SeedBrokers(k.SecureAddrs()...), kgo.RetryTimeout(time.Second))...).Ping(ctx)
	}
	encrypted := kgo.DialTLSConfig(trust(t, cfg, "kafka-ca-file"))
	login := scram.Auth{User: cfg.KafkaSASLUsername, Pass: secret(t, cfg, "kafka-sasl-password-file")}
	require.NoError(t, ask(encrypted, kgo.SASL(login.AsSha512Mechanism())))
	require.Error(t, ask(), "without TLS")
	require.Error(t, ask(encrypted), "without a login")
	login.Pass += "x"
	require.Error(t, ask(encrypted, kgo.SASL(login.AsSha512Mechanism())), "with a wrong password")
}

// survives ends each broker in both ways and expects the records to be there afterwards. With three,
// writing goes on meanwhile.
func survives(ctx context.Context, t *testing.T, k *servers.Kafka, c *kgo.Client, opts []kgo.Opt) {
	t.Helper()
	ends := []func(int) error{k.Kill, func(i int) error { return k.Stop(ctx, i) }}
	written := []string{"plain", "secure"}
	for turn, end := range ends {
		i := turn % len(k.Addrs())
		pid := k.PID(i)
		require.NoError(t, end(i))
		gone(t, []int{pid})
		require.Error(t, end(i), "it is gone already")
		if len(k.Addrs()) == 1 {
			require.Error(t, k.Ready(ctx), "none runs")
		} else {
			value := fmt.Sprintf("meanwhile %d", turn)
			produce(ctx, t, c, value)
			written = append(written, value)
		}
		require.NoError(t, k.Start(ctx, i))
		require.Error(t, k.Start(ctx, i), "it runs")
		require.NoError(t, k.Ready(ctx))
		require.NoError(t, k.InSync(ctx))
		produce(ctx, t, c, fmt.Sprintf("after %d", turn))
		written = append(written, fmt.Sprintf("after %d", turn))
		consume(ctx, t, opts, written...)
	}
}

func kafkaPIDs(k *servers.Kafka) []int {
	var pids []int
	for i := range k.Addrs() {
		pids = append(pids, k.PID(i))
	}
	return pids
}

func TestKafkaBehindProxies(t *testing.T) {
	ctx := needReal(t)
	names := []string{}
	proxy := proxies(t)
	k, err := servers.StartKafka(ctx, servers.KafkaConfig{
		Dir: t.TempDir(), Brokers: 3, Properties: map[string]string{"num.partitions": "5"},
		Proxy: func(name, upstream string) (string, error) {
			names = append(names, name)
			return proxy(name, upstream)
		},
	})
	require.NoError(t, err)
	t.Cleanup(k.Close)
	require.Equal(t, []string{"kafka-0", "kafka-1", "kafka-2"}, names)
	require.NotEqual(t, k.Addrs(), k.ProxiedAddrs())

	for _, test := range []struct {
		opts []kgo.Opt
		want []string
	}{
		{kafkaOptions(t, k.Settings(false)), k.ProxiedAddrs()},
		{[]kgo.Opt{kgo.SeedBrokers(k.Addrs()[0])}, k.Addrs()},
		{kafkaOptions(t, k.Settings(true)), k.SecureAddrs()},
	} {
		metadata, err := kadm.NewClient(kafkaClient(t, test.opts...)).Metadata(ctx)
		require.NoError(t, err)
		var got []string
		for _, b := range metadata.Brokers {
			got = append(got, fmt.Sprintf("%s:%d", b.Host, b.Port))
		}
		require.ElementsMatch(t, test.want, got, "what the brokers advertise")
	}
	created, err := kadm.NewClient(kafkaClient(t, kafkaOptions(t, k.Settings(false))...)).CreateTopic(ctx, -1, -1, nil, topic)
	require.NoError(t, err)
	require.EqualValues(t, 5, created.NumPartitions)
	produce(ctx, t, kafkaClient(t, kafkaOptions(t, k.Settings(false))...), "x")

	// All at once, as a data centre goes; and back one by one.
	for i := range 3 {
		require.NoError(t, k.Kill(i))
	}
	for i := range 3 {
		require.NoError(t, k.Start(ctx, i))
	}
	require.NoError(t, k.Ready(ctx))
	consume(ctx, t, kafkaOptions(t, k.Settings(false)), "x")
}

func TestKafkaThatCannotStart(t *testing.T) {
	ctx := needReal(t)
	_, err := servers.StartKafka(ctx, servers.KafkaConfig{Dir: t.TempDir(), Properties: map[string]string{"num.partitions": "x"}})
	require.ErrorContains(t, err, "num.partitions", "the end of the broker's log says why")
	_, err = servers.StartKafka(ctx, servers.KafkaConfig{Dir: t.TempDir(), Brokers: 2})
	require.ErrorContains(t, err, "2 brokers")
	no := errors.New("no")
	_, err = servers.StartKafka(ctx, servers.KafkaConfig{
		Dir: t.TempDir(), Proxy: func(string, string) (string, error) { return "", no },
	})
	require.ErrorIs(t, err, no)
}
