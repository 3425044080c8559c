package dedupetest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/dedupe"
)

// testClaimTable has a row for each state that a claim can find, and who asks.
func testClaimTable(t *testing.T, e env) {
	first, same := record("jobs/0/1/1", contentX), record("jobs/0/2/2", contentX)
	other := record("jobs/0/3/3", contentY)
	type before func(t *testing.T)
	claimed := func(t *testing.T) { e.win(t, again(first), 1) }
	parked := func(t *testing.T) {
		c := again(first)
		e.win(t, c, 1)
		e.park(t, c, dedupe.Parked{Delay: time.Hour})
	}
	done := func(t *testing.T) { e.complete(t, again(first), "log-1") }
	settled := func(state dedupe.State, maybe dedupe.Tri) before {
		return func(t *testing.T) {
			c := again(first)
			e.win(t, c, 1)
			e.fail(t, c, state, maybe)
		}
	}
	wait := func(do before, d time.Duration) before {
		return func(t *testing.T) { do(t); e.advance(t, d) }
	}
	x, exp, d := dedupe.StateDead, dedupe.StateExpired, "details of failure"
	const (
		won, busy, conflict        = dedupe.VerdictWon, dedupe.VerdictBusy, dedupe.VerdictConflict
		isDone, duplicate, wasTold = dedupe.VerdictDone, dedupe.VerdictDuplicate, dedupe.VerdictSettled
	)
	for _, row := range []struct {
		name   string
		before before
		who    dedupe.Claimant
		want   dedupe.Claim
	}{
		{"absent is won", func(*testing.T) {}, first, dedupe.Claim{Verdict: won, Attempts: 1}},
		{
			"claimed by another delivery is busy", claimed, first,
			dedupe.Claim{Verdict: busy, Attempts: 1, Wait: lease},
		},
		{
			"claimed by another record is busy", claimed, same,
			dedupe.Claim{Verdict: busy, Attempts: 1, Wait: lease},
		},
		{
			"claimed by other content is a conflict", claimed, other,
			dedupe.Claim{Verdict: conflict, Attempts: 1},
		},
		{
			"lapsed is taken over", wait(claimed, lease), first,
			dedupe.Claim{Verdict: won, Attempts: 2, MaybeSent: true, TakenOver: true},
		},
		{
			"lapsed is taken over by another record", wait(claimed, lease), same,
			dedupe.Claim{Verdict: won, Attempts: 2, MaybeSent: true, TakenOver: true},
		},
		{
			"lapsed is a conflict for other content", wait(claimed, lease), other,
			dedupe.Claim{Verdict: conflict, Attempts: 1},
		},
		{
			"waiting is busy also for its own record", parked, first,
			dedupe.Claim{Verdict: busy, Attempts: 1, Wait: time.Hour},
		},
		{
			"waiting is busy for another record", parked, same,
			dedupe.Claim{Verdict: busy, Attempts: 1, Wait: time.Hour},
		},
		{
			"waiting is a conflict for other content", parked, other,
			dedupe.Claim{Verdict: conflict, Attempts: 1},
		},
		{
			"due is won with its attempts", wait(parked, time.Hour), first,
			dedupe.Claim{Verdict: won, Attempts: 2},
		},
		{
			"due is won by another record", wait(parked, time.Hour), same,
			dedupe.Claim{Verdict: won, Attempts: 2},
		},
		{
			"due is a conflict for other content", wait(parked, time.Hour), other,
			dedupe.Claim{Verdict: conflict, Attempts: 1},
		},
		{
			"done is told to its record", done, first,
			dedupe.Claim{Verdict: isDone, Attempts: 1, LogID: "log-1", Details: "details of log-1"},
		},
		{
			"done is a duplicate to others", done, same,
			dedupe.Claim{Verdict: duplicate, Attempts: 1, LogID: "log-1", Details: "details of log-1"},
		},
		{
			"done is a conflict for other content", done, other,
			dedupe.Claim{Verdict: conflict, Attempts: 1, LogID: "log-1", Details: "details of log-1"},
		},
		{
			"dead is told to its record", settled(x, dedupe.Set), first,
			dedupe.Claim{Verdict: wasTold, Attempts: 1, State: x, Reason: "rejected", Details: d, MaybeSent: true},
		},
		{
			"expired is told to its record", settled(exp, dedupe.Keep), first,
			dedupe.Claim{Verdict: wasTold, Attempts: 1, State: exp, Reason: "rejected", Details: d},
		},
		{
			"dead is won anew by another record", settled(x, dedupe.Keep), same,
			dedupe.Claim{Verdict: won, Attempts: 1},
		},
		{
			"dead and maybe sent is won anew and stays so", settled(x, dedupe.Set), same,
			dedupe.Claim{Verdict: won, Attempts: 1, MaybeSent: true},
		},
		{
			"dead and not sent is won by other content", settled(x, dedupe.Clear), other,
			dedupe.Claim{Verdict: won, Attempts: 1},
		},
		{
			"dead and maybe sent is a conflict for other content", settled(x, dedupe.Set), other,
			dedupe.Claim{Verdict: conflict, Attempts: 1, Reason: "rejected", Details: d, MaybeSent: true},
		},
		{
			"expired is won anew by another record", settled(exp, dedupe.Keep), same,
			dedupe.Claim{Verdict: won, Attempts: 1},
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			e.srv.Do(t, "DEL", e.srv.Prefix()+":job:{"+job.String()+"}")
			row.before(t)
			got := e.claim(t, again(row.who), 1)
			near(t, row.want.Wait, got.Wait)
			if row.want.State != "" {
				require.Equal(t, row.want.State, got.State)
			}
			row.want.Wait, row.want.State, row.want.Source = got.Wait, got.State, got.Source
			require.Equal(t, row.want, got)
		})
	}
}

func testClaimRepeated(t *testing.T, e env) {
	c := record("jobs/0/1/1", contentX)
	want := e.win(t, c, 1)
	require.Equal(t, want, e.claim(t, c, 1), "a repeated call must not add an attempt")

	e.advance(t, 2*lease)
	require.Equal(t, want, e.claim(t, c, 1), "also when its lease has run out and nobody took it")

	e.advance(t, 2*lease)
	thief := again(c)
	want = e.win(t, thief, 1)
	require.True(t, want.TakenOver)
	require.Equal(t, want, e.claim(t, thief, 1), "a take-over repeated must say the same")

	_, err := e.Begin(t.Context(), thief, want.Attempts)
	require.NoError(t, err)
	require.False(t, e.claim(t, thief, 1).TakenOver, "the next attempt is the new holder's own")

	zero := record("jobs/0/9/9", contentX)
	zero.Key.IdempotentID = "spends-nothing"
	require.Equal(t, 0, e.win(t, zero, 0).Attempts)
	require.Equal(t, dedupe.VerdictBusy, e.claim(t, again(zero), 0).Verdict, "the holder may be calling")
	e.park(t, zero, dedupe.Parked{Delay: time.Hour})
	require.Equal(t, dedupe.VerdictBusy, e.claim(t, again(zero), 1).Verdict)
	require.Equal(t, dedupe.VerdictWon, e.claim(t, again(zero), 0).Verdict, "who does not call need not wait")
}

func testConflictRemembered(t *testing.T, e env) {
	holder, other := record("jobs/0/1/1", contentX), record("jobs/0/2/2", contentY)
	e.win(t, holder, 1)
	require.Equal(t, dedupe.VerdictConflict, e.verdict(t, other))

	e.fail(t, holder, dedupe.StateDead, dedupe.Clear)
	require.Equal(t, dedupe.VerdictConflict, e.verdict(t, again(other)), "the record was told so; its verdict stays")

	mended := record("jobs/0/3/3", contentY)
	e.win(t, mended, 1)
	require.Equal(t, dedupe.VerdictConflict, e.verdict(t, again(other)), "also when the key has gone to its own content")
	require.Equal(t, dedupe.CompletedConflict, e.complete(t, other, "log-9").Completion)

	e.complete(t, mended, "log-1")
	require.Equal(t, dedupe.VerdictConflict, e.verdict(t, again(other)))
	require.NoError(t, e.MarkPublished(t.Context(), job, other.Source))
	require.False(t, e.lookup(t).Published, "a conflict is nothing to mark as published")
}

func testConflictsBounded(t *testing.T, e env) {
	e.complete(t, record("jobs/0/1/1", contentX), "log-1")
	for i := range 40 {
		require.Equal(t, dedupe.VerdictConflict, e.verdict(t, record(fmt.Sprintf("jobs/1/%d/1", i), contentY)))
	}
	key := e.srv.Prefix() + ":job:{" + job.String() + "}"
	require.Equal(t, ":23\r\n", e.srv.Do(t, "HLEN", key), "a done claim of 7 fields and 16 remembered verdicts")
	require.Equal(t, dedupe.VerdictDuplicate, e.verdict(t, record("jobs/0/2/2", contentX)))
}

// testVerdictOutlivesCompletion completes, late, a record whose claim another took over and settled.
func testVerdictOutlivesCompletion(t *testing.T, e env) {
	late, dead := record("jobs/0/1/1", contentX), record("jobs/0/2/2", contentX)
	e.win(t, late, 1)
	e.advance(t, lease)
	e.win(t, dead, 1)
	e.fail(t, dead, dedupe.StateExpired, dedupe.Keep)
	want := e.claim(t, again(dead), 1)
	require.Equal(t, dedupe.VerdictSettled, want.Verdict)

	require.Equal(t, dedupe.Completed, e.complete(t, late, "log-1").Completion)
	want.LogID = "" // of the other record
	require.Equal(t, want, e.claim(t, again(dead), 1))
	require.Equal(t, dedupe.VerdictDone, e.verdict(t, again(late)))
	require.Equal(t, dedupe.VerdictDuplicate, e.verdict(t, record("jobs/0/3/3", contentX)))
}

// testVerdictOutlivesNewClaim replays a dead letter before the dead record's offset was committed.
func testVerdictOutlivesNewClaim(t *testing.T, e env) {
	dead, replay := record("jobs/0/1/1", contentX), record("jobs/0/2/2", contentX)
	e.win(t, dead, 1)
	e.fail(t, dead, dedupe.StateDead, dedupe.Keep)
	want := e.claim(t, again(dead), 1)
	require.Equal(t, dedupe.VerdictSettled, want.Verdict)

	check := func(when string) {
		t.Helper()
		got := e.claim(t, again(dead), 1)
		require.Equal(t, want, got, when)
	}
	e.win(t, replay, 1)
	check("while the replay is under way")
	require.Equal(t, dedupe.CompletedSettled, e.complete(t, dead, "log-1").Completion)
	require.True(t, e.lookup(t).MaybeSent, "the running claim should know that the API has taken the reply")
	want.MaybeSent = true
	check("after the dead record's last call came back with a success")
	require.NoError(t, e.MarkPublished(t.Context(), job, dead.Source))
	want.Published = true
	check("after its outcome was published")
	require.Equal(t, dedupe.Completed, e.complete(t, replay, "log-1").Completion)
	check("after the replay succeeded")
	require.Equal(t, dedupe.VerdictDone, e.verdict(t, again(replay)))
}

func testRetention(t *testing.T, e env) {
	c := record("jobs/0/1/1", contentX)
	e.win(t, c, 1)
	e.advance(t, dedupe.DefaultRetention-time.Hour)
	require.Equal(t, []error{nil}, e.Renew(t.Context(), []dedupe.Claimant{c}))
	e.advance(t, dedupe.DefaultRetention-time.Hour)
	e.complete(t, c, "log-1")
	e.advance(t, dedupe.DefaultRetention-time.Hour)
	require.Equal(t, dedupe.VerdictDone, e.verdict(t, again(c)))
	e.advance(t, 2*time.Hour)
	_, found, err := e.Lookup(t.Context(), job)
	require.NoError(t, err)
	require.False(t, found, "a claim ends when its retention has passed since the last step")
}

func testLookup(t *testing.T, e env) {
	_, found, err := e.Lookup(t.Context(), job)
	require.NoError(t, err)
	require.False(t, found)

	c := record("jobs/0/1/1", contentX)
	e.win(t, c, 1)
	rec := e.lookup(t)
	near(t, lease, rec.Wait)
	require.WithinDuration(t, time.Now(), rec.UpdatedAt, 365*24*time.Hour)
	rec.UpdatedAt, rec.Wait = time.Time{}, 0
	require.Equal(t, dedupe.Record{State: dedupe.StateClaimed, Attempts: 1, Source: c.Source, Content: contentX}, rec)

	e.park(t, c, dedupe.Parked{Delay: time.Hour, MaybeSent: dedupe.Set})
	rec = e.lookup(t)
	near(t, time.Hour, rec.Wait)
	require.Equal(t, dedupe.StateWaiting, rec.State)
	require.True(t, rec.MaybeSent)

	e.complete(t, c, "log-1")
	rec = e.lookup(t)
	require.Equal(t, "log-1", rec.LogID)
	require.Equal(t, dedupe.StateDone, rec.State)
	require.Zero(t, rec.Wait)
}

// testRace lets many deliveries claim the same job at once: one wins, all others wait.
func testRace(t *testing.T, e env) {
	second := Store(t, e.srv, func(c *dedupe.Config) { c.Lease = lease })
	verdicts := make([]dedupe.Verdict, 32)
	var all sync.WaitGroup
	for i := range verdicts {
		all.Go(func() {
			s := e.Store
			if i%2 == 1 {
				s = second
			}
			got, err := s.Claim(t.Context(), record(fmt.Sprintf("jobs/0/%d/1", i), contentX), 1)
			if err == nil {
				verdicts[i] = got.Verdict
			}
		})
	}
	all.Wait()
	count := map[dedupe.Verdict]int{}
	for _, v := range verdicts {
		count[v]++
	}
	require.Equal(t, map[dedupe.Verdict]int{dedupe.VerdictWon: 1, dedupe.VerdictBusy: 31}, count)
	require.Equal(t, 1, e.lookup(t).Attempts)
}
