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

// successes is what the outcomes tell of some complaints and jobs. While it is read, several goroutines
// use it.
type successes struct {
	order *order

	mu         sync.Mutex
	complaints map[complaintKey]*replies
	own        map[jobKey]string // the contents of the jobs in question that succeeded
	asked      map[jobKey]bool   // the jobs in question
	from       map[int]time.Time // of the first outcome that was read, by partition
}

// replies are those to one complaint that succeeded, by where they stood. Most complaints have none.
type replies struct {
	places map[place]*placeReplies
}

// placeReplies are the last ones of a place, by offset and by time (in milliseconds).
type placeReplies struct {
	last, latest top
}

func newSuccesses(o *order) *successes {
	return &successes{
		order: o, complaints: map[complaintKey]*replies{}, own: map[jobKey]string{}, asked: map[jobKey]bool{},
		from: map[int]time.Time{},
	}
}

// concern notes that the outcomes of an item's complaint and of its job are wanted.
func (s *successes) concern(i *Item) {
	if c := i.complaint(); s.complaints[c] == nil {
		s.complaints[c] = &replies{}
	}
	s.asked[i.job()] = true
}

// read reads the outcomes since a time, all of them where it is zero. It returns how far back they go:
// where the topic's retention has taken some of them, the time from which each partition has them all.
func (s *successes) read(ctx context.Context, from *Outcomes, since time.Time) (time.Time, error) {
	first, cancel := context.WithTimeout(ctx, from.Patience)
	defer cancel()
	whole, err := from.Kafka.Spans(first, from.Topic, time.Time{})
	if err != nil {
		return time.Time{}, fmt.Errorf("outcomes: %w", err)
	}
	spans := whole
	if !since.IsZero() {
		if spans, err = from.Kafka.Spans(first, from.Topic, since); err != nil {
			return time.Time{}, fmt.Errorf("outcomes: %w", err)
		}
	}
	from.Start(kafkaio.Offsets(spans))
	defer from.Done()
	err = kafkaio.ReadSpans(ctx, from.Kafka, spans, from.Patience,
		func(span kafkaio.Span, records []job.Delivery, passed int64) error {
			for i := range records {
				s.add(span.Partition, &records[i])
			}
			from.Progress(passed)
			return nil
		})
	return s.reach(whole, spans, since), err
}

// reach returns how far back the outcomes go that were read.
func (s *successes) reach(whole, spans []kafkaio.Span, since time.Time) time.Time {
	begins := map[int]int64{} // of the partitions that have lost their first records
	for _, span := range whole {
		if span.First > 0 {
			begins[span.Partition] = span.First
		}
	}
	reach := since
	for _, span := range spans {
		begin, cut := begins[span.Partition]
		if cut && span.First <= begin && s.from[span.Partition].After(reach) {
			reach = s.from[span.Partition]
		}
	}
	if reach.IsZero() { // nothing is lost: as far back as there are any
		for _, at := range s.from {
			if reach.IsZero() || at.Before(reach) {
				reach = at
			}
		}
	}
	return reach
}

// add takes note of an outcome. One that cannot be read says nothing of any complaint.
func (s *successes) add(partition int, d *job.Delivery) {
	e, err := outcome.Parse(d.Value)
	s.mu.Lock()
	defer s.mu.Unlock()
	if at, found := s.from[partition]; !found || d.Source.Timestamp.Before(at) {
		s.from[partition] = d.Source.Timestamp
	}
	if err != nil || e.Status != job.StatusSucceeded && e.Status != job.StatusDuplicate {
		return
	}
	id := jobKey{e.MchID, e.IdempotentID}
	if s.asked[id] {
		s.own[id] = e.ContentSHA256
	}
	if c := s.complaints[complaintKey{e.MchID, e.ComplaintID}]; c != nil && e.Status == job.StatusSucceeded {
		c.add(id, s.order.stoodBefore(id, &e), millisOf(e.FinishedAt))
	}
}

// stoodBefore is where the job of an outcome stood. A replay whose first letter is not kept is taken
// to be as late as it was sent: what is left out by mistake is seen in the plan, and what is sent by
// mistake is not.
func (o *order) stoodBefore(id jobKey, e *outcome.Event) stand {
	if original, found := o.originals[id]; found && e.ReplayCount > 0 {
		return original
	}
	born := time.UnixMilli(millisOf(e.EnqueuedAt))
	return stand{place{e.Source.Topic, e.Source.Partition}, e.Source.Offset, born}
}

// add takes a reply in. It is as late as it was enqueued by the clock of its producer, and no later
// than it was finished by that of its worker.
func (r *replies) add(id jobKey, s stand, finished int64) {
	if r.places == nil {
		r.places = map[place]*placeReplies{}
	}
	there := r.places[s.at]
	if there == nil {
		there = &placeReplies{}
		r.places[s.at] = there
	}
	there.last.add(id, s.offset)
	there.latest.add(id, min(s.born.UnixMilli(), finished))
}

// millisOf is 0 for a time that is not known.
func millisOf(text string) int64 {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return 0
	}
	return t.UnixMilli()
}

// top keeps the two largest values of different jobs, so that one job can be left out of account.
type top struct {
	entries [2]struct {
		job   jobKey
		value int64
		used  bool
	}
}

func (t *top) add(id jobKey, value int64) {
	e := &t.entries
	switch {
	case e[0].used && e[0].job == id:
		e[0].value = max(e[0].value, value)
	case !e[0].used || value > e[0].value:
		e[1], e[0].job, e[0].value, e[0].used = e[0], id, value, true
	case !e[1].used || value > e[1].value:
		e[1].job, e[1].value, e[1].used = id, value, true
	}
}

// other returns the largest value of another job, and -1 where there is none.
func (t *top) other(id jobKey) int64 {
	for _, e := range t.entries {
		if e.used && e.job != id {
			return e.value
		}
	}
	return -1
}
