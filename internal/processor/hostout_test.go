package processor_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/dedupe"
	"replyworker/internal/gate"
	"replyworker/internal/job"
	"replyworker/internal/retry"
	"replyworker/internal/wxclient"
)

// hanging is an API whose primary takes calls and answers none of them until it is told to.
type hanging struct {
	w      *world
	answer chan struct{} // closed: calls that hang are answered
}

func newHanging(w *world) *hanging { return &hanging{w: w, answer: make(chan struct{})} }

func (h *hanging) reply(ctx context.Context, c call) (wxclient.Answer, error) {
	if c.host == wxclient.Backup {
		return h.w.take(c.id), nil
	}
	select {
	case <-h.answer:
		return h.w.take(c.id), nil
	case <-ctx.Done():
		return wxclient.Answer{}, &wxclient.Error{Class: wxclient.ClassCanceled, Sent: true, Err: context.Cause(ctx)}
	}
}

// stays checks that a condition does not come true within d. (Of require.Never, the last look may outlast
// the test.)
func (w *world) stays(d time.Duration, why string, cond func() bool) {
	w.t.Helper()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for end := time.Now().Add(d); time.Now().Before(end); <-look.C {
		require.False(w.t, cond(), why)
	}
}

// learn lets the gate see that calls take no time.
func (k *worker) learn() {
	for range 20 {
		k.succeeds(testMchID)
	}
}

// otherMerchant lets a call of another merchant through.
func (k *worker) otherMerchant() *gate.Grant {
	k.t.Helper()
	g, denial := k.gate.Try(time.Now(), gate.Ask{MchID: "another", Lane: "another"})
	require.Nil(k.t, denial)
	return g
}

// primaryIsDue waits until the primary, which is out, may be probed.
func (k *worker) primaryIsDue() {
	k.t.Helper()
	k.eventually("the primary is due for a probe", func() bool { return !time.Now().Before(k.gate.State().Hosts[0].ProbeAt) })
}

// primaryNeedsAProbe makes the next job the probe of a primary that is out; calls take no time.
func (k *worker) primaryNeedsAProbe() {
	k.t.Helper()
	k.learn()
	k.primaryFails()
	k.primaryIsDue()
}

// room is a pace that leaves room for so many calls, once it is limited.
type room struct {
	limited atomic.Bool
	left    atomic.Int64
}

// limit leaves room for n calls from now on.
func (r *room) limit(n int64) {
	r.left.Store(n)
	r.limited.Store(true)
}

func (r *room) Take(time.Time) (uint64, time.Duration) {
	if !r.limited.Load() || r.left.Add(-1) >= 0 {
		return 0, 0
	}
	r.left.Add(1)
	return 0, time.Hour
}

func (r *room) GiveBack(time.Time, uint64) { r.left.Add(1) }

func (r *room) Answer(_, _ time.Time, _ uint64, _ bool, _ time.Duration) {}

func (r *room) Limit() float64 { return 0 }

// primaryFails reports a failure of the primary, as a call of another merchant would.
func (k *worker) primaryFails() {
	k.t.Helper()
	g, denial := k.gate.Try(time.Now(), gate.Ask{MchID: "another", Lane: "failing"})
	require.Nil(k.t, denial)
	require.Equal(k.t, wxclient.Primary, g.Host)
	k.gate.Done(time.Now(), g, gate.HostFailed)
}

func (k *worker) primaryIsOut() bool { return k.gate.State().Hosts[wxclient.Primary].Open }

// Calls on a host that goes out are not waited for until they time out.
func TestCallsOnAHostThatGoesOutMoveToTheOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := newHanging(w)
	k := w.start(fakes{trips: 1, reply: h.reply})
	k.learn()
	var jobs []job.Delivery
	for i := range 5 {
		jobs = append(jobs, record(fmt.Sprint("c", i), fmt.Sprint("id", i), nil))
	}
	k.deliver(jobs...)
	for i := range jobs {
		w.eventually("a call", func() bool { return len(w.callsOf(fmt.Sprint("id", i))) == 1 })
	}
	k.primaryFails()
	k.wait(jobs...)
	for i, d := range jobs {
		o := w.outcomesOf(d.Source.ID())
		require.Len(t, o, 1)
		require.Equal(t, job.StatusSucceeded, o[0].result.Status)
		require.True(t, o[0].result.MaybeSent, "the call on the primary has no clear end")
		require.Equal(t, "backup", o[0].result.Answer.Host)
		calls := w.callsOf(fmt.Sprint("id", i))
		require.Equal(t, calls[0].body, calls[1].body)
	}
}

// The job that probes a host which hangs goes on elsewhere; what its probe finds out is used.
func TestAProbeOfAHostThatHangsDelaysNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := newHanging(w)
	k := w.start(fakes{trips: 1, reply: h.reply})
	k.primaryNeedsAProbe()
	d := record("c", "id", nil)
	r := k.outcome(d)
	require.Equal(t, job.StatusSucceeded, r.Status)
	require.Equal(t, "backup", r.Answer.Host)
	require.Equal(t, 2, r.Attempts)
	require.True(t, r.MaybeSent)
	calls := w.callsOf("id")
	require.Equal(t, []wxclient.Host{wxclient.Primary, wxclient.Backup}, []wxclient.Host{calls[0].host, calls[1].host})
	require.Equal(t, calls[0].body, calls[1].body)

	require.True(t, k.primaryIsOut())
	require.Zero(t, k.gate.State().SlotsUsed, "what was left has no slot")
	next := k.outcome(record("c", "next", nil))
	require.Equal(t, "backup", next.Answer.Host, "the complaint's next job does not wait for the probe either")
	close(h.answer)
	w.eventually("the probe brings the primary home", func() bool { return !k.primaryIsOut() })
	require.Len(t, w.outcomesOf(d.Source.ID()), 1)
	home := k.outcome(record("c", "home", nil))
	require.Equal(t, "primary", home.Answer.Host)
}

// With both hosts out there is nothing better to do than to wait for the probe.
func TestAProbeIsWaitedForWhileBothHostsAreOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := newHanging(w)
	k := w.start(fakes{trips: 1, reply: h.reply})
	k.learn()
	k.primaryFails()
	g, denial := k.gate.Try(time.Now(), gate.Ask{MchID: testMchID, Lane: "failing"})
	require.Nil(t, denial)
	require.Equal(t, wxclient.Backup, g.Host)
	k.gate.Done(time.Now(), g, gate.HostFailed)

	d := record("c", "id", nil)
	k.deliver(d)
	w.eventually("the probe", func() bool { return len(w.callsOf("id")) == 1 })
	w.stays(4*k.gate.Patience(), "the job did not wait for its probe", func() bool {
		return k.finishedCount(d.Source.ID()) > 0 || len(w.callsOf("id")) > 1
	})
	close(h.answer)
	k.wait(d)
	require.Equal(t, "primary", w.outcomesOf(d.Source.ID())[0].result.Answer.Host)
}

// A probe that was left ends with its session; main_test.go sees that nothing is left of it.
func TestADrainEndsALeftProbe(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := newHanging(w)
	k := w.start(fakes{trips: 1, reply: h.reply})
	k.primaryNeedsAProbe()
	require.Equal(t, job.StatusSucceeded, k.outcome(record("c", "id", nil)).Status)
	require.True(t, k.gate.State().Hosts[0].Probing)
	require.True(t, k.session.Drain(t.Context()))
	w.eventually("the probe comes back", func() bool { return !k.gate.State().Hosts[0].Probing })
	require.True(t, k.primaryIsOut(), "a probe that was cut off says nothing of its host")
}

// A probe that makes the worker stumble harms nobody, left or not: its job is tried again.
func TestAPanicOfAProbe(t *testing.T) {
	t.Parallel()
	for _, when := range []string{"at once", "when its job has gone on"} {
		t.Run(when, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			h := newHanging(w)
			k := w.start(fakes{trips: 1, reply: func(_ context.Context, c call) (wxclient.Answer, error) {
				if c.attempt > 1 || c.host != wxclient.Primary {
					return w.take(c.id), nil
				}
				if when != "at once" {
					<-h.answer
				}
				panic("a fault of the worker")
			}})
			k.primaryNeedsAProbe()
			r := k.outcome(record("c", "id", nil))
			require.Equal(t, job.StatusSucceeded, r.Status)
			require.Equal(t, 2, r.Attempts)
			close(h.answer)
			w.eventually("the probe comes back", func() bool { return !k.gate.State().Hosts[0].Probing })
			require.Contains(t, k.log.String(), "a fault of the worker")
			require.Contains(t, k.log.String(), "hostout_test.go", "the stack is in the log")
		})
	}
}

// A call that has nowhere else to go is waited for: it may be the job's last.
func TestACallIsNotLeftForNothing(t *testing.T) {
	t.Parallel()
	for _, probe := range []bool{true, false} {
		t.Run(fmt.Sprint("probe ", probe), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			h := newHanging(w)
			k := w.start(fakes{trips: 1, reply: h.reply, retry: retry.Policy{Initial: time.Millisecond, Max: time.Millisecond, Attempts: 1}})
			k.learn()
			if probe {
				k.primaryFails()
				k.primaryIsDue()
				k.room.limit(1)
			}
			d := record("c", "id", nil)
			k.deliver(d)
			w.eventually("the call", func() bool { return len(w.callsOf("id")) == 1 })
			k.gate.Done(time.Now(), k.otherMerchant(), gate.Succeeded)
			if !probe {
				k.room.limit(0)
				k.primaryFails()
			}
			w.stays(3*k.gate.Patience(), "the call was left", func() bool { return w.claim("id").State != dedupe.StateClaimed })
			close(h.answer)
			k.wait(d)
			require.Equal(t, job.StatusSucceeded, w.outcomesOf(d.Source.ID())[0].result.Status)
			require.Len(t, w.callsOf("id"), 1)
		})
	}
}

// Calls finish where they are while the worker drains.
func TestNoCallIsLeftWhileTheWorkerDrains(t *testing.T) {
	t.Parallel()
	for _, probe := range []bool{true, false} {
		t.Run(fmt.Sprint("probe ", probe), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			h := newHanging(w)
			k := w.start(fakes{trips: 1, reply: h.reply})
			k.learn()
			if probe {
				k.primaryFails()
				k.primaryIsDue()
			}
			d := record("c", "id", nil)
			k.deliver(d)
			w.eventually("the call", func() bool { return len(w.callsOf("id")) == 1 })
			drained := make(chan bool)
			go func() { drained <- k.session.Drain(t.Context()) }()
			if !probe {
				k.primaryFails()
			}
			time.AfterFunc(4*k.gate.Patience(), func() { close(h.answer) })
			require.True(t, <-drained)
			require.Equal(t, 1, k.finishedCount(d.Source.ID()), "the call was not waited for; the claim is %+v", w.claim("id"))
			require.Len(t, w.callsOf("id"), 1)
		})
	}
}

// Where both hosts were out, those who wait for one hear that the other is back.
func TestCallsMoveWhenTheOtherHostComesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := newHanging(w)
	k := w.start(fakes{trips: 1, reply: h.reply})
	k.learn()
	d := record("c", "id", nil)
	k.deliver(d)
	w.eventually("the call", func() bool { return len(w.callsOf("id")) == 1 })
	g := k.otherMerchant()
	require.True(t, k.gate.Switch(time.Now(), g))
	k.gate.Done(time.Now(), g, gate.HostFailed)
	require.True(t, k.gate.State().Hosts[wxclient.Backup].Open)
	require.True(t, k.primaryIsOut())
	w.stays(3*k.gate.Patience(), "there is no host to go to", func() bool { return len(w.callsOf("id")) > 1 })
	var probes []*gate.Grant
	w.eventually("the backup is back", func() bool {
		p, denial := k.gate.Try(time.Now(), gate.Ask{MchID: "another", Lane: fmt.Sprint("probe", len(probes))})
		if denial != nil {
			return false
		}
		probes = append(probes, p)
		if p.Host == wxclient.Backup {
			k.gate.Done(time.Now(), p, gate.Succeeded)
			return true
		}
		return false // the primary's probe, which stays out
	})
	k.wait(d)
	require.Equal(t, "backup", w.outcomesOf(d.Source.ID())[0].result.Answer.Host)
	for _, p := range probes {
		if p.Host == wxclient.Primary {
			k.gate.Done(time.Now(), p, gate.Unused)
		}
	}
}

// What the API has said is true, whoever still waited for it: the job finds its success in the claim.
func TestASuccessOfALeftProbeIsTheJobs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := newHanging(w)
	k := w.start(fakes{
		trips: 1, retry: retry.Policy{Initial: 500 * time.Millisecond, Max: 500 * time.Millisecond, Attempts: 3},
		reply: func(ctx context.Context, c call) (wxclient.Answer, error) {
			if c.host == wxclient.Backup {
				return wxclient.Answer{}, fault(wxclient.ClassTransient, 500, "SYSTEM_ERROR")
			}
			return h.reply(ctx, c)
		},
	})
	k.primaryNeedsAProbe()
	d := record("c", "id", nil)
	k.deliver(d)
	w.eventually("the job waits", func() bool { return w.claim("id").State == dedupe.StateWaiting })
	close(h.answer)
	w.eventually("the success is noted", func() bool { return w.claim("id").State == dedupe.StateDone })
	k.wait(d)
	o := w.outcomesOf(d.Source.ID())
	require.Len(t, o, 1)
	require.Equal(t, job.StatusSucceeded, o[0].result.Status)
	require.Len(t, w.callsOf("id"), 2, "the API was asked again although it had said yes")
}

// A call that the worker itself made impossible says nothing of the host.
func TestAPanicOfAProbeDoesNotBringItsHostHome(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k := w.start(fakes{trips: 1, retry: never(), reply: func(context.Context, call) (wxclient.Answer, error) {
		panic("a fault of the worker")
	}})
	k.primaryNeedsAProbe()
	k.deliver(record("c", "id", nil))
	w.eventually("the job waits", func() bool { return w.claim("id").State == dedupe.StateWaiting })
	require.True(t, k.primaryIsOut())
}

// refusing is the API with a backup that refuses one job.
func (h *hanging) refusing(id string, e *wxclient.Error) func(context.Context, call) (wxclient.Answer, error) {
	return func(ctx context.Context, c call) (wxclient.Answer, error) {
		if c.host == wxclient.Backup && c.id == id {
			return wxclient.Answer{}, e
		}
		return h.reply(ctx, c)
	}
}

// A job is not settled as failed, and its complaint does not go on, while the API may yet take it in a
// call of our own.
func TestAJobDoesNotFailWhileItsProbeIsOut(t *testing.T) {
	t.Parallel()
	for name, refusal := range map[string]*wxclient.Error{
		"exhausted": fault(wxclient.ClassTransient, 500, "SYSTEM_ERROR"),
		"rejected":  fault(wxclient.ClassRefused, 400, "PARAM_ERROR"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			h := newHanging(w)
			k := w.start(fakes{
				trips: 1, retry: retry.Policy{Initial: time.Millisecond, Max: time.Millisecond, Attempts: 1},
				reply: h.refusing("first", refusal),
			})
			k.primaryNeedsAProbe()
			first, second := record("c", "first", nil), record("c", "second", nil)
			k.deliver(first, second)
			w.eventually("both calls", func() bool { return len(w.callsOf("first")) == 2 })
			w.stays(3*testLease, "the job was settled, or its claim is lost, while its probe is out", func() bool {
				return len(w.callsOf("second")) > 0 || w.claim("first").State != dedupe.StateClaimed
			})
			close(h.answer)
			k.wait(first, second)
			require.Equal(t, job.StatusSucceeded, w.outcomesOf(first.Source.ID())[0].result.Status)
			require.Empty(t, w.lettersOf(first.Source.ID()))
			require.Equal(t, "log-1-first", w.claim("first").LogID, "the complaint's replies are out of order")
		})
	}
}

// The success of a left probe ends its job at once, however long that would wait for its next try.
func TestASuccessOfALeftProbeEndsTheWait(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := newHanging(w)
	later := fault(wxclient.ClassTransient, 500, "SYSTEM_ERROR")
	later.RetryAfter = time.Hour
	k := w.start(fakes{trips: 1, reply: h.refusing("id", later)})
	k.primaryNeedsAProbe()
	d, next := record("c", "id", nil), record("c", "next", nil)
	k.deliver(d, next)
	w.eventually("the job waits", func() bool { return w.claim("id").State == dedupe.StateWaiting })
	close(h.answer)
	k.wait(d, next)
	require.Equal(t, job.StatusSucceeded, w.outcomesOf(d.Source.ID())[0].result.Status)
}

// A left probe that finds nothing lets its job wait for its next try.
func TestAFailureOfALeftProbeChangesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	answer := make(chan struct{})
	k := w.start(fakes{trips: 1, retry: never(), reply: func(_ context.Context, c call) (wxclient.Answer, error) {
		if c.host == wxclient.Primary {
			<-answer
		}
		return wxclient.Answer{}, fault(wxclient.ClassTransient, 500, "SYSTEM_ERROR")
	}})
	k.primaryNeedsAProbe()
	k.deliver(record("c", "id", nil))
	w.eventually("the job waits", func() bool { return w.claim("id").State == dedupe.StateWaiting })
	close(answer)
	w.eventually("the primary is back", func() bool { return !k.primaryIsOut() })
	w.stays(3*k.gate.Patience(), "the job did not wait for its next try", func() bool {
		return len(w.callsOf("id")) > 2 || w.claim("id").State != dedupe.StateWaiting
	})
}

// What the API has said is kept until the claim store takes it; nobody is left while it is away.
func TestNoCallIsLeftWhileTheClaimStoreIsAway(t *testing.T) {
	t.Parallel()
	for _, probe := range []bool{true, false} {
		t.Run(fmt.Sprint("probe ", probe), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			h := newHanging(w)
			var away atomic.Bool
			k := w.start(fakes{trips: 1, reply: h.reply, before: func(_ context.Context, op string) error {
				if away.Load() && op != opReply {
					return unavailable(op)
				}
				return nil
			}})
			k.learn()
			if probe {
				k.primaryFails()
				k.primaryIsDue()
				k.room.limit(1)
			}
			var failing *gate.Grant
			if !probe {
				failing = k.otherMerchant()
			}
			d := record("c", "id", nil)
			k.deliver(d)
			w.eventually("the call", func() bool { return len(w.callsOf("id")) == 1 })
			away.Store(true)
			k.gate.StoreDown(time.Now())
			k.room.left.Store(100)
			if !probe {
				k.gate.Done(time.Now(), failing, gate.HostFailed)
			}
			w.stays(4*k.gate.Patience(), "the call was left", func() bool {
				return len(w.callsOf("id")) > 1 || k.gate.State().SlotsUsed == 0
			})
			close(h.answer)
			w.eventually("the answer is there", func() bool { return k.gate.State().SlotsUsed == 0 })
			away.Store(false)
			k.wait(d)
			require.Len(t, w.callsOf("id"), 1, "the API was asked again although it had said yes")
		})
	}
}

// The success of a left probe is one of a call that was made.
func TestTheAttemptsOfALeftProbesSuccess(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := newHanging(w)
	e := fault(wxclient.ClassHostFailed, 503, "")
	k := w.start(fakes{
		trips: 1, retry: retry.Policy{Initial: 500 * time.Millisecond, Max: 500 * time.Millisecond, Attempts: 3},
		reply: h.refusing("id", e),
	})
	k.primaryNeedsAProbe()
	d := record("c", "id", nil)
	k.deliver(d)
	w.eventually("the job waits", func() bool { return w.claim("id").State == dedupe.StateWaiting })
	close(h.answer)
	k.wait(d)
	require.Equal(t, 1, w.outcomesOf(d.Source.ID())[0].result.Attempts)
}
