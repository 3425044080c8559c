//go:build linux

package integration_test

import (
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/wxsim"
	"replyworker/test/fleet"
)

// TestZombieWakes: a worker is stopped in the middle of calls, for longer than session timeout and
// lease, while another takes its jobs over. What the woken one publishes agrees with its successor,
// also on jobs that have been dead-lettered or have expired meanwhile.
func TestZombieWakes(t *testing.T) {
	s := newStage(t, manyPartitions, "REPLYWORKER_CLAIM_LEASE=3s", "REPLYWORKER_REQUEST_TIMEOUT=30s")
	// The one's calls can still be answered when it wakes, the other's have run out of time.
	a, b := s.worker(), s.worker("REPLYWORKER_REQUEST_TIMEOUT=5s")
	s.start(a)
	require.NoError(t, s.api.Sim.Set(usual()[0]))
	l := s.load(jobsPerSecond/2, 0)
	s.more(100)

	s.sleepThroughIt("first", a, b)
	woken := time.Now()
	a.Signal(syscall.SIGCONT)
	s.endHangs("first")
	s.said(a, "claim lost; asking again what has become of the job", woken)
	for _, f := range fates() {
		if f.answered {
			id := f.id("first")
			s.await("the woken worker's own word on "+id, func() bool { return len(s.tail.of(id)) > 1 })
		}
	}
	s.shares(manyPartitions, a, b)
	s.more(200)

	s.leave(a)
	s.shares(manyPartitions, b)
	s.sleepThroughIt("second", b, a)
	b.Signal(syscall.SIGCONT)
	s.leave(b)
	s.endHangs("second")
	s.more(200)
	l.end()
	s.judge()
}

// fate is a job that the zombie has called for when it is stopped.
type fate struct {
	name string
	// answered: the API took it, and the answer waits for the zombie; else the zombie's call hangs, with no
	// effect.
	answered bool
	refused  bool // by the API, when the successor calls
	expires  bool // before the successor has it
	ends     string
}

func fates() []fate {
	return []fate{
		{name: "answered", answered: true, ends: "succeeded"},
		{name: "hanging", ends: "succeeded"},
		{name: "answered, refused", answered: true, refused: true, ends: "failed rejected"},
		{name: "hanging, refused", refused: true, ends: "failed rejected"},
		{name: "answered, expired", answered: true, expires: true, ends: "expired"},
		{name: "hanging, expired", expires: true, ends: "expired"},
	}
}

func (f fate) id(round string) string { return round + ": " + f.name }

// zombieCalls makes the API deal with the first call for a job so that it is out when the zombie stops.
func (s *stage) zombieCalls(f fate, id string) {
	s.t.Helper()
	fault := wxsim.Fault{Kind: wxsim.KindHang, Name: id, IdempotentID: id, Count: 1}
	if f.answered {
		fault.Kind, fault.AfterEffect, fault.Delay = wxsim.KindLatency, true, 4*time.Second
	}
	require.NoError(s.t, s.api.Sim.Add(fault))
}

// endHangs ends the calls of a round that hang, if anybody still waits for them.
func (s *stage) endHangs(round string) {
	s.t.Helper()
	for _, f := range fates() {
		require.NoError(s.t, s.api.Sim.Remove(f.id(round)))
	}
}

// sleepThroughIt stops the only worker while it has calls out, and lets a successor settle their jobs.
func (s *stage) sleepThroughIt(round string, zombie, successor *fleet.Worker) {
	s.t.Helper()
	for _, f := range fates() {
		id, more := f.id(round), map[string]any{}
		s.zombieCalls(f, id)
		if f.expires {
			more["expires_at"] = time.Now().Add(3 * time.Second).Format(time.RFC3339Nano)
		}
		s.produce("complaint of "+id, id, more)
	}
	s.await("a call for each of them", func() bool {
		waits := s.api.Sim.Faults() // those whose call has come are not among them any more
		return !slices.ContainsFunc(waits, func(f wxsim.Fault) bool { return f.Name != "" })
	})
	for _, f := range fates() {
		s.await("an effect where there should be one", func() bool {
			_, taken := s.api.Sim.Effect(wxsim.DefaultMchID, f.id(round))
			return taken || !f.answered
		})
	}

	zombie.Signal(syscall.SIGSTOP)
	for _, f := range fates() {
		id := f.id(round)
		require.Empty(s.t, s.tail.of(id), "%s was over before the worker stopped", id)
		if f.refused {
			require.NoError(s.t, s.api.Sim.Add(
				wxsim.Fault{Kind: wxsim.KindStatus, Status: 400, Code: "PARAM_ERROR", IdempotentID: id}))
		}
	}
	s.start(successor)
	for _, f := range fates() {
		id := f.id(round)
		s.await("the successor's outcome of "+id, func() bool { return len(s.tail.of(id)) > 0 })
		first := s.tail.of(id)[0]
		require.Equal(s.t, f.ends, strings.TrimSpace(first.Status+" "+first.Reason), id)
	}
	s.more(200)
}
