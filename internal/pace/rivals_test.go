package pace_test

import (
	"math"
	"time"
)

// The limiters that others use, for comparison. Each worker has its own, as those have: nobody shares.

// aimd adds to its limit each second in which it was held back and nothing was refused, and halves it at
// a refusal, at most once in the time that calls take.
type aimd struct {
	limit, tokens float64
	filled, cut   time.Time
	raised        time.Time
	held          bool
}

func newAIMD(s *simulation) limiter { return &aimd{limit: 10, tokens: 1, filled: s.now, raised: s.now} }

func (a *aimd) Take(now time.Time) (uint64, time.Duration) {
	if now.Sub(a.raised) >= time.Second {
		if a.held {
			a.limit++
		}
		a.raised, a.held = now, false
	}
	a.tokens = min(1, a.tokens+now.Sub(a.filled).Seconds()*a.limit)
	a.filled = now
	if a.tokens < 1 {
		a.held = true
		return 0, untilOne(a.tokens, a.limit)
	}
	a.tokens--
	return 0, 0
}

func (a *aimd) Answer(now, _ time.Time, _ uint64, refused bool, _ time.Duration) {
	if refused && now.Sub(a.cut) > 200*time.Millisecond {
		a.limit, a.cut, a.raised, a.held = max(0.2, a.limit/2), now, now, false
	}
}

// awsAdaptive is the adaptive retry mode of the AWS SDKs, written from its specification (aws-sdk-go-v2,
// aws/retry/adaptive_ratelimit.go): a token bucket whose rate follows the cubic function of TCP CUBIC, with
// beta 0.7, a scale of 0.4 and at least half a call per second.
type awsAdaptive struct {
	enabled            bool
	fillRate, capacity float64
	tokens             float64
	filled             time.Time
	measured           float64 // tx rate, calls/s
	bucket             float64 // of half a second
	requests           float64
	lastMax, window    float64
	throttled          time.Time
}

const (
	awsBeta, awsScale, awsSmooth, awsMinRate, awsMinCapacity = 0.7, 0.4, 0.8, 0.5, 1.0
)

func newAWS(s *simulation) limiter {
	return &awsAdaptive{filled: s.now, bucket: math.Floor(seconds(s.now)*2) / 2, throttled: s.now}
}

func seconds(t time.Time) float64 { return t.Sub(start).Seconds() }

func (a *awsAdaptive) Take(now time.Time) (uint64, time.Duration) {
	if !a.enabled {
		return 0, 0
	}
	a.tokens = min(a.capacity, a.tokens+now.Sub(a.filled).Seconds()*a.fillRate)
	a.filled = now
	if a.tokens < 1 {
		return 0, untilOne(a.tokens, a.fillRate)
	}
	a.tokens--
	return 0, 0
}

func (a *awsAdaptive) Answer(now, _ time.Time, _ uint64, refused bool, _ time.Duration) {
	a.measure(now)
	var rate float64
	if refused {
		rate = a.measured
		if a.enabled {
			rate = min(a.measured, a.fillRate)
		}
		a.lastMax, a.throttled, a.enabled = rate, now, true
		a.window = math.Cbrt(a.lastMax * (1 - awsBeta) / awsScale)
		rate *= awsBeta
	} else {
		a.window = math.Cbrt(a.lastMax * (1 - awsBeta) / awsScale)
		rate = awsScale*math.Pow(now.Sub(a.throttled).Seconds()-a.window, 3) + a.lastMax
	}
	a.fillRate = max(awsMinRate, min(rate, 2*a.measured))
	a.capacity = max(awsMinCapacity, a.fillRate)
	a.tokens = min(a.capacity, a.tokens)
}

// measure keeps the rate of answers, by half seconds, smoothed.
func (a *awsAdaptive) measure(now time.Time) {
	bucket := math.Floor(seconds(now)*2) / 2
	a.requests++
	if bucket > a.bucket {
		current := a.requests / (bucket - a.bucket)
		a.measured = current*awsSmooth + a.measured*(1-awsSmooth)
		a.requests, a.bucket = 0, bucket
	}
}

// untilOne is how long a bucket takes to hold a token.
func untilOne(tokens, rate float64) time.Duration {
	return max(time.Microsecond, time.Duration((1-tokens)/rate*float64(time.Second)))
}
