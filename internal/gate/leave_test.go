package gate_test

import (
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
			grant := c.granted("a")
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
}

func TestCallsOnAHostHearThatItWentOutWhereTheOtherIsWell(t *testing.T) {
	t.Parallel()
	c := newClock(t, gate.Config{BreakerFailures: 2, HasBackup: true, Concurrency: 8})
	onPrimary := c.granted("a")
	c.fail(1)
	require.NoError(t, onPrimary.HostOut().Err(), "the primary is in")
	c.fail(1)
	require.Error(t, onPrimary.HostOut().Err(), "the primary is out, and the backup is well")

	onBackup := c.granted("b")
	require.Equal(t, wxclient.Backup, onBackup.Host)
	c.fail(2)
	require.True(t, c.open(wxclient.Backup))
	require.NoError(t, onBackup.HostOut().Err(), "both hosts are out: there is nothing better to do than to wait")

	c.after(6 * time.Second)
	c.call("probe", gate.Succeeded)
	require.False(t, c.open(wxclient.Primary))
	require.NoError(t, c.after(time.Second).granted("c").HostOut().Err(), "the primary is back")
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
	require.Nil(t, c.g.Leave(c.call("a", gate.HostFailed)), "no probe")
	c.after(6 * time.Second)
	probe := c.granted("b")
	require.True(t, probe.HostProbe())
	left := c.g.Leave(probe)
	require.NotNil(t, left, "the backup is well")
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
	require.Nil(t, c.g.Leave(other), "the primary is not well either")
	c.done(other, gate.HostFailed)
}

func TestLeftProbeBringsItsHostBackOrKeepsItOut(t *testing.T) {
	t.Parallel()
	for _, end := range []struct {
		end  gate.End
		open bool
	}{
		{gate.Succeeded, false}, {gate.Answered, false}, {gate.SlowDown, false},
		{gate.HostFailed, true}, {gate.Unused, true},
	} {
		c := newClock(t, gate.Config{BreakerFailures: 1, HasBackup: true})
		c.fail(1)
		c.after(6 * time.Second)
		probe := c.granted("b")
		left := c.g.Leave(probe)
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
