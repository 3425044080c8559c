package kafkaio_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"replyworker/internal/job"
	"replyworker/internal/kafkaio"
	"replyworker/internal/stacktest"
)

const spanPatience = 20 * time.Second

// readSpan returns the values of a span, and holds that the offsets passed are those of the span.
func readSpan(t *testing.T, c *kafkaio.Client, s kafkaio.Span) []string {
	t.Helper()
	var values []string
	var passed int64
	require.NoError(t, c.ReadSpan(t.Context(), s, spanPatience, func(records []job.Delivery, n int64) error {
		for _, d := range records {
			require.Equal(t, s.Partition, d.Source.Partition)
			values = append(values, string(d.Value))
		}
		passed += n
		return nil
	}))
	require.Equal(t, s.Len(), passed)
	return values
}

// put produces to a partition of topic with a client of the test's own.
func put(t *testing.T, k *stacktest.Kafka, partition int32, at time.Time, values ...string) {
	t.Helper()
	client := k.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	for _, v := range values {
		r := &kgo.Record{Topic: k.Topic(topic), Partition: partition, Value: []byte(v), Timestamp: at}
		require.NoError(t, client.ProduceSync(t.Context(), r).FirstErr())
	}
}

func TestSpansEndWhereThePartitionsDo(t *testing.T) {
	t.Parallel()
	k, c := startKafka(t, 3)
	now := time.Now()
	put(t, k, 0, now, "a", "b", "c")
	put(t, k, 2, now, "d")
	spans, err := c.Spans(t.Context(), k.Topic(topic), time.Time{})
	require.NoError(t, err)
	name := k.Topic(topic)
	require.Equal(t, []kafkaio.Span{
		{Topic: name, Partition: 0, First: 0, End: 3}, {Topic: name, Partition: 1}, {Topic: name, Partition: 2, First: 0, End: 1},
	}, spans)
	put(t, k, 0, now, "after the span was asked for")
	put(t, k, 1, now, "this one too")
	require.Equal(t, []string{"a", "b", "c"}, readSpan(t, c, spans[0]))
	require.Empty(t, readSpan(t, c, spans[1]))
	require.Equal(t, []string{"d"}, readSpan(t, c, spans[2]))
	require.Equal(t, []string{"b", "c"}, readSpan(t, c, kafkaio.Span{Topic: name, First: 1, End: 3}))
}

func TestSpansSinceATime(t *testing.T) {
	t.Parallel()
	k, c := startKafka(t, 2)
	now := time.Now().Truncate(time.Millisecond)
	put(t, k, 0, now.Add(-2*time.Hour), "old", "old too")
	put(t, k, 0, now.Add(-time.Hour), "just then")
	put(t, k, 0, now, "new")
	put(t, k, 1, now.Add(-2*time.Hour), "old")
	spans, err := c.Spans(t.Context(), k.Topic(topic), now.Add(-time.Hour))
	require.NoError(t, err)
	require.Equal(t, []string{"just then", "new"}, readSpan(t, c, spans[0]))
	require.Zero(t, spans[1].Len(), "nothing in it is of that time")
	spans, err = c.Spans(t.Context(), k.Topic(topic), now.Add(time.Hour))
	require.NoError(t, err)
	require.Zero(t, spans[0].Len(), "nothing is of the future")
}

// TestSpansOfTransactions holds that a span has what is committed, and does not wait for a transaction
// that may stay open for long.
func TestSpansOfTransactions(t *testing.T) {
	t.Parallel()
	k, c := startKafka(t, 1)
	tx := k.Client(kgo.TransactionalID(k.Group("tx")), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	begin := func(values ...string) {
		require.NoError(t, tx.BeginTransaction())
		for _, v := range values {
			require.NoError(t, tx.ProduceSync(t.Context(), &kgo.Record{Topic: k.Topic(topic), Value: []byte(v)}).FirstErr())
		}
	}
	put(t, k, 0, time.Now(), "a")
	begin("no")
	require.NoError(t, tx.EndTransaction(t.Context(), kgo.TryAbort))
	begin("b", "c")
	require.NoError(t, tx.EndTransaction(t.Context(), kgo.TryCommit))
	begin("no, as its last records")
	require.NoError(t, tx.EndTransaction(t.Context(), kgo.TryAbort))
	span := func() kafkaio.Span {
		spans, err := c.Spans(t.Context(), k.Topic(topic), time.Time{})
		require.NoError(t, err)
		return spans[0]
	}
	require.Eventually(t, func() bool { return span().Len() == 8 }, spanPatience, 10*time.Millisecond,
		"five records and three markers")
	require.Equal(t, []string{"a", "b", "c"}, readSpan(t, c, span()))
	begin("open")
	put(t, k, 0, time.Now(), "behind the open one")
	require.EqualValues(t, 8, span().Len())
	require.Equal(t, []string{"a", "b", "c"}, readSpan(t, c, span()))
	require.NoError(t, tx.EndTransaction(t.Context(), kgo.TryAbort))
}

func TestRetentionTakesPartOfASpan(t *testing.T) {
	t.Parallel()
	k, c := startKafka(t, 1)
	put(t, k, 0, time.Now(), "a", "b", "c", "d")
	spans, err := c.Spans(t.Context(), k.Topic(topic), time.Time{})
	require.NoError(t, err)
	cut := func(at int64) {
		offsets := kadm.Offsets{}
		offsets.Add(kadm.Offset{Topic: k.Topic(topic), At: at})
		_, err := k.Admin().DeleteRecords(t.Context(), offsets)
		require.NoError(t, err)
	}
	cut(2)
	require.Equal(t, []string{"c", "d"}, readSpan(t, c, spans[0]))
	put(t, k, 0, time.Now(), "e")
	cut(5)
	require.Empty(t, readSpan(t, c, spans[0]), "all of it is gone, and more")
}

func TestReadingASpanEndsWithAnErrorOfTheReader(t *testing.T) {
	t.Parallel()
	k, c := startKafka(t, 1)
	put(t, k, 0, time.Now(), "a")
	spans, err := c.Spans(t.Context(), k.Topic(topic), time.Time{})
	require.NoError(t, err)
	enough := errors.New("enough")
	err = c.ReadSpan(t.Context(), spans[0], spanPatience, func([]job.Delivery, int64) error { return enough })
	require.ErrorIs(t, err, enough)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(enough)
	err = c.ReadSpan(ctx, spans[0], spanPatience, func([]job.Delivery, int64) error { return nil })
	require.ErrorIs(t, err, enough)
}

// refuseFetches answers the first n fetch requests with an error.
func refuseFetches(k *stacktest.Kafka, n int64) *atomic.Int64 {
	cluster := k.Embedded("to refuse fetch requests").Cluster()
	var count atomic.Int64
	cluster.ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		if count.Add(1) > n {
			return nil, nil, false
		}
		res := req.(*kmsg.FetchRequest).ResponseKind().(*kmsg.FetchResponse)
		res.ErrorCode = kerr.UnknownServerError.Code
		return res, nil, true
	})
	return &count
}

func TestReadingASpanWaitsForTheBroker(t *testing.T) {
	t.Parallel()
	k, c := startKafka(t, 1)
	put(t, k, 0, time.Now(), "a", "b")
	spans, err := c.Spans(t.Context(), k.Topic(topic), time.Time{})
	require.NoError(t, err)
	refused := refuseFetches(k, 3)
	require.Equal(t, []string{"a", "b"}, readSpan(t, c, spans[0]))
	require.Greater(t, refused.Load(), int64(3))
}

func TestReadingASpanGivesUp(t *testing.T) {
	t.Parallel()
	k, c := startKafka(t, 1)
	put(t, k, 0, time.Now(), "a")
	spans, err := c.Spans(t.Context(), k.Topic(topic), time.Time{})
	require.NoError(t, err)
	none := func(records []job.Delivery, _ int64) error { return fmt.Errorf("%d records", len(records)) }
	s := spans[0]
	lost := kafkaio.Span{Topic: s.Topic, First: 5, End: 9}
	err = c.ReadSpan(t.Context(), lost, time.Second, none)
	require.ErrorContains(t, err, "ended at 9 and now ends at 1")
	refuseFetches(k, 1<<30)
	err = c.ReadSpan(t.Context(), s, time.Second, none)
	require.ErrorContains(t, err, "fetch "+s.Topic+"/0: ")
}

func TestSpansOfWhatIsNotThere(t *testing.T) {
	t.Parallel()
	_, c := startKafka(t, 1)
	var missing *kafkaio.MissingTopicsError
	_, err := c.Spans(t.Context(), "no-such-topic", time.Time{})
	require.ErrorAs(t, err, &missing)
	nobody, err := kafkaio.NewClient(kafkaio.Config{Brokers: []string{"127.0.0.1:1"}})
	require.NoError(t, err)
	t.Cleanup(nobody.Close)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err = nobody.Spans(ctx, topic, time.Time{})
	require.ErrorContains(t, err, "kafka at 127.0.0.1:1: ")
}
