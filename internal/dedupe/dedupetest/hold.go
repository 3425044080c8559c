package dedupetest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/dedupe"
)

// holdRequest has long waits, like lease.
var holdRequest = dedupe.HoldRequest{
	Kind: dedupe.HoldCredentials, Code: "SIGN_ERROR", Message: "签名错误",
	First: time.Hour, Max: 5 * time.Hour, TTL: 48 * time.Hour,
}

func (e env) hold(t testing.TB, mchID string) dedupe.Hold {
	t.Helper()
	holds, err := e.RenewHolds(t.Context(), []string{mchID}, 48*time.Hour)
	require.NoError(t, err)
	require.Contains(t, holds, mchID)
	return holds[mchID]
}

func testHold(t *testing.T, e env) {
	ctx := t.Context()
	h, created, err := e.Hold(ctx, "1", holdRequest)
	require.NoError(t, err)
	require.True(t, created)
	near(t, time.Hour, h.NextProbe)
	h.NextProbe = 0
	since := h.Since
	want := dedupe.Hold{
		MchID: "1", Kind: dedupe.HoldCredentials, Code: "SIGN_ERROR", Message: "签名错误", Since: since,
	}
	require.Equal(t, want, h)

	brake := holdRequest
	brake.Kind, brake.Message, brake.First = dedupe.HoldBrake, strings.Repeat("错", 1000), time.Minute
	h, created, err = e.Hold(ctx, "1", brake)
	require.NoError(t, err)
	require.False(t, created)
	require.Equal(t, dedupe.HoldCredentials, h.Kind, "the first kind stays")
	near(t, time.Hour, h.NextProbe)
	h, _, err = e.Hold(ctx, "2", brake)
	require.NoError(t, err)
	require.Equal(t, strings.Repeat("错", 170), h.Message, "a long message is cut between characters")

	holds, err := e.RenewHolds(ctx, []string{"1", "2", "3"}, 48*time.Hour)
	require.NoError(t, err)
	require.Len(t, holds, 2, "a merchant that is not held is not in the answer")
	e.advance(t, 47*time.Hour)
	e.hold(t, "1")
	e.advance(t, 47*time.Hour)
	e.hold(t, "1")
	_, err = e.RenewHolds(ctx, []string{"1"}, 0)
	require.NoError(t, err)
	e.advance(t, 49*time.Hour)
	holds, err = e.RenewHolds(ctx, []string{"1", "2", "3"}, 48*time.Hour)
	require.NoError(t, err)
	require.Empty(t, holds, "a hold ends when nobody renews it")

	_, created, err = e.Hold(ctx, "1", brake)
	require.NoError(t, err)
	require.True(t, created)
	released, err := e.ReleaseHold(ctx, "1")
	require.NoError(t, err)
	require.True(t, released)
	released, err = e.ReleaseHold(ctx, "1")
	require.NoError(t, err)
	require.False(t, released)

	_, _, err = e.Hold(ctx, "1", dedupe.HoldRequest{Kind: dedupe.HoldBrake})
	requireReason(t, dedupe.ReasonInvalid, err)
	_, _, err = e.Hold(ctx, "{1}", holdRequest)
	requireReason(t, dedupe.ReasonInvalid, err)
}

func testProbe(t *testing.T, e env) {
	ctx := t.Context()
	probe := func(complaint string, force bool) (string, dedupe.ProbeAnswer) {
		t.Helper()
		p := dedupe.Probe{Token: dedupe.NewToken(), Complaint: complaint, Lease: 30 * time.Minute, Force: force}
		a, err := e.ProbeHold(ctx, "1", p)
		require.NoError(t, err)
		twice, err := e.ProbeHold(ctx, "1", p)
		require.NoError(t, err)
		require.Equal(t, a.Granted, twice.Granted, "a repeated call is answered alike")
		require.Equal(t, a.Hold.Probes, twice.Hold.Probes, "a repeated call takes no second probe")
		return p.Token, a
	}
	_, a := probe("c1", false)
	require.Equal(t, dedupe.ProbeAnswer{}, a, "no hold")

	_, _, err := e.Hold(ctx, "1", holdRequest)
	require.NoError(t, err)
	_, a = probe("c1", false)
	require.False(t, a.Granted)
	require.False(t, a.Repeat)
	near(t, time.Hour, a.Hold.NextProbe)

	e.advance(t, time.Hour)
	token, a := probe("c1", false)
	require.True(t, a.Granted)
	require.Equal(t, 1, a.Hold.Probes)
	require.Equal(t, "c1", a.Hold.LastProbe)
	near(t, 2*time.Hour, a.Hold.NextProbe)
	require.NoError(t, e.ProbeDone(ctx, "1", "of another worker"))
	require.NoError(t, e.ProbeDone(ctx, "1", token))
	require.NoError(t, e.ProbeDone(ctx, "1", token))

	e.advance(t, 2*time.Hour)
	_, a = probe("c1", false)
	require.False(t, a.Granted)
	require.True(t, a.Repeat, "the next probe should be of another complaint")
	require.Zero(t, a.Hold.NextProbe)
	_, a = probe("c1", true)
	require.True(t, a.Granted, "unless there is no other")
	require.Equal(t, 2, a.Hold.Probes)
	near(t, 4*time.Hour, a.Hold.NextProbe)

	e.advance(t, 4*time.Hour)
	_, a = probe("c2", false)
	require.True(t, a.Granted, "a probe that never came back does not keep the next one away for good")
	near(t, 5*time.Hour, a.Hold.NextProbe)

	brief := holdRequest
	brief.First, brief.Max = time.Millisecond, time.Millisecond
	_, _, err = e.Hold(ctx, "2", brief)
	require.NoError(t, err)
	e.advance(t, time.Minute)
	first := dedupe.Probe{Token: dedupe.NewToken(), Complaint: "c1", Lease: 30 * time.Minute}
	a, err = e.ProbeHold(ctx, "2", first)
	require.NoError(t, err)
	require.True(t, a.Granted)
	e.advance(t, time.Minute)
	second := dedupe.Probe{Token: dedupe.NewToken(), Complaint: "c2", Lease: 30 * time.Minute}
	a, err = e.ProbeHold(ctx, "2", second)
	require.NoError(t, err)
	require.False(t, a.Granted, "while one is out there is no other, though it is due")
	near(t, 29*time.Minute, a.Hold.NextProbe)
	require.NoError(t, e.ProbeDone(ctx, "2", first.Token))
	a, err = e.ProbeHold(ctx, "2", second)
	require.NoError(t, err)
	require.True(t, a.Granted)
}

// testHastenProbe: what a merchant is held for has been mended, so that it is probed now.
func testHastenProbe(t *testing.T, e env) {
	ctx := t.Context()
	_, held, err := e.HastenProbe(ctx, "1")
	require.NoError(t, err)
	require.False(t, held, "no hold")

	_, _, err = e.Hold(ctx, "1", holdRequest)
	require.NoError(t, err)
	e.advance(t, time.Hour)
	first := dedupe.Probe{Token: dedupe.NewToken(), Complaint: "c1", Lease: 30 * time.Minute}
	a, err := e.ProbeHold(ctx, "1", first)
	require.NoError(t, err)
	require.True(t, a.Granted)

	h, held, err := e.HastenProbe(ctx, "1")
	require.NoError(t, err)
	require.True(t, held)
	require.Equal(t, holdRequest.Code, h.Code, "it is held still")
	near(t, 30*time.Minute, h.NextProbe) // while a probe is out there is no other
	require.NoError(t, e.ProbeDone(ctx, "1", first.Token))
	again := dedupe.Probe{Token: dedupe.NewToken(), Complaint: "c1", Lease: 30 * time.Minute}
	a, err = e.ProbeHold(ctx, "1", again)
	require.NoError(t, err)
	require.True(t, a.Granted, "at once, and of any complaint")
	require.Equal(t, 1, a.Hold.Probes, "the waits between probes begin anew")
	near(t, 2*time.Hour, a.Hold.NextProbe)

	brake := holdRequest
	brake.Kind = dedupe.HoldBrake
	_, _, err = e.Hold(ctx, "2", brake)
	require.NoError(t, err)
	h, held, err = e.HastenProbe(ctx, "2")
	require.NoError(t, err)
	require.True(t, held)
	near(t, time.Hour, h.NextProbe) // new keys mend nothing there
	_, _, err = e.HastenProbe(ctx, "{1}")
	requireReason(t, dedupe.ReasonInvalid, err)
}

// testProbeRace lets many workers ask for one probe.
func testProbeRace(t *testing.T, e env) {
	_, _, err := e.Hold(t.Context(), "1", holdRequest)
	require.NoError(t, err)
	e.advance(t, time.Hour)
	var granted, failed atomic.Int64
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			p := dedupe.Probe{Token: dedupe.NewToken(), Complaint: fmt.Sprint(i), Lease: time.Minute}
			a, err := e.ProbeHold(t.Context(), "1", p)
			if err != nil {
				failed.Add(1)
			} else if a.Granted {
				granted.Add(1)
			}
		})
	}
	all.Wait()
	require.Zero(t, failed.Load())
	require.EqualValues(t, 1, granted.Load())
	require.Equal(t, 1, e.hold(t, "1").Probes)
}

func testHoldsListed(t *testing.T, e env) {
	holds, err := e.ListHolds(t.Context())
	require.NoError(t, err)
	require.Empty(t, holds)
	for i := range 300 {
		c := record("jobs/0/1/1", contentX)
		c.IdempotentID = fmt.Sprint(i)
		e.win(t, c, 1)
	}
	for _, id := range []string{"1900000002", "1900000001"} {
		_, _, err := e.Hold(t.Context(), id, holdRequest)
		require.NoError(t, err)
	}
	holds, err = e.ListHolds(t.Context())
	require.NoError(t, err)
	require.Len(t, holds, 2)
	require.Equal(t, "1900000001", holds[0].MchID)
	require.Equal(t, "1900000002", holds[1].MchID)
	require.Equal(t, "签名错误", holds[1].Message)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = e.ListHolds(ctx)
	requireReason(t, dedupe.ReasonCanceled, err)
}
