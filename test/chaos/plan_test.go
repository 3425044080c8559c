//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/test/judge"
)

const short = 3 * time.Minute

func TestASeedMakesItsPlanAgain(t *testing.T) {
	t.Parallel()
	plan := MakePlan(7, short)
	require.Equal(t, plan, MakePlan(7, short))
	require.NotEqual(t, MakePlan(7, short), MakePlan(8, short))
}

func TestAShortRunMakesEveryTrouble(t *testing.T) {
	t.Parallel()
	for seed := range uint64(50) {
		made := map[Kind]bool{}
		for _, s := range MakePlan(seed, short) {
			made[s.Kind] = true
		}
		for _, k := range troubles() {
			require.True(t, made[k.kind], "seed %d: %s", seed, k.kind)
		}
	}
}

func TestStepsOfALaneFollowEachOther(t *testing.T) {
	t.Parallel()
	ends := map[Lane]time.Duration{}
	for _, s := range MakePlan(3, 30*time.Minute) {
		require.GreaterOrEqual(t, s.At, ends[s.Lane], "%s", s)
		ends[s.Lane] = s.At + s.For
		require.LessOrEqual(t, ends[s.Lane], 30*time.Minute)
	}
}

func TestTheSimulatorTakesEveryFault(t *testing.T) {
	t.Parallel()
	for _, k := range troubles() {
		if k.lane != API {
			continue
		}
		for draw := range uint64(1024) {
			faults := apiFaults(Step{Kind: k.kind, Draw: draw})
			require.NotEmpty(t, faults, k.kind)
			for _, f := range faults {
				f.For = time.Second
				require.NoError(t, f.Validate(), "%s: %s", k.kind, f.Kind)
			}
		}
	}
}

func TestASeedMakesItsJobsAgain(t *testing.T) {
	t.Parallel()
	a, b := newTraffic(5), newTraffic(5)
	sorts := map[string]int{}
	for range 3000 {
		x, y := a.next(), b.next()
		require.Equal(t, x.Key, y.Key)
		require.NotEmpty(t, x.Key)
		if !bytes.Contains(x.Value, []byte("expires_at")) {
			require.Equal(t, x.Value, y.Value)
		}
		sort := ""
		for _, h := range x.Headers {
			if h.Key == judge.Expect {
				sort = string(h.Value)
			}
		}
		sorts[sort]++
		if sort == judge.ExpectExpired || sort == "" {
			require.True(t, json.Valid(x.Value), "%s", x.Value)
		}
	}
	require.Greater(t, sorts[judge.ExpectInvalid], 20)
	require.Greater(t, sorts[judge.ExpectExpired], 10)
}
