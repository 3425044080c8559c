package consumer_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

const other = "other-jobs"

func (c *cluster) produceOther(values ...string) {
	c.t.Helper()
	for _, v := range values {
		r := &kgo.Record{Topic: c.kafka.Topic(other), Value: []byte(v)}
		require.NoError(c.t, c.kgo.ProduceSync(c.t.Context(), r).FirstErr())
	}
}

// TestTopicsCanBeChanged: one is added beside another worker that does not know it, and taken away again.
// No record is skipped, and between runs while nothing is under way.
func TestTopicsCanBeChanged(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2)
	c.kafka.CreateTopic(other, 1, nil)
	jobs, others := c.kafka.Topic(topic), c.kafka.Topic(other)
	m := c.join(&member{}, nil)
	c.produce(0, "0")
	m.await(t, 1)
	c.produceOther("a", "b")

	var sessions int
	require.NoError(t, m.Rejoin(t.Context(), []string{jobs, others}, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		sessions = m.sessions
	}))
	m.await(t, 3)
	require.ElementsMatch(t, []string{"0", "a", "b"}, m.values())
	m.mu.Lock()
	require.Greater(t, m.sessions, sessions, "a session after it")
	m.mu.Unlock()

	second := c.join(&member{}, nil) // reads jobs alone
	require.Eventually(t, func() bool { return len(second.Partitions()) >= 1 }, patience, tick)
	c.produceOther("c")
	m.await(t, 4)
	require.True(t, m.Joined())

	require.NoError(t, m.Rejoin(t.Context(), []string{jobs}, func() {}))
	c.produceOther("d")
	c.produce(0, "1")
	c.produce(1, "2")
	require.Eventually(t, func() bool { return len(m.values())+len(second.values()) == 6 }, patience, tick)
	require.NotContains(t, m.values(), "d", "a topic that is read no more")

	require.NoError(t, m.Rejoin(t.Context(), []string{jobs, others}, func() {}))
	require.Eventually(t, func() bool { return len(m.values())+len(second.values()) == 7 }, patience, tick,
		"what came meanwhile is read when the topic is read again")
}

// TestTopicsChangeWhileJobsAreUnderWay: they are drained first, and what is unfinished comes again.
func TestTopicsChangeWhileJobsAreUnderWay(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	c.kafka.CreateTopic(other, 1, nil)
	m := c.join(&member{hold: true, drains: make(chan struct{})}, nil)
	c.produce(0, "0")
	m.await(t, 1)
	changed := make(chan error, 1)
	between := make(chan struct{})
	go func() {
		changed <- m.Rejoin(t.Context(), []string{c.kafka.Topic(topic), c.kafka.Topic(other)}, func() { close(between) })
	}()
	require.Never(t, func() bool {
		select {
		case <-between:
			return true
		default:
			return false
		}
	}, 500*time.Millisecond, tick, "it drains first")
	close(m.drains)
	require.NoError(t, <-changed)
	m.await(t, 2)
	require.Equal(t, []string{"0", "0"}, m.values(), "it was not finished")
}

// TestATopicChangeWhileStopping ends with the consumer, whether it had begun or not.
func TestATopicChangeWhileStopping(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	m := c.join(&member{drains: make(chan struct{})}, nil)
	c.produce(0, "0")
	m.await(t, 1)
	ctx, cancel := context.WithCancel(t.Context())
	changed := make(chan error, 1)
	go func() { changed <- m.Rejoin(ctx, []string{c.kafka.Topic(topic)}, func() {}) }()
	ended := make(chan error, 1)
	go func() { ended <- m.stop() }()
	cancel()
	require.ErrorIs(t, <-changed, context.Canceled)
	close(m.drains)
	require.NoError(t, <-ended)
	require.ErrorIs(t, m.Rejoin(ctx, nil, func() {}), context.Canceled)
}
