package kafkaio

import (
	"fmt"
	"sync"
	"time"
)

// troubleLife suits requests that are tried again, with their timeouts and the pauses between.
const troubleLife = 30 * time.Second

// Trouble remembers since when something has been failing. Its zero value is ready. It is safe for
// concurrent use.
type Trouble struct {
	// Life is how long something that failed and was not tried again since counts as failing still. Zero
	// is 30 s.
	Life time.Duration

	mu          sync.Mutex
	since, last time.Time // zero while all is well
	err         error
}

// Note takes note of how a try ended; nil is well.
func (t *Trouble) Note(now time.Time, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case err == nil:
		t.since = time.Time{}
	case t.since.IsZero() || t.over(now):
		t.since = now
	}
	t.last, t.err = now, err
}

// Lasting returns an error, with the last one and since when, where it has failed for so long.
func (t *Trouble) Lasting(now time.Time, long time.Duration) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err == nil || t.over(now) || now.Sub(t.since) < long {
		return nil
	}
	return fmt.Errorf("since %s: %w", t.since.UTC().Format(time.RFC3339), t.err)
}

// over says that the last try is too long ago to tell anything.
func (t *Trouble) over(now time.Time) bool {
	life := t.Life
	if life == 0 {
		life = troubleLife
	}
	return now.Sub(t.last) > life
}
