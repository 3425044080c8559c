//go:build linux

package integration_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/wxsim"
	"replyworker/test/fleet"
)

const (
	hostOut  = "host is out; its calls go elsewhere"
	hostBack = "host is back"
	// promisedExtra is by how much a job may be delayed where nothing is to be waited for.
	promisedExtra = 100 * time.Millisecond
	steadyDelay   = 250 * time.Millisecond
)

// quick is an API that answers within 40 ms.
func quick() wxsim.Fault {
	return wxsim.Fault{Kind: wxsim.KindLatency, Delay: 20 * time.Millisecond, Jitter: 20 * time.Millisecond}
}

// TestMeasureThePrimaryRefuses: the primary refuses connections and resets those it has. Jobs go to the
// backup at once.
func TestMeasureThePrimaryRefuses(t *testing.T) {
	const rate = 60
	s := newStage(t, manyPartitions, "REPLYWORKER_BREAKER_COOLDOWN=2s")
	require.NoError(t, s.api.Sim.Set(quick()))
	w := s.worker()
	s.start(w)
	l := s.load(rate, manyPartitions)
	var r refusal
	for range 3 { // what the machine does beside this is in one round; what the product does, in all
		if r = s.refuse(w, l, rate); r.extra() < generous*promisedExtra && worst(r.moved) < generous*promisedExtra {
			break
		}
	}
	l.end()
	s.judge()
	measure("refused.jobs_in_flight", r.inFlight, "jobs")
	measure("refused.jobs_moved_in_flight", len(r.moved), "jobs")
	milliseconds("refused.worst_of_them_moved_after", worst(r.moved))
	milliseconds("refused.breaker_opened_after", r.opened)
	milliseconds("refused.delay_before_p50", quantile(r.before, 0.5))
	milliseconds("refused.delay_before_worst", worst(r.before))
	milliseconds("refused.delay_after_p50", quantile(r.after, 0.5))
	milliseconds("refused.delay_after_worst", worst(r.after))
	milliseconds("refused.worst_extra", r.extra())
	measure("refused.jobs_delayed", longer(r.after, worst(r.before)), "jobs")
	require.Less(t, r.extra(), generous*promisedExtra, "by how much more the worst job was delayed than before")
	require.Less(t, worst(r.moved), generous*promisedExtra, "until a call that was cut off was made on the backup")
}

// refusal is what was found while the primary refused.
type refusal struct {
	inFlight             int64
	opened               time.Duration // the breaker, after so long
	before, after, moved []delay
}

// extra is by how much more the worst job was delayed than before.
func (r refusal) extra() time.Duration { return max(0, worst(r.after)-worst(r.before)) }

// refuse lets the primary refuse for a while.
func (s *stage) refuse(w *fleet.Worker, l *load, rate int) (r refusal) {
	s.t.Helper()
	s.steady(l, rate, steadyDelay)
	from := time.Now()
	s.more(int64(5 * rate))
	r.before = s.delays(l, from, time.Now())
	out := time.Now()
	r.inFlight = s.api.Sim.Stats().InFlight
	require.NoError(s.t, s.api.Sim.Set(quick(), wxsim.Fault{Kind: wxsim.KindDown, Host: wxsim.Primary}))
	r.opened = s.said(w, hostOut, out).Sub(out)
	s.more(int64(5 * rate)) // a probe of the primary among them
	during := time.Now()
	require.NoError(s.t, s.api.Sim.Set(quick()))
	s.said(w, hostBack, during)
	// Jobs that were born shortly before may have been under way.
	r.after, r.moved = s.delays(l, out.Add(-time.Second), during), s.moved(out)
	return r
}

// moved returns how long after their call on the primary those jobs were called for on the backup whose
// first call was out at a time and came to nothing.
func (s *stage) moved(at time.Time) []delay {
	cut := map[string]time.Time{}
	for _, c := range s.api.Sim.Calls() {
		if c.Host == wxsim.Primary && c.Effect == 0 && c.Time.Before(at) && at.Sub(c.Time) < time.Second {
			cut[c.IdempotentID] = c.Time
		}
	}
	var found []delay
	for id, called := range cut {
		if e, ok := s.api.Sim.Effect(wxsim.DefaultMchID, id); ok {
			found = append(found, delay{called, e.Time.Sub(called)})
		}
	}
	return ascending(found)
}

// TestMeasureThePrimaryHangs: the primary takes requests and answers none. Jobs wait for the request
// timeout at the most, and not at all once the breaker has opened. At a high rate calls soon take all
// slots, at a low one never.
func TestMeasureThePrimaryHangs(t *testing.T) {
	for _, c := range []struct {
		name string
		rate int
	}{{"busy", 50}, {"calm", 15}} {
		t.Run(c.name, func(t *testing.T) { measureHang(t, c.name, c.rate) })
	}
}

func measureHang(t *testing.T, name string, rate int) {
	const timeout = 2 * time.Second
	s := newStage(t, manyPartitions, "REPLYWORKER_REQUEST_TIMEOUT="+timeout.String(), "REPLYWORKER_BREAKER_COOLDOWN=2s")
	require.NoError(t, s.api.Sim.Set(quick()))
	w := s.worker()
	s.start(w)
	l := s.load(rate, manyPartitions)
	s.steady(l, rate, steadyDelay)
	from := time.Now()
	s.more(int64(4 * rate))
	before := s.delays(l, from, time.Now())

	out := time.Now()
	require.NoError(t, s.api.Sim.Set(quick(), wxsim.Fault{Kind: wxsim.KindHang, Host: wxsim.Primary}))
	opened := s.said(w, hostOut, out)
	s.more(int64(8 * rate)) // a probe of the primary, or two, among them
	during := time.Now()
	require.NoError(t, s.api.Sim.Set(quick()))
	l.end()
	s.judge()

	name = "hangs." + name + "."
	all, late := s.delays(l, out.Add(-time.Second), during), s.delays(l, opened.Add(promisedExtra), during)
	milliseconds(name+"breaker_opened_after", opened.Sub(out))
	milliseconds(name+"delay_before_worst", worst(before))
	extra := max(0, worst(all)-worst(before))
	milliseconds(name+"worst_extra", extra)
	measure(name+"jobs_over_the_timeout", longer(all, timeout+promisedExtra+worst(before)), "jobs")
	milliseconds(name+"worst_extra_once_open", max(0, worst(late)-worst(before)))
	measure(name+"jobs_delayed_once_open", longer(late, worst(before)+promisedExtra), "jobs")
	measure(name+"probes_that_hung", s.hung(opened, during), "calls")
	require.Less(t, worst(late)-worst(before), generous*promisedExtra, "the same, of jobs that came once the breaker was open")
	require.Less(t, extra, generous*(timeout+promisedExtra), "by how much more the worst job was delayed than before")
}

// hung counts the calls on the primary between two times that came to nothing.
func (s *stage) hung(from, to time.Time) int {
	n := 0
	for _, c := range s.api.Sim.Calls() {
		if c.Host == wxsim.Primary && c.Effect == 0 && c.Time.After(from) && c.Time.Before(to) {
			n++
		}
	}
	return n
}
