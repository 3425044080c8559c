package consumer_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestABrokerThatRefusesIsNotStormed holds that a member asks a broker that goes on refusing some times
// a second and no more, and goes on when it is well again.
func TestABrokerThatRefusesIsNotStormed(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		key    kmsg.Key
		refuse func(kmsg.Request) kmsg.Response
	}{
		{"a fetch: the offset, which is there, is out of range", kmsg.Fetch, func(req kmsg.Request) kmsg.Response {
			r := req.(*kmsg.FetchRequest)
			res := r.ResponseKind().(*kmsg.FetchResponse)
			part := kmsg.NewFetchResponseTopicPartition()
			part.ErrorCode = kerr.OffsetOutOfRange.Code
			res.Topics = []kmsg.FetchResponseTopic{{
				Topic: r.Topics[0].Topic, Partitions: []kmsg.FetchResponseTopicPartition{part},
			}}
			return res
		}},
		{"joining: another rebalance is in progress", kmsg.JoinGroup, func(req kmsg.Request) kmsg.Response {
			res := req.ResponseKind().(*kmsg.JoinGroupResponse)
			res.ErrorCode = kerr.RebalanceInProgress.Code
			return res
		}},
		{"syncing: another rebalance is in progress", kmsg.SyncGroup, func(req kmsg.Request) kmsg.Response {
			res := req.ResponseKind().(*kmsg.SyncGroupResponse)
			res.ErrorCode = kerr.RebalanceInProgress.Code
			return res
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, 1)
			broker := c.kafka.Embedded("to refuse single requests").Cluster()
			var asked atomic.Int64
			var well atomic.Bool
			broker.ControlKey(int16(row.key), func(req kmsg.Request) (kmsg.Response, error, bool) {
				broker.KeepControl()
				if well.Load() {
					return nil, nil, false
				}
				asked.Add(1)
				return row.refuse(req), nil, true
			})
			c.produce(0, "x")
			m := c.join(&member{}, nil)
			require.Eventually(t, func() bool { return asked.Load() >= 4 }, patience, tick)
			began := time.Now()
			require.Eventually(t, func() bool { return time.Since(began) > time.Second }, patience, tick)
			require.Less(t, asked.Load(), int64(30), "requests in about a second")
			well.Store(true)
			m.await(t, 1)
		})
	}
}
