package gate_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"replyworker/internal/gate"
)

// take asks for leave for one merchant until it is denied, at most n times, and returns the grants.
func take(g *gate.Gate, mchID string, n int) []*gate.Grant {
	var grants []*gate.Grant
	for i := range n {
		grant, _ := g.Try(start, gate.Ask{MchID: mchID, Lane: fmt.Sprint(mchID, i)})
		if grant == nil {
			break
		}
		grants = append(grants, grant)
	}
	return grants
}

// TestTheLastSlotsAreForMerchantsThatHaveFew: one merchant alone takes every slot. Where there are two,
// the one with more than its half leaves some free, and the other gets them at once.
func TestTheLastSlotsAreForMerchantsThatHaveFew(t *testing.T) {
	t.Parallel()
	g := newGate(gate.Config{Concurrency: 64, BreakerFailures: 5})
	alone := take(g, "1", 100)
	require.Len(t, alone, 64, "slots of a merchant that is alone")
	_, denial := g.Try(start, gate.Ask{MchID: "2", Lane: "a"})
	require.True(t, denial.Full, "the other's first job comes when none is free")
	for _, grant := range alone {
		g.Done(start, grant, gate.Succeeded)
	}

	busy := take(g, "2", 1)
	busy = append(busy, take(g, "1", 100)...)
	require.Len(t, busy, 60, "slots of the busy one and one of the other's; 4 are kept")
	_, denial = g.Try(start, gate.Ask{MchID: "1", Lane: "b"})
	require.False(t, denial.Full, "others may still go")
	require.True(t, denial.Everyone)
	require.Len(t, take(g, "2", 100), 4, "the other has them at once")
	require.Equal(t, 64, g.State().SlotsUsed)
}

func TestFewSlotsAreNotKept(t *testing.T) {
	t.Parallel()
	g := newGate(gate.Config{Concurrency: 7, BreakerFailures: 5})
	require.Len(t, take(g, "2", 1), 1)
	require.Len(t, take(g, "1", 100), 6)
}

// TestAForgottenMerchantLeavesNothingBehind: its hold is gone, it counts no more for the shares, and what
// is out of it comes back harmlessly.
func TestAForgottenMerchantLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	g := newGate(gate.Config{Concurrency: 64, BreakerFailures: 5})
	out := take(g, "2", 3)
	g.SetHold("2", gate.Hold{Kind: "credentials"})
	g.Forget("2")
	_, held := g.Held("2")
	require.False(t, held)
	for _, grant := range out {
		g.Done(start, grant, gate.Succeeded)
	}
	require.Zero(t, g.State().SlotsUsed)
	require.Len(t, take(g, "1", 100), 64, "there is one merchant again")
}

// TestCallsThatComeBackOfAForgottenMerchantDoNotBringItBack, nor does it have a new pace; that it has when
// it is configured again.
func TestCallsThatComeBackOfAForgottenMerchantDoNotBringItBack(t *testing.T) {
	t.Parallel()
	var paces []*fixedPace
	g := newGate(gate.Config{Concurrency: 64, BreakerFailures: 5, HasBackup: true, Pace: func(string) gate.Pace {
		paces = append(paces, &fixedPace{n: 100})
		return paces[len(paces)-1]
	}})
	out := take(g, "2", 3)
	g.Forget("2")
	require.True(t, g.Switch(start, out[0]))
	g.Done(start, out[0], gate.Succeeded)
	g.Done(start, out[1], gate.SlowDown)
	g.Done(start, out[2], gate.HostFailed)
	all, own := g.Successes("2")
	require.EqualValues(t, 1, all)
	require.Zero(t, own)
	require.False(t, g.Succeeding(start, "2"))
	require.Empty(t, g.State().Merchants)
	require.Zero(t, g.State().SlotsUsed)
	require.Len(t, paces, 1)
	require.Equal(t, 1, paces[0].refused, "the pace that let a call through is told of its answer")

	g.SetHold("3", gate.Hold{})
	require.Len(t, paces, 1, "a merchant whose jobs have not come needs no pace")
	take(g, "2", 3)
	require.Len(t, paces, 2)
}
