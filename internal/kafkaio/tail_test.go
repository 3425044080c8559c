package kafkaio_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"replyworker/internal/job"
	"replyworker/internal/kafkaio"
	"replyworker/internal/stacktest"
)

var errEnough = errors.New("enough")

// follow follows spans until n records have come, and returns their values. after is called with the
// number of them after each.
func follow(
	t *testing.T, c *kafkaio.Client, spans []kafkaio.Span, n int, who kafkaio.Follower, after func(int),
) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), spanPatience)
	defer cancel()
	var values []string
	who.Each = func(d job.Delivery) error {
		values = append(values, string(d.Value))
		after(len(values))
		if len(values) == n {
			return errEnough
		}
		return nil
	}
	require.ErrorIs(t, c.Follow(ctx, spans, who), errEnough)
	return values
}

func TestFollowBeginsWhereTheSpansDo(t *testing.T) {
	t.Parallel()
	k, c := startKafka(t, 2)
	now := time.Now().Truncate(time.Millisecond)
	put(t, k, 0, now.Add(-2*time.Hour), "old")
	put(t, k, 0, now, "new")
	put(t, k, 1, now.Add(-2*time.Hour), "old too")
	spans, err := c.Spans(t.Context(), k.Topic(topic), now.Add(-time.Hour))
	require.NoError(t, err)
	got := follow(t, c, spans, 3, kafkaio.Follower{}, func(n int) {
		switch n {
		case 1:
			put(t, k, 1, now.Add(-3*time.Hour), "comes later, whatever its time")
		case 2:
			put(t, k, 0, now, "and this")
		}
	})
	require.Equal(t, []string{"new", "comes later, whatever its time", "and this"}, got)

	ends, err := c.Spans(t.Context(), k.Topic(topic), time.Time{})
	require.NoError(t, err)
	for i := range ends {
		ends[i].First = ends[i].End
	}
	put(t, k, 0, now, "from now on")
	require.Equal(t, []string{"from now on"}, follow(t, c, ends, 1, kafkaio.Follower{}, func(int) {}))
}

func TestFollowFindsPartitionsThatAreAdded(t *testing.T) {
	t.Parallel()
	k, c := startKafka(t, 1)
	put(t, k, 0, time.Now(), "first")
	spans, err := c.Spans(t.Context(), k.Topic(topic), time.Time{})
	require.NoError(t, err)
	got := follow(t, c, spans, 3, kafkaio.Follower{Look: 50 * time.Millisecond}, func(n int) {
		if n == 1 {
			res, err := k.Admin().CreatePartitions(t.Context(), 2, k.Topic(topic))
			require.NoError(t, err)
			require.NoError(t, res.Error())
			k.AwaitPartitions(topic, 3)
			put(t, k, 2, time.Now(), "in a partition that was added", "and its second")
		}
	})
	require.Equal(t, []string{"first", "in a partition that was added", "and its second"}, got)
}

func TestFollowTellsOfTroubleAndGoesOn(t *testing.T) {
	t.Parallel()
	k, c := startKafka(t, 1)
	put(t, k, 0, time.Now(), "a")
	spans, err := c.Spans(t.Context(), k.Topic(topic), time.Time{})
	require.NoError(t, err)
	refuseFetches(k, 3)
	var mu sync.Mutex
	var told []error
	got := follow(t, c, spans, 1, kafkaio.Follower{Fetched: func(partition int, err error) {
		mu.Lock()
		defer mu.Unlock()
		require.Zero(t, partition)
		told = append(told, err)
	}}, func(int) {})
	require.Equal(t, []string{"a"}, got)
	require.Len(t, told, 4)
	require.ErrorContains(t, told[2], "fetch "+k.Topic(topic)+"/0: ")
	require.NoError(t, told[3])
}

// TestFollowPausesWhereEveryOffsetIsOutOfRange has a broker that takes no offset, not the one either that it
// names as the first: it is asked with pauses, and the caller hears of it.
func TestFollowPausesWhereEveryOffsetIsOutOfRange(t *testing.T) {
	t.Parallel()
	k, c := startKafka(t, 1)
	put(t, k, 0, time.Now(), "a")
	spans, err := c.Spans(t.Context(), k.Topic(topic), time.Time{})
	require.NoError(t, err)
	asked := outOfRange(k, 4)
	var mu sync.Mutex
	var told []error
	began := time.Now()
	got := follow(t, c, spans, 1, kafkaio.Follower{Fetched: func(_ int, err error) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, err)
	}}, func(int) {})
	require.Equal(t, []string{"a"}, got)
	require.Greater(t, asked.Load(), int64(4))
	require.Len(t, told, 4, "three out of range after the first, which moves at once, and a good one")
	for _, err := range told[:3] {
		require.ErrorIs(t, err, kafkaio.ErrOffsetOutOfRange)
	}
	require.NoError(t, told[3])
	require.GreaterOrEqual(t, time.Since(began), 3*kafkaio.TailRetry, "three pauses")
}

// outOfRange calls the offsets of the first n fetch requests out of range.
func outOfRange(k *stacktest.Kafka, n int64) *atomic.Int64 {
	cluster := k.Embedded("to call offsets out of range").Cluster()
	var count atomic.Int64
	cluster.ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		if count.Add(1) > n {
			return nil, nil, false
		}
		fetch := req.(*kmsg.FetchRequest)
		res := fetch.ResponseKind().(*kmsg.FetchResponse)
		for _, t := range fetch.Topics {
			answered := kmsg.NewFetchResponseTopic()
			answered.Topic, answered.TopicID = t.Topic, t.TopicID
			for _, p := range t.Partitions {
				partition := kmsg.NewFetchResponseTopicPartition()
				partition.Partition, partition.ErrorCode = p.Partition, kerr.OffsetOutOfRange.Code
				answered.Partitions = append(answered.Partitions, partition)
			}
			res.Topics = append(res.Topics, answered)
		}
		return res, nil, true
	})
	return &count
}

func TestFollowNothing(t *testing.T) {
	t.Parallel()
	_, c := startKafka(t, 1)
	require.Error(t, c.Follow(t.Context(), nil, kafkaio.Follower{}))
}
