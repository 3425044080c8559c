package processor

import (
	"context"
	"sync"
	"time"

	"replyworker/internal/dedupe"
	"replyworker/internal/job"
	"replyworker/internal/schedule"
)

const (
	// quietAfter is how many records of a partition in a row must not have been finished before for its
	// next ones not to be looked up.
	quietAfter = 1000
	// lookUpTimeout bounds looking a batch up. It saves time, or it is not worth its while.
	lookUpTimeout = time.Second
)

// Handed is a delivery that a session was handed. Finished is called when its record needs no further
// delivery.
type Handed struct {
	Delivery job.Delivery
	Finished func()
}

// Intake makes tasks of the deliveries of one session. After a restart or a rebalance those may be of
// records that were finished before, by the ten thousand; it looks them up many at a time and passes
// them over, without the gate's leave and without a claim each. It does so at the beginning of each
// partition, and from where a claim has met a finished record until a thousand others have come in a row.
// It is safe for concurrent use.
type Intake struct {
	p *Processor

	mu    sync.Mutex
	quiet map[partition]int // records in a row that were looked up and not finished
}

type partition struct {
	topic  string
	number int
}

func partitionOf(s *job.Source) partition { return partition{s.Topic, s.Partition} }

// NewIntake makes the Intake of a session.
func (p *Processor) NewIntake() *Intake { return &Intake{p: p, quiet: map[partition]int{}} }

// Tasks makes the tasks of deliveries of one partition, in their order. There is none for a record that
// is finished already and whose outcome is known to be published: of it, Finished has been called.
func (in *Intake) Tasks(ctx context.Context, handed []Handed) []*schedule.Task {
	works := make([]*work, len(handed))
	for i, h := range handed {
		works[i] = in.p.newWork(h, in)
	}
	over := in.lookUp(ctx, works)
	tasks := make([]*schedule.Task, 0, len(handed))
	for i, w := range works {
		if over[i] == dedupe.StateNone {
			tasks = append(tasks, w.task(handed[i].Finished))
			continue
		}
		in.p.metrics.claims.WithLabelValues(string(verdictOf(over[i]))).Inc()
		handed[i].Finished()
	}
	return tasks
}

// verdictOf is what a claim would have answered.
func verdictOf(s dedupe.State) dedupe.Verdict {
	if s == dedupe.StateDone {
		return dedupe.VerdictDone
	}
	return dedupe.VerdictSettled
}

// lookUp asks which records are finished; StateNone of those that are not, or of which it is not known.
// A store that does not answer is found out by the claims.
func (in *Intake) lookUp(ctx context.Context, works []*work) []dedupe.State {
	over := make([]dedupe.State, len(works))
	if len(works) == 0 || in.isQuiet(&works[0].d.Source) {
		return over
	}
	ctx, cancel := context.WithTimeout(ctx, lookUpTimeout)
	defer cancel()
	asked := make([]dedupe.Delivered, 0, len(works))
	index := make([]int, 0, len(works))
	for i, w := range works {
		if w.failed == nil {
			asked = append(asked, dedupe.Delivered{Key: w.key(), Source: w.d.Source.ID()})
			index = append(index, i)
		}
	}
	states, err := in.p.claims.Finished(ctx, asked)
	found := 0
	for i, state := range states {
		over[index[i]] = state
		if state != dedupe.StateNone {
			found++
		}
	}
	if err == nil {
		in.count(&works[0].d.Source, len(works), found)
	}
	return over
}

func (in *Intake) isQuiet(s *job.Source) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.quiet[partitionOf(s)] >= quietAfter
}

func (in *Intake) count(s *job.Source, records, found int) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if found > 0 {
		in.quiet[partitionOf(s)] = 0
		return
	}
	in.quiet[partitionOf(s)] += records
}

// met takes note that a claim has met a record that was finished before: there may be more behind it.
func (in *Intake) met(s *job.Source) { in.count(s, 0, 1) }
