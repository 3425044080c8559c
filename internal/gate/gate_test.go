package gate_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"replyworker/internal/gate"
	"replyworker/internal/wxclient"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A constant in all but name.
var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// newGate makes a gate with the given settings, and plain ones where they are zero: 4 slots, a breaker
// that opens after 3 failures and probes 5 s later, without jitter.
func newGate(cfg gate.Config) *gate.Gate {
	if cfg.Concurrency == 0 {
		cfg.Concurrency = 4
	}
	if cfg.BreakerFailures == 0 {
		cfg.BreakerFailures = 3
	}
	if cfg.BreakerCooldown == 0 {
		cfg.BreakerCooldown = 5 * time.Second
	}
	if cfg.Jitter == nil {
		cfg.Jitter = func() float64 { return 0 }
	}
	return gate.New(cfg)
}

// clock drives a gate with passed-in time.
type clock struct {
	t   *testing.T
	g   *gate.Gate
	now time.Time
}

func newClock(t *testing.T, cfg gate.Config) *clock {
	t.Helper()
	return &clock{t: t, g: newGate(cfg), now: start}
}

func (c *clock) after(d time.Duration) *clock {
	c.now = c.now.Add(d)
	return c
}

func (c *clock) try(lane string) (*gate.Grant, *gate.Denial) {
	return c.g.Try(c.now, gate.Ask{MchID: "1", Lane: lane})
}

// granted asks for leave that must be given.
func (c *clock) granted(lane string) *gate.Grant {
	c.t.Helper()
	grant, denial := c.try(lane)
	require.NotNil(c.t, grant, "%s after the start, lane %s asks: denied with %+v", c.now.Sub(start), lane, denial)
	return grant
}

// denied asks for leave that must not be given.
func (c *clock) denied(lane string) *gate.Denial {
	c.t.Helper()
	grant, denial := c.try(lane)
	require.Nil(c.t, grant, "%s after the start, lane %s asks and is let through", c.now.Sub(start), lane)
	return denial
}

func (c *clock) done(grant *gate.Grant, end gate.End) { c.g.Done(c.now, grant, end) }

// call makes a call that ends at once.
func (c *clock) call(lane string, end gate.End) *gate.Grant {
	c.t.Helper()
	grant := c.granted(lane)
	c.done(grant, end)
	return grant
}

// fail opens the breaker of the host that serves now.
func (c *clock) fail(n int) {
	c.t.Helper()
	for i := range n {
		c.call(fmt.Sprintf("failing %d", i), gate.HostFailed)
	}
}

func (c *clock) woken() bool {
	select {
	case <-c.g.Changed():
		return true
	default:
		return false
	}
}

func (c *clock) open(h wxclient.Host) bool { return c.g.State().Hosts[h].Open }

func TestSlotsAreBounded(t *testing.T) {
	t.Parallel()
	c := newClock(t, gate.Config{Concurrency: 2})
	first := c.granted("a")
	c.granted("b")
	require.Equal(t, &gate.Denial{Everyone: true, Full: true}, c.denied("c"), "with both slots taken")
	c.woken()
	c.done(first, gate.Unused)
	require.True(t, c.woken(), "a grant came back and nobody was told")
	c.granted("c")
}

func TestBreakerOpensAfterConsecutiveFailuresOnly(t *testing.T) {
	t.Parallel()
	for _, end := range []gate.End{gate.Succeeded, gate.Answered, gate.SlowDown} {
		c := newClock(t, gate.Config{})
		c.fail(2)
		c.call("a", end)
		c.fail(2)
		require.False(t, c.open(wxclient.Primary), "4 failures with an answer (end %d) between, threshold 3", end)
		c.call("a", gate.Unused)
		c.fail(1)
		require.True(t, c.open(wxclient.Primary), "3 failures in a row, an unused grant between")
	}
}

func TestBreakerTellsOfItsChanges(t *testing.T) {
	t.Parallel()
	var told []string
	c := newClock(t, gate.Config{HasBackup: true, OnBreaker: func(h wxclient.Host, open bool) {
		told = append(told, fmt.Sprint(h, open))
	}})
	c.fail(5) // the last two at the backup
	c.after(5*time.Second).call("probe", gate.Answered)
	require.Equal(t, []string{"primary true", "primary false"}, told)
}

func TestBreakerProbesOneAtATimeAndWaitsTwiceAsLongEachTime(t *testing.T) {
	t.Parallel()
	for _, jitter := range []float64{0, 0.5, 0.999} {
		c := newClock(t, gate.Config{Jitter: func() float64 { return jitter }})
		c.fail(3)
		for i, seconds := range []int{5, 10, 20, 30, 30} {
			wait := time.Duration(seconds) * time.Second
			wait += time.Duration(jitter * 0.2 * float64(wait))
			require.InDelta(t, wait, c.denied("x").Wait, 1e3, "wait %d with jitter %g", i, jitter)
			c.after(wait - time.Millisecond).denied("x")
			probe := c.after(2 * time.Millisecond).granted(fmt.Sprint("probe ", i))
			require.Equal(t, &gate.Denial{Everyone: true, Full: true}, c.denied("x"), "while a probe is out")
			c.woken()
			c.done(probe, gate.HostFailed)
			require.True(t, c.woken(), "probe %d failed and nobody was told", i)
		}
		c.after(36*time.Second).call("good", gate.Answered)
		c.after(time.Second).granted("x")
	}
}

func TestBreakerLongestWaitFollowsTheFirst(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ first, longest time.Duration }{
		{100 * time.Millisecond, 600 * time.Millisecond},
		{5 * time.Second, 30 * time.Second},
		{10 * time.Second, 30 * time.Second},
		{time.Minute, time.Minute},
	} {
		c := newClock(t, gate.Config{BreakerCooldown: tt.first})
		c.fail(3)
		require.Equal(t, tt.first, c.denied("x").Wait, "first wait")
		for i := range 5 {
			c.after(c.denied("x").Wait).call(fmt.Sprint("probe ", i), gate.HostFailed)
		}
		require.Equal(t, tt.longest, c.denied("x").Wait, "wait after five failed probes, breaker-cooldown %s", tt.first)
		c.after(tt.longest).call("odd", gate.HostFailed)
		c.after(tt.longest)
		require.Equal(t, min(tt.first, 5*time.Second), c.denied("odd").Wait, "the lane that probed last, once a probe is due")
	}
}

func TestBreakerProbesWithAnotherLaneEachTime(t *testing.T) {
	t.Parallel()
	c := newClock(t, gate.Config{})
	c.fail(3)
	c.after(5*time.Second).call("odd", gate.HostFailed)
	denial := c.denied("odd")
	require.Equal(t, &gate.Denial{Wait: 10 * time.Second, Everyone: true, Full: true}, denial,
		"the lane that probed last asks before the next probe is due: it must be told when that is for the others")
	c.after(10 * time.Second)
	require.Equal(t, &gate.Denial{Wait: 5 * time.Second}, c.denied("odd"), "the probe is due, for other lanes first")
	c.after(5*time.Second).call("odd", gate.HostFailed) // nobody else wanted it
	c.after(20*time.Second).call("other", gate.Answered)
	c.after(time.Second).granted("odd")
}

func TestBreakerGetsItsProbeBackHoweverTheAttemptEnds(t *testing.T) {
	t.Parallel()
	for _, end := range []gate.End{gate.Unused, gate.Succeeded, gate.Answered, gate.SlowDown, gate.HostFailed} {
		c := newClock(t, gate.Config{})
		c.fail(3)
		c.after(5*time.Second).call("a", end)
		if end == gate.Unused {
			c.granted("b") // the probe is still due
			continue
		}
		c.after(10 * time.Second).granted("b")
	}
	t.Run("switched to a host that is due, and given back unused", func(t *testing.T) {
		t.Parallel()
		c := newClock(t, gate.Config{HasBackup: true, Concurrency: 8})
		early := c.granted("early")
		c.fail(3) // primary out
		c.fail(3) // backup out
		c.after(6 * time.Second)
		probe := c.granted("a")
		require.Equal(t, wxclient.Primary, probe.Host)
		require.True(t, c.g.Switch(c.now, probe), "the backup is due for a probe too")
		require.Equal(t, wxclient.Backup, probe.Host)
		require.False(t, c.g.Switch(c.now, early), "the backup has a probe out, and a second was let through")
		c.done(early, gate.HostFailed)
		c.done(probe, gate.Unused)
		require.Equal(t, wxclient.Backup, c.granted("b").Host, "who may probe the backup next")
	})
}

func TestBreakerIgnoresCallsThatBeganBeforeItOpened(t *testing.T) {
	t.Parallel()
	t.Run("their failures do not put the probe off", func(t *testing.T) {
		t.Parallel()
		c := newClock(t, gate.Config{Concurrency: 10})
		early := []*gate.Grant{c.granted("a"), c.granted("b"), c.granted("c")}
		c.fail(3)
		c.after(4 * time.Second)
		for _, g := range early {
			c.done(g, gate.HostFailed)
		}
		require.Equal(t, time.Second, c.denied("x").Wait, "4 s after the opening, cooldown 5 s")
	})
	t.Run("their answers do not close it", func(t *testing.T) {
		t.Parallel()
		c := newClock(t, gate.Config{Concurrency: 10})
		early := c.granted("a")
		c.fail(3)
		c.after(time.Second).done(early, gate.Succeeded)
		require.True(t, c.open(wxclient.Primary), "an answer to a call from before the opening has closed the breaker")
	})
	t.Run("their time-outs do not take the host out again when it has come back", func(t *testing.T) {
		t.Parallel()
		c := newClock(t, gate.Config{Concurrency: 10})
		early := []*gate.Grant{c.granted("a"), c.granted("b"), c.granted("c")}
		c.fail(3)
		c.after(5*time.Second).call("probe", gate.Succeeded)
		c.after(5 * time.Second)
		for _, g := range early {
			c.done(g, gate.HostFailed)
		}
		require.False(t, c.open(wxclient.Primary), "3 calls from before the outage timed out after the host was back")
	})
}

func TestSwitch(t *testing.T) {
	t.Parallel()
	t.Run("goes to the other host at once and keeps its slot", func(t *testing.T) {
		t.Parallel()
		c := newClock(t, gate.Config{HasBackup: true, Concurrency: 1})
		grant := c.granted("a")
		require.True(t, c.g.Switch(c.now, grant))
		require.Equal(t, wxclient.Backup, grant.Host)
		require.Equal(t, 1, c.g.State().SlotsUsed)
		c.denied("b")
		c.done(grant, gate.Succeeded)
		require.Zero(t, c.g.State().SlotsUsed)
	})
	t.Run("reports the failure once", func(t *testing.T) {
		t.Parallel()
		c := newClock(t, gate.Config{Concurrency: 1})
		for range 2 {
			grant := c.granted("a")
			require.False(t, c.g.Switch(c.now, grant), "there is one host only")
			c.done(grant, gate.HostFailed)
		}
		require.False(t, c.open(wxclient.Primary), "2 failures, each told by Switch and then Done, threshold 3")
		c.fail(1)
		require.True(t, c.open(wxclient.Primary), "the third failure")
	})
	t.Run("not to a host that is out", func(t *testing.T) {
		t.Parallel()
		c := newClock(t, gate.Config{HasBackup: true})
		c.fail(3)
		grant := c.granted("a")
		require.Equal(t, wxclient.Backup, grant.Host)
		require.False(t, c.g.Switch(c.now, grant), "the primary is out")
		c.done(grant, gate.HostFailed)
		require.Zero(t, c.g.State().SlotsUsed)
	})
	t.Run("an outage of the primary fails over each call and then all of them", func(t *testing.T) {
		t.Parallel()
		c := newClock(t, gate.Config{HasBackup: true})
		for i := range 3 {
			grant := c.granted(fmt.Sprint(i))
			require.Equal(t, wxclient.Primary, grant.Host)
			require.True(t, c.g.Switch(c.now, grant))
			c.done(grant, gate.Succeeded)
		}
		require.Equal(t, wxclient.Backup, c.granted("next").Host, "after 3 failures of the primary")
		probe := c.after(5 * time.Second).granted("probe")
		require.Equal(t, wxclient.Primary, probe.Host)
		require.Equal(t, wxclient.Backup, c.granted("meanwhile").Host)
		c.done(probe, gate.Answered)
		require.Equal(t, wxclient.Primary, c.granted("home").Host)
	})
}

func TestBothHostsOutEverybodyWaitsForAProbe(t *testing.T) {
	t.Parallel()
	c := newClock(t, gate.Config{HasBackup: true})
	c.fail(3)
	c.fail(3)
	require.Equal(t, &gate.Denial{Wait: 5 * time.Second, Everyone: true, Full: true}, c.denied("a"))
	c.after(5 * time.Second)
	first, second := c.granted("a"), c.granted("b")
	require.Equal(t, []wxclient.Host{wxclient.Primary, wxclient.Backup}, []wxclient.Host{first.Host, second.Host})
	require.Equal(t, &gate.Denial{Everyone: true, Full: true}, c.denied("c"), "both probes are out")
	c.done(second, gate.Answered)
	require.False(t, c.open(wxclient.Backup))
}

func TestRecoveryStartsNoFasterThanBefore(t *testing.T) {
	t.Parallel()
	for _, before := range []int{20, 100} {
		c := newClock(t, gate.Config{HasBackup: true, Concurrency: 64})
		for range 30 { // seconds
			for i := range before {
				c.call(fmt.Sprint("before ", i), gate.Succeeded)
				c.after(time.Second / time.Duration(before))
			}
		}
		c.fail(3)
		c.fail(3)
		c.after(time.Minute).call("probe", gate.Succeeded)
		for second := range 10 {
			n := 0
			for end := c.now.Add(time.Second); c.now.Before(end); c.after(time.Millisecond) {
				if grant, _ := c.try(fmt.Sprint("after ", n)); grant != nil {
					c.done(grant, gate.Succeeded)
					n++
				}
			}
			require.LessOrEqual(t, float64(n), 1.05*float64(before)+1, "calls in second %d after an outage, %d/s before",
				second, before)
			require.GreaterOrEqual(t, float64(n), 0.9*float64(before), "calls in second %d after an outage, %d/s before",
				second, before)
		}
		n := 0
		for end := c.now.Add(time.Minute); c.now.Before(end); c.after(time.Millisecond) {
			if grant, _ := c.try(fmt.Sprint("later ", n)); grant != nil {
				c.done(grant, gate.Succeeded)
				n++
			}
		}
		require.Greater(t, n, 300*before, "calls in the minute after that: the pace must come back, %d/s before", before)
	}
}

func TestHoldLetsOnlyProbesThrough(t *testing.T) {
	t.Parallel()
	c := newClock(t, gate.Config{Concurrency: 10})
	hold := gate.Hold{Kind: "credentials", Code: "SIGN_ERROR", ProbeAt: c.now.Add(time.Second)}
	c.g.SetHold("1", hold)
	require.True(t, c.woken(), "a hold was set and nobody was told")
	require.Equal(t, &gate.Denial{Wait: time.Second, Everyone: true}, c.denied("a"))
	other, _ := c.g.Try(c.now, gate.Ask{MchID: "2", Lane: "a"})
	require.NotNil(t, other, "a job of another merchant")
	require.False(t, other.HoldProbe)

	probe := c.after(time.Second).granted("a")
	require.True(t, probe.HoldProbe)
	require.Equal(t, &gate.Denial{Everyone: true}, c.denied("b"), "a probe is out")
	hold.LastProbe = "a"
	hold.ProbeAt = c.now.Add(2 * time.Second)
	c.g.SetHold("1", hold)
	require.Equal(t, &gate.Denial{Everyone: true}, c.denied("b"), "the hold is renewed and the probe still out")
	c.woken()
	c.done(probe, gate.Answered)
	require.True(t, c.woken(), "a probe came back and nobody was told")
	require.Equal(t, &gate.Denial{Wait: 2 * time.Second, Everyone: true}, c.denied("a"), "before the next probe is due")
	c.after(2 * time.Second)
	require.Equal(t, &gate.Denial{Wait: 5 * time.Second}, c.denied("a"), "other lanes go first")
	probe = c.granted("b")
	require.True(t, probe.HoldProbe)
	c.woken()
	c.g.ClearHold("1")
	require.True(t, c.woken(), "a hold was ended and nobody was told")
	require.False(t, c.granted("c").HoldProbe)
	c.done(probe, gate.Succeeded)
	_, held := c.g.Held("1")
	require.False(t, held)
}

func TestHoldProbeThatEndsUnusedIsNotLost(t *testing.T) {
	t.Parallel()
	c := newClock(t, gate.Config{})
	c.g.SetHold("1", gate.Hold{ProbeAt: c.now})
	c.call("a", gate.Unused)
	require.True(t, c.granted("b").HoldProbe)
}

func TestHoldProbeOfAnEarlierHoldDoesNotLetTwoProbesOut(t *testing.T) {
	t.Parallel()
	c := newClock(t, gate.Config{Concurrency: 10})
	c.g.SetHold("1", gate.Hold{ProbeAt: c.now})
	old := c.granted("a")
	c.g.ClearHold("1")
	c.g.SetHold("1", gate.Hold{ProbeAt: c.now})
	require.True(t, c.granted("b").HoldProbe)
	c.done(old, gate.Answered)
	require.Equal(t, &gate.Denial{Everyone: true}, c.denied("c"), "the new hold's probe is still out")
}

func TestStoreDownStopsEverybodyAndProbesOneAtATime(t *testing.T) {
	t.Parallel()
	c := newClock(t, gate.Config{Concurrency: 10})
	early := c.granted("early")
	c.g.StoreDown(c.now)
	require.True(t, c.g.StoreIsDown())
	c.done(early, gate.Succeeded)
	for i, ms := range []int{100, 200, 400, 800, 1600, 3200, 5000, 5000} {
		wait := time.Duration(ms) * time.Millisecond
		require.Equal(t, &gate.Denial{Wait: wait, Everyone: true, Full: true}, c.denied("x"), "wait %d", i)
		probe := c.after(wait).granted("probe")
		require.Equal(t, &gate.Denial{Everyone: true, Full: true}, c.denied("x"), "a probe is out")
		// A fast failure is a refused connection, a slow one a time-out: both count alike.
		c.after(time.Duration(i%2) * 3 * time.Second)
		require.Equal(t, &gate.Denial{Everyone: true, Full: true}, c.denied("x"), "the probe is still out")
		c.g.StoreDown(c.now)
		c.woken()
		c.done(probe, gate.Unused)
		require.True(t, c.woken(), "the probe came back and nobody was told")
	}
	probe := c.after(5 * time.Second).granted("probe")
	c.woken()
	c.g.StoreUp()
	require.True(t, c.woken(), "the store is back and nobody was told")
	c.granted("x")
	c.g.StoreDown(c.now)
	c.done(probe, gate.Succeeded)
	require.Equal(t, 100*time.Millisecond, c.denied("y").Wait, "a new outage begins with a short wait again")
}

// fixedPace lets n calls through.
type fixedPace struct {
	n                 int
	accepted, refused int
	retryAfter        time.Duration
}

func (f *fixedPace) of(string) gate.Pace { return f }

func (f *fixedPace) Take(time.Time) (uint64, time.Duration) {
	if f.n == 0 {
		return 0, 70 * time.Millisecond
	}
	f.n--
	return 7, 0
}

func (f *fixedPace) GiveBack(_ time.Time, epoch uint64) { f.n += int(epoch / 7) }

func (f *fixedPace) Answer(_, _ time.Time, epoch uint64, refused bool, retryAfter time.Duration) {
	if refused {
		f.refused += int(epoch / 7)
		f.retryAfter = retryAfter
	} else {
		f.accepted += int(epoch / 7)
	}
}

func (f *fixedPace) Limit() float64 { return 5 }

func TestCeilingCountsCallsAndNothingElse(t *testing.T) {
	t.Parallel()
	ceiling := &fixedPace{n: 3}
	c := newClock(t, gate.Config{HasBackup: true, Pace: ceiling.of})
	c.call("a", gate.Unused)
	require.Equal(t, 3, ceiling.n, "an unused grant was given back")
	grant := c.granted("a")
	require.True(t, c.g.Switch(c.now, grant))
	require.Equal(t, 1, ceiling.n, "a call and one more on the other host")
	c.done(grant, gate.Succeeded)
	c.call("a", gate.Answered)
	require.Equal(t, &gate.Denial{Wait: 70 * time.Millisecond, Everyone: true}, c.denied("a"))

	ceiling.n = 1
	grant = c.granted("a")
	require.False(t, c.g.Switch(c.now, grant), "the ceiling has no second call")
	c.done(grant, gate.HostFailed)
	require.Zero(t, ceiling.n, "a call that was made stays counted")
	require.Zero(t, c.g.State().SlotsUsed)
}

func TestCeilingIsNotAskedWhereSomethingElseSaysNo(t *testing.T) {
	t.Parallel()
	ceiling := &fixedPace{n: 100}
	c := newClock(t, gate.Config{Concurrency: 10, Pace: ceiling.of})
	c.fail(3)
	c.denied("a")
	c.g.SetHold("1", gate.Hold{ProbeAt: c.now.Add(time.Hour)})
	c.after(time.Minute).denied("a")
	c.g.ClearHold("1")
	c.g.StoreDown(c.now)
	c.denied("a")
	require.Equal(t, 97, ceiling.n, "calls left of 100 after three calls")
}

func TestThePaceIsToldOfAnswers(t *testing.T) {
	t.Parallel()
	pace := &fixedPace{n: 100}
	c := newClock(t, gate.Config{HasBackup: true, Pace: pace.of})
	c.call("a", gate.Succeeded)
	c.call("a", gate.Answered)
	c.call("a", gate.Unused)
	c.fail(1)
	require.Equal(t, 2, pace.accepted)
	require.Zero(t, pace.refused)
	grant := c.granted("a")
	grant.RetryAfter = 3 * time.Second
	c.done(grant, gate.SlowDown)
	require.Equal(t, 1, pace.refused)
	require.Equal(t, 3*time.Second, pace.retryAfter)
	require.InDelta(t, 5, c.g.State().Merchants[0].Pace, 0)

	grant = c.granted("a")
	require.True(t, c.g.Switch(c.now, grant), "to the other host")
	c.done(grant, gate.Succeeded)
	require.Equal(t, 3, pace.accepted, "the call on the other host has an epoch of its own")
}

func TestSuccessesAreCountedByMerchant(t *testing.T) {
	t.Parallel()
	c := newClock(t, gate.Config{})
	c.call("a", gate.Succeeded)
	c.call("a", gate.Answered)
	all, own := c.g.Successes("2")
	require.Equal(t, []uint64{1, 0}, []uint64{all, own}, "successes of everybody, of merchant 2")
	require.True(t, c.g.Succeeding(c.now.Add(time.Second), "1"))
	require.False(t, c.g.Succeeding(c.now.Add(2*time.Second), "1"))
	require.False(t, c.g.Succeeding(c.now, "2"))
}
