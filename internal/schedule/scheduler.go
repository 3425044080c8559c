package schedule

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"replyworker/internal/gate"
)

// scanReady bounds how many ready tasks of a merchant are asked for when those before them are
// refused for reasons of their own.
const scanReady = 32

// recallEvery is, for each merchant that is put off, how long it takes at least from one time that all of
// them are asked again, because something has changed at the gate, to the next. It is some forty times what
// asking takes: for a hundred merchants that is a millisecond.
const recallEvery = 10 * time.Microsecond

// Gate is what the scheduler asks of the gate.
type Gate interface {
	Try(now time.Time, ask gate.Ask) (*gate.Grant, *gate.Denial)
	Changed() <-chan struct{}
}

// Config sets a Scheduler up.
type Config struct {
	Gate Gate
	// MaxRunning bounds the steps at work at one time: calls, and results that are being recorded.
	MaxRunning int
}

// Scheduler runs tasks. It is safe for concurrent use.
type Scheduler struct {
	gate       Gate
	maxRunning int
	wake       chan struct{}
	beat       atomic.Int64 // of the dispatcher, Unix nanoseconds

	mu       sync.Mutex
	queues   queues          // ready tasks that need leave
	free     list            // ready tasks that need no leave
	freed    int             // of the steps at work, those without leave
	ungated  map[string]bool // merchants whose tasks need no leave
	recall   bool            // something has changed since those that are put off were asked
	recalled time.Time       // when they were asked
	parked   taskHeap
	expiring taskHeap
	counts   Counts
}

// Counts tells how many tasks are in each state.
type Counts struct {
	Waiting int // queued or ready
	Parked  int // waiting for their time
	Running int // a step is at work
}

// New makes a Scheduler. Run it before adding tasks.
func New(cfg Config) *Scheduler {
	s := &Scheduler{
		gate: cfg.Gate, maxRunning: cfg.MaxRunning, wake: make(chan struct{}, 1), queues: newQueues(),
		free: list{place: readyPlace}, ungated: map[string]bool{},
	}
	s.parked = taskHeap{at: func(t *Task) time.Time { return t.at }, idx: func(t *Task) *int { return &t.parkIdx }}
	s.expiring = taskHeap{
		at: func(t *Task) time.Time { return t.ExpiresAt }, idx: func(t *Task) *int { return &t.expIdx },
	}
	s.beat.Store(time.Now().UnixNano())
	return s
}

// Counts returns the present counts.
func (s *Scheduler) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts
}

// LastBeat returns when the dispatcher looked around last, at least every few seconds while it runs.
func (s *Scheduler) LastBeat() time.Time { return time.Unix(0, s.beat.Load()) }

// Run dispatches until ctx ends. Steps at work are their sessions' to wait for.
func (s *Scheduler) Run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for changed := false; ; {
		now := time.Now()
		s.beat.Store(now.UnixNano())
		wait := s.dispatch(now, changed)
		timer.Reset(wait)
		changed = false
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		case <-s.gate.Changed():
			changed = true
		case <-timer.C:
		}
	}
}

func (s *Scheduler) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// dispatch starts all that may run now, and returns how long until it is worth looking again.
// changed says that something has changed at the gate.
func (s *Scheduler) dispatch(now time.Time, changed bool) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recall = s.recall || changed
	wait := min(s.unpark(now), s.expire(now))
	for s.free.n > 0 && s.counts.Running < s.maxRunning && s.freed < s.maxFreed() {
		s.start(s.free.first, nil)
	}
	return max(min(wait, s.admit(now)), 100*time.Microsecond)
}

// idle is how long the dispatcher sleeps at most: its beat shows that it is not stuck.
const idle = 5 * time.Second

// unpark readies the tasks whose time has come.
func (s *Scheduler) unpark(now time.Time) time.Duration {
	for {
		t := s.parked.first()
		if t == nil {
			return idle
		}
		if t.at.After(now) {
			return t.at.Sub(now)
		}
		s.parked.remove(t)
		s.counts.Parked--
		s.counts.Waiting++
		s.ready(t, now)
	}
}

// expire readies the waiting tasks that are past their time, out of turn: they call nobody. They keep
// their places in their lanes until they are settled: another worker may be calling for one of them,
// and then the lane's next must wait for the end of that call.
func (s *Scheduler) expire(now time.Time) time.Duration {
	for {
		t := s.expiring.first()
		if t == nil {
			return idle
		}
		if t.ExpiresAt.After(now) {
			return t.ExpiresAt.Sub(now)
		}
		s.expiring.remove(t)
		if t.state == running || t.state == over {
			continue // the step looks at the time itself
		}
		s.unlist(t)
		t.expired = true
		s.counts.Waiting++
		s.ready(t, now)
	}
}

// maxFreed bounds the steps at work that need no leave: a flood of jobs that are invalid or past their
// time leaves room for calls.
func (s *Scheduler) maxFreed() int { return max(1, s.maxRunning-s.maxRunning/4) }

// admit asks the gate for the ready tasks, one at a time, each time of the merchant that has the fewest
// calls.
func (s *Scheduler) admit(now time.Time) time.Duration {
	wait := s.askAgain(now)
	var denied []*queue
	defer func() {
		for _, q := range denied {
			s.queues.put(q)
		}
	}()
	for s.counts.Running < s.maxRunning {
		q := s.queues.first()
		if q == nil {
			return wait
		}
		switch a := s.admitOne(now, q); {
		case a.started:
		case a.full:
			return min(wait, a.wait)
		case a.later:
			s.queues.putOff(q, now.Add(a.wait), a.narrow)
			wait = min(wait, a.wait)
		default:
			s.queues.aside(q)
			denied = append(denied, q)
			wait = min(wait, a.wait)
		}
	}
	return wait
}

// askAgain makes the queues ones to ask that were put off until now, or all where something has changed
// that may let them go sooner. It returns how long until it is to be called again.
func (s *Scheduler) askAgain(now time.Time) time.Duration {
	wait := s.queues.due(now)
	if !s.recall {
		return wait
	}
	if next := s.recalled.Add(time.Duration(len(s.queues.later.list)) * recallEvery).Sub(now); next > 0 {
		return min(wait, next)
	}
	s.recall, s.recalled = false, now
	s.queues.recall()
	return idle
}

// admission is what asking for a merchant's tasks came to.
type admission struct {
	started bool
	full    bool // nobody else would be let through either
	// later says that no task may go before wait, but narrow that another than those that are ready may.
	later, narrow bool
	wait          time.Duration
}

func (s *Scheduler) admitOne(now time.Time, q *queue) admission {
	a := admission{wait: idle, later: true, narrow: true}
	i, t := 0, q.list.first
	for ; t != nil && i < scanReady; i, t = i+1, t.readyPlace.next {
		grant, denial := s.gate.Try(now, gate.Ask{MchID: t.MchID, Lane: t.Lane})
		if grant != nil {
			s.start(t, grant)
			return admission{started: true}
		}
		if denial.Wait > 0 {
			a.wait = min(a.wait, denial.Wait)
		}
		a.later = a.later && denial.Wait > 0
		if denial.Everyone {
			a.full, a.narrow = denial.Full, false
			return a
		}
	}
	return a
}

// SetGated says whether the tasks of a merchant need the gate's leave, as they do unless this says
// otherwise: those of a merchant that is not configured any more call nobody. It holds for those that
// wait, too.
func (s *Scheduler) SetGated(mchID string, gated bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if gated {
		delete(s.ungated, mchID) // a task that was let through already asks for leave when it comes back
		return
	}
	s.ungated[mchID] = true
	q := s.queues.of(mchID)
	for q.n > 0 {
		t := q.list.first
		s.queues.remove(t)
		s.free.push(t)
	}
	delete(s.queues.byID, mchID) // its calls that are out know it
	s.poke()
}

func (s *Scheduler) ready(t *Task, now time.Time) {
	t.state, t.at = ready, now
	if t.Ungated || t.expired || s.ungated[t.MchID] {
		s.free.push(t)
		return
	}
	s.queues.push(t)
}

// unready takes a task off the list of ready ones that it is on.
func (s *Scheduler) unready(t *Task) {
	if t.readyPlace.in == &s.free {
		s.free.remove(t)
		return
	}
	s.queues.remove(t)
}

func (s *Scheduler) start(t *Task, grant *gate.Grant) {
	if grant == nil {
		s.free.remove(t)
		s.freed++
	} else {
		s.queues.remove(t)
		s.queues.started(t.queue)
		t.hasLeave = true
	}
	t.state = running
	s.counts.Waiting--
	s.counts.Running++
	t.session.steps.Add(1)
	go s.step(t, grant)
}

func (s *Scheduler) step(t *Task, grant *gate.Grant) {
	defer t.session.steps.Done()
	next := t.Step(t.session.ctx, t, grant)
	if next.kind == nextFinished {
		t.Finished()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts.Running--
	if grant == nil {
		s.freed--
	}
	s.returned(t)
	defer s.poke()
	if next.kind == nextParked && !t.session.draining.Load() {
		t.state, t.at = parked, next.at
		s.counts.Parked++
		s.parked.push(t)
		if t.expIdx < 0 && !t.expired && !t.ExpiresAt.IsZero() {
			s.expiring.push(t) // its time has passed while the step was at work
		}
		return
	}
	s.end(t)
}

// returned takes note that a task's step, if it had leave, has it no more.
func (s *Scheduler) returned(t *Task) {
	if t.hasLeave {
		t.hasLeave = false
		s.queues.ended(t.queue)
	}
}

// end forgets a task whose step was its last.
func (s *Scheduler) end(t *Task) {
	t.state = over
	s.expiring.remove(t)
	s.leaveLane(t, time.Now())
	delete(t.session.tasks, t)
}

func (s *Scheduler) advance(t *Task) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leaveLane(t, time.Now())
	s.poke()
}

// leaveLane takes a task out of its lane and readies the next one where it was the head.
func (s *Scheduler) leaveLane(t *Task, now time.Time) {
	l := t.lanePlace.in
	if l == nil {
		return
	}
	l.remove(t)
	if l.n == 0 {
		delete(t.session.lanes, t.Lane)
		return
	}
	if l.first.state == queued { // t was the head
		s.ready(l.first, now)
	}
}

// unlist takes a waiting task off the list that it waits on.
func (s *Scheduler) unlist(t *Task) {
	switch t.state {
	case parked:
		s.parked.remove(t)
		s.counts.Parked--
	case ready:
		s.counts.Waiting--
		s.unready(t)
	case queued:
		s.counts.Waiting--
	case running, over:
	}
}

// Session is the tasks of one Kafka generation. They are drained together.
type Session struct {
	s        *Scheduler
	ctx      context.Context //nolint:containedctx // the session's own, of all its steps; Drain ends it
	cancel   context.CancelCauseFunc
	draining atomic.Bool
	steps    sync.WaitGroup

	// Under the scheduler's lock.
	lanes map[string]*list
	tasks map[*Task]struct{}
}

// NewSession begins a session. Its end is Drain.
func (s *Scheduler) NewSession() *Session {
	ctx, cancel := context.WithCancelCause(context.Background())
	return &Session{s: s, ctx: ctx, cancel: cancel, lanes: map[string]*list{}, tasks: map[*Task]struct{}{}}
}

// Add queues a task. A task that comes while the session drains is dropped.
func (ss *Session) Add(t *Task) {
	s := ss.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if ss.draining.Load() {
		t.state = over
		return
	}
	t.session, t.parkIdx, t.expIdx = ss, -1, -1
	ss.tasks[t] = struct{}{}
	s.counts.Waiting++
	if !t.ExpiresAt.IsZero() {
		s.expiring.push(t)
	}
	defer s.poke()
	if t.Lane == "" {
		s.ready(t, time.Now())
		return
	}
	l := ss.lanes[t.Lane]
	if l == nil {
		l = &list{place: lanePlace}
		ss.lanes[t.Lane] = l
	}
	l.push(t)
	if l.n == 1 {
		s.ready(t, time.Now())
	}
}

// Drain drops the tasks that no step works on, waits for the steps at work, and when ctx ends
// before them cuts them off with its cause and waits for them to return. It says whether nothing was
// cut off.
func (ss *Session) Drain(ctx context.Context) bool {
	ss.dropWaiting()
	done := make(chan struct{})
	go func() {
		ss.steps.Wait()
		close(done)
	}()
	select {
	case <-done:
		ss.cancel(nil)
		return true
	case <-ctx.Done():
		clean := ss.idle()
		ss.cancel(context.Cause(ctx))
		<-done
		return clean
	}
}

func (ss *Session) idle() bool {
	ss.s.mu.Lock()
	defer ss.s.mu.Unlock()
	return len(ss.tasks) == 0
}

func (ss *Session) dropWaiting() {
	s := ss.s
	s.mu.Lock()
	defer s.mu.Unlock()
	ss.draining.Store(true)
	for t := range ss.tasks {
		if t.state == running {
			continue
		}
		s.unlist(t)
		s.expiring.remove(t)
		t.state = over
		if l := t.lanePlace.in; l != nil {
			l.remove(t)
			if l.n == 0 {
				delete(ss.lanes, t.Lane)
			}
		}
		delete(ss.tasks, t)
	}
}
