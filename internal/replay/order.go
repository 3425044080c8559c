package replay

import (
	"context"
	"fmt"
	"sync"
	"time"

	"replyworker/internal/deadletter"
	"replyworker/internal/job"
	"replyworker/internal/kafkaio"
	"replyworker/internal/outcome"
)

// Outcomes is where later replies are looked for.
type Outcomes struct {
	Kafka deadletter.Kafka // a *kafkaio.Client
	Topic string
	// Patience is how long Kafka may be away.
	Patience time.Duration
	// Start is told how many offsets there are to read, Progress how many more are read, and Done when
	// that is over.
	Start    func(total int64)
	Progress func(passed int64)
	Done     func()
}

// place is where a job record stood, or stands.
type place struct {
	topic     string
	partition int
}

// later is what succeeded for one complaint: the last offset of each partition, and when the last one
// was enqueued.
type later struct {
	offsets  map[place]int64
	enqueued time.Time
}

// order finds out which letters have been overtaken.
type order struct {
	// first is where each job stood before it was replayed for the first time.
	first map[string]map[place]int64

	mu         sync.Mutex
	complaints map[string]*later
	forgotten  map[string]bool // jobs without a claim, and whether an outcome says that they succeeded
	from       time.Time       // of the earliest outcome that was read
}

// judgeOrder marks what is superseded among the items that would be sent, and what succeeded although
// its claim is forgotten.
func (cfg *PlanConfig) judgeOrder(ctx context.Context, p *Plan) error {
	o := &order{first: map[string]map[place]int64{}, complaints: map[string]*later{}, forgotten: map[string]bool{}}
	since := o.concern(p)
	if len(o.complaints) == 0 {
		return nil
	}
	for _, l := range cfg.Index.Letters {
		o.noteFirst(cfg, l)
	}
	if err := o.read(ctx, &cfg.Outcomes, since); err != nil {
		return err
	}
	p.OutcomesFrom = since
	if o.from.After(since) {
		p.OutcomesFrom = o.from
	}
	for i := range p.Items {
		item := &p.Items[i]
		if !p.orderMatters(item) {
			continue
		}
		switch l := o.complaints[complaintOf(item.MchID, item.Letter.ComplaintID)]; {
		case o.forgotten[jobOf(item.MchID, item.Letter.IdempotentID)]:
			item.Verdict = ForgottenMaybeSent
		case o.overtaken(item, l):
			item.Verdict = Superseded
		}
	}
	return nil
}

// orderMatters says that it matters whether a later reply succeeded. What succeeded itself is only
// answered again.
func (p *Plan) orderMatters(i *Item) bool {
	return i.Verdict != AlreadySucceeded && (p.include[i.Verdict] || i.Verdict == ForgottenMaybeSent)
}

// concern notes whose outcomes matter, and returns the time before which none do: of what is
// forgotten, all.
func (o *order) concern(p *Plan) time.Time {
	var since time.Time
	all := false
	for i := range p.Items {
		item := &p.Items[i]
		if !p.orderMatters(item) {
			continue
		}
		o.complaints[complaintOf(item.MchID, item.Letter.ComplaintID)] = &later{offsets: map[place]int64{}}
		if !item.Claimed {
			all, o.forgotten[jobOf(item.MchID, item.Letter.IdempotentID)] = true, false
		}
		if t := bornAt(item.Letter); since.IsZero() || t.Before(since) {
			since = t
		}
	}
	if all {
		return time.Time{}
	}
	return since
}

// bornAt is the earliest time that is known of a letter's job.
func bornAt(l *deadletter.Letter) time.Time {
	if t := l.Source.Timestamp; !t.IsZero() && t.Before(l.FirstFailed) {
		return t
	}
	return l.FirstFailed
}

func complaintOf(mchID, complaintID string) string { return mchID + "/" + complaintID }
func jobOf(mchID, idempotentID string) string      { return mchID + "/" + idempotentID }

// noteFirst notes where the job of a letter stood. A replay puts it behind jobs that are later than it.
func (o *order) noteFirst(cfg *PlanConfig, l *deadletter.Letter) {
	mchID, known := cfg.Merchant(l.MchID)
	if !known || l.IdempotentID == "" || l.Source.Offset < 0 {
		return
	}
	if o.complaints[complaintOf(mchID, l.ComplaintID)] == nil {
		return
	}
	id, at := jobOf(mchID, l.IdempotentID), place{l.Source.Topic, l.Source.Partition}
	if o.first[id] == nil {
		o.first[id] = map[place]int64{}
	}
	if before, found := o.first[id][at]; !found || l.Source.Offset < before {
		o.first[id][at] = l.Source.Offset
	}
}

// firstOffset is where a job stood first in a partition.
func (o *order) firstOffset(id string, at place, offset int64) int64 {
	if first, found := o.first[id][at]; found {
		return min(first, offset)
	}
	return offset
}

func (o *order) read(ctx context.Context, from *Outcomes, since time.Time) error {
	first, cancel := context.WithTimeout(ctx, from.Patience)
	defer cancel()
	spans, err := from.Kafka.Spans(first, from.Topic, since)
	if err != nil {
		return fmt.Errorf("outcomes: %w", err)
	}
	from.Start(kafkaio.Offsets(spans))
	defer from.Done()
	return kafkaio.ReadSpans(ctx, from.Kafka, spans, from.Patience,
		func(_ kafkaio.Span, records []job.Delivery, passed int64) error {
			for i := range records {
				o.add(&records[i])
			}
			from.Progress(passed)
			return nil
		})
}

// add takes note of an outcome. One that cannot be read says nothing of any complaint.
func (o *order) add(d *job.Delivery) {
	e, err := outcome.Parse(d.Value)
	o.mu.Lock()
	defer o.mu.Unlock()
	if at := d.Source.Timestamp; o.from.IsZero() || at.Before(o.from) {
		o.from = at
	}
	if err != nil || e.Status != job.StatusSucceeded {
		return
	}
	l := o.complaints[complaintOf(e.MchID, e.ComplaintID)]
	if l == nil {
		return
	}
	at, id := place{e.Source.Topic, e.Source.Partition}, jobOf(e.MchID, e.IdempotentID)
	if _, asked := o.forgotten[id]; asked {
		o.forgotten[id] = true
		return // of the job itself, not of a later one
	}
	l.offsets[at] = max(l.offsets[at], o.firstOffset(id, at, e.Source.Offset))
	// A replay was enqueued later than its job.
	if enqueued, err := time.Parse(time.RFC3339Nano, e.EnqueuedAt); err == nil && e.ReplayCount == 0 && enqueued.After(l.enqueued) {
		l.enqueued = enqueued
	}
}

// overtaken says that a later reply to the complaint of an item succeeded: one behind it in its
// partition, or one of elsewhere that was enqueued after it had failed.
func (o *order) overtaken(item *Item, l *later) bool {
	at := place{item.Letter.Source.Topic, item.Letter.Source.Partition}
	own := o.firstOffset(jobOf(item.MchID, item.Letter.IdempotentID), at, item.Letter.Source.Offset)
	if offset, found := l.offsets[at]; found && own >= 0 && offset > own {
		return true
	}
	return l.enqueued.After(item.Letter.FirstFailed)
}
