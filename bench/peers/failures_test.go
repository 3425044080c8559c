//go:build linux

package peers_test

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/bench/peers"
	"replyworker/internal/wxsim"
)

// What TestFailures sends: as many jobs a second as every peer does easily, of which one in a hundred gets
// 500 in the first minute.
const (
	failuresRate        = 100
	failuresEvery       = 100
	failuresMinute      = 60 * time.Second
	failuresTime        = 90 * time.Second
	failuresPartitions  = 16
	failuresConcurrency = 40
	failuresComplaints  = 1_000
	failuresLatency     = 20 * time.Millisecond
	failuresPatience    = 5 * time.Minute
)

// TestFailures prints what each peer does while one job in a hundred fails for a minute. It asserts only that
// no job is lost; the figures are in README.md.
func TestFailures(t *testing.T) {
	if os.Getenv("TEST_FAILURES") != "1" {
		t.Skip("it takes minutes for each peer: TEST_FAILURES=1 runs it")
	}
	for _, name := range peers.Names() {
		t.Run(name, func(t *testing.T) {
			s := newStageOf(t, name, failuresPartitions)
			s.settings.Concurrency = failuresConcurrency
			require.NoError(t, s.sim.Add(wxsim.Fault{Kind: wxsim.KindLatency, Delay: failuresLatency}))
			s.start(name)
			warm := jobsFrom(0, failuresPartitions*4, failuresComplaints)
			s.produce(warm...) // it has joined its group and has its connections
			s.await(len(warm), patience)
			s.sayFailures(s.failForAMinute())
		})
	}
}

// sent is when each job was handed to the producer, and which ones were to fail.
type sent struct {
	begin time.Time
	at    map[string]time.Time
	fail  map[string]bool
}

// failForAMinute produces the jobs and waits until each has an outcome.
func (s *stage) failForAMinute() sent {
	const count = int(failuresRate * failuresTime / time.Second)
	jobs := jobsFrom(1_000, 1_000+count, failuresComplaints)
	made := sent{begin: time.Now(), at: map[string]time.Time{}, fail: map[string]bool{}}
	for i := failuresEvery / 2; i < count; i += failuresEvery {
		made.fail[jobs[i].id] = true
		require.NoError(s.t, s.sim.Add(wxsim.Fault{
			Kind: wxsim.KindStatus, IdempotentID: jobs[i].id, Status: http.StatusInternalServerError, For: failuresMinute,
		}))
	}
	before, _ := s.outcomes.jobs()
	every := time.NewTicker(time.Second / failuresRate)
	defer every.Stop()
	for _, j := range jobs {
		<-every.C
		made.at[j.id] = time.Now()
		s.client.Produce(s.t.Context(), j.record(s.settings.Topic), nil)
	}
	require.NoError(s.t, s.client.Flush(s.t.Context()))
	s.await(before+count, failuresPatience)
	return made
}

func (s *stage) sayFailures(made sent) {
	all, byID := s.outcomes.read()
	var delays []time.Duration
	windows := map[int]int{}
	ends := map[string]int{}
	var last time.Duration
	for id, at := range made.at {
		o := byID[id]
		since := o.at.Sub(made.begin)
		last = max(last, since)
		windows[int(since/(10*time.Second))]++
		if made.fail[id] {
			ends[o.Status]++
			continue
		}
		require.Equal(s.t, "succeeded", o.Status, "%s: %s", id, o.ErrorMessage)
		delays = append(delays, o.at.Sub(at))
	}
	slices.Sort(delays)
	at := func(share float64) time.Duration {
		return delays[int(share*float64(len(delays)-1))].Round(time.Millisecond)
	}
	rates := ""
	for i := range int(last/(10*time.Second)) + 1 {
		rates += " " + strconv.Itoa(windows[i]/10)
	}
	stats := s.sim.Stats()
	s.t.Log(fmt.Sprintf("jobs that never fail: produced to outcome p50 %s, p99 %s, longest %s", at(0.5), at(0.99), at(1)))
	s.t.Log("outcomes a second, by ten seconds:" + rates)
	s.t.Log(fmt.Sprintf("everything done %s after the first job, %s after the last", last.Round(time.Second),
		(last - failuresTime).Round(time.Second)))
	s.t.Log(fmt.Sprintf("jobs that failed at first: %v; dead letters %d; outcomes beyond one for each job %d",
		ends, s.records(s.settings.Dead), len(all)-len(byID)))
	s.t.Log(fmt.Sprintf("replies before an earlier one of their complaint %d; calls %d, effects %d, repeats %d", s.outOfOrder(),
		stats.Calls, stats.Effects, stats.Repeats))
}
