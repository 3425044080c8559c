package consumer_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// grow gives topic so many partitions, and returns a producer that knows them.
func (c *cluster) grow(partitions int) *kgo.Client {
	c.t.Helper()
	name := c.kafka.Topic(topic)
	res, err := c.admin.UpdatePartitions(c.t.Context(), partitions, name)
	require.NoError(c.t, err)
	require.NoError(c.t, res.Error())
	c.kafka.AwaitPartitions(topic, partitions)
	return c.kafka.Client(kgo.DefaultProduceTopic(name), kgo.RecordPartitioner(kgo.ManualPartitioner()))
}

// TestPartitionsThatAreAddedAreConsumed holds that what is written to a partition that is younger than
// the group's generation is read, from its first record on, soon.
func TestPartitionsThatAreAddedAreConsumed(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2)
	first, second := c.join(&member{}, nil), c.join(&member{}, nil)
	c.produce(0, "0/0")
	c.produce(1, "1/0")
	all := func() []string { return slices.Concat(first.values(), second.values()) }
	require.Eventually(t, func() bool { return len(all()) == 2 && len(first.Partitions()) == 1 }, patience, tick)

	producer := c.grow(6)
	began := time.Now()
	var want []string
	for i := range 30 {
		r := kgo.StringRecord(fmt.Sprintf("%d/%d", i%6, 1+i/6))
		r.Partition = int32(i % 6)
		require.NoError(t, producer.ProduceSync(t.Context(), r).FirstErr())
		want = append(want, string(r.Value))
	}
	require.Eventually(t, func() bool { return len(all()) >= 32 }, patience, tick, "records of all partitions delivered")
	t.Logf("the added partitions were consumed after %s", time.Since(began).Round(time.Millisecond))
	require.Subset(t, all(), want, "no record is skipped")
	require.Less(t, time.Since(began), 15*time.Second, "the interval of the watch, and a rebalance")
	require.Eventually(t, func() bool { return len(first.Partitions()) == 3 && len(second.Partitions()) == 3 }, patience, tick,
		"the partitions are shared")
	require.Eventually(t, func() bool {
		var n int64
		for p := range 6 {
			n += max(0, c.committed(int32(p)))
		}
		return n == 32
	}, patience, tick, "all is committed")
}

// TestPartitionsThatAreAddedDuringARebalanceAreConsumed holds the same for partitions that come when the
// leader has shared out those that were there, and before anybody watches for more.
func TestPartitionsThatAreAddedDuringARebalanceAreConsumed(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	broker := c.kafka.Embedded("to hold a rebalance up").Cluster()
	shared, grown := make(chan struct{}), make(chan struct{})
	var once sync.Once
	broker.ControlKey(int16(kmsg.SyncGroup), func(kmsg.Request) (kmsg.Response, error, bool) {
		once.Do(func() { close(shared) })
		broker.SleepControl(func() { <-grown })
		return nil, nil, false
	})
	m := c.join(&member{}, nil)
	<-shared
	producer := c.grow(2)
	close(grown)
	r := kgo.StringRecord("x")
	r.Partition = 1
	require.NoError(t, producer.ProduceSync(t.Context(), r).FirstErr())
	m.await(t, 1)
}
