package outcome

import (
	"strings"
	"sync"

	"replyworker/internal/job"
)

const (
	maxNotes = 5   // the most unreadable records that Counts names
	maxNote  = 300 // bytes of a Note's text
)

// Counts says what a Picker has been shown. Read is the sum of the others.
type Counts struct {
	Read       int64 // records that were published in the time that is wanted
	Picked     int64
	Repeats    int64 // outcomes that were there before
	Unwanted   int64 // by the other fields of the filter
	Unreadable int64

	// Notes say of the first unreadable ones what is wrong with them.
	Notes []Note
}

// Note says what is wrong with a record of the topic of outcomes.
type Note struct {
	Partition int
	Offset    int64
	Text      string
}

// Picker picks the outcomes that are wanted out of a topic's records. It is safe for concurrent use.
type Picker struct {
	filter Filter
	seen   *Seen // nil where repeats are wanted

	mu     sync.Mutex
	counts Counts
	failed error // the first of a take: what comes after it is not looked at
}

// NewPicker makes a Picker. Of outcomes with the same id only the first is picked, which may be one that
// the filter does not want, as long as seen remembers it; nil lets all through.
func NewPicker(filter Filter, seen *Seen) *Picker {
	return &Picker{filter: filter, seen: seen}
}

// Pick calls take with those of the records that are wanted, in their order, for one of its callers at
// a time. After take's first error, which it returns to every caller, it calls nothing any more: others may
// have records at hand then. It calls unreadable, which may be nil, in the same way.
func (p *Picker) Pick(records []job.Delivery, take func(*Record) error, unreadable func(Note)) error {
	for i := range records {
		d := &records[i]
		if !p.filter.InTime(d.Source.Timestamp) {
			continue
		}
		r, err := Read(d) // outside the lock: it is most of the work
		if err := p.settle(d, &r, err, take, unreadable); err != nil {
			return err
		}
	}
	return nil
}

func (p *Picker) settle(d *job.Delivery, r *Record, unread error, take func(*Record) error, unreadable func(Note)) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed != nil {
		return p.failed
	}
	p.counts.Read++
	switch {
	case unread != nil:
		p.counts.Unreadable++
		p.note(d, unread.Error(), unreadable)
	case p.seen != nil && !p.seen.Add(r.ID):
		p.counts.Repeats++
	case !p.filter.Wants(&r.Event):
		p.counts.Unwanted++
	default:
		p.counts.Picked++
		p.failed = take(r)
	}
	return p.failed
}

func (p *Picker) note(d *job.Delivery, text string, tell func(Note)) {
	if len(p.counts.Notes) >= maxNotes {
		return
	}
	if len(text) > maxNote {
		text = strings.ToValidUTF8(text[:maxNote], "") + "..."
	}
	n := Note{Partition: d.Source.Partition, Offset: d.Source.Offset, Text: text}
	p.counts.Notes = append(p.counts.Notes, n)
	if tell != nil {
		tell(n)
	}
}

// Counts returns what it has been shown so far.
func (p *Picker) Counts() Counts {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.counts
	c.Notes = append([]Note(nil), c.Notes...)
	return c
}
