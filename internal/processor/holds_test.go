package processor_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/dedupe"
	"replyworker/internal/job"
	"replyworker/internal/retry"
	"replyworker/internal/wxclient"
)

// many makes jobs of as many complaints.
func many(prefix string, n int) []job.Delivery {
	var all []job.Delivery
	for i := range n {
		id := fmt.Sprintf("%s-%02d", prefix, i)
		all = append(all, record("complaint-"+id, id, nil))
	}
	return all
}

// TestTheBrake: of a merchant whose every job is refused alike, few become dead letters; the rest wait,
// and go on when the API takes them again.
func TestTheBrake(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		fault  *wxclient.Error
		reason job.Reason
		calls  int // of a job, to its end
	}{
		{"refusals", fault(wxclient.ClassRefused, 403, "NO_AUTH"), job.ReasonRejected, 1},
		{"exhaustion", fault(wxclient.ClassTransient, 500, "SYSTEM_ERROR"), job.ReasonExhausted, 3},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			var healed atomic.Bool
			k := w.start(fakes{brake: 3, first: time.Hour, reply: func(_ context.Context, c call) (wxclient.Answer, error) {
				if healed.Load() {
					return w.take(c.id), nil
				}
				e := *row.fault
				return wxclient.Answer{}, &e
			}})
			jobs := many("job", 30)
			k.deliver(jobs...)
			w.eventually("all but a few wait", func() bool {
				_, held := k.gate.Held(testMchID)
				c := k.scheduler.Counts()
				return held && c.Running == 0 && k.gate.State().SlotsUsed == 0
			})
			held, _ := k.gate.Held(testMchID)
			require.Equal(t, string(dedupe.HoldBrake), held.Kind)
			w.mu.Lock()
			require.Len(t, w.outcomes, 2, "those before the third")
			require.Len(t, w.letters, 2)
			require.LessOrEqual(t, len(w.calls), 30*(row.calls-1)+3+8, "one call each beyond their attempts, and those in flight")
			w.mu.Unlock()

			healed.Store(true)
			_, err := w.store.ReleaseHold(t.Context(), testMchID) // as an operator does
			require.NoError(t, err)
			k.wait(jobs...)
			succeeded := 0
			for _, d := range jobs {
				all := w.outcomesOf(d.Source.ID())
				require.Len(t, all, 1)
				if all[0].result.Status == job.StatusSucceeded {
					succeeded++
				} else {
					require.Equal(t, row.reason, all[0].result.Reason)
				}
			}
			require.Equal(t, 28, succeeded)
		})
	}
}

// A batch of truly bad jobs drains by itself: each refused probe is buried, and the others wait.
func TestRefusedProbesAreBuried(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k := w.start(fakes{brake: 3, reply: refuse})
	jobs := many("bad", 8)
	k.deliver(jobs...)
	k.wait(jobs...)
	for _, d := range jobs {
		require.Len(t, w.lettersOf(d.Source.ID()), 1)
	}
	_, held := k.gate.Held(testMchID)
	require.True(t, held, "only a success or another code ends it")
	require.Equal(t, job.StatusSucceeded, func() job.Status {
		k.reply = nil
		return k.outcome(record("good", "good", nil)).Status
	}())
	_, held = k.gate.Held(testMchID)
	require.False(t, held, "a success ends it")
	holds, err := w.store.ListHolds(t.Context())
	require.NoError(t, err)
	require.Empty(t, holds)
}

func TestAnotherCodeEndsTheBrake(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var code atomic.Value
	code.Store("NO_AUTH")
	k := w.start(fakes{brake: 3, first: 50 * time.Millisecond, reply: func(context.Context, call) (wxclient.Answer, error) {
		return wxclient.Answer{}, fault(wxclient.ClassRefused, 403, code.Load().(string))
	}})
	jobs := many("job", 3)
	k.deliver(jobs...)
	w.eventually("held", func() bool { _, held := k.gate.Held(testMchID); return held })
	code.Store("INVALID_REQUEST")
	k.wait(jobs...)
	_, held := k.gate.Held(testMchID)
	require.False(t, held)
}

func TestTheBrakeCountsComplaintsInARow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	good := map[string]bool{}
	k := w.start(fakes{brake: 3, reply: func(_ context.Context, c call) (wxclient.Answer, error) {
		if good[c.id] {
			return w.take(c.id), nil
		}
		return wxclient.Answer{}, fault(wxclient.ClassRefused, 400, "PARAM_ERROR")
	}})
	for i := range 6 { // one complaint is one witness
		require.Equal(t, job.ReasonRejected, k.outcome(record("same", fmt.Sprint("same-", i), nil)).Reason)
	}
	for i := range 4 { // a success between
		good[fmt.Sprint("good-", i)] = true
		k.outcome(record(fmt.Sprint("bad-", i), fmt.Sprint("bad-", i), nil))
		k.outcome(record(fmt.Sprint("good-", i), fmt.Sprint("good-", i), nil))
	}
	_, held := k.gate.Held(testMchID)
	require.False(t, held)
}

// Once an operator has let a merchant go, its jobs are judged anew: the next refusal alone does not
// hold it again.
func TestTheBrakeBeginsAnewAfterAHold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k := w.start(fakes{brake: 3, first: time.Hour, reply: refuse})
	k.deliver(many("first", 3)...)
	w.eventually("held", func() bool { _, held := k.gate.Held(testMchID); return held })
	w.eventually("saved", func() bool { h, err := w.store.ListHolds(t.Context()); return err == nil && len(h) == 1 })
	_, err := w.store.ReleaseHold(t.Context(), testMchID)
	require.NoError(t, err)
	k.wait(many("first", 3)...)
	_, held := k.gate.Held(testMchID)
	require.False(t, held)
}

// TestHoldsAreProbed: while the credentials are bad one job at a time finds out, each time another
// complaint's; nobody's attempts are spent, and a success lets everybody go.
func TestHoldsAreProbed(t *testing.T) {
	t.Parallel()
	unknownKey := fault(wxclient.ClassUnknownKey, 200, "")
	for _, e := range []*wxclient.Error{fault(wxclient.ClassCredentials, 401, "SIGN_ERROR"), unknownKey} {
		t.Run(e.Class.String(), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			var healed atomic.Bool
			k := w.start(fakes{reply: func(_ context.Context, c call) (wxclient.Answer, error) {
				if healed.Load() {
					return w.take(c.id), nil
				}
				f := *e
				return wxclient.Answer{}, &f
			}})
			jobs := many("job", 12)
			k.deliver(jobs...)
			w.eventually("held", func() bool { _, held := k.gate.Held(testMchID); return held })
			w.eventually("calm", func() bool { return k.scheduler.Counts().Running == 0 })
			w.mu.Lock()
			before := len(w.calls)
			w.mu.Unlock()
			w.eventually("probes", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return len(w.calls) >= before+4 })
			w.mu.Lock()
			for i := before + 1; i < before+4; i++ {
				require.NotEqual(t, w.calls[i-1].id, w.calls[i].id, "the next probe is another complaint's")
			}
			w.mu.Unlock()
			healed.Store(true)
			k.wait(jobs...)
			for _, d := range jobs {
				r := w.outcomesOf(d.Source.ID())[0].result
				require.Equal(t, job.StatusSucceeded, r.Status)
				require.Equal(t, 1, r.Attempts)
			}
			_, held := k.gate.Held(testMchID)
			require.False(t, held)
		})
	}
}

// One job that gets 401 while the others succeed is at fault itself.
func TestOneOddJobDoesNotHoldTheMerchantForEver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k := w.start(fakes{reply: func(_ context.Context, c call) (wxclient.Answer, error) {
		if c.id == "odd" {
			return wxclient.Answer{}, fault(wxclient.ClassCredentials, 401, "SIGN_ERROR")
		}
		return w.take(c.id), nil
	}})
	odd := record("odd", "odd", nil)
	k.deliver(odd)
	for i := 0; w.finishedCount(odd.Source.ID()) == 0; i++ {
		require.Less(t, i, 10_000)
		require.Equal(t, job.StatusSucceeded, k.outcome(record("good", fmt.Sprint("good-", i), nil)).Status)
	}
	require.Equal(t, job.ReasonExhausted, w.outcomesOf(odd.Source.ID())[0].result.Reason)
	require.Equal(t, 3, w.outcomesOf(odd.Source.ID())[0].result.Attempts)
}

// A probe is not spent on a job that cannot call: it is another delivery's, or done already.
func TestAProbeIsNotSpentOnAJobThatCannotCall(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	done := record("done", "done", nil)
	w.start(fakes{}).outcome(done)
	waiting := record("waiting", "waiting", nil)
	a := w.start(fakes{retry: never(), reply: func(context.Context, call) (wxclient.Answer, error) {
		return wxclient.Answer{}, fault(wxclient.ClassSlowDown, 429, "")
	}})
	a.deliver(waiting)
	w.eventually("waits", func() bool { return w.claim("waiting").State == dedupe.StateWaiting })
	require.True(t, a.session.Drain(t.Context()))
	_, _, err := w.store.Hold(t.Context(), testMchID, dedupe.HoldRequest{
		Kind: dedupe.HoldCredentials, First: time.Millisecond, Max: time.Hour, TTL: time.Hour,
	})
	require.NoError(t, err)
	b := w.start(fakes{})
	w.eventually("B knows", func() bool { _, held := b.gate.Held(testMchID); return held })
	b.deliver(done, waiting)
	b.wait(done)
	w.eventually("asked", func() bool { return b.scheduler.Counts().Parked == 1 })
	holds, err := w.store.ListHolds(t.Context())
	require.NoError(t, err)
	require.Zero(t, holds[0].Probes)
}

// A hold that Redis could not be told of holds here all the same, and is written when Redis is back.
func TestAHoldWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k := w.start(fakes{
		first: time.Hour, before: times(1, opHold, unavailable(opHold)), retry: retry.Policy{Initial: time.Hour, Max: time.Hour, Attempts: 3},
		reply: func(context.Context, call) (wxclient.Answer, error) {
			return wxclient.Answer{}, fault(wxclient.ClassCredentials, 401, "SIGN_ERROR")
		},
	})
	k.deliver(record("c", "id", nil))
	w.eventually("held", func() bool { _, held := k.gate.Held(testMchID); return held })
	w.eventually("written", func() bool { h, err := w.store.ListHolds(t.Context()); return err == nil && len(h) == 1 })
	require.Len(t, w.callsOf("id"), 1)
}

// Refusals that come in while the brake holds settle nothing, whatever their code.
func TestRefusalsInFlightWaitForTheBrake(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"PARAM_ERROR", "ANOTHER"} {
		w := newWorld(t)
		open := make(chan struct{})
		k := w.start(fakes{brake: 2, first: time.Hour, reply: func(_ context.Context, c call) (wxclient.Answer, error) {
			if c.id == "late" {
				<-open
				return wxclient.Answer{}, fault(wxclient.ClassRefused, 400, code)
			}
			return wxclient.Answer{}, fault(wxclient.ClassRefused, 400, "PARAM_ERROR")
		}})
		late := record("late", "late", nil)
		k.deliver(late)
		w.eventually("called", func() bool { return len(w.callsOf("late")) == 1 })
		k.deliver(many("job", 2)...)
		w.eventually("held", func() bool { _, held := k.gate.Held(testMchID); return held })
		close(open)
		w.eventually("it waits", func() bool { return w.claim("late").State == dedupe.StateWaiting })
		require.Zero(t, w.claim("late").Attempts)
		require.Empty(t, w.outcomesOf(late.Source.ID()))
		_, held := k.gate.Held(testMchID)
		require.True(t, held)
	}
}
