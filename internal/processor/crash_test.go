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
	"replyworker/internal/wxclient"
)

// grave is where a worker's process dies: once a hook has reached the place, all that the worker
// does goes nowhere until the test is over.
type grave struct {
	before, after string // the place: an operation's name, before or after it is done

	mu   sync.Mutex
	dead bool
	over chan struct{}
}

var errDead = errors.New("the process is dead")

func (g *grave) at(place string) func(context.Context, string) error {
	return func(_ context.Context, op string) error {
		want := g.before
		if place == "after" {
			want = g.after
		}
		g.mu.Lock()
		g.dead = g.dead || want == op
		dead := g.dead
		g.mu.Unlock()
		if !dead {
			return nil
		}
		if op != opRenew && op != opHolds {
			<-g.over
		}
		return errDead
	}
}

func (g *grave) isDead() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.dead
}

// TestTheProcessDies lets a worker die at each step of a job's way, and another one take the record:
// one effect, outcomes that agree, attempts remembered.
func TestTheProcessDies(t *testing.T) {
	t.Parallel()
	type ending struct {
		name  string
		reply func(w *world) func(context.Context, call) (wxclient.Answer, error)
		more  map[string]any
		want  job.Result
		ops   []string
	}
	succeed := func(w *world) func(context.Context, call) (wxclient.Answer, error) {
		return func(_ context.Context, c call) (wxclient.Answer, error) { return w.take(c.id), nil }
	}
	for _, e := range []ending{
		{
			name: "success", reply: succeed, want: job.Result{Status: job.StatusSucceeded},
			ops: []string{opClaim, opReply, opComplete, opOutcome, opMark},
		},
		{
			name: "success on the other host", want: job.Result{Status: job.StatusSucceeded},
			reply: func(w *world) func(context.Context, call) (wxclient.Answer, error) {
				return func(_ context.Context, c call) (wxclient.Answer, error) {
					if c.host == wxclient.Primary {
						w.take(c.id)
						return wxclient.Answer{}, fault(wxclient.ClassHostFailed, 0, "")
					}
					return w.take(c.id), nil
				}
			},
			ops: []string{opBegin, opComplete, opOutcome},
		},
		{
			name: "success after a wait", want: job.Result{Status: job.StatusSucceeded},
			reply: func(w *world) func(context.Context, call) (wxclient.Answer, error) {
				return func(_ context.Context, c call) (wxclient.Answer, error) {
					if c.attempt == 1 {
						return wxclient.Answer{}, fault(wxclient.ClassTransient, 500, "")
					}
					return w.take(c.id), nil
				}
			},
			ops: []string{opPark, opComplete},
		},
		{
			name: "refusal", want: job.Result{Status: job.StatusFailed, Reason: job.ReasonRejected},
			reply: func(*world) func(context.Context, call) (wxclient.Answer, error) { return refuse },
			ops:   []string{opClaim, opReply, opFail, opLetter, opOutcome, opMark},
		},
		{
			name: "expiry", want: job.Result{Status: job.StatusExpired}, reply: succeed,
			more: map[string]any{"expires_at": "2026-01-01T00:00:00Z"},
			ops:  []string{opClaim, opFail, opOutcome, opMark},
		},
	} {
		for _, op := range e.ops {
			for _, place := range []string{"before", "after"} {
				t.Run(e.name+", dies "+place+" "+op, func(t *testing.T) {
					t.Parallel()
					w := newWorld(t)
					g := &grave{over: make(chan struct{})}
					if place == "before" {
						g.before = op
					} else {
						g.after = op
					}
					a := w.start(fakes{reply: e.reply(w), before: g.at("before"), after: g.at("after")})
					t.Cleanup(func() { close(g.over) })
					d := record("c", "id", e.more)
					a.deliver(d)
					w.eventually("the process dies", g.isDead)
					before := w.claim("id")
					made := len(w.callsOf("id"))

					b := w.start(fakes{reply: e.reply(w)})
					b.deliver(d)
					b.wait(d)
					w.consistent()
					all := w.outcomesOf(d.Source.ID())
					require.NotEmpty(t, all)
					r := all[len(all)-1].result
					require.Equal(t, e.want.Status, r.Status)
					require.Equal(t, e.want.Reason, r.Reason)
					effects := 0
					if r.Status == job.StatusSucceeded {
						effects = 1
						require.Equal(t, w.take("id").LogID, r.LogID)
					}
					w.mu.Lock()
					require.Len(t, w.effects, effects, "effects")
					w.mu.Unlock()
					if r.Status == job.StatusFailed {
						require.NotEmpty(t, w.lettersOf(d.Source.ID()))
					}
					switch before.State {
					case dedupe.StateDone, dedupe.StateDead, dedupe.StateExpired:
						require.Len(t, w.callsOf("id"), made, "a settled job is not called again")
					case dedupe.StateClaimed:
						if r.Status != job.StatusExpired {
							require.Greater(t, r.Attempts, before.Attempts, "the attempt under way is remembered")
						}
						if r.Status == job.StatusSucceeded {
							require.True(t, r.MaybeSent, "a call may have been under way")
						}
					case dedupe.StateNone, dedupe.StateWaiting:
					}
					require.Equal(t, 1, w.finishedCount(d.Source.ID()))
				})
			}
		}
	}
}

// A job whose calls end with the process must not go on for ever.
func TestAJobThatKillsItsWorkers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := record("c", "id", nil)
	for n := 1; n <= 3; n++ {
		g := &grave{before: opReply, over: make(chan struct{})}
		a := w.start(fakes{before: g.at("before")})
		t.Cleanup(func() { close(g.over) })
		a.deliver(d)
		w.eventually("dies", g.isDead)
		require.Len(t, w.callsOf("id"), n)
	}
	r := w.start(fakes{}).outcome(d)
	require.Equal(t, job.ReasonExhausted, r.Reason)
	require.True(t, r.MaybeSent)
	require.Len(t, w.callsOf("id"), 3)
}

// TestAZombie lets worker A hang in its call until its lease is over, worker B take the job and
// finish it, and then A wake up with an answer of its own: A contradicts nothing that B has said.
func TestAZombie(t *testing.T) {
	t.Parallel()
	answers := map[string]func(w *world, c call) (wxclient.Answer, error){
		"success": func(w *world, c call) (wxclient.Answer, error) { return w.take(c.id), nil },
		"refusal": func(*world, call) (wxclient.Answer, error) {
			return wxclient.Answer{}, fault(wxclient.ClassRefused, 400, "X")
		},
		"other error": func(*world, call) (wxclient.Answer, error) {
			return wxclient.Answer{}, fault(wxclient.ClassTransient, 500, "")
		},
		"no answer": func(*world, call) (wxclient.Answer, error) {
			return wxclient.Answer{}, fault(wxclient.ClassHostFailed, 0, "")
		},
		"bad credentials": func(*world, call) (wxclient.Answer, error) {
			return wxclient.Answer{}, fault(wxclient.ClassCredentials, 401, "")
		},
		// As no idempotent API answers, to be on the safe side.
		"another log_id": func(*world, call) (wxclient.Answer, error) {
			return wxclient.Answer{LogID: "another", HTTPStatus: 200}, nil
		},
	}
	for _, sameRecord := range []bool{true, false} {
		for _, b := range []string{"success", "refusal"} {
			for a, answer := range answers {
				name := "A has " + a + ", B " + b
				if !sameRecord {
					name += " of another record"
				}
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					w := newWorld(t)
					open := make(chan struct{})
					wakes := sync.OnceFunc(func() { close(open) })
					t.Cleanup(wakes)
					stuck := w.start(fakes{
						// No renewal either: the whole process hangs.
						before: func(_ context.Context, op string) error {
							if op == opRenew {
								return errDead
							}
							return nil
						},
						reply: func(_ context.Context, c call) (wxclient.Answer, error) {
							if c.attempt == 1 {
								<-open
								return answer(w, c)
							}
							return w.take(c.id), nil
						},
					})
					d := record("c", "id", nil)
					stuck.deliver(d)
					w.eventually("A calls", func() bool { return len(w.callsOf("id")) == 1 })
					taker := w.start(fakes{reply: func(_ context.Context, c call) (wxclient.Answer, error) { return answers[b](w, c) }})
					second := d
					if !sameRecord {
						second = other(d)
					}
					taker.deliver(second)
					taker.wait(second)
					wakes()
					w.eventually("A finishes\n"+stuck.log.String(), func() bool {
						return w.finishedCount(d.Source.ID()) == map[bool]int{true: 2, false: 1}[sameRecord]
					})
					w.consistent()
				})
			}
		}
	}
}

// TestAZombieBetweenItsCallAndTheStore is TestAZombie for a worker that has its answer already.
func TestAZombieBetweenItsCallAndTheStore(t *testing.T) {
	t.Parallel()
	for _, refusedA := range []bool{false, true} {
		for _, refusedB := range []bool{false, true} {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				reply := func(refused bool) func(_ context.Context, c call) (wxclient.Answer, error) {
					return func(_ context.Context, c call) (wxclient.Answer, error) {
						if refused {
							return wxclient.Answer{}, fault(wxclient.ClassRefused, 400, "X")
						}
						return w.take(c.id), nil
					}
				}
				open, reached := make(chan struct{}), make(chan struct{})
				wakes := sync.OnceFunc(func() { close(open) })
				t.Cleanup(wakes)
				a := w.start(fakes{reply: reply(refusedA), before: func(_ context.Context, op string) error {
					if op == opComplete || op == opFail {
						select {
						case <-reached:
						default:
							close(reached)
						}
						<-open
					}
					return nil
				}})
				d := record("c", "id", nil)
				a.deliver(d)
				<-reached
				b := w.start(fakes{reply: reply(refusedB)})
				b.deliver(d)
				b.wait(d)
				first := w.outcomesOf(d.Source.ID())[0].result
				wakes()
				w.eventually("A finishes", func() bool { return w.finishedCount(d.Source.ID()) == 2 })
				w.consistent()
				require.Equal(t, refusedB, first.Status == job.StatusFailed)
			})
		}
	}
}

// A claim is renewed while its call is out, however long that is: nobody takes it over.
func TestACallLongerThanTheLease(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	open := make(chan struct{})
	a := w.start(fakes{reply: func(_ context.Context, c call) (wxclient.Answer, error) {
		<-open
		return w.take(c.id), nil
	}})
	d := record("c", "id", nil)
	a.deliver(d)
	w.eventually("called", func() bool { return len(w.callsOf("id")) == 1 })
	b := w.start(fakes{})
	b.deliver(d)
	time.AfterFunc(4*testLease, func() { close(open) })
	a.wait(d)
	w.eventually("finished by both", func() bool { return w.finishedCount(d.Source.ID()) == 2 })
	require.Len(t, w.callsOf("id"), 1)
	w.consistent()
}
