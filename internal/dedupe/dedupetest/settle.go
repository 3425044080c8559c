package dedupetest

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/dedupe"
)

func testBegin(t *testing.T, e env) {
	c := record("jobs/0/1/1", contentX)
	_, err := e.Begin(t.Context(), c, 0)
	require.ErrorIs(t, err, dedupe.ErrLost, "of an absent claim")

	e.win(t, c, 1)
	for range 3 {
		n, err := e.Begin(t.Context(), c, 1)
		require.NoError(t, err)
		require.Equal(t, 2, n, "a repeated call must not add an attempt")
	}
	n, err := e.Begin(t.Context(), c, 2)
	require.NoError(t, err)
	require.Equal(t, 3, n)
	_, err = e.Begin(t.Context(), c, 1)
	require.ErrorIs(t, err, dedupe.ErrLost, "the caller's number is not the claim's")

	e.advance(t, lease-time.Minute)
	_, err = e.Begin(t.Context(), c, 3)
	require.NoError(t, err)
	e.advance(t, lease-time.Minute)
	require.Equal(t, dedupe.VerdictBusy, e.verdict(t, again(c)), "an attempt renews the lease")

	e.advance(t, time.Minute)
	e.win(t, again(c), 1)
	_, err = e.Begin(t.Context(), c, 4)
	require.ErrorIs(t, err, dedupe.ErrLost, "of a claim that another has taken over")
}

func testRenew(t *testing.T, e env) {
	held, lapsed := record("a", contentX), record("b", contentX)
	lost, absent := record("c", contentX), record("d", contentX)
	lapsed.IdempotentID, lost.IdempotentID, absent.IdempotentID = "lapsed", "lost", "absent"
	e.win(t, lapsed, 1)
	e.win(t, lost, 1)
	e.advance(t, lease)
	e.win(t, held, 1)
	e.win(t, again(lost), 1)
	invalid := held
	invalid.Token = ""

	answers := e.Renew(t.Context(), []dedupe.Claimant{held, lapsed, lost, invalid, absent})
	require.Len(t, answers, 5)
	require.NoError(t, answers[0], "held")
	require.NoError(t, answers[1], "lapsed, but nobody has taken it")
	require.ErrorIs(t, answers[2], dedupe.ErrLost)
	require.ErrorAs(t, answers[3], new(*dedupe.Error))
	require.ErrorIs(t, answers[4], dedupe.ErrLost)

	e.advance(t, lease-time.Minute)
	require.Equal(t, dedupe.VerdictBusy, e.verdict(t, again(lapsed)))
	require.Empty(t, e.Renew(t.Context(), nil))

	many := make([]dedupe.Claimant, 450)
	for i := range many {
		many[i] = absent
	}
	many[449] = held
	answers = e.Renew(t.Context(), many)
	require.ErrorIs(t, answers[448], dedupe.ErrLost)
	require.NoError(t, answers[449], "more claims than go into one pipeline")
}

func testPark(t *testing.T, e env) {
	c := record("jobs/0/1/1", contentX)
	require.ErrorIs(t, e.Park(t.Context(), c, dedupe.Parked{}), dedupe.ErrLost, "of an absent claim")

	e.win(t, c, 1)
	for range 2 {
		e.park(t, c, dedupe.Parked{Delay: time.Hour, GiveBack: 1, MaybeSent: dedupe.Set})
		require.Equal(t, 0, e.lookup(t).Attempts, "given back once")
	}
	require.ErrorIs(t, e.Park(t.Context(), again(c), dedupe.Parked{}), dedupe.ErrLost, "by another token")
	require.ErrorIs(t, e.Renew(t.Context(), []dedupe.Claimant{c})[0], dedupe.ErrLost, "a parked claim has no lease")

	e.advance(t, time.Hour)
	next := again(c)
	got := e.win(t, next, 1)
	require.Equal(t, 1, got.Attempts)
	require.True(t, got.MaybeSent)
	require.ErrorIs(t, e.Park(t.Context(), c, dedupe.Parked{}), dedupe.ErrLost, "claimed by another meanwhile")

	e.park(t, next, dedupe.Parked{MaybeSent: dedupe.Clear})
	got = e.win(t, again(c), 1)
	require.False(t, got.MaybeSent)
	require.Equal(t, 2, got.Attempts, "without a delay it is due at once")
}

// testCompleteTable has a row for each state that a completion can find.
func testCompleteTable(t *testing.T, e env) {
	me, same := record("jobs/0/1/1", contentX), record("jobs/0/2/2", contentX)
	other := record("jobs/0/3/3", contentY)
	claimed := func(c dedupe.Claimant) func(*testing.T) {
		return func(t *testing.T) { e.win(t, c, 2) }
	}
	parked := func(c dedupe.Claimant) func(*testing.T) {
		return func(t *testing.T) {
			e.win(t, c, 2)
			e.park(t, c, dedupe.Parked{Delay: time.Hour, MaybeSent: dedupe.Set})
		}
	}
	settled := func(c dedupe.Claimant, state dedupe.State) func(*testing.T) {
		return func(t *testing.T) {
			e.win(t, c, 2)
			e.fail(t, c, state, dedupe.Keep)
		}
	}
	done := func(c dedupe.Claimant, logID string) func(*testing.T) {
		return func(t *testing.T) { e.complete(t, c, logID) }
	}
	d, x := dedupe.StateDone, dedupe.StateDead
	for _, row := range []struct {
		name     string
		before   func(*testing.T)
		want     dedupe.Completion
		logID    string
		state    dedupe.State
		attempts int
		maybe    bool
	}{
		{"absent", func(*testing.T) {}, dedupe.Completed, "log-1", d, 1, false},
		{"own claim", claimed(me), dedupe.Completed, "log-1", d, 2, false},
		{"claimed by another delivery", claimed(again(me)), dedupe.Completed, "log-1", d, 2, false},
		{"claimed by another record", claimed(same), dedupe.Completed, "log-1", d, 2, false},
		{"claimed by other content", claimed(other), dedupe.CompletedForeign, "", dedupe.StateClaimed, 2, false},
		{"own waiting", parked(me), dedupe.Completed, "log-1", d, 2, true},
		{"another record's waiting", parked(same), dedupe.Completed, "log-1", d, 2, true},
		{"other content's waiting", parked(other), dedupe.CompletedForeign, "", dedupe.StateWaiting, 2, true},
		{"done by this call before", done(me, "log-1"), dedupe.Completed, "log-1", d, 1, false},
		{"done with another log_id", done(me, "log-0"), dedupe.CompletedBefore, "log-0", d, 1, false},
		{"done by another record", done(same, "log-0"), dedupe.CompletedByOther, "log-0", d, 1, false},
		{"done by other content", done(other, "log-0"), dedupe.CompletedForeign, "log-0", d, 1, false},
		{"own dead", settled(me, x), dedupe.CompletedSettled, "log-1", x, 2, true},
		{"own expired", settled(me, dedupe.StateExpired), dedupe.CompletedSettled, "log-1", dedupe.StateExpired, 2, true},
		{"another record's dead", settled(same, x), dedupe.Completed, "log-1", d, 1, false},
		{"other content's dead", settled(other, x), dedupe.CompletedForeign, "", x, 2, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			e.srv.Do(t, "DEL", e.srv.Prefix()+":job:{"+job.String()+"}")
			row.before(t)
			for _, call := range []string{"first call", "repeated call"} {
				got := e.complete(t, me, "log-1")
				require.Equal(t, row.want, got.Completion, call)
				require.Equal(t, row.logID, got.LogID, call)
				require.Equal(t, row.state, got.State, call)
				require.Equal(t, row.attempts, got.Attempts, call)
				require.Equal(t, row.maybe, got.MaybeSent, call)
			}
			rec := e.lookup(t)
			require.Equal(t, row.state, rec.State)
			require.Equal(t, row.logID, rec.LogID)
		})
	}
}

func testFail(t *testing.T, e env) {
	c := record("jobs/0/1/1", contentX)
	f := dedupe.Failure{State: dedupe.StateDead, Reason: "exhausted", Details: "d", MaybeSent: dedupe.Set}
	require.ErrorIs(t, e.Fail(t.Context(), c, f), dedupe.ErrLost, "of an absent claim")

	e.win(t, c, 1)
	require.ErrorIs(t, e.Fail(t.Context(), again(c), f), dedupe.ErrLost, "by another delivery")
	require.NoError(t, e.Fail(t.Context(), c, f))
	require.NoError(t, e.Fail(t.Context(), c, f), "a repeated call finds it done")
	rec := e.lookup(t)
	require.Equal(t, dedupe.StateDead, rec.State)
	require.Equal(t, "exhausted", rec.Reason)
	require.True(t, rec.MaybeSent)
	require.False(t, rec.Published)
	f.State = dedupe.StateExpired
	require.ErrorIs(t, e.Fail(t.Context(), c, f), dedupe.ErrLost, "settled otherwise")

	waiting := record("jobs/0/2/2", contentX)
	waiting.IdempotentID = "expires while it waits"
	e.win(t, waiting, 1)
	e.park(t, waiting, dedupe.Parked{Delay: time.Hour})
	require.ErrorIs(t, e.Fail(t.Context(), again(waiting), f), dedupe.ErrLost)
	require.NoError(t, e.Fail(t.Context(), waiting, f), "nobody has had it since")
	require.Equal(t, dedupe.VerdictSettled, e.verdict(t, again(waiting)))
}

func testPublished(t *testing.T, e env) {
	c, other := record("jobs/0/1/1", contentX), record("jobs/0/2/2", contentX)
	require.NoError(t, e.MarkPublished(t.Context(), job, c.Source))
	_, found, err := e.Lookup(t.Context(), job)
	require.NoError(t, err)
	require.False(t, found, "marking must not make a claim")

	e.win(t, c, 1)
	require.NoError(t, e.MarkPublished(t.Context(), job, c.Source))
	require.False(t, e.lookup(t).Published, "of a claim under way")

	e.fail(t, c, dedupe.StateDead, dedupe.Keep)
	require.NoError(t, e.MarkPublished(t.Context(), job, other.Source))
	require.False(t, e.lookup(t).Published, "of another record")
	for range 2 {
		require.NoError(t, e.MarkPublished(t.Context(), job, c.Source))
		require.True(t, e.claim(t, again(c), 1).Published)
	}

	e.win(t, other, 1)
	require.False(t, e.lookup(t).Published, "of a new claim")
	e.complete(t, other, "log-1")
	require.False(t, e.claim(t, again(other), 1).Published)
	require.NoError(t, e.MarkPublished(t.Context(), job, other.Source))
	require.True(t, e.claim(t, again(other), 1).Published)
}

// testCrashTable lets a worker die after each step, and a redelivery find what it left.
func testCrashTable(t *testing.T, e env) {
	me := record("jobs/0/1/1", contentX)
	var c dedupe.Claimant
	claim := func(t *testing.T) { c = again(me); e.win(t, c, 1) }
	begin := func(t *testing.T) {
		_, err := e.Begin(t.Context(), c, 1)
		require.NoError(t, err)
	}
	park := func(t *testing.T) { e.park(t, c, dedupe.Parked{Delay: time.Hour, GiveBack: 1}) }
	complete := func(t *testing.T) { e.complete(t, c, "log-1") }
	fail := func(t *testing.T) { e.fail(t, c, dedupe.StateDead, dedupe.Keep) }
	published := func(t *testing.T) { require.NoError(t, e.MarkPublished(t.Context(), job, me.Source)) }
	for _, row := range []struct {
		name       string
		steps      []func(*testing.T)
		wait       time.Duration // what the redelivery is told to wait; 0 where it is told all at once
		want       dedupe.Verdict
		attempts   int
		maybe, pub bool
	}{
		{"before the claim", nil, 0, dedupe.VerdictWon, 1, false, false},
		{"after the claim", []func(*testing.T){claim}, lease, dedupe.VerdictWon, 2, true, false},
		{"after a further attempt began", []func(*testing.T){claim, begin}, lease, dedupe.VerdictWon, 3, true, false},
		{"after it was given back", []func(*testing.T){claim, park}, time.Hour, dedupe.VerdictWon, 1, false, false},
		{"after completing", []func(*testing.T){claim, complete}, 0, dedupe.VerdictDone, 1, false, false},
		{"after publishing success", []func(*testing.T){claim, complete, published}, 0, dedupe.VerdictDone, 1, false, true},
		{"after settling", []func(*testing.T){claim, fail}, 0, dedupe.VerdictSettled, 1, false, false},
		{"after publishing failure", []func(*testing.T){claim, fail, published}, 0, dedupe.VerdictSettled, 1, false, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			e.srv.Do(t, "DEL", e.srv.Prefix()+":job:{"+job.String()+"}")
			for _, step := range row.steps {
				step(t)
			}
			redelivery := again(me)
			got := e.claim(t, redelivery, 1)
			if row.wait > 0 {
				require.Equal(t, dedupe.VerdictBusy, got.Verdict)
				near(t, row.wait, got.Wait)
				e.advance(t, row.wait)
				got = e.claim(t, redelivery, 1)
			}
			require.Equal(t, row.want, got.Verdict)
			require.Equal(t, row.attempts, got.Attempts)
			require.Equal(t, row.maybe, got.MaybeSent)
			require.Equal(t, row.pub, got.Published)
		})
	}
}

func testDetails(t *testing.T, e env) {
	for _, n := range []int{0, 1, 63, 64, 65, 128, 300, 2048} {
		e.srv.Do(t, "DEL", e.srv.Prefix()+":job:{"+job.String()+"}")
		c := record("jobs/0/1/1", contentX)
		want := strings.Repeat("é", n/2) + strings.Repeat("!", n%2)
		_, err := e.Complete(t.Context(), c, dedupe.Done{LogID: "log-1", Details: want})
		require.NoError(t, err)
		require.Equal(t, want, e.claim(t, c, 1).Details)
	}
	c := record("jobs/0/1/1", contentX)
	long := strings.Repeat("x", 2049)
	_, err := e.Complete(t.Context(), c, dedupe.Done{LogID: "log-1", Details: long})
	requireReason(t, dedupe.ReasonInvalid, err)
	requireReason(t, dedupe.ReasonInvalid, e.Fail(t.Context(), c, dedupe.Failure{State: dedupe.StateDead, Details: long}))
}

func requireReason(t testing.TB, want dedupe.Reason, err error) {
	t.Helper()
	var e *dedupe.Error
	require.ErrorAs(t, err, &e, "want a *dedupe.Error with reason %s, got %v", want, err)
	require.Equal(t, want, e.Reason, "%v", err)
}
