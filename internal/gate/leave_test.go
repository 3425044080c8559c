package gate_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/gate"
	"replyworker/internal/wxclient"
)

// TestPatienceFollowsWhatCallsUsuallyTake: a second before anything is known, then the mean and room for
// the unusual, and never so little that a busy machine looks like a host that hangs.
func TestPatienceFollowsWhatCallsUsuallyTake(t *testing.T) {
	t.Parallel()
	c := newClock(t, gate.Config{})
	takes := func(n int, each time.Duration, end gate.End) {
		for range n {
			grant := c.after(time.Second).granted("a") // leave is given, and then the job is claimed
			grant.Begin(c.after(300 * time.Millisecond).now)
			c.after(each).done(grant, end)
		}
	}
	require.Equal(t, time.Second, c.g.Patience(), "before any call has succeeded")
	takes(1, 400*time.Millisecond, gate.Succeeded)
	require.Equal(t, 1200*time.Millisecond, c.g.Patience(), "after one call of 400 ms")
	takes(50, 400*time.Millisecond, gate.Succeeded)
	require.InDelta(t, 400, c.g.Patience().Milliseconds(), 20, "ms, after many calls that take 400 ms")
	for range 50 {
		takes(1, 300*time.Millisecond, gate.Succeeded)
		takes(1, 500*time.Millisecond, gate.Succeeded)
	}
	require.InDelta(t, 800, c.g.Patience().Milliseconds(), 100, "ms, after many calls that take 300 to 500 ms")
	takes(20, time.Millisecond, gate.Answered)
	require.Greater(t, c.g.Patience(), 700*time.Millisecond, "refusals come at once and say nothing of successes")
	takes(200, time.Millisecond, gate.Succeeded)
	require.Equal(t, 50*time.Millisecond, c.g.Patience(), "after many calls that take 1 ms")
	takes(1, 9*time.Second, gate.Succeeded)
	require.Less(t, c.g.Patience(), 200*time.Millisecond, "one call that took 9 s makes that not usual")
	takes(20, 9*time.Second, gate.Succeeded)
	require.Greater(t, c.g.Patience(), 8*time.Second, "twenty do")
}

// left asks whether a call may be left for the other host, and says whether it was a probe's.
func (c *clock) left(grant *gate.Grant) (probe *gate.Grant, ok bool) { return c.g.Leave(c.now, grant) }

func TestACallIsLeftWhileItsHostIsOutAndTheOtherIsWell(t *testing.T) {
	t.Parallel()
	c := newClock(t, gate.Config{BreakerFailures: 2, HasBackup: true, Concurrency: 8})
	onPrimary, first, second := c.granted("a"), c.granted("first"), c.granted("second")
	stays := func(grant *gate.Grant, why string) {
		t.Helper()
		_, ok := c.left(grant)
		require.False(t, ok, why)
	}
	stays(onPrimary, "the primary is in")
	c.done(first, gate.HostFailed)
	require.NoError(t, onPrimary.HostOut().Err(), "the primary is in")
	stays(onPrimary, "the primary is in")
	c.done(second, gate.HostFailed)
	require.Error(t, onPrimary.HostOut().Err(), "the primary is out")
	onBackup := c.granted("b")
	require.Equal(t, wxclient.Backup, onBackup.Host)
	c.fail(2)
	require.True(t, c.open(wxclient.Backup))
	stays(onPrimary, "both hosts are out: there is nothing better to do than to wait")
	stays(onBackup, "both hosts are out")

	c.after(6 * time.Second)
	c.call("probe", gate.Succeeded)
	require.False(t, c.open(wxclient.Primary))
	require.NoError(t, c.after(time.Second).granted("c").HostOut().Err(), "the primary is back")
	stays(onPrimary, "its host is back")
	c.after(time.Second)
	probe, ok := c.left(onBackup)
	require.True(t, ok, "the backup is still out, and the primary is back")
	require.Nil(t, probe)
	require.True(t, c.g.Switch(c.now, onBackup))
	require.Equal(t, wxclient.Primary, onBackup.Host)
}

// A call is not left where the other host may not be called: it would only wait there.
func TestACallIsNotLeftWithoutRoomForAnother(t *testing.T) {
	t.Parallel()
	ceiling := &fixedPace{n: 2}
	c := newClock(t, gate.Config{BreakerFailures: 1, HasBackup: true, Pace: ceiling.of})
	c.fail(1)
	c.after(6 * time.Second)
	grant := c.granted("a")
	require.True(t, grant.HostProbe())
	_, ok := c.left(grant)
	require.False(t, ok, "the ceiling leaves no room")
	ceiling.n = 1
	left, ok := c.left(grant)
	require.True(t, ok)
	require.Zero(t, ceiling.n)
	ceiling.n = 1
	_, ok = c.left(grant)
	require.False(t, ok, "it has been left already")
	require.True(t, c.g.Switch(c.now, grant))
	c.done(grant, gate.Succeeded)
	c.done(left, gate.HostFailed)
	require.Equal(t, 1, ceiling.n, "the room that was kept for the second call was used, and none besides")

	ceiling.n = 2
	c.after(12 * time.Second)
	grant = c.granted("b")
	left, ok = c.left(grant)
	require.True(t, ok)
	c.done(grant, gate.Answered) // by itself, at the same moment
	c.done(left, gate.Unused)
	require.Equal(t, 2, ceiling.n, "what was kept for it and what the probe did not use is given back")
}

func TestSwitchedGrantHearsOfItsNewHost(t *testing.T) {
	t.Parallel()
	c := newClock(t, gate.Config{BreakerFailures: 1, HasBackup: true})
	grant := c.granted("a")
	require.True(t, c.g.Switch(c.now, grant))
	require.True(t, c.open(wxclient.Primary))
	require.NoError(t, grant.HostOut().Err(), "the backup is in")
}

func TestProbeIsLeftOnlyForAHostThatIsWell(t *testing.T) {
	t.Parallel()
	c := newClock(t, gate.Config{BreakerFailures: 1, HasBackup: true, Concurrency: 1})
	c.fail(1)
	c.after(6 * time.Second)
	probe := c.granted("b")
	require.True(t, probe.HostProbe())
	left, ok := c.left(probe)
	require.True(t, ok, "the backup is well")
	require.True(t, left.HostProbe())
	require.True(t, c.g.Switch(c.now, probe))
	require.Equal(t, wxclient.Backup, probe.Host)
	require.False(t, probe.HostProbe())
	c.done(probe, gate.Succeeded)
	require.Zero(t, c.g.State().SlotsUsed, "what was left has no slot")
	require.True(t, c.g.State().Hosts[wxclient.Primary].Probing)
	require.Equal(t, wxclient.Backup, c.call("c", gate.HostFailed).Host, "one probe at a time")

	c.after(6 * time.Second)
	other := c.granted("d")
	require.Equal(t, wxclient.Backup, other.Host, "the primary's probe is still out")
	require.True(t, other.HostProbe())
	_, ok = c.left(other)
	require.False(t, ok, "the primary is not well either")
	c.done(other, gate.HostFailed)
}

func TestLeftProbeBringsItsHostBackOrKeepsItOut(t *testing.T) {
	t.Parallel()
	for _, end := range []struct {
		end  gate.End
		open bool
	}{
		{gate.Succeeded, false},
		{gate.Answered, false},
		{gate.SlowDown, false},
		{gate.HostFailed, true},
		{gate.Unused, true},
	} {
		c := newClock(t, gate.Config{BreakerFailures: 1, HasBackup: true})
		c.fail(1)
		c.after(6 * time.Second)
		probe := c.granted("b")
		left, ok := c.left(probe)
		require.True(t, ok)
		require.True(t, c.g.Switch(c.now, probe))
		c.done(probe, gate.Succeeded)
		c.woken()
		c.after(time.Second).done(left, end.end)
		require.Equal(t, end.open, c.open(wxclient.Primary), "the left probe's end is %d", end.end)
		require.False(t, c.g.State().Hosts[wxclient.Primary].Probing)
		require.True(t, c.woken())
		require.Zero(t, c.g.State().SlotsUsed)
		c.after(30 * time.Second)
		require.Equal(t, wxclient.Primary, c.granted("c").Host, "well, or due for the next probe")
	}
}

// A host that hangs lets one call time out before the others: from then on nobody need follow them.
func TestNewCallsAvoidAHostThatIsSuspect(t *testing.T) {
	t.Parallel()
	c := newClock(t, gate.Config{BreakerFailures: 3, HasBackup: true, Concurrency: 8})
	hanging := []*gate.Grant{c.granted("a"), c.granted("b"), c.granted("c")}
	require.Equal(t, wxclient.Primary, c.call("d", gate.Unused).Host, "calls are out, and none has failed")
	c.done(hanging[0], gate.HostFailed)
	require.Equal(t, wxclient.Backup, c.call("d", gate.Succeeded).Host, "one has failed, and two are out")
	c.done(hanging[1], gate.Unused)
	require.Equal(t, wxclient.Primary, c.call("d", gate.Unused).Host, "what is out is not enough to open the breaker")
	require.Equal(t, wxclient.Primary, c.call("e", gate.HostFailed).Host)
	require.Equal(t, wxclient.Backup, c.call("d", gate.Unused).Host, "two have failed, and one is out")
	c.done(hanging[2], gate.Answered)
	require.Equal(t, wxclient.Primary, c.granted("d").Host, "an answer has come")
	require.False(t, c.open(wxclient.Primary))
}

// A suspect host is better than one that is out, or as suspect.
func TestASuspectHostIsCalledWhereTheOtherIsNoBetter(t *testing.T) {
	t.Parallel()
	c := newClock(t, gate.Config{BreakerFailures: 2, HasBackup: true, Concurrency: 8})
	first, second := c.granted("a"), c.granted("b")
	c.done(first, gate.HostFailed)
	onBackup := []*gate.Grant{c.granted("c"), c.granted("d"), c.granted("e")}
	require.Equal(t, wxclient.Backup, onBackup[0].Host)
	c.done(onBackup[0], gate.HostFailed)
	require.Equal(t, wxclient.Primary, c.call("f", gate.Unused).Host, "both are suspect")
	c.done(onBackup[1], gate.HostFailed)
	require.True(t, c.open(wxclient.Backup))
	require.Equal(t, wxclient.Primary, c.call("f", gate.Unused).Host, "the backup is out")
	c.done(second, gate.HostFailed)
	require.True(t, c.open(wxclient.Primary))
	c.done(onBackup[2], gate.Unused)
}

// The backup may be no better, and nobody knows it: it has answered nothing for a long time.
func TestSuspicionTriesTheOtherHostWithFewCalls(t *testing.T) {
	t.Parallel()
	const threshold, slots = 5, 64
	c := newClock(t, gate.Config{BreakerFailures: threshold, HasBackup: true, Concurrency: slots})
	slow := c.granted("slow")
	c.after(10 * time.Second)
	for i := range threshold - 1 {
		c.granted(fmt.Sprint("well ", i))
	}
	require.True(t, c.g.Switch(c.now, slow), "it has timed out, and hangs on the backup now")
	onBackup := 0
	var last *gate.Grant
	for range slots - threshold {
		if grant := c.granted("a"); grant.Host == wxclient.Backup {
			onBackup++
			last = grant
		}
	}
	require.Equal(t, threshold-1, onBackup, "calls on a backup that has answered nothing, besides the one that was switched")
	c.after(time.Millisecond).done(last, gate.Succeeded)
	require.Equal(t, wxclient.Backup, c.granted("b").Host, "it has answered")
	require.Equal(t, &gate.Denial{Everyone: true, Full: true}, c.denied("c"))
}

func TestACallIsNotLeftWhileTheClaimStoreIsAway(t *testing.T) {
	t.Parallel()
	c := newClock(t, gate.Config{BreakerFailures: 1, HasBackup: true})
	grant := c.granted("a")
	c.fail(1)
	c.g.StoreDown(c.now)
	_, ok := c.left(grant)
	require.False(t, ok, "what it would need first is its claim")
	c.g.StoreUp()
	_, ok = c.left(grant)
	require.True(t, ok)
}
