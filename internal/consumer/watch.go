package consumer

import (
	"context"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
)

// balancer shares partitions out in turn, and remembers how many there were of each topic. Only the
// group's leader is asked to share out.
type balancer struct {
	kafka.RoundRobinGroupBalancer

	mu     sync.Mutex
	shared map[string]int
}

// AssignGroups implements kafka.GroupBalancer.
func (b *balancer) AssignGroups(members []kafka.GroupMember, partitions []kafka.Partition) kafka.GroupMemberAssignments {
	shared := map[string]int{}
	for _, m := range members {
		for _, topic := range m.Topics {
			shared[topic] = 0
		}
	}
	for _, p := range partitions {
		shared[p.Topic]++
	}
	b.mu.Lock()
	b.shared = shared
	b.mu.Unlock()
	return b.RoundRobinGroupBalancer.AssignGroups(members, partitions)
}

// take returns what was shared out for the generation that begins, nil where another member leads.
func (b *balancer) take() map[string]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	shared := b.shared
	b.shared = nil
	return shared
}

// watch returns when a topic has other partitions than were shared out, which ends the generation: the
// leader that joins again makes the broker start a rebalance, and nobody else does. kafka-go's own
// watch counts for the first time when the generation has begun, and so never finds a partition that
// came between the sharing out and that.
func (c *Consumer) watch(ctx context.Context, shared map[string]int) {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for topic, before := range shared {
			now, err := c.cfg.Client.Partitions(ctx, topic)
			if err != nil { // the broker is away, or the topic; the fetchers say so
				continue
			}
			if now[topic] != before {
				c.cfg.Log.Info().Str("topic", topic).Int("before", before).Int("now", now[topic]).
					Msg("the topic's partitions have changed; sharing them out anew")
				return
			}
		}
	}
}
