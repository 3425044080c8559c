package kafkaio_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"replyworker/internal/kafkaio"
	"replyworker/internal/stacktest"
)

const topic = "jobs" // what the tests call it; Topic says what the brokers do

// startKafka returns a Kafka with topic, and the product's client.
func startKafka(t *testing.T, partitions int) (*stacktest.Kafka, *kafkaio.Client) {
	t.Helper()
	k := stacktest.NewKafka(t, map[string]int{topic: partitions})
	return k, k.Product()
}

// readAll reads n records with another client.
func readAll(t *testing.T, k *stacktest.Kafka, topic string, n int) []*kgo.Record {
	t.Helper()
	reader := k.Client(kgo.ConsumeTopics(k.Topic(topic)), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var all []*kgo.Record
	for len(all) < n && ctx.Err() == nil {
		all = append(all, reader.PollFetches(ctx).Records()...)
	}
	require.Len(t, all, n, "records on %s", topic)
	return all
}

func keyed(n int) []kafkaio.Message {
	var messages []kafkaio.Message
	for i := range n {
		messages = append(messages, kafkaio.Message{
			Partition: kafkaio.AnyPartition, Key: fmt.Appendf(nil, "complaint-%d", i%17), Value: fmt.Appendf(nil, "%d", i),
		})
	}
	return messages
}

// refuse answers the produce requests from the first-th to the last-th with an error.
func refuse(k *stacktest.Kafka, first, last int64, code *kerr.Error) *atomic.Int64 {
	cluster := k.Embedded("to refuse single produce requests").Cluster()
	var count atomic.Int64
	cluster.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		n := count.Add(1)
		if n < first || n > last {
			return nil, nil, false
		}
		produce := req.(*kmsg.ProduceRequest)
		res := produce.ResponseKind().(*kmsg.ProduceResponse)
		for _, t := range produce.Topics {
			rt := kmsg.NewProduceResponseTopic()
			rt.Topic, rt.TopicID = t.Topic, t.TopicID
			for _, p := range t.Partitions {
				rp := kmsg.NewProduceResponseTopicPartition()
				rp.Partition, rp.ErrorCode = p.Partition, code.Code
				rt.Partitions = append(rt.Partitions, rp)
			}
			res.Topics = append(res.Topics, rt)
		}
		return res, nil, true
	})
	return &count
}

func TestBatchKeepsOrderAndTellsWhereEachMessageWent(t *testing.T) {
	t.Parallel()
	broker, client := startKafka(t, 5)
	messages := keyed(300)
	placed := client.PublishBatch(t.Context(), broker.Topic(topic), kafkaio.DefaultMaxMessageBytes, messages)

	at := map[string]*kgo.Record{}
	last := map[string]int{}
	for _, r := range readAll(t, broker, topic, len(messages)) {
		at[fmt.Sprintf("%d/%d", r.Partition, r.Offset)] = r
		var n int
		_, err := fmt.Sscan(string(r.Value), &n)
		require.NoError(t, err)
		require.GreaterOrEqual(t, n, last[string(r.Key)], "messages of key %s are out of order", r.Key)
		last[string(r.Key)] = n
	}
	for i, p := range placed {
		require.NoError(t, p.Err)
		r := at[fmt.Sprintf("%d/%d", p.Partition, p.Offset)]
		require.NotNil(t, r, "no record where message %d is said to be: %+v", i, p)
		require.Equal(t, string(messages[i].Value), string(r.Value))
	}
}

func TestBatchPartitionsAsJavaDoes(t *testing.T) {
	t.Parallel()
	broker, client := startKafka(t, 7)
	messages := keyed(17)
	placed := client.PublishBatch(t.Context(), broker.Topic(topic), kafkaio.DefaultMaxMessageBytes, messages)
	producer := broker.Client(kgo.DefaultProduceTopic(broker.Topic(topic))) // murmur2 is its default
	for i, m := range messages {
		r, err := producer.ProduceSync(t.Context(), &kgo.Record{Key: m.Key}).First()
		require.NoError(t, err)
		require.Equal(t, int(r.Partition), placed[i].Partition, "partition of key %s", m.Key)
	}
}

func TestBatchTriesAgainWhatMayPass(t *testing.T) {
	t.Parallel()
	broker, client := startKafka(t, 1)
	count := refuse(broker, 1, 2, kerr.NotEnoughReplicas)
	placed := client.PublishBatch(t.Context(), broker.Topic(topic), kafkaio.DefaultMaxMessageBytes, keyed(3))
	for i, p := range placed {
		require.NoError(t, p.Err)
		require.Equal(t, int64(i), p.Offset)
	}
	require.EqualValues(t, 3, count.Load())
	require.Len(t, readAll(t, broker, topic, 3), 3)
}

func TestBatchStopsAPartitionAtItsFirstFailure(t *testing.T) {
	t.Parallel()
	broker, client := startKafka(t, 1)
	// A real broker refuses records without a key for a compacted topic; the embedded one has to be told.
	broker.CreateTopic("compacted", 1, map[string]string{"cleanup.policy": "compact"})
	if !broker.Real() {
		refuse(broker, 2, 99, kerr.InvalidRecord)
	}
	messages := keyed(3)
	for i := range messages {
		messages[i].Value = []byte(strings.Repeat("x", 600)) // two do not fit into one request of 1500 bytes
	}
	messages[1].Key = nil
	placed := client.PublishBatch(t.Context(), broker.Topic("compacted"), 1500, messages)
	require.NoError(t, placed[0].Err)
	require.ErrorContains(t, placed[1].Err, "publish to "+broker.Topic("compacted")+": ")
	require.Equal(t, placed[1].Err, placed[2].Err)
	readAll(t, broker, "compacted", 1)
}

func TestBatchGivesUpWhenItsTimeIsOver(t *testing.T) {
	t.Parallel()
	broker, client := startKafka(t, 1)
	refuse(broker, 1, 1<<60, kerr.NotEnoughReplicas)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	placed := client.PublishBatch(ctx, broker.Topic(topic), kafkaio.DefaultMaxMessageBytes, keyed(2))
	require.ErrorContains(t, placed[0].Err, "Not Enough Replicas", "the broker's reason, not that the time is over")
	require.Error(t, placed[1].Err)
}

func TestBatchFindsTheMessageThatIsTooLarge(t *testing.T) {
	t.Parallel()
	broker, client := startKafka(t, 1)
	broker.CreateTopic("small", 1, map[string]string{"max.message.bytes": "1000"})
	messages := keyed(3)
	messages[1].Value = []byte(strings.Repeat("x", 2000))
	require.False(t, messages[1].Fits(1000))
	require.True(t, messages[0].Fits(1000))
	placed := client.PublishBatch(t.Context(), broker.Topic("small"), kafkaio.DefaultMaxMessageBytes, messages)
	require.NoError(t, placed[0].Err)
	require.ErrorIs(t, placed[1].Err, kafkaio.ErrTooLarge)
	require.ErrorIs(t, placed[2].Err, kafkaio.ErrTooLarge, "it is behind the one that failed")
}

func TestBatchToATopicThatIsNotThere(t *testing.T) {
	t.Parallel()
	broker, client := startKafka(t, 1)
	none := broker.Topic("none")
	placed := client.PublishBatch(t.Context(), none, kafkaio.DefaultMaxMessageBytes, keyed(2))
	var missing *kafkaio.MissingTopicsError
	require.ErrorAs(t, placed[1].Err, &missing, "got %v", placed[1].Err)
	require.Equal(t, []string{none}, missing.Topics)
}

func TestTopicConfig(t *testing.T) {
	t.Parallel()
	broker, client := startKafka(t, 1)
	compacted, none := broker.Topic("compacted"), broker.Topic("none")
	broker.CreateTopic(compacted, 1, map[string]string{"cleanup.policy": "compact", "max.message.bytes": "2000000"})
	config, err := client.TopicConfig(t.Context(), compacted, "cleanup.policy", "max.message.bytes")
	require.NoError(t, err)
	require.Equal(t, map[string]string{"cleanup.policy": "compact", "max.message.bytes": "2000000"}, config)
	require.Equal(t, 2_000_000, client.MaxMessageBytes(t.Context(), compacted))
	_, err = client.TopicConfig(t.Context(), none, "cleanup.policy")
	require.ErrorContains(t, err, "read configuration of topic "+none+": ")
	require.Equal(t, kafkaio.DefaultMaxMessageBytes, client.MaxMessageBytes(t.Context(), none))
}
