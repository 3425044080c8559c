package pace_test

import "time"

// quota is a limit that the API keeps and does not tell.
type quota interface {
	take(now time.Time) bool
	set(rate float64)
}

// fixedWindow lets the calls of a rate through in each window of its length, as they come.
type fixedWindow struct {
	rate   float64
	length time.Duration
	window time.Time
	taken  float64
}

func (q *fixedWindow) take(now time.Time) bool {
	if w := now.Truncate(q.length); !w.Equal(q.window) {
		q.window, q.taken = w, 0
	}
	if q.taken+1 > q.rate*q.length.Seconds() {
		return false
	}
	q.taken++
	return true
}

func (q *fixedWindow) set(rate float64) { q.rate = rate }

// tokenBucket refills at rate, and holds what seconds of it are, at least one.
type tokenBucket struct {
	rate, seconds, tokens float64
	filled                time.Time
}

func newBucket(rate, seconds float64) *tokenBucket {
	return &tokenBucket{rate: rate, seconds: seconds, tokens: max(1, rate*seconds), filled: start}
}

func (q *tokenBucket) take(now time.Time) bool {
	q.tokens = min(max(1, q.rate*q.seconds), q.tokens+now.Sub(q.filled).Seconds()*q.rate)
	q.filled = now
	if q.tokens < 1 {
		return false
	}
	q.tokens--
	return true
}

func (q *tokenBucket) set(rate float64) { q.rate = rate }

// unlimited is the quota of an API that has none.
type unlimited struct{}

func (unlimited) take(time.Time) bool { return true }
func (unlimited) set(float64)         {}
