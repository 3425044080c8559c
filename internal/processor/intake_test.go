package processor_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"replyworker/internal/job"
)

// noClaims is a fakes.before that lets nobody claim, and counts the look-ups.
func noClaims(t *testing.T, lookUps *atomic.Int64) func(context.Context, string) error {
	return func(_ context.Context, op string) error {
		switch op {
		case opFinished:
			lookUps.Add(1)
		case opClaim:
			t.Error("a finished job was claimed")
		}
		return nil
	}
}

// TestFinishedJobsArePassedOver delivers jobs again that have succeeded, been refused and expired: nobody
// claims them, and nothing is published.
func TestFinishedJobsArePassedOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	all := []job.Delivery{
		record("c1", "good", nil), record("c2", "bad", nil), record("c3", "late", map[string]any{"expires_at": "2026-01-01T00:00:00Z"}),
	}
	for _, d := range all[:2] {
		reply := fakes{}
		if d.Source == all[1].Source {
			reply.reply = refuse
		}
		w.start(reply).outcome(d)
	}
	w.start(fakes{}).outcome(all[2])
	var lookUps atomic.Int64
	k := w.start(fakes{looksUp: true, before: noClaims(t, &lookUps)})
	k.deliver(all...)
	for _, d := range all {
		require.Equal(t, 2, w.finishedCount(d.Source.ID()), "it is finished when deliver returns")
		require.Len(t, w.outcomesOf(d.Source.ID()), 1)
	}
	require.EqualValues(t, 1, lookUps.Load(), "all are looked up together")
	w.consistent()
}

// TestWhatIsNotFinishedIsNotPassedOver delivers jobs beside finished ones that need something: their
// outcome, to be told that they are duplicates, or all of it.
func TestWhatIsNotFinishedIsNotPassedOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	done, unpublished, fresh := record("c1", "done", nil), record("c2", "unpublished", nil), record("c3", "fresh", nil)
	w.start(fakes{}).outcome(done)
	w.start(fakes{before: times(1, opMark, unavailable(opMark))}).outcome(unpublished)
	duplicate, invalid := other(done), record("c4", "invalid", map[string]any{"message": 1})
	k := w.start(fakes{looksUp: true})
	k.deliver(done, unpublished, duplicate, invalid, fresh)
	k.wait(done, unpublished, duplicate, invalid, fresh)
	require.Len(t, w.outcomesOf(done.Source.ID()), 1)
	require.Len(t, w.outcomesOf(unpublished.Source.ID()), 2)
	for id, want := range map[string]job.Status{
		duplicate.Source.ID(): job.StatusDuplicate, invalid.Source.ID(): job.StatusFailed, fresh.Source.ID(): job.StatusSucceeded,
	} {
		require.Len(t, w.outcomesOf(id), 1)
		require.Equal(t, want, w.outcomesOf(id)[0].result.Status)
	}
	w.consistent()
}

// TestALookUpThatFailsCostsNothing: what it would have told is found out by the claim.
func TestALookUpThatFailsCostsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	done, fresh := record("c1", "done", nil), record("c2", "fresh", nil)
	w.start(fakes{}).outcome(done)
	k := w.start(fakes{looksUp: true, before: times(1, opFinished, unavailable(opFinished))})
	k.deliver(done, fresh)
	k.wait(fresh)
	w.eventually("passed over", func() bool { return w.finishedCount(done.Source.ID()) == 2 })
	require.Len(t, w.outcomesOf(done.Source.ID()), 1)
	require.Len(t, w.outcomesOf(fresh.Source.ID()), 1)
}

// TestLookingUpEnds: after a thousand records that were not finished nobody looks for such any more,
// until a claim meets one.
func TestLookingUpEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	done := record("c1", "done", nil)
	w.start(fakes{}).outcome(done)
	var lookUps atomic.Int64
	k := w.start(fakes{looksUp: true, before: func(_ context.Context, op string) error {
		if op == opFinished {
			lookUps.Add(1)
		}
		return nil
	}})
	at := int64(1)
	deliver := func(n int) {
		batch := make([]job.Delivery, n)
		for i := range batch {
			batch[i] = record("c", fmt.Sprint("invalid ", at), map[string]any{"message": 1})
			batch[i].Source.Offset = 1000 + at
			at++
		}
		k.deliver(batch...)
		k.wait(batch...)
	}
	for range 6 {
		deliver(200)
	}
	require.EqualValues(t, 5, lookUps.Load())
	k.deliver(done) // is not looked up
	w.eventually("its claim says that it is finished", func() bool { return w.finishedCount(done.Source.ID()) == 2 })
	require.EqualValues(t, 5, lookUps.Load())
	deliver(1)
	require.EqualValues(t, 6, lookUps.Load())
}
