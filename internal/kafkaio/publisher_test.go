package kafkaio_test

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"replyworker/internal/job"
	"replyworker/internal/kafkaio"
	"replyworker/internal/stacktest"
)

// publisher returns a publisher to topic.
func publisher(t *testing.T, k *stacktest.Kafka, maxBytes int) *kafkaio.Publisher {
	t.Helper()
	p := kafkaio.NewPublisher(k.Product(), k.Topic(topic), maxBytes)
	t.Cleanup(p.Close)
	return p
}

func TestBytesArePublishedAsTheyAre(t *testing.T) {
	t.Parallel()
	k, _ := startKafka(t, 1)
	p := publisher(t, k, kafkaio.DefaultMaxMessageBytes)
	for _, m := range []kafkaio.Message{
		{Key: nil, Value: nil},
		{Key: []byte{}, Value: []byte{}},
		{Key: []byte("k"), Value: []byte{0, 255}, Headers: []job.Header{{Key: "a", Value: []byte("1")}, {Key: "a"}}},
	} {
		require.NoError(t, p.Publish(t.Context(), m))
	}
	got := readAll(t, k, topic, 3)
	require.Nil(t, got[0].Key)
	require.Nil(t, got[0].Value)
	require.NotNil(t, got[1].Key)
	require.NotNil(t, got[1].Value)
	require.Equal(t, []byte{0, 255}, got[2].Value)
	require.Equal(t, []kgo.RecordHeader{{Key: "a", Value: []byte("1")}, {Key: "a"}}, got[2].Headers)
}

func TestKeysChooseThePartitionThatJavaClientsChoose(t *testing.T) {
	t.Parallel()
	k, _ := startKafka(t, 7)
	p := publisher(t, k, kafkaio.DefaultMaxMessageBytes)
	other := k.Client(kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)))
	for i := range 50 {
		key := fmt.Appendf(nil, "2002018202001010800766%d", i*i)
		require.NoError(t, p.Publish(t.Context(), kafkaio.Message{Partition: kafkaio.AnyPartition, Key: key}))
		require.NoError(t, other.ProduceSync(t.Context(), &kgo.Record{Topic: k.Topic(topic), Key: key}).FirstErr())
	}
	where := map[string]int32{}
	for _, r := range readAll(t, k, topic, 100) {
		if before, ok := where[string(r.Key)]; ok {
			require.Equal(t, before, r.Partition, "key %s", r.Key)
		}
		where[string(r.Key)] = r.Partition
	}
}

func TestAMessageTooLargeForItsTopicIsToldApart(t *testing.T) {
	t.Parallel()
	k, _ := startKafka(t, 1)
	small := publisher(t, k, 2000)
	err := small.Publish(t.Context(), kafkaio.Message{Value: make([]byte, 3000)})
	require.ErrorIs(t, err, kafkaio.ErrTooLarge)
	require.NoError(t, small.Publish(t.Context(), kafkaio.Message{Value: make([]byte, 1000)}))
}

// TestATopicThatTakesLessThanWasSaid holds that only the message that is too large is refused when a
// broker refuses a whole batch for its size.
func TestATopicThatTakesLessThanWasSaid(t *testing.T) {
	t.Parallel()
	k, c := startKafka(t, 1)
	k.CreateTopic("small", 1, map[string]string{"max.message.bytes": "5000"})
	p := kafkaio.NewPublisher(c, k.Topic("small"), kafkaio.DefaultMaxMessageBytes)
	t.Cleanup(p.Close)
	sizes := []int{1000, 2000, 9000, 3000, 4000}
	errs := make([]error, len(sizes))
	var wg sync.WaitGroup
	for i, n := range sizes {
		wg.Go(func() { errs[i] = p.Publish(t.Context(), kafkaio.Message{Value: make([]byte, n)}) })
	}
	wg.Wait()
	for i, n := range sizes {
		if n > 5000 {
			require.ErrorIs(t, errs[i], kafkaio.ErrTooLarge)
		} else {
			require.NoError(t, errs[i], "%d bytes", n)
		}
	}
}

func TestManyPublishersShareRequestsAndKeepTheirOrder(t *testing.T) {
	t.Parallel()
	k, _ := startKafka(t, 3)
	p := publisher(t, k, kafkaio.DefaultMaxMessageBytes)
	const writers, each = 20, 25
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				m := kafkaio.Message{
					Partition: kafkaio.AnyPartition, Key: fmt.Appendf(nil, "writer-%d", w), Value: []byte{byte(i)},
				}
				if err := p.Publish(t.Context(), m); err != nil {
					t.Errorf("publish: %v", err)
				}
			}
		})
	}
	wg.Wait()
	next := map[string]byte{}
	for _, r := range readAll(t, k, topic, writers*each) {
		require.Equal(t, next[string(r.Key)], r.Value[0], "order of %s", r.Key)
		next[string(r.Key)]++
	}
}

func TestAnErrorOfTheBrokerReachesThePublisher(t *testing.T) {
	t.Parallel()
	k, c := startKafka(t, 1)
	// A real broker refuses records without a key for a compacted topic; the embedded one has to be told.
	k.CreateTopic("compacted", 1, map[string]string{"cleanup.policy": "compact"})
	if !k.Real() {
		refuse(k, 1, 1, kerr.InvalidRecord)
	}
	p := kafkaio.NewPublisher(c, k.Topic("compacted"), kafkaio.DefaultMaxMessageBytes)
	t.Cleanup(p.Close)
	err := p.Publish(t.Context(), kafkaio.Message{Value: []byte("x")})
	require.ErrorContains(t, err, "publish to "+k.Topic("compacted"))
	require.NoError(t, p.Publish(t.Context(), kafkaio.Message{Key: []byte("k"), Value: []byte("y")}), "the next one goes through")
	require.Equal(t, "y", string(readAll(t, k, "compacted", 1)[0].Value))
}

// TestReplicasMayTakeTheirTime holds that a broker is given seconds to replicate what it has taken. One
// that is given less refuses, under load, what is there already, and it is published again and again.
func TestReplicasMayTakeTheirTime(t *testing.T) {
	t.Parallel()
	k, _ := startKafka(t, 1)
	var given atomic.Int32
	k.Embedded("to show the requests that it gets").Cluster().ControlKey(int16(kmsg.Produce),
		func(req kmsg.Request) (kmsg.Response, error, bool) {
			given.Store(req.(*kmsg.ProduceRequest).TimeoutMillis)
			return nil, nil, false
		})
	p := publisher(t, k, kafkaio.DefaultMaxMessageBytes)
	require.NoError(t, p.Publish(t.Context(), kafkaio.Message{Value: []byte("x")}))
	require.GreaterOrEqual(t, given.Load(), int32(4000), "milliseconds")
}

func TestPublishEndsWithItsContextAndWithClose(t *testing.T) {
	t.Parallel()
	k, _ := startKafka(t, 1)
	cluster := k.Embedded("to keep a produce request waiting").Cluster()
	blocked := make(chan struct{})
	cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.SleepControl(func() { <-blocked })
		return nil, nil, false
	})
	p := publisher(t, k, kafkaio.DefaultMaxMessageBytes)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, p.Publish(ctx, kafkaio.Message{Value: []byte("x")}), context.DeadlineExceeded)
	close(blocked)
	p.Close()
	require.ErrorIs(t, p.Publish(t.Context(), kafkaio.Message{Value: []byte("x")}), kafkaio.ErrPublisherClosed)
}

func TestMissingTopicsAreNamedWithTheCommandThatMakesThem(t *testing.T) {
	t.Parallel()
	k, c := startKafka(t, 1)
	none := []string{k.Topic("no-1"), k.Topic("no-2")}
	_, err := c.Partitions(t.Context(), k.Topic(topic), none[0], none[1])
	var missing *kafkaio.MissingTopicsError
	require.ErrorAs(t, err, &missing)
	require.Equal(t, none, missing.Topics)
	require.ErrorContains(t, err, "worker topics create")
}

func TestTailReadsWhatIsThereAndWhatComes(t *testing.T) {
	t.Parallel()
	k, c := startKafka(t, 3)
	p := publisher(t, k, kafkaio.DefaultMaxMessageBytes)
	send := func(i int) {
		require.NoError(t, p.Publish(t.Context(), kafkaio.Message{Partition: i % 3, Value: fmt.Append(nil, i)}))
	}
	for i := range 5 {
		send(i)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var got bytes.Buffer
	n := 0
	err := c.Tail(ctx, k.Topic(topic), func(d job.Delivery) error {
		got.Write(d.Value)
		if n++; n == 5 {
			send(5)
		}
		if n == 6 {
			cancel()
		}
		return nil
	})
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, 6, got.Len())
}

func TestPingTellsABrokerThatIsGone(t *testing.T) {
	t.Parallel()
	k, c := startKafka(t, 1)
	require.NoError(t, c.Ping(t.Context()))
	broker := k.Embedded("to stop the broker")
	broker.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	require.ErrorContains(t, c.Ping(ctx), "kafka at "+broker.Addr())
}
