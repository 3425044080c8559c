package reconcile

import (
	"context"
	"slices"
	"sync"
	"time"

	"replyworker/internal/job"
	"replyworker/internal/kafkaio"
	"replyworker/internal/outcome"
)

// run is one call of Run. The lock is for the reading of spans; asking comes after it and is alone.
type run struct {
	cfg   Config
	began time.Time

	mu         sync.Mutex
	report     Report
	complaints map[key]*complaint
	kept       int
	strings    map[string]string
	horizon    time.Time // Replies before it may have had an outcome that was not read.
}

// maxShared bounds the strings that are kept once: merchants, topics, statuses.
const maxShared = 1000

func newRun(cfg Config) *run {
	cfg = cfg.withDefaults()
	return &run{cfg: cfg, complaints: map[key]*complaint{}, strings: map[string]string{}, began: cfg.Now()}
}

type key struct{ mchID, complaintID string }

// complaint is what the outcomes say of one complaint.
type complaint struct {
	ours  replySet
	maybe []string // jobs that may have been sent, some of them
	ask   bool     // an outcome within the filters is about it
}

// Ours is a reply of ours, by its outcome; by that of the job that succeeded where duplicates of it have
// outcomes too.
type Ours struct {
	LogID        string
	IdempotentID string
	Status       job.Status
	FinishedAt   string
	Source       outcome.Source // of the job's record

	check bool // the outcome is within the filters
}

// Lookup reads the replies that outcomes know of one merchant's complaint, by log_id. It needs of cfg
// what Run needs, but Histories and Find.
func Lookup(ctx context.Context, cfg Config) (map[string]Ours, error) {
	r := newRun(cfg)
	if err := r.gather(ctx); err != nil {
		return nil, err
	}
	found := map[string]Ours{}
	if c := r.complaints[key{mchID: cfg.MchID, complaintID: cfg.ComplaintID}]; c != nil {
		for _, o := range c.ours.list {
			found[o.LogID] = o
		}
	}
	return found, nil
}

// gather reads the outcomes.
func (r *run) gather(ctx context.Context) error {
	r.horizon = r.cfg.Since
	cut := map[int]bool{} // partitions whose oldest records retention has taken, and whose first one is to come
	for _, s := range r.cfg.Spans {
		cut[s.Partition] = s.First > 0 && slices.ContainsFunc(r.cfg.Kept, func(kept kafkaio.Span) bool {
			return kept.Partition == s.Partition && kept.First == s.First
		})
	}
	return kafkaio.ReadSpans(ctx, r.cfg.Outcomes, r.cfg.Spans, r.cfg.Patience,
		func(s kafkaio.Span, records []job.Delivery, passed int64) error {
			defer r.cfg.Reading(passed)
			r.mu.Lock()
			defer r.mu.Unlock()
			if cut[s.Partition] && len(records) > 0 { // what came before is not known
				r.horizon = later(r.horizon, records[0].Source.Timestamp)
				cut[s.Partition] = false
			}
			for i := range records {
				if err := r.take(&records[i]); err != nil {
					return err
				}
			}
			return nil
		})
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// take notes one outcome.
func (r *run) take(d *job.Delivery) error {
	r.report.Outcomes++
	// The complaint's id is a header too, which spares reading the outcomes of others.
	if subject, ok := d.Header("ce_subject"); ok && r.cfg.ComplaintID != "" && subject != r.cfg.ComplaintID {
		return nil
	}
	e, err := outcome.Parse(d.Value)
	taken := e.Status == job.StatusSucceeded || e.Status == job.StatusDuplicate
	switch {
	case err != nil || taken && e.LogID == "":
		r.report.Unreadable++
		return nil //nolint:nilerr // it is counted, and reported
	case r.cfg.ComplaintID != "" && e.ComplaintID != r.cfg.ComplaintID,
		r.cfg.MchID != "" && e.MchID != r.cfg.MchID:
		return nil
	}
	within := r.within(&e, d)
	switch {
	case taken:
		return r.note(&e, within)
	case e.MaybeSent && within:
		r.report.MaybeSent++
		c := r.complaint(&e)
		c.ask = true
		if len(c.maybe) == maxMaybe || slices.Contains(c.maybe, e.IdempotentID) {
			return nil
		}
		c.maybe = append(c.maybe, e.IdempotentID)
		return r.keep()
	}
	return nil
}

// within says that an outcome was finished in the time that is verified.
func (r *run) within(e *outcome.Event, d *job.Delivery) bool {
	at, err := time.Parse(time.RFC3339, e.FinishedAt)
	if err != nil {
		at = d.Source.Timestamp
	}
	return !at.Before(r.cfg.Since) && (r.cfg.Until.IsZero() || at.Before(r.cfg.Until))
}

// note enters a reply that the API took. One beyond the time that is verified is kept as known: its
// reply may have been made within it.
func (r *run) note(e *outcome.Event, within bool) error {
	c := r.complaint(e)
	known := c.ours.find(e.LogID)
	if within {
		r.report.Taken++
		c.ask = true
		if known == nil || !known.check {
			r.report.LogIDs++
		}
	}
	if known == nil {
		c.ours.add(r.ours(e, within))
		return r.keep()
	}
	check := within || known.check
	// The one that succeeded says more than a duplicate of it.
	if known.Status != job.StatusSucceeded && e.Status == job.StatusSucceeded {
		*known = r.ours(e, check)
	}
	known.check = check
	return nil
}

// ours is a reply by its outcome. Values that many outcomes share are kept once.
func (r *run) ours(e *outcome.Event, check bool) Ours {
	source := e.Source
	source.Topic = r.shared(source.Topic)
	return Ours{
		LogID: e.LogID, IdempotentID: e.IdempotentID, Status: job.Status(r.shared(string(e.Status))),
		FinishedAt: e.FinishedAt, Source: source, check: check,
	}
}

// shared returns the string that was seen first of those that are equal, while they are few.
func (r *run) shared(s string) string {
	if first, seen := r.strings[s]; seen {
		return first
	}
	if len(r.strings) < maxShared {
		r.strings[s] = s
	}
	return s
}

func (r *run) complaint(e *outcome.Event) *complaint {
	k := key{mchID: r.shared(e.MchID), complaintID: e.ComplaintID}
	c := r.complaints[k]
	if c == nil {
		c = &complaint{}
		r.complaints[k] = c
	}
	return c
}

func (r *run) keep() error {
	if r.kept++; r.kept > r.cfg.MaxKept {
		return tooMany(r.cfg.MaxKept)
	}
	return nil
}
