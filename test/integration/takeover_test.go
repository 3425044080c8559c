//go:build linux

package integration_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/wxsim"
)

const takeoverMargin = 3 * time.Second

// TestMeasureTheTakeover: a worker is killed, and another goes on with its jobs within the larger of
// session timeout and claim lease, plus a margin.
func TestMeasureTheTakeover(t *testing.T) { //nolint:tparallel // Nothing else may run beside it.
	for _, c := range []struct{ session, lease time.Duration }{
		{6 * time.Second, 4 * time.Second},
		{6 * time.Second, 10 * time.Second},
		{10 * time.Second, 3 * time.Second},
	} {
		name := fmt.Sprintf("session_%s_lease_%s", c.session, c.lease)
		t.Run(name, func(t *testing.T) {
			t.Parallel() // they mostly wait
			measureTakeover(t, name, c.session, c.lease)
		})
	}
}

func measureTakeover(t *testing.T, name string, session, lease time.Duration) {
	const rate = 40
	s := newStage(t, manyPartitions,
		"REPLYWORKER_KAFKA_SESSION_TIMEOUT="+session.String(), "REPLYWORKER_CLAIM_LEASE="+lease.String())
	// Some calls are out for longer, so that there are such when it comes to the kill.
	require.NoError(t, s.api.Sim.Set(quick(),
		wxsim.Fault{Kind: wxsim.KindLatency, Delay: 600 * time.Millisecond, Probability: 0.2}))
	dies, lives := s.worker(), s.worker()
	s.start(dies, lives)
	has := s.shares(manyPartitions, dies, lives)[0]
	l := s.load(rate, manyPartitions)
	s.steady(l, rate, time.Second)

	killed := time.Now()
	dies.Kill()
	first := map[int32]time.Duration{}
	s.await("outcomes in each of its partitions", func() bool {
		for _, e := range s.tail.where(func(e outcome) bool { return e.Finished.After(killed.Add(tick)) }) {
			if _, mine := has[e.Source.Partition]; mine && first[e.Source.Partition] == 0 {
				first[e.Source.Partition] = e.Seen.Sub(killed)
			}
		}
		return len(first) == len(has)
	})
	jobs := s.underWay(l, killed, has)
	s.await("the outcomes of what was under way", func() bool { return len(s.unfinished(jobs)) == 0 })
	l.end()
	s.judge()

	promised := max(session, lease) + takeoverMargin
	partition, job := time.Duration(0), time.Duration(0)
	for _, d := range first {
		partition = max(partition, d)
	}
	for _, id := range jobs {
		job = max(job, s.ranAgain(id, killed))
	}
	name = "takeover." + name
	milliseconds(name+".promised", promised)
	milliseconds(name+".first_outcome_in_the_last_partition", partition)
	measure(name+".jobs_left", len(jobs), "jobs")
	milliseconds(name+".last_of_them_running", job)
	require.Less(t, partition, 2*promised, "until each partition had an outcome again")
	require.Less(t, job, 2*promised, "until each job that the killed worker left was running elsewhere")
}

// underWay returns the jobs in some partitions that had been produced and not finished at a time.
func (s *stage) underWay(l *load, at time.Time, partitions map[int32]int64) []string {
	done := map[string]bool{}
	for _, e := range s.tail.where(func(e outcome) bool { return e.Finished.Before(at) }) {
		done[e.ID] = true
	}
	var left []string
	for id, r := range l.all() {
		if _, mine := partitions[r.partition]; mine && r.born.Before(at) && !done[id] {
			left = append(left, id)
		}
	}
	return left
}

// unfinished returns those of the jobs that have no outcome.
func (s *stage) unfinished(jobs []string) []string {
	done := map[string]bool{}
	for _, e := range s.tail.where(func(outcome) bool { return true }) {
		done[e.ID] = true
	}
	var left []string
	for _, id := range jobs {
		if !done[id] {
			left = append(left, id)
		}
	}
	return left
}

// ranAgain returns how long after the kill a job was running elsewhere: called, or, where the killed
// worker had come to the end of it, told.
func (s *stage) ranAgain(id string, killed time.Time) time.Duration {
	var soonest time.Time
	note := func(at time.Time) {
		if at.After(killed) && (soonest.IsZero() || at.Before(soonest)) {
			soonest = at
		}
	}
	for _, c := range s.api.Sim.Calls() {
		if c.IdempotentID == id {
			note(c.Time)
		}
	}
	for _, e := range s.tail.of(id) {
		note(e.Seen)
	}
	return soonest.Sub(killed)
}
