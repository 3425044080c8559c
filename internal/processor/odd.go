package processor

import (
	"sync"
	"time"
)

const (
	// A job whose claim cannot be used shows up at least each oddMax; one that has not for oddLife is not
	// waiting here any more.
	oddLife = oddMax + 5*time.Second
	// oddKept bounds the ids that are remembered. That there are very many says enough.
	oddKept = 1000
)

// oddities remembers the jobs that wait because their claims cannot be used.
type oddities struct {
	mu   sync.Mutex
	last map[string]time.Time // by idempotent id
}

func newOddities() *oddities { return &oddities{last: map[string]time.Time{}} }

func (o *oddities) note(id string, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, known := o.last[id]; known || len(o.last) < oddKept {
		o.last[id] = now
	}
}

// settled takes note that a job's claim could be used.
func (o *oddities) settled(id string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.last, id)
}

// list returns how many there are, and one of them.
func (o *oddities) list(now time.Time) (n int, one string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for id, at := range o.last {
		if now.Sub(at) > oddLife {
			delete(o.last, id)
			continue
		}
		if n++; one == "" || id < one {
			one = id
		}
	}
	return n, one
}

// Odd returns how many jobs wait because something else stands under their claims' keys, and the
// idempotent id of one of them.
func (p *Processor) Odd() (n int, idempotentID string) { return p.odd.list(time.Now()) }
