// Package retry says when a job is tried again. It hides the backoff library.
package retry

import (
	"time"

	"github.com/cenkalti/backoff/v4"
)

// Policy is how a job is retried. It is safe for concurrent use.
type Policy struct {
	// Initial is the wait after the first failed attempt; each further one doubles it.
	Initial time.Duration
	// Max bounds the wait, jitter included.
	Max time.Duration
	// Attempts is how many attempts a job has that are counted.
	Attempts int
}

// jitter is the share by which a wait is longer or shorter at random.
const jitter = 0.5

// Wait returns how long to wait after the n-th try (from 1): Initial doubled n-1 times, between half
// and one and a half of that, at most Max. What the API asked for by Retry-After is the least.
func (p Policy) Wait(n int, retryAfter time.Duration) time.Duration {
	interval := p.Max
	// Doubling this often passes every duration there is.
	if shift := max(n, 1) - 1; shift < 62 && p.Initial < p.Max>>shift {
		interval = p.Initial << shift
	}
	// A stepper of the library knows its place only in memory. A job's count outlives the process,
	// so each wait is the first step of a schedule that begins at the right interval.
	b := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(interval), backoff.WithRandomizationFactor(jitter),
		backoff.WithMaxElapsedTime(0), backoff.WithMaxInterval(p.Max),
	)
	return max(min(b.NextBackOff(), p.Max), retryAfter)
}

// Spent says whether a job with so many counted attempts has none left.
func (p Policy) Spent(attempts int) bool { return attempts >= p.Attempts }
