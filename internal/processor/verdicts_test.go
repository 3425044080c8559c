package processor_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/dedupe"
	"replyworker/internal/job"
	"replyworker/internal/retry"
	"replyworker/internal/wxclient"
)

func refuse(context.Context, call) (wxclient.Answer, error) {
	return wxclient.Answer{}, fault(wxclient.ClassRefused, 400, "PARAM_ERROR")
}

func TestARedeliveryOfASuccess(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := record("c", "id", nil)
	first := w.start(fakes{before: times(1, opMark, unavailable(opMark))}).outcome(d)
	k := w.start(fakes{})
	k.deliver(d)
	k.wait(d)
	w.eventually("finished twice", func() bool { return w.finishedCount(d.Source.ID()) == 2 })
	all := w.outcomesOf(d.Source.ID())
	require.Len(t, all, 2, "it is not known to be published, so it is published again")
	require.Equal(t, first.LogID, all[1].result.LogID)
	w.consistent()

	k = w.start(fakes{})
	k.deliver(d)
	w.eventually("finished again", func() bool { return w.finishedCount(d.Source.ID()) == 3 })
	require.Len(t, w.outcomesOf(d.Source.ID()), 2, "it is known to be published")
	require.Len(t, w.callsOf("id"), 1)
}

func TestADuplicateOfASuccess(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k := w.start(fakes{})
	d := record("c", "id", nil)
	first := k.outcome(d)
	for range 2 { // the second one is a redelivery of the duplicate
		k.deliver(other(d))
	}
	w.eventually("both finished", func() bool { return w.finishedCount(other(d).Source.ID()) == 2 })
	for _, o := range w.outcomesOf(other(d).Source.ID()) {
		require.Equal(t, job.StatusDuplicate, o.result.Status)
		require.Equal(t, first.LogID, o.result.LogID)
	}
	require.Empty(t, w.lettersOf(other(d).Source.ID()))
	require.Len(t, w.callsOf("id"), 1)
}

func TestOtherContentUnderTheSameID(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name     string
		state    func(t *testing.T, w *world, d job.Delivery)
		conflict bool
	}{
		{"conflicts with a success", func(_ *testing.T, w *world, d job.Delivery) { w.start(fakes{}).outcome(d) }, true},
		{"conflicts with one that waits", func(_ *testing.T, w *world, d job.Delivery) {
			k := w.start(fakes{retry: never(), reply: func(context.Context, call) (wxclient.Answer, error) {
				return wxclient.Answer{}, fault(wxclient.ClassTransient, 500, "")
			}})
			k.deliver(d)
			w.eventually("waits", func() bool { return w.claim("id").State == dedupe.StateWaiting })
		}, true},
		{"conflicts with one under way", func(_ *testing.T, w *world, d job.Delivery) {
			k := w.start(fakes{reply: func(ctx context.Context, _ call) (wxclient.Answer, error) {
				<-ctx.Done()
				return wxclient.Answer{}, &wxclient.Error{Class: wxclient.ClassCanceled, Sent: true}
			}})
			k.deliver(d)
			w.eventually("called", func() bool { return len(w.callsOf("id")) == 1 })
		}, true},
		{"conflicts with a dead one that may have been sent", func(_ *testing.T, w *world, d job.Delivery) {
			w.start(fakes{reply: func(context.Context, call) (wxclient.Answer, error) {
				return wxclient.Answer{}, fault(wxclient.ClassTransient, 500, "")
			}}).outcome(d)
		}, true},
		{"is a replay with mended content after a refusal", func(_ *testing.T, w *world, d job.Delivery) {
			w.start(fakes{reply: refuse}).outcome(d)
		}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			row.state(t, w, record("c", "id", nil))
			before := len(w.callsOf("id"))
			k := w.start(fakes{})
			d := other(record("c", "id", text("other")))
			r := k.outcome(d)
			if !row.conflict {
				require.Equal(t, job.StatusSucceeded, r.Status)
				require.Equal(t, 1, r.Attempts, "attempts begin anew")
				return
			}
			require.Equal(t, job.ReasonConflict, r.Reason)
			require.Len(t, w.lettersOf(d.Source.ID()), 1)
			require.Len(t, w.callsOf("id"), before, "no call")
			k.deliver(d)
			w.eventually("finished again", func() bool { return w.finishedCount(d.Source.ID()) == 2 })
			w.consistent()
		})
	}
}

func TestARedeliveryOfADeadJob(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := record("c", "id", nil)
	first := w.start(fakes{reply: refuse, before: times(1, opMark, unavailable(opMark))}).outcome(d)
	k := w.start(fakes{})
	k.deliver(d)
	w.eventually("finished twice", func() bool { return w.finishedCount(d.Source.ID()) == 2 })
	all := w.outcomesOf(d.Source.ID())
	require.Len(t, all, 2)
	require.Equal(t, first.Answer, all[1].result.Answer, "the details are kept")
	require.Equal(t, first.Detail, all[1].result.Detail)
	require.Equal(t, first.Attempts, all[1].result.Attempts)
	require.Len(t, w.lettersOf(d.Source.ID()), 2)
	require.Len(t, w.callsOf("id"), 1)
	w.consistent()
}

// A replay is another record: it calls again, and the record before keeps its verdict.
func TestAReplayOfADeadJob(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := record("c", "id", nil)
	w.start(fakes{reply: refuse, before: times(1, opMark, unavailable(opMark))}).outcome(d)
	k := w.start(fakes{})
	require.Equal(t, job.StatusSucceeded, k.outcome(other(d)).Status)
	k.deliver(d)
	w.eventually("finished twice", func() bool { return w.finishedCount(d.Source.ID()) == 2 })
	require.Equal(t, job.ReasonRejected, w.outcomesOf(d.Source.ID())[1].result.Reason)
	w.consistent()
}

func TestTwoDeliveriesAtOnceMakeOneCall(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := record("c", "id", nil)
	var workers []*worker
	for range 4 {
		workers = append(workers, w.start(fakes{}))
	}
	for _, k := range workers {
		k.deliver(d)
	}
	w.eventually("finished by all", func() bool { return w.finishedCount(d.Source.ID()) == 4 })
	require.Len(t, w.callsOf("id"), 1)
	w.consistent()
}

func TestExpiry(t *testing.T) {
	t.Parallel()
	soon := func(d time.Duration) map[string]any {
		return map[string]any{"expires_at": time.Now().Add(d).UTC().Format(time.RFC3339Nano)}
	}
	expired := func(t *testing.T, w *world, d job.Delivery, attempts int) {
		t.Helper()
		all := w.outcomesOf(d.Source.ID())
		require.Len(t, all, 1)
		require.Equal(t, job.StatusExpired, all[0].result.Status)
		require.Equal(t, job.ReasonNone, all[0].result.Reason)
		require.Equal(t, attempts, all[0].result.Attempts)
		require.Empty(t, w.lettersOf(d.Source.ID()))
		require.Equal(t, dedupe.StateExpired, w.claim("id").State)
	}
	t.Run("before the first attempt", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		d := record("c", "id", soon(-time.Second))
		k := w.start(fakes{})
		k.deliver(d)
		k.wait(d)
		expired(t, w, d, 0)
		require.Empty(t, w.callsOf("id"))
		k.deliver(d)
		w.eventually("finished again", func() bool { return w.finishedCount(d.Source.ID()) == 2 })
		w.consistent()
	})
	t.Run("while it waits for its next attempt", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		d := record("c", "id", soon(200*time.Millisecond))
		k := w.start(fakes{retry: never(), reply: func(context.Context, call) (wxclient.Answer, error) {
			return wxclient.Answer{}, fault(wxclient.ClassSlowDown, 429, "")
		}})
		k.deliver(d)
		k.wait(d)
		expired(t, w, d, 0)
		require.Len(t, w.callsOf("id"), 1)
	})
	t.Run("in the middle of a lane", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		open := make(chan struct{})
		k := w.start(fakes{reply: func(_ context.Context, c call) (wxclient.Answer, error) {
			if c.id == "first" {
				<-open
			}
			return w.take(c.id), nil
		}})
		first, middle, last := record("c", "first", nil), record("c", "id", soon(100*time.Millisecond)), record("c", "last", nil)
		k.deliver(first, middle, last)
		k.wait(middle)
		expired(t, w, middle, 0)
		require.Zero(t, w.finishedCount(first.Source.ID()))
		require.Empty(t, w.callsOf("last"), "order is kept")
		close(open)
		k.wait(first, last)
	})
	t.Run("while the merchant is held", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		k := w.start(fakes{first: time.Hour, reply: func(context.Context, call) (wxclient.Answer, error) {
			return wxclient.Answer{}, fault(wxclient.ClassCredentials, 401, "SIGN_ERROR")
		}})
		d := record("c", "id", soon(200*time.Millisecond))
		k.deliver(d)
		k.wait(d)
		expired(t, w, d, 0)
	})
	t.Run("during a call that fails, while the merchant is held", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		d := record("c", "id", soon(100*time.Millisecond))
		over := time.After(200 * time.Millisecond)
		k := w.start(fakes{first: time.Hour, reply: func(context.Context, call) (wxclient.Answer, error) {
			<-over
			return wxclient.Answer{}, fault(wxclient.ClassCredentials, 401, "SIGN_ERROR")
		}})
		k.deliver(d)
		k.wait(d)
		expired(t, w, d, 0)
	})
	t.Run("during a call that succeeds is a success", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		over := time.After(200 * time.Millisecond)
		k := w.start(fakes{reply: func(_ context.Context, c call) (wxclient.Answer, error) {
			<-over
			return w.take(c.id), nil
		}})
		require.Equal(t, job.StatusSucceeded, k.outcome(record("c", "id", soon(100*time.Millisecond))).Status)
	})
	t.Run("between the two hosts", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		over := time.After(200 * time.Millisecond)
		k := w.start(fakes{reply: func(context.Context, call) (wxclient.Answer, error) {
			<-over
			return wxclient.Answer{}, fault(wxclient.ClassHostFailed, 0, "")
		}})
		d := record("c", "id", soon(100*time.Millisecond))
		r := k.outcome(d)
		require.Equal(t, job.StatusExpired, r.Status)
		require.True(t, r.MaybeSent, "the first host may have taken it")
		require.Len(t, w.callsOf("id"), 1)
		expired(t, w, d, 1)
	})
	t.Run("while the claim is another delivery's", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		open := make(chan struct{})
		d := record("c", "id", soon(100*time.Millisecond))
		a := w.start(fakes{reply: func(_ context.Context, c call) (wxclient.Answer, error) {
			<-open
			return w.take(c.id), nil
		}})
		a.deliver(d)
		w.eventually("called", func() bool { return len(w.callsOf("id")) == 1 })
		b := w.start(fakes{})
		b.deliver(d)
		w.eventually("asked", func() bool { return time.Now().After(d.Source.Timestamp) && b.scheduler.Counts().Parked == 1 })
		time.AfterFunc(250*time.Millisecond, func() { close(open) })
		w.eventually("finished by both", func() bool { return w.finishedCount(d.Source.ID()) == 2 })
		w.consistent()
		require.Equal(t, job.StatusSucceeded, w.outcomesOf(d.Source.ID())[0].result.Status, "who calls decides")
	})
	t.Run("while an earlier worker's next attempt is not due", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		d := record("c", "id", soon(300*time.Millisecond))
		a := w.start(fakes{retry: never(), reply: func(context.Context, call) (wxclient.Answer, error) {
			return wxclient.Answer{}, fault(wxclient.ClassSlowDown, 429, "")
		}})
		a.deliver(d)
		w.eventually("waits", func() bool { return w.claim("id").State == dedupe.StateWaiting })
		require.True(t, a.session.Drain(t.Context()))
		b := w.start(fakes{})
		b.deliver(d)
		b.wait(d)
		expired(t, w, d, 0)
	})
}

// TestTheStoreIsAway fails each write once, before it is done and after: jobs wait, and nothing is
// sent twice, dead-lettered or forgotten.
func TestTheStoreIsAway(t *testing.T) {
	t.Parallel()
	for _, op := range []string{opClaim, opBegin, opPark, opComplete, opFail, opMark, opRenew} {
		for _, done := range []bool{false, true} {
			name := op + map[bool]string{false: " is not done", true: " is done, its answer lost"}[done]
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				f := fakes{retry: retry.Policy{Initial: time.Millisecond, Max: 4 * time.Millisecond, Attempts: 5}}
				f.reply = func(_ context.Context, c call) (wxclient.Answer, error) {
					switch {
					case c.attempt == 1 && op == opBegin:
						return wxclient.Answer{}, fault(wxclient.ClassHostFailed, 0, "")
					case c.attempt == 1 && op == opPark:
						return wxclient.Answer{}, fault(wxclient.ClassTransient, 500, "")
					case op == opFail:
						return wxclient.Answer{}, fault(wxclient.ClassRefused, 400, "")
					}
					return w.take(c.id), nil
				}
				if done {
					f.after = times(2, op, unavailable(op))
				} else {
					f.before = times(2, op, unavailable(op))
				}
				k := w.start(f)
				begin := time.Now()
				d := record("c", "id", nil)
				r := k.outcome(d)
				want, calls := job.StatusSucceeded, 1
				if op == opFail {
					want = job.StatusFailed
				}
				if op == opBegin || op == opPark {
					calls = 2
				}
				require.Equal(t, want, r.Status)
				require.Len(t, w.callsOf("id"), calls)
				require.Less(t, time.Since(begin), 10*time.Second)
				switch op {
				case opClaim, opComplete, opFail:
					require.Equal(t, 1, r.Attempts, "an attempt that was not made is not counted")
					require.False(t, r.MaybeSent, "nothing is open")
				case opBegin, opPark:
					require.True(t, r.MaybeSent, "the first attempt had no clear answer")
				}
				w.consistent()
			})
		}
	}
}

// What an attempt has left open is not forgotten because Redis was away when it was to be written.
func TestMaybeSentOutlivesAStoreThatIsAway(t *testing.T) {
	t.Parallel()
	for _, op := range []string{opPark, opBegin} {
		w := newWorld(t)
		k := w.start(fakes{
			before: times(2, op, unavailable(op)),
			reply: func(_ context.Context, c call) (wxclient.Answer, error) {
				switch {
				case c.attempt > 1:
					return wxclient.Answer{}, fault(wxclient.ClassSlowDown, 429, "")
				case op == opBegin:
					return wxclient.Answer{}, fault(wxclient.ClassHostFailed, 0, "")
				}
				return wxclient.Answer{}, fault(wxclient.ClassTransient, 500, "")
			},
		})
		d := record("c", "id", map[string]any{"expires_at": time.Now().Add(800 * time.Millisecond).UTC().Format(time.RFC3339Nano)})
		r := k.outcome(d)
		require.Equal(t, job.StatusExpired, r.Status, op)
		require.True(t, r.MaybeSent, op)
		require.True(t, w.claim("id").MaybeSent, op)
	}
}

func TestKafkaIsAway(t *testing.T) {
	t.Parallel()
	for _, op := range []string{opLetter, opOutcome} {
		for _, done := range []bool{false, true} {
			t.Run(op, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				f := fakes{reply: refuse, before: times(3, op, errors.New("no broker"))}
				if done {
					f.before, f.after = nil, f.before
				}
				k := w.start(f)
				d := record("c", "id", nil)
				next := record("c", "next", nil)
				k.deliver(d, next)
				k.wait(d, next)
				require.NotEmpty(t, w.lettersOf(d.Source.ID()))
				require.NotEmpty(t, w.outcomesOf(d.Source.ID()))
				require.Len(t, w.callsOf("id"), 1)
				w.consistent()
			})
		}
	}
}

// A key that something else has written stops one job, and nobody else.
func TestAnOddClaim(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := "replyworker:job:{" + testMchID + ":id}"
	require.NoError(t, w.redis.Set(key, "not a hash"))
	k := w.start(fakes{})
	odd, good := record("c1", "id", nil), record("c2", "good", nil)
	k.deliver(odd, good)
	k.wait(good)
	w.eventually("it waits", func() bool { return k.scheduler.Counts().Parked == 1 })
	require.Empty(t, w.outcomesOf(odd.Source.ID()))
	require.Empty(t, w.lettersOf(odd.Source.ID()))
	require.Empty(t, w.callsOf("id"))
	require.Contains(t, k.log.String(), "cannot be used")
	require.False(t, k.gate.StoreIsDown())
}

// A claim that turns odd while its call is out does not hide that the API took the reply.
func TestAClaimTurnsOddDuringACall(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := "replyworker:job:{" + testMchID + ":id}"
	k := w.start(fakes{reply: func(_ context.Context, c call) (wxclient.Answer, error) {
		w.redis.Del(key)
		if err := w.redis.Set(key, "not a hash"); err != nil {
			return wxclient.Answer{}, err
		}
		return w.take(c.id), nil
	}})
	r := k.outcome(record("c", "id", nil))
	require.Equal(t, job.StatusSucceeded, r.Status)
}

// Redis comes back empty while a call is out.
func TestTheStoreLosesTheClaimDuringACall(t *testing.T) {
	t.Parallel()
	for _, refused := range []bool{false, true} {
		w := newWorld(t)
		k := w.start(fakes{reply: func(_ context.Context, c call) (wxclient.Answer, error) {
			if c.attempt == 1 {
				w.redis.FlushAll()
			}
			if refused {
				return wxclient.Answer{}, fault(wxclient.ClassRefused, 400, "")
			}
			return w.take(c.id), nil
		}})
		d := record("c", "id", nil)
		r := k.outcome(d)
		if refused {
			require.Equal(t, job.ReasonRejected, r.Reason)
			require.Len(t, w.callsOf("id"), 2, "nothing is published without a claim")
		} else {
			require.Equal(t, job.StatusSucceeded, r.Status)
			require.Len(t, w.callsOf("id"), 1)
			require.Equal(t, dedupe.StateDone, w.claim("id").State)
		}
	}
}

func TestDrain(t *testing.T) {
	t.Parallel()
	t.Run("jobs that wait are left as they are", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		k := w.start(fakes{retry: never(), reply: func(context.Context, call) (wxclient.Answer, error) {
			return wxclient.Answer{}, fault(wxclient.ClassSlowDown, 429, "")
		}})
		d := record("c", "id", nil)
		k.deliver(d, record("c", "behind", nil))
		w.eventually("waits", func() bool { return w.claim("id").State == dedupe.StateWaiting })
		require.True(t, k.session.Drain(t.Context()))
		require.Zero(t, w.finishedCount(d.Source.ID()))
		require.Empty(t, w.callsOf("behind"))
		require.Equal(t, dedupe.StateNone, w.claim("behind").State)
	})
	t.Run("a call under way finishes, and goes to no second host", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		open := make(chan struct{})
		k := w.start(fakes{reply: func(_ context.Context, c call) (wxclient.Answer, error) {
			<-open
			if c.id == "good" {
				return w.take(c.id), nil
			}
			return wxclient.Answer{}, fault(wxclient.ClassHostFailed, 0, "")
		}})
		bad, good := record("c1", "bad", nil), record("c2", "good", nil)
		k.deliver(bad, good)
		w.eventually("both call", func() bool { return len(w.callsOf("bad"))+len(w.callsOf("good")) == 2 })
		var drained sync.WaitGroup
		drained.Go(func() { require.True(t, k.session.Drain(context.WithoutCancel(t.Context()))) })
		late := record("c3", "late", nil)
		w.eventually("a task that comes late is dropped", func() bool { k.deliver(late); return k.scheduler.Counts().Waiting == 0 })
		close(open)
		drained.Wait()
		require.Equal(t, 1, w.finishedCount(good.Source.ID()))
		require.Zero(t, w.finishedCount(bad.Source.ID()))
		require.Len(t, w.callsOf("bad"), 1, "no second host")
		c := w.claim("bad")
		require.Equal(t, dedupe.StateWaiting, c.State, "the claim is given back")
		require.True(t, c.MaybeSent)
	})
	t.Run("a call that is cut off is given back and tried again", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		k := w.start(fakes{reply: func(ctx context.Context, c call) (wxclient.Answer, error) {
			<-ctx.Done()
			w.take(c.id)
			return wxclient.Answer{}, &wxclient.Error{Class: wxclient.ClassCanceled, Sent: true, Err: ctx.Err()}
		}})
		d := record("c", "id", nil)
		k.deliver(d)
		w.eventually("called", func() bool { return len(w.callsOf("id")) == 1 })
		cut, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		require.False(t, k.session.Drain(cut))
		require.Zero(t, w.finishedCount(d.Source.ID()))
		c := w.claim("id")
		require.Equal(t, dedupe.StateWaiting, c.State)
		require.True(t, c.MaybeSent)
		require.Zero(t, c.Attempts, "an attempt that we cut off ourselves is not counted")
		r := w.start(fakes{}).outcome(d)
		require.Equal(t, job.StatusSucceeded, r.Status)
		require.True(t, r.MaybeSent)
		require.Equal(t, w.take("id").LogID, r.LogID)
	})
}
