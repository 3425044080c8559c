package schedule

import (
	"context"
	"time"

	"replyworker/internal/gate"
)

// Task is one job in a lane. Its exported fields are set before Session.Add and not changed after.
type Task struct {
	// MchID is the merchant whose gate the task passes.
	MchID string
	// Lane names the lane, unique in the session: tasks of one lane run in the order of Add. Empty
	// is no lane at all: the task waits for nobody.
	Lane string
	// Ungated tasks run without the gate's leave.
	Ungated bool
	// ExpiresAt is when a waiting task is run without leave, wherever in its lane it is; zero for
	// never.
	ExpiresAt time.Time
	// Step runs the task. The grant is nil where the task runs without leave; otherwise the step
	// gives it back, and says so by Returning just before. The context ends when the session's time to
	// drain is over.
	Step func(ctx context.Context, t *Task, grant *gate.Grant) Next
	// Finished is called once, after a step said so. A dropped task is never finished.
	Finished func()

	session    *Session
	queue      *queue // of its merchant; nil until it was ready to ask for leave
	readyPlace place  // among the ready tasks
	lanePlace  place  // in its lane; the head is ready, parked or running, the rest are queued
	state      state
	at         time.Time // ready since, or parked until
	parkIdx    int       // in Scheduler.parked, -1 where it is not there
	expIdx     int       // in Scheduler.expiring, -1 where it is not there
	expired    bool
	hasLeave   bool // a step is at work that has not given its grant back
}

type state int

const (
	queued  state = iota // behind another task of its lane
	ready                // may run when the gate lets it
	parked               // waits for its time
	running              // a step is at work
	over                 // finished or dropped
)

// Expired says that the task runs because its time has passed.
func (t *Task) Expired() bool { return t.expired }

// Draining says that the task's session is ending: no further call is to be started.
func (t *Task) Draining() bool { return t.session.draining.Load() }

// Returning says that the step gives its grant back now. A step that goes on after that, to record what
// its call came to, counts no more when merchants' shares of the slots are compared.
func (t *Task) Returning() {
	s := t.session.s
	s.mu.Lock()
	defer s.mu.Unlock()
	s.returned(t)
}

// Advance lets the next task of the lane go on before the step that calls it is over. It is for the
// time when the task's place in the order is settled and only its records are to be written.
func (t *Task) Advance() { t.session.s.advance(t) }

// Next says what comes after a step.
type Next struct {
	kind nextKind
	at   time.Time
}

type nextKind int

const (
	nextFinished nextKind = iota
	nextDropped
	nextParked
)

// Finish ends the task.
func Finish() Next { return Next{kind: nextFinished} }

// Drop forgets the task unfinished; its record will be delivered again.
func Drop() Next { return Next{kind: nextDropped} }

// ParkUntil asks for another step at the given time, or sooner where it is in the past.
func ParkUntil(at time.Time) Next { return Next{kind: nextParked, at: at} }
