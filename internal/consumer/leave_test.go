package consumer_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/consumer"
)

// TestAMemberThatIsToldToEndWhileItJoinsLeaves: it waits to join, because another member drains for
// longer than leaving takes. When it has ended it is no member, and the other has all partitions.
func TestAMemberThatIsToldToEndWhileItJoinsLeaves(t *testing.T) {
	t.Parallel()
	const beyondLeaving = 6 * time.Second
	slow := func(cfg *consumer.Config) {
		cfg.DrainTimeout, cfg.SessionTimeout = 20*time.Second, time.Minute
	}
	c := newCluster(t, 2)
	c.produce(0, "x")
	first := c.join(&member{drains: make(chan struct{})}, slow)
	first.await(t, 1)
	second := c.join(&member{}, slow)
	members := func() int {
		groups, err := c.admin.DescribeGroups(t.Context(), c.kafka.Group(group))
		require.NoError(t, err)
		return len(groups[c.kafka.Group(group)].Members)
	}
	require.Eventually(t, func() bool { return members() == 2 }, patience, tick, "the second waits to join")
	ended := make(chan error, 1)
	go func() { ended <- second.stop() }()
	require.Never(t, func() bool { return len(ended) > 0 }, beyondLeaving, tick, "it ends before it can leave")
	close(first.drains)
	select {
	case err := <-ended:
		require.NoError(t, err)
	case <-time.After(patience):
		require.Fail(t, "it does not end")
	}
	require.Eventually(t, func() bool { return len(first.Partitions()) == 2 && members() == 1 }, patience, tick,
		"the partitions of the one that is left")
}
