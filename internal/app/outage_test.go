package app_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/dedupe"
	"replyworker/internal/devstack"
	"replyworker/internal/job"
	"replyworker/internal/wxclient"
	"replyworker/internal/wxsim"
)

// stream is a worker with a stack of its own, for which jobs come at a steady rate, of some complaints
// in turn.
type stream struct {
	*bench
	name       string
	worker     *worker
	complaints int
	jobs       []streamJob
}

type streamJob struct {
	id, complaint string
	at            time.Time // just before it was produced
}

func newStream(t testing.TB, name string, settings map[string]string) *stream {
	t.Helper()
	s := &stream{bench: newBench(t, 2), name: name, complaints: 10}
	s.worker = s.run(settings)
	return s
}

// ready waits until each worker works: what has to wait for its start would be no steady rate.
func (all streams) ready() {
	for _, s := range all {
		s.next()
	}
	for _, s := range all {
		s.eventually(s.name+": the first job", func() bool { return s.stack.Sim.Stats().Effects == 1 })
	}
}

func (s *stream) next() {
	n := len(s.jobs)
	j := streamJob{id: fmt.Sprintf("job-%03d", n), complaint: fmt.Sprintf("complaint-%d", n%s.complaints), at: time.Now()}
	s.jobs = append(s.jobs, j)
	s.produce(int32(n%s.complaints%s.partitions), jobValue(j.complaint, j.id, "hello", nil))
}

// streams are side by side: what takes time takes it once.
type streams []*stream

// until lets so many jobs a second come for each stream, until cond says of all that it is enough.
func (all streams) until(rate int, what string, cond func(*stream) bool) {
	t := all[0].t
	t.Helper()
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	for end := time.Now().Add(30 * time.Second); ; <-tick.C {
		late := slices.IndexFunc(all, func(s *stream) bool { return !cond(s) })
		if late < 0 {
			return
		}
		require.True(t, time.Now().Before(end), "%s: not in 30 s: %s", all[late].name, what)
		for _, s := range all {
			s.next()
		}
	}
}

// last lets jobs come for a while.
func (all streams) last(rate int, d time.Duration) {
	all[0].t.Helper()
	began := time.Now()
	all.until(rate, "the time is over", func(*stream) bool { return time.Since(began) >= d })
}

// ids returns the ids of the jobs that are not left out, and the same by complaint.
func (s *stream) ids(leaveOut map[string]end) (all []string, byComplaint map[string][]string) {
	byComplaint = map[string][]string{}
	for _, j := range s.jobs {
		if _, out := leaveOut[j.id]; !out {
			all = append(all, j.id)
			byComplaint[j.complaint] = append(byComplaint[j.complaint], j.id)
		}
	}
	return all, byComplaint
}

// calls returns how many calls the worker has made to a host that ended with one of the results, or
// all where none is given.
func (w *worker) calls(t testing.TB, host wxclient.Host, results ...string) (n int) {
	t.Helper()
	families, err := w.Registry().Gather()
	require.NoError(t, err)
	for _, f := range families {
		if f.GetName() != "replyworker_api_requests_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			if labels["host"] == host.String() && (len(results) == 0 || slices.Contains(results, labels["result"])) {
				n += int(m.GetCounter().GetValue())
			}
		}
	}
	return n
}

// noStorm checks the calls that succeeded in the first ten seconds after a time: there are no more than
// the rate of before and a fifth of it, in all of them and in any three seconds. (The gate's own tests
// look at each second; here, what a busy machine holds up comes all at once.)
func (s *stream) noStorm(back time.Time, rate int) {
	s.t.Helper()
	calls := slices.DeleteFunc(s.stack.Sim.Calls(), func(c wxsim.Call) bool { return c.Time.Before(back) || c.Status != http.StatusOK })
	require.NotEmpty(s.t, calls, "%s: calls after the outage", s.name)
	slices.SortFunc(calls, func(x, y wxsim.Call) int { return x.Time.Compare(y.Time) })
	calls = within(calls, 10*time.Second)
	took := calls[len(calls)-1].Time.Sub(calls[0].Time)
	s.t.Logf("%s: %d calls in %s after the outage, %d jobs/s before", s.name, len(calls), took.Round(time.Millisecond), rate)
	most := func(d time.Duration) int { return int(1.2*float64(rate)*d.Seconds()) + 2 }
	require.LessOrEqual(s.t, len(calls), most(took), "%s: calls in %s after the outage", s.name, took)
	for i := range calls {
		require.LessOrEqual(s.t, len(within(calls[i:], 3*time.Second)), most(3*time.Second),
			"%s: calls in three seconds from call %d after the outage on", s.name, i)
	}
}

// within returns the calls that came within d of the first.
func within(calls []wxsim.Call, d time.Duration) []wxsim.Call {
	n := slices.IndexFunc(calls, func(c wxsim.Call) bool { return c.Time.Sub(calls[0].Time) >= d })
	if n < 0 {
		return calls
	}
	return calls[:n]
}

// timeoutFor returns a request-timeout that a busy machine does not exceed by itself, and a shorter one
// for a test that waits for it.
func timeoutFor(fault wxsim.Kind) time.Duration {
	if fault == wxsim.KindHang {
		return 1500 * time.Millisecond
	}
	return 10 * time.Second
}

// usual is how many jobs come in a second.
const usual = 10

// TestAnOutageOfTheAPI is an outage of both hosts, while jobs keep coming. The longest wait between two
// probes is 120 ms instead of 30 s, so that two and a half seconds of it are ten minutes: in them even a
// probe ends that hangs, and the next begins.
func TestAnOutageOfTheAPI(t *testing.T) {
	t.Parallel()
	const longestWait = 120 * time.Millisecond
	faults := map[string]wxsim.Fault{
		"refused": {Kind: wxsim.KindDown}, "hanging": {Kind: wxsim.KindHang},
		"502": {Kind: wxsim.KindStatus, Status: http.StatusBadGateway},
		"503": {Kind: wxsim.KindStatus, Status: http.StatusServiceUnavailable},
		"504": {Kind: wxsim.KindStatus, Status: http.StatusGatewayTimeout},
	}
	var all streams
	for name, fault := range faults {
		all = append(all, newStream(t, name, map[string]string{
			"REPLYWORKER_BREAKER_COOLDOWN": "20ms", "REPLYWORKER_RETRY_ATTEMPTS": "2", "REPLYWORKER_BRAKE": "3",
			"REPLYWORKER_REQUEST_TIMEOUT": timeoutFor(fault.Kind).String(),
		}))
	}
	all.ready()
	all.last(usual, 1500*time.Millisecond)
	for _, s := range all {
		require.NoError(t, s.stack.Sim.Set(faults[s.name]))
	}
	all.until(usual, "both hosts are out, and nobody calls but to probe", func(s *stream) bool {
		state, _ := s.worker.State()
		return state.Hosts[wxclient.Primary].Open && state.Hosts[wxclient.Backup].Open && state.SlotsUsed <= 2
	})

	out, began := map[*stream]int{}, time.Now()
	calls := map[*stream][2]int{}
	for _, s := range all {
		out[s] = len(s.jobs)
		calls[s] = [2]int{s.worker.calls(t, wxclient.Primary), s.worker.calls(t, wxclient.Backup)}
	}
	all.last(usual, 2500*time.Millisecond)
	for _, s := range all {
		for host, n := range calls[s] {
			n = s.worker.calls(t, wxclient.Host(host)) - n
			t.Logf("%s: %d calls to the %s host in %s", s.name, n, wxclient.Host(host), time.Since(began).Round(time.Millisecond))
			require.LessOrEqual(t, n, int(time.Since(began)/longestWait)+4, "%s: probes; the first waits are shorter", s.name)
			require.NotZero(t, n, "%s: probes", s.name)
		}
		require.Zero(t, s.count(devstack.TopicDeadLetters), "%s: dead letters", s.name)
	}

	back := time.Now()
	for _, s := range all {
		require.NoError(t, s.stack.Sim.Clear())
	}
	late := len(all[0].jobs)
	all.until(2, "the backlog is gone", func(s *stream) bool { return int(s.stack.Sim.Stats().Effects) >= late })
	for _, s := range all {
		s.allSucceed(out[s])
		s.noStorm(back, usual)
		require.NoError(t, s.worker.stop())
	}
}

// allSucceed waits for all jobs and checks that each was sent once, in its complaint's order, and that
// the outage cost those that came in it, from the out-th on, no attempts.
func (s *stream) allSucceed(out int) {
	s.t.Helper()
	all, byComplaint := s.ids(nil)
	ends := s.succeeded(all)
	s.ordered(byComplaint)
	require.Zero(s.t, s.stack.Sim.Stats().Repeats, "%s: replies that were sent again", s.name)
	costly := 0
	for i, j := range s.jobs {
		require.LessOrEqual(s.t, ends[j.id].Attempts, 2, "%s: %s", s.name, j.id)
		if i >= out && ends[j.id].Attempts != 1 {
			costly++
		}
	}
	// When the first host is back, a job may just have been told that the other is not.
	require.LessOrEqual(s.t, costly, 1, "%s: jobs that came in the outage and had more than one attempt", s.name)
}

// TestAnOutageWithOtherAnswers is an outage in which both hosts answer, job after job, with what may be
// a job's own fault. It costs the letters that the brake lets through, and then the jobs wait until the
// brake's first probe, ten seconds later.
func TestAnOutageWithOtherAnswers(t *testing.T) {
	t.Parallel()
	settings := map[string]string{
		"REPLYWORKER_RETRY_ATTEMPTS": "2", "REPLYWORKER_BRAKE": "5", "REPLYWORKER_REQUEST_TIMEOUT": "10s",
	}
	const letters = 4
	statuses := map[string]int{"500": http.StatusInternalServerError, "403": http.StatusForbidden}
	var all streams
	for name := range statuses {
		all = append(all, newStream(t, name, settings))
	}
	all.ready()
	all.last(usual, 1500*time.Millisecond)
	for _, s := range all {
		require.NoError(t, s.stack.Sim.Set(wxsim.Fault{Kind: wxsim.KindStatus, Status: statuses[s.name]}))
	}
	all.until(usual, "the merchant is held and nobody calls", func(s *stream) bool {
		state, counts := s.worker.State()
		return s.worker.hold() == string(dedupe.HoldBrake) && state.SlotsUsed+counts.Running == 0
	})
	calls := map[*stream]int64{}
	for _, s := range all {
		calls[s] = s.stack.Sim.Stats().Calls
	}
	all.last(usual, 2*time.Second)
	for _, s := range all {
		require.Equal(t, calls[s], s.stack.Sim.Stats().Calls, "%s: calls before the first probe is due", s.name)
		require.EqualValues(t, letters, s.count(devstack.TopicDeadLetters), "%s: letters, brake 5", s.name)
	}
	back := time.Now()
	for _, s := range all {
		require.NoError(t, s.stack.Sim.Clear())
	}
	for _, s := range all {
		dead := s.ends(len(s.jobs))
		maps.DeleteFunc(dead, func(_ string, e end) bool { return e.Status == job.StatusSucceeded })
		require.Len(t, dead, letters, "%s: jobs that did not succeed", s.name)
		sent, byComplaint := s.ids(dead)
		s.effects(sent)
		s.ordered(byComplaint)
		require.EqualValues(t, letters, s.count(devstack.TopicDeadLetters), "%s: letters, brake 5", s.name)
		s.noStorm(back, usual)
		require.NoError(t, s.worker.stop())
	}
}
