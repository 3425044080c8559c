package app_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/wxclient"
	"replyworker/internal/wxsim"
)

// failover is a primary that fails in some way, of an API that takes 50 ms.
type failover struct {
	fault    wxsim.Kind
	cooldown time.Duration
}

// failovers starts a stream for each failover, lets jobs come, takes the primary away, and lets more
// come when its breaker is open. It returns which job was the first that came then. Whoever had to wait
// for a backoff would wait for minutes.
func failovers(t testing.TB, rate, complaints int, cases map[string]failover) (all streams, first map[*stream]int) {
	t.Helper()
	for name, f := range cases {
		s := newStream(t, name, map[string]string{
			"REPLYWORKER_BREAKER_COOLDOWN": f.cooldown.String(), "REPLYWORKER_REQUEST_TIMEOUT": timeoutFor(f.fault).String(),
			"REPLYWORKER_RETRY_INITIAL": "5m", "REPLYWORKER_RETRY_MAX": "5m",
		})
		s.complaints = complaints
		require.NoError(t, s.stack.Sim.Set(wxsim.Fault{Kind: wxsim.KindLatency, Delay: 50 * time.Millisecond}))
		all = append(all, s)
	}
	all.ready()
	all.last(rate, time.Second)
	for _, s := range all {
		require.NoError(t, s.stack.Sim.Add(wxsim.Fault{Kind: cases[s.name].fault, Host: wxsim.Primary}))
	}
	all.until(rate, "the primary is out", func(s *stream) bool { return s.worker.host(wxclient.Primary) })
	first = map[*stream]int{}
	for _, s := range all {
		first[s] = len(s.jobs)
	}
	all.last(rate, 2*time.Second)
	return all, first
}

// TestFailover holds that a primary that fails costs the jobs whose calls are under way one more call
// each, at once; and of those that come when its breaker is open the probes, and nobody else.
func TestFailover(t *testing.T) {
	t.Parallel()
	cases := map[string]failover{
		"refused":             {wxsim.KindDown, 10 * time.Minute},
		"hanging":             {wxsim.KindHang, 10 * time.Minute},
		"refused, and probed": {wxsim.KindDown, 50 * time.Millisecond},
		"hanging, and probed": {wxsim.KindHang, 50 * time.Millisecond},
	}
	all, first := failovers(t, 20, 40, cases)
	for _, s := range all {
		failures := s.moved(0)
		require.Eventually(t, func() bool {
			return s.worker.calls(t, wxclient.Primary, wxclient.ClassHostFailed.String()) == failures
		}, patience, 10*time.Millisecond, "%s: failed calls to the primary, one for each of the %d jobs that went to the "+
			"backup with their second attempt; a probe's may still be out", s.name, failures)
		require.GreaterOrEqual(t, failures, 5, "%s: it takes five to open the breaker", s.name)
		probes := s.moved(first[s])
		t.Logf("%s: %d of %d jobs were delayed, %d of them as probes", s.name, failures, len(s.jobs), probes)
		if cases[s.name].cooldown > time.Minute {
			require.Zero(t, probes, "%s: jobs that came when the breaker was open and were called twice", s.name)
		} else {
			// 50, 100, 200 and then 300 ms between them, in two seconds, and until the last job was done.
			require.Positive(t, probes, "%s: probes", s.name)
			require.LessOrEqual(t, probes, 13, "%s: probes", s.name)
		}
		require.NoError(t, s.worker.stop())
	}
}

// moved waits for all jobs, checks that each made one call that the API took, in its complaint's order,
// after one that failed on the primary or none, and returns how many of the jobs from the first-th on
// had failed there.
func (s *stream) moved(first int) (n int) {
	s.t.Helper()
	ids, byComplaint := s.ids(nil)
	ends := s.succeeded(ids)
	s.ordered(byComplaint)
	require.Zero(s.t, s.worker.calls(s.t, wxclient.Backup, wxclient.ClassHostFailed.String()), "%s: failed calls to the backup", s.name)
	for i, j := range s.jobs {
		e := ends[j.id]
		require.LessOrEqual(s.t, e.Attempts, 2, "%s: %s", s.name, j.id)
		if e.Attempts == 2 {
			require.Equal(s.t, "backup", e.Host, "%s: %s", s.name, j.id)
		}
		if i >= first {
			n += e.Attempts - 1
		}
	}
	return n
}

// BenchmarkFailover measures what a primary that fails costs, in milliseconds from a job's production to
// its effect, more than the median of the jobs before: at worst, of all jobs; and of those that came when
// the breaker was open, apart from those that were its probes. A primary that hangs costs the request
// timeout, here a second and a half. Each job has a complaint of its own: it would share the delay of one before
// it.
func BenchmarkFailover(b *testing.B) {
	for range b.N {
		all, first := failovers(b, 40, 1_000_000, map[string]failover{
			"refused": {wxsim.KindDown, time.Second}, "hanging": {wxsim.KindHang, time.Second},
		})
		for _, s := range all {
			ids, _ := s.ids(nil)
			ends := s.succeeded(ids)
			waits := s.waits()
			before := slices.Sorted(slices.Values(waits[1:20]))
			usual := before[len(before)/2]
			var worst, open, probe time.Duration
			for i, wait := range waits {
				added := wait - usual
				switch {
				case i < first[s]:
					worst = max(worst, added)
				case ends[s.jobs[i].id].Attempts > 1:
					probe = max(probe, added)
				default:
					open = max(open, added)
				}
			}
			report := func(d time.Duration, what string) {
				b.ReportMetric(float64(d.Microseconds())/1000, fmt.Sprintf("ms-%s%s", s.name, what))
			}
			report(before[len(before)-1]-usual, "-before")
			report(worst, "")
			report(open, "-after-open")
			report(probe, "-probe")
			require.NoError(b, s.worker.stop())
		}
	}
}

// waits returns how long each job took from its production to its effect.
func (s *stream) waits() []time.Duration {
	s.t.Helper()
	waits := make([]time.Duration, len(s.jobs))
	for i, j := range s.jobs {
		e, done := s.stack.Sim.Effect(s.stack.Materials.MchID, j.id)
		require.True(s.t, done, "%s: %s", s.name, j.id)
		waits[i] = e.Time.Sub(j.at)
	}
	return waits
}
