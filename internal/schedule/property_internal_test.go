package schedule

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/gate"
)

// world is a scheduler with random tasks over the real gate, and what is known of them.
type world struct {
	t      *testing.T
	g      *gate.Gate
	s      *Scheduler
	random *rand.Rand // under mu

	mu      sync.Mutex
	lanes   map[string]*laneBook
	tasks   []*book
	running int
	over    bool // Drain has returned
}

// laneBook is what happened in a lane, a name in a session.
type laneBook struct {
	working *book // began, has neither expired nor advanced nor ended
	began   int   // tasks up to this number have begun or are gone
}

// book is what happened to a task.
type book struct {
	name               string
	expires            time.Time
	number             int // in its lane
	begun, atWork      bool
	advanced, ended    bool
	finished           int
	dropped, mayFinish bool
}

// past says that the task waits for its step as an expired one, out of its lane.
func (b *book) past() bool { return !b.atWork && !b.expires.IsZero() && !time.Now().Before(b.expires) }

func (w *world) chance(percent int) bool { return w.random.IntN(100) < percent }

func (w *world) ms(n int) time.Duration { return time.Duration(w.random.IntN(n)) * time.Millisecond }

func (w *world) errorf(format string, args ...any) { w.t.Errorf(format, args...) }

// add makes a random task.
func (w *world) add(ss *Session, session int) {
	w.mu.Lock()
	name := fmt.Sprintf("%d/%d", session, w.random.IntN(6))
	l := w.lanes[name]
	if l == nil {
		l = &laneBook{began: -1}
		w.lanes[name] = l
	}
	b := &book{name: fmt.Sprintf("task %d of lane %s", len(w.tasks), name), number: len(w.tasks)}
	w.tasks = append(w.tasks, b)
	task := &Task{MchID: fmt.Sprint(w.random.IntN(3)), Lane: name}
	switch {
	case w.chance(20):
		task.ExpiresAt = time.Now().Add(w.ms(800))
	case w.chance(5):
		task.Lane = ""
	case w.chance(5): //nolint:gocritic // each time another draw
		task.Ungated, task.Lane = true, ""
	}
	b.expires = task.ExpiresAt
	task.Finished = func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if b.finished++; !b.mayFinish || b.finished > 1 {
			w.errorf("%s: finished %d times, its step said so: %t", b.name, b.finished, b.mayFinish)
		}
	}
	task.Step = func(ctx context.Context, t *Task, grant *gate.Grant) Next { return w.step(ctx, t, l, b, grant) }
	w.mu.Unlock()
	ss.Add(task)
}

func (w *world) step(ctx context.Context, t *Task, l *laneBook, b *book, grant *gate.Grant) Next {
	w.begin(t, l, b, grant)
	w.sleep(ctx, 40)
	if grant != nil {
		w.mu.Lock()
		end := []gate.End{gate.Unused, gate.Succeeded, gate.Answered, gate.SlowDown, gate.HostFailed}[w.random.IntN(5)]
		w.mu.Unlock()
		w.g.Done(time.Now(), grant, end)
	}
	w.mu.Lock()
	advance := w.chance(20)
	if advance {
		w.leave(l, b)
	}
	w.mu.Unlock()
	if advance {
		t.Advance()
		w.sleep(ctx, 40)
	}
	return w.end(t, l, b)
}

func (w *world) sleep(ctx context.Context, ms int) {
	w.mu.Lock()
	d := w.ms(ms)
	w.mu.Unlock()
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func (w *world) begin(t *Task, l *laneBook, b *book, grant *gate.Grant) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running++
	switch {
	case w.over:
		w.errorf("%s began after its session's Drain had returned", b.name)
	case b.atWork || b.ended:
		w.errorf("%s began while at work (%t) or when it was over (%t)", b.name, b.atWork, b.ended)
	case (grant == nil) != (t.Ungated || t.Expired()):
		w.errorf("%s: leave %t, ungated %t, expired %t", b.name, grant != nil, t.Ungated, t.Expired())
	case t.Expired() && time.Now().Before(t.ExpiresAt):
		w.errorf("%s is run as expired %s before its time", b.name, time.Until(t.ExpiresAt))
	}
	b.atWork = true
	if t.Expired() {
		w.leave(l, b)
	}
	if t.Lane == "" || b.advanced {
		return
	}
	if l.working != nil && l.working != b && !l.working.past() {
		w.errorf("%s began while %s of its lane was not done", b.name, l.working.name)
	}
	if !b.begun && b.number < l.began {
		w.errorf("%s began after task %d of its lane", b.name, l.began)
	}
	l.working, l.began, b.begun = b, max(l.began, b.number), true
}

// leave takes a task out of its lane.
func (w *world) leave(l *laneBook, b *book) {
	b.advanced = true
	if l.working == b {
		l.working = nil
	}
}

func (w *world) end(t *Task, l *laneBook, b *book) Next {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running--
	b.atWork = false
	if !t.Draining() && w.chance(50) {
		return ParkUntil(time.Now().Add(w.ms(200) - 20*time.Millisecond))
	}
	b.ended = true
	w.leave(l, b)
	if w.chance(20) {
		b.dropped = true
		return Drop()
	}
	b.mayFinish = true
	return Finish()
}

// disturb holds merchants and loses the claim store, for a while.
func (w *world) disturb(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		w.mu.Lock()
		id, what, pause := fmt.Sprint(w.random.IntN(3)), w.random.IntN(4), w.ms(50)
		w.mu.Unlock()
		switch what {
		case 0:
			w.g.SetHold(id, gate.Hold{ProbeAt: time.Now().Add(pause)})
		case 1:
			w.g.StoreDown(time.Now())
		case 2:
			w.g.ClearHold(id)
		case 3:
			w.g.StoreUp()
		}
		time.Sleep(pause)
	}
	for i := range 3 {
		w.g.ClearHold(fmt.Sprint(i))
	}
	w.g.StoreUp()
}

// TestSchedulerKeepsItsPromisesWhateverTasksDo runs random tasks in two sessions over the real gate,
// with merchants held and hosts failing, and lets them end or drains them half-way.
func TestSchedulerKeepsItsPromisesWhateverTasksDo(t *testing.T) {
	t.Parallel()
	for seed := range uint64(150) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { live(t, seed) })
		})
	}
}

func live(t *testing.T, seed uint64) {
	t.Helper()
	w := &world{t: t, random: rand.New(rand.NewPCG(seed, 7)), lanes: map[string]*laneBook{}}
	slots, maxRunning := 1+w.random.IntN(6), 1+w.random.IntN(12)
	w.g = newGate(slots)
	w.s = run(t, Config{Gate: w.g, MaxRunning: maxRunning})
	sessions := []*Session{w.s.NewSession(), w.s.NewSession()}
	var others sync.WaitGroup
	for i, ss := range sessions {
		others.Go(func() {
			for range 40 {
				w.add(ss, i)
				w.sleep(context.Background(), 10)
			}
		})
	}
	others.Go(func() { w.disturb(time.Second) })
	others.Go(func() {
		for range 100 {
			time.Sleep(10 * time.Millisecond)
			c := w.s.Counts()
			if c.Running > maxRunning || c.Running < 0 || c.Waiting < 0 || c.Parked < 0 {
				w.errorf("counts are %+v, at most %d may run", c, maxRunning)
			}
			if used := w.g.State().SlotsUsed; used > slots || used < 0 {
				w.errorf("%d of %d slots are used", used, slots)
			}
		}
	})
	w.mu.Lock()
	halfWay, patience := w.chance(50), w.ms(60)
	w.mu.Unlock()
	if !halfWay {
		others.Wait()
		time.Sleep(10 * time.Minute) // all faults but failing calls have ended
		require.Equal(t, Counts{}, w.s.Counts(), "counts when everything had time to end")
		for _, b := range w.tasks {
			require.True(t, b.ended, "%s has not ended in 10 minutes without faults", b.name)
		}
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), patience, errors.New("no time left"))
	defer cancel()
	for _, ss := range sessions {
		ss.Drain(ctx)
	}
	w.mu.Lock()
	w.over = true
	require.Zero(t, w.running, "steps at work when Drain has returned")
	w.mu.Unlock()
	others.Wait()
	time.Sleep(time.Minute)
	for _, ss := range sessions {
		requireEmpty(t, ss)
	}
	require.Zero(t, w.g.State().SlotsUsed, "slots used at the end")
	for _, b := range w.tasks {
		require.Equal(t, b.mayFinish, b.finished == 1, "%s: step said finish %t, finished %d times", b.name, b.mayFinish, b.finished)
	}
}

// TestNoWakeUpIsLost adds from many goroutines to a gate with one slot, in real time.
func TestNoWakeUpIsLost(t *testing.T) {
	t.Parallel()
	g := newGate(1)
	s := run(t, Config{Gate: g, MaxRunning: 3})
	ss := s.NewSession()
	var left sync.WaitGroup
	for i := range 50 {
		left.Add(100)
		go func() {
			for j := range 100 {
				parks := j % 2
				ss.Add(&Task{
					MchID: fmt.Sprint(i % 5), Lane: fmt.Sprint(i, j%3), Finished: left.Done,
					Step: func(_ context.Context, _ *Task, grant *gate.Grant) Next {
						g.Done(time.Now(), grant, gate.Succeeded)
						if parks--; parks >= 0 {
							return ParkUntil(time.Now())
						}
						return Finish()
					},
				})
			}
		}()
	}
	done := make(chan struct{})
	go func() {
		left.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Errorf("5,000 short tasks are not done in 30 s; counts %+v, gate %+v", s.Counts(), g.State())
	}
	drain(t, ss)
}
