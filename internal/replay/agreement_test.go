package replay_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"replyworker/internal/dedupe"
	"replyworker/internal/dedupe/dedupetest"
	"replyworker/internal/replay"
	"replyworker/internal/stacktest"
)

const (
	testLease     = time.Minute
	testRetention = time.Hour
)

// history is what befell the claim of a job before its letter is planned.
type history struct {
	t     *rapid.T
	outer *testing.T
	srv   dedupetest.Server
	store *dedupe.Store
	key   dedupe.Key
}

// step lets one record of the job, or of another one with its id, come one step on, or time pass.
func (h *history) step(contents []string) {
	t := h.t
	if rapid.IntRange(0, 3).Draw(t, "time passes") == 0 {
		h.srv.Advance(h.outer, rapid.SampledFrom([]time.Duration{time.Second, testLease + time.Second, testRetention + time.Second}).Draw(t, "time"))
		return
	}
	c := dedupe.Claimant{
		Key: h.key, Token: dedupe.NewToken(), Source: rapid.SampledFrom([]string{"r/0/1/1", "r/0/2/1", "r/0/3/1"}).Draw(t, "source"),
		Content: rapid.SampledFrom(contents).Draw(t, "content"),
	}
	tri := rapid.SampledFrom([]dedupe.Tri{dedupe.Keep, dedupe.Set, dedupe.Clear})
	claim, err := h.store.Claim(h.outer.Context(), c, rapid.IntRange(0, 1).Draw(t, "spend"))
	require.NoError(t, err)
	if claim.Verdict != dedupe.VerdictWon {
		return
	}
	switch rapid.IntRange(0, 4).Draw(t, "what") {
	case 0: // its holder goes on
	case 1:
		delay := rapid.SampledFrom([]time.Duration{0, time.Second, 10 * time.Minute}).Draw(t, "delay")
		err = h.store.Park(h.outer.Context(), c, dedupe.Parked{Delay: delay, MaybeSent: tri.Draw(t, "maybe sent")})
	case 2:
		_, err = h.store.Complete(h.outer.Context(), c, dedupe.Done{LogID: "log", Attempts: 1, MaybeSent: tri.Draw(t, "maybe sent")})
	case 3, 4:
		state := rapid.SampledFrom([]dedupe.State{dedupe.StateDead, dedupe.StateExpired}).Draw(t, "state")
		err = h.store.Fail(h.outer.Context(), c, dedupe.Failure{State: state, Reason: "rejected", MaybeSent: tri.Draw(t, "maybe sent")})
	}
	require.NoError(t, err)
}

// TestThePlanSaysWhatTheClaimWillAnswer builds claims in every state that they can have, and holds that
// the verdict of the plan is the answer that the replayed record gets.
func TestThePlanSaysWhatTheClaimWillAnswer(t *testing.T) {
	t.Parallel()
	srv := stacktest.RedisServer(t)
	store := dedupetest.Store(t, srv, func(c *dedupe.Config) { c.Lease, c.Retention = testLease, testRetention })
	seen, number := map[replay.Verdict]int{}, 0
	rapid.Check(t, func(rt *rapid.T) {
		number++
		id := idOf(number)
		h := &history{t: rt, outer: t, srv: srv, store: store, key: dedupe.Key{MchID: testMchID, IdempotentID: id}}
		own := contentOf("c", id)
		for range rapid.IntRange(0, 6).Draw(rt, "steps") {
			h.step([]string{own, own, contentOf("another", id)})
		}
		d := newDesk(t, 1)
		s := ordinary()
		s.id, s.maybeSent = id, rapid.Bool().Draw(rt, "maybe sent")
		d.letter(s)
		verdict := verdicts(d.make(store))[id]
		seen[verdict]++

		answer, err := store.Claim(t.Context(), dedupe.Claimant{Key: h.key, Token: "t", Source: "reply-jobs/0/99/1", Content: own}, 1)
		require.NoError(rt, err)
		want := map[replay.Verdict]dedupe.Verdict{
			replay.WillBeSent: dedupe.VerdictWon, replay.MaybeSent: dedupe.VerdictWon, replay.Forgotten: dedupe.VerdictWon,
			replay.ForgottenMaybeSent: dedupe.VerdictWon, replay.AlreadySucceeded: dedupe.VerdictDuplicate,
			replay.Conflict: dedupe.VerdictConflict, replay.UnderWay: dedupe.VerdictBusy,
		}[verdict]
		require.Equal(rt, want, answer.Verdict, "the plan said %s", verdict)
		if answer.Verdict == dedupe.VerdictWon {
			maybe := verdict == replay.MaybeSent || verdict == replay.ForgottenMaybeSent
			require.Equal(rt, s.maybeSent || answer.MaybeSent, maybe, "the plan said %s", verdict)
		}
	})
	if !t.Failed() && !testing.Short() {
		require.Len(t, seen, 7, "a kind of claim was never met: %v", seen)
	}
}
