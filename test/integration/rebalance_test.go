//go:build linux

package integration_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/wxsim"
)

const (
	jobsPerSecond  = 150
	manyPartitions = 12
)

// nothingTwice holds that no call was made again and no outcome published again, but those of
// duplicates: they have no claim in which it could be noted that theirs is out, and come again with the
// jobs that a rebalance finds finished behind one that is not.
func (s *stage) nothingTwice() {
	s.t.Helper()
	require.Zero(s.t, s.api.Sim.Stats().Repeats, "calls for replies that the API has taken already")
	again := s.tail.repeated()
	delete(again, "duplicate")
	require.Empty(s.t, again, "outcomes published again")
}

// TestRebalanceJoinAndLeave: under load workers join and are told to end, one and several at a time, the
// group's leader and others. Nobody is killed, so nothing is done twice.
func TestRebalanceJoinAndLeave(t *testing.T) {
	s := newStage(t, manyPartitions)
	require.NoError(t, s.api.Sim.Set(usual()...))
	a, b, c, d := s.worker(), s.worker(), s.worker(), s.worker()
	s.start(a)
	l := s.load(jobsPerSecond, 0)
	s.more(200)
	s.start(b)
	s.more(200)
	s.start(c, d)
	s.more(200)
	s.leave(a) // it led the group
	s.more(200)
	s.leave(b, c)
	s.more(200)
	require.NoError(t, a.Start())
	s.leave(d) // the only member, while another joins
	require.NoError(t, a.Ready(t.Context()))
	s.more(200)
	s.start(b)
	s.shares(manyPartitions, a, b)
	s.more(200)
	l.end()
	s.judge()
	s.nothingTwice()
	s.leave(a, b)
}

// TestRebalanceWithALongCall: a rebalance waits for a call that takes longer than the session
// timeout. kafka-go's heartbeats have ended by then; the worker stays a member all the same, and the
// call is not made again.
func TestRebalanceWithALongCall(t *testing.T) {
	s := newStage(t, manyPartitions)
	require.NoError(t, s.api.Sim.Set(wxsim.Fault{Kind: wxsim.KindLatency, IdempotentID: "slow", Delay: 9 * time.Second}))
	a, b := s.worker(), s.worker()
	s.start(a)
	s.produce("slow complaint", "slow", nil)
	s.await("the slow call", func() bool { return s.api.Sim.Stats().InFlight == 1 })
	l := s.load(jobsPerSecond/3, 0)
	s.more(100)
	s.start(b)
	s.shares(manyPartitions, a, b)
	s.more(100)
	l.end()
	s.judge()
	s.nothingTwice()
}

// TestRebalanceLeavingWhileAnotherDrains: workers are told to end while they wait to join, one for the first time
// and one again, because another has a call to finish first. They do not stay members that keep
// partitions from the others when they are gone.
func TestRebalanceLeavingWhileAnotherDrains(t *testing.T) {
	s := newStage(t, manyPartitions, "REPLYWORKER_KAFKA_SESSION_TIMEOUT=20s")
	require.NoError(t, s.api.Sim.Set(wxsim.Fault{Kind: wxsim.KindLatency, IdempotentID: "slow", Delay: 8 * time.Second}))
	a, b, c := s.worker(), s.worker(), s.worker()
	s.start(a, b)
	for p := range s.shares(manyPartitions, a, b)[0] {
		s.produceTo(p, "slow complaint", "slow")
		break
	}
	s.await("the slow call", func() bool { return s.api.Sim.Stats().InFlight == 1 })
	l := s.load(jobsPerSecond/3, 0)
	s.more(20)
	require.NoError(t, c.Start())
	last, since := int64(0), time.Now()
	s.await("a rebalance for which all have stopped sending", func() bool {
		if n := s.api.Sim.Stats().Effects; n != last {
			last, since = n, time.Now()
		}
		return time.Since(since) > time.Second
	})
	require.Empty(t, s.tail.of("slow"), "the slow call is over before the others wait for it")
	s.leave(b, c)
	s.await("the end of the slow call", func() bool { return len(s.tail.of("slow")) == 1 })
	over := time.Now()
	s.shares(manyPartitions, a)
	milliseconds("leaving.all_partitions_at_work_after", time.Since(over))
	require.Less(t, time.Since(over), 9*time.Second, "until the worker that is left has all partitions")
	l.end()
	s.judge()
	s.nothingTwice()
}

// TestRebalanceAfterKills: workers are killed under load, at work, as they join, and as they drain.
func TestRebalanceAfterKills(t *testing.T) {
	s := newStage(t, manyPartitions)
	require.NoError(t, s.api.Sim.Set(usual()...))
	a, b, c := s.worker(), s.worker(), s.worker()
	s.start(a, b)
	l := s.load(jobsPerSecond, 0)
	s.more(300)
	a.Kill()
	s.more(300) // by b, before and after a is given up
	s.start(a, c)
	s.shares(manyPartitions, a, b, c)
	b.Signal(syscall.SIGTERM)
	s.more(1)
	b.Kill()
	s.start(b)
	a.Kill()
	c.Kill()
	require.NoError(t, a.Start())
	s.more(300)
	a.Kill()
	s.start(a)
	s.shares(manyPartitions, a, b)
	s.more(300)
	l.end()
	s.judge()
}

// TestRebalanceAddedPartitions: the jobs topic gets more partitions under load, once in peace and once while
// a worker joins. They are read from their beginning.
func TestRebalanceAddedPartitions(t *testing.T) {
	const first, second, third = 4, 8, 12
	s := newStage(t, first)
	require.NoError(t, s.api.Sim.Set(usual()...))
	a, b, c := s.worker(), s.worker(), s.worker()
	s.start(a, b)
	l := s.load(jobsPerSecond, 0)
	s.more(300)
	grow := func(to int) {
		made, err := s.admin().UpdatePartitions(t.Context(), to, s.topics.Jobs)
		require.NoError(t, err)
		require.NoError(t, made.Error())
	}
	consumed := func(from, to int32) {
		for p := from; p < to; p++ {
			s.await("outcomes of a new partition", func() bool {
				return len(s.tail.where(func(e outcome) bool { return e.Source.Partition == p })) >= 20
			})
		}
	}
	grown := time.Now()
	grow(second)
	consumed(first, second)
	measure("partitions_added.all_at_work", time.Since(grown).Round(10*time.Millisecond).Seconds(), "s")
	require.NoError(t, c.Start())
	grow(third)
	consumed(second, third)
	s.shares(third, a, b, c)
	s.more(300)
	l.end()
	s.judge()
	s.nothingTwice()
}
