package demo

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"

	"replyworker/internal/job"
	"replyworker/internal/outcome"
)

// books count what went in and what came out. They are safe for concurrent use.
type books struct {
	began time.Time

	mu       sync.Mutex
	enqueued int
	ended    map[outcome.Source]outcome.Event // by record: a repeated outcome counts once
	counts   map[job.Status]int
	letters  map[string]struct{} // records with a dead letter
	first    time.Duration       // until the first outcome
	faults   []string            // what does not add up
}

func newBooks(began time.Time) *books {
	return &books{
		began: began, ended: map[outcome.Source]outcome.Event{}, counts: map[job.Status]int{},
		letters: map[string]struct{}{},
	}
}

func (b *books) enqueue() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.enqueued++
}

// outcome takes note of an outcome, and says whether it is the first of its record.
func (b *books) outcome(value []byte) (fresh bool, err error) {
	var e outcome.Event
	if err := json.Unmarshal(value, &e); err != nil {
		return false, fmt.Errorf("outcome: %w", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.ended) == 0 {
		b.first = time.Since(b.began)
	}
	if before, known := b.ended[e.Source]; known {
		if before.Status != e.Status || before.LogID != e.LogID {
			b.faults = append(b.faults, fmt.Sprintf("%s/%d/%d ended as %s and as %s",
				e.Source.Topic, e.Source.Partition, e.Source.Offset, before.Status, e.Status))
		}
		return false, nil
	}
	b.ended[e.Source] = e
	b.counts[e.Status]++
	return true, nil
}

func (b *books) letter(d *job.Delivery) {
	partition, _ := d.Header("__dlq.errors.partition")
	offset, _ := d.Header("__dlq.errors.offset")
	b.mu.Lock()
	defer b.mu.Unlock()
	b.letters[partition+"/"+offset] = struct{}{}
}

// totals is the books at one moment.
type totals struct {
	enqueued, succeeded, duplicate, failed, expired, letters int
	first                                                    time.Duration
}

func (t totals) ended() int { return t.succeeded + t.duplicate + t.failed + t.expired }

func (b *books) totals() totals {
	b.mu.Lock()
	defer b.mu.Unlock()
	return totals{
		enqueued: b.enqueued, succeeded: b.counts[job.StatusSucceeded], duplicate: b.counts[job.StatusDuplicate],
		failed: b.counts[job.StatusFailed], expired: b.counts[job.StatusExpired], letters: len(b.letters), first: b.first,
	}
}

// ledger is what the API knows of the replies that it has taken.
type ledger interface {
	LogID(mchid, idempotentID string) (string, bool)
	Len() int
}

// audit compares the outcomes with the API's own ledger, and returns what does not add up.
func (b *books) audit(api ledger) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	faults := append([]string(nil), b.faults...)
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	succeeded := map[string]bool{}
	for _, e := range b.ended {
		if e.Status != job.StatusSucceeded && e.Status != job.StatusDuplicate {
			continue
		}
		id, known := api.LogID(e.MchID, e.IdempotentID)
		if !known || id != e.LogID {
			fault("%s: the outcome says log_id %s, the API %s", e.IdempotentID, e.LogID, id)
		}
		if e.Status == job.StatusSucceeded {
			if succeeded[e.IdempotentID] {
				fault("%s succeeded twice", e.IdempotentID)
			}
			succeeded[e.IdempotentID] = true
		}
	}
	if sent := api.Len(); sent < len(succeeded) {
		fault("%d ids succeeded, and the API has taken %d replies", len(succeeded), sent)
	}
	if n := len(b.ended); n != b.enqueued {
		fault("%d jobs enqueued, %d ended", b.enqueued, n)
	}
	if n := b.counts[job.StatusFailed]; n != len(b.letters) {
		fault("%d jobs failed, %d have a dead letter", n, len(b.letters))
	}
	return faults
}

// print writes the summary.
func (b *books) print(w io.Writer, calls map[string]int, repliesTaken int, faults []string) {
	t := b.totals()
	_, _ = fmt.Fprintf(w, "\n  enqueued %d = succeeded %d + duplicate %d + failed %d + expired %d\n",
		t.enqueued, t.succeeded, t.duplicate, t.failed, t.expired)
	_, _ = fmt.Fprintf(w, "  dead letters %d   replies that the API has taken %d   calls: primary %d, backup %d\n",
		t.letters, repliesTaken, calls["primary"], calls["backup"])
	_, _ = fmt.Fprintf(w, "  first outcome %d ms after the start\n", t.first.Milliseconds())
	if len(faults) == 0 {
		_, _ = fmt.Fprintln(w, "  the books balance: each job has one outcome, each log_id is the API's own")
		return
	}
	_, _ = fmt.Fprintln(w, "  THE BOOKS DO NOT BALANCE")
	for i, f := range faults {
		if i == 10 {
			_, _ = fmt.Fprintf(w, "    and %d more\n", len(faults)-i)
			break
		}
		_, _ = fmt.Fprintf(w, "    %s\n", f)
	}
}
