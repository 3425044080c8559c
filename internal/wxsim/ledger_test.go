package wxsim_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"replyworker/internal/wxsim"
)

func TestRepeatOnTheOtherHostIsOneEffect(t *testing.T) {
	t.Parallel()
	sim := newSim(t)
	c := newCall(t, "c-1", "id-1")
	first := direct(t, sim, wxsim.Primary, c).logID(t)
	require.Equal(t, first, direct(t, sim, wxsim.Backup, newCall(t, "c-1", "id-1")).logID(t))
	second := direct(t, sim, wxsim.Backup, newCall(t, "c-1", "id-2")).logID(t)
	require.NotEqual(t, first, second)

	effects := sim.Effects()
	require.Len(t, effects, 2)
	sum := sha256.Sum256([]byte(c.body))
	got := effects[0]
	require.False(t, got.Time.IsZero())
	require.Equal(t, wxsim.Effect{
		Sequence: 1, MchID: keys(t).MchID, IdempotentID: "id-1", ComplaintID: "c-1", BodySHA256: hex.EncodeToString(sum[:]),
		LogID: first, Host: wxsim.Primary, Time: got.Time, Calls: 2,
	}, got)
	one, ok := sim.Effect(keys(t).MchID, "id-2")
	require.True(t, ok)
	require.Equal(t, effects[1], one)
	_, ok = sim.Effect("1", "id-2")
	require.False(t, ok)

	stats := sim.Stats()
	require.Equal(t, []int64{3, 2, 1, 0, 1}, []int64{stats.Calls, stats.Effects, stats.Repeats, stats.InFlight, stats.MaxInFlight})
	require.Equal(t, wxsim.HostStats{Calls: 2, Effects: 1, Statuses: map[int]int64{200: 2}}, stats.Hosts[wxsim.Backup])
}

func TestRepeatWithOtherContent(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		rule   wxsim.ConflictRule
		status int
	}{{wxsim.ConflictRefuse, http.StatusBadRequest}, {wxsim.ConflictSameLogID, http.StatusOK}} {
		t.Run(string(tc.rule), func(t *testing.T) {
			t.Parallel()
			sim := newSim(t, func(c *wxsim.Config) { c.Conflict = tc.rule })
			first := direct(t, sim, wxsim.Primary, newCall(t, "c-1", "id-1"))
			otherBody := newCall(t, "c-1", "id-1")
			otherBody.body += " "
			for _, c := range []*call{otherBody, newCall(t, "c-2", "id-1")} {
				r := direct(t, sim, wxsim.Primary, c)
				require.Equal(t, tc.status, r.status)
				if tc.status == http.StatusOK {
					require.Equal(t, first.logID(t), r.logID(t))
					continue
				}
				require.Equal(t, "INVALID_REQUEST", r.code(t))
			}
			require.Len(t, sim.Effects(), 1)
			require.Equal(t, 2, sim.Effects()[0].Conflicts)
			require.EqualValues(t, 2, sim.Stats().Conflicts)
			require.Empty(t, sim.Stats().Refused)
		})
	}
}

func TestLedgerIsBounded(t *testing.T) {
	t.Parallel()
	sim := newSim(t, func(c *wxsim.Config) { c.MaxEffects, c.MaxCalls = 2, 3 })
	for i := range 5 {
		direct(t, sim, wxsim.Primary, newCall(t, "c", fmt.Sprint(i))).logID(t)
	}
	var kept []string
	for _, e := range sim.Effects() {
		kept = append(kept, e.IdempotentID)
	}
	require.Equal(t, []string{"3", "4"}, kept)
	require.EqualValues(t, 3, sim.Stats().Forgotten)
	calls := sim.Calls()
	require.Len(t, calls, 3)
	require.Equal(t, []int64{3, 5}, []int64{calls[0].Sequence, calls[2].Sequence})
}

func TestManyAtOnceAreOneEffect(t *testing.T) {
	t.Parallel()
	sim := newSim(t)
	var wg sync.WaitGroup
	logIDs := make([]string, 20)
	for i := range logIDs {
		wg.Go(func() { logIDs[i] = direct(t, sim, wxsim.Primary, newCall(t, "c", "same")).logID(t) })
	}
	wg.Wait()
	for _, id := range logIDs {
		require.Equal(t, logIDs[0], id)
	}
	require.Len(t, sim.Effects(), 1)
	require.Equal(t, 20, sim.Effects()[0].Calls)
}

func BenchmarkCall(b *testing.B) {
	sim := newSim(b)
	c := newCall(b, "c", "id")
	for b.Loop() {
		direct(b, sim, wxsim.Primary, c)
	}
}
