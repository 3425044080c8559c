package gate

import (
	"math"
	"time"
)

const (
	// steadyOver is how long successes count for the steady rate, fading.
	steadyOver = time.Minute
	// For restartCalm after an outage nobody goes faster than before it, and nobody slower than restartFloor,
	// in calls/s.
	restartCalm  = 10 * time.Second
	restartFloor = 1.0
	// Then the limit is raised by rampBy each rampEvery. It ends when nobody has had to wait for it for
	// rampOver, or at rampAtMost, in calls/s.
	rampEvery  = time.Second
	rampBy     = 1.5
	rampOver   = 10 * time.Second
	rampAtMost = 20_000.0
	// rampBurst is how much of its time the limit lets through at once.
	rampBurst = 50 * time.Millisecond
)

// ramp is what one merchant may call per second after an outage: what it called before it, for a while, and
// then more and more until the ramp holds nobody back. It has nothing to do with the API's quota: a
// backlog must not come down on hosts that have just recovered.
type ramp struct {
	limit     float64 // calls/s; 0 for none
	tokens    float64
	filled    time.Time
	calmUntil time.Time
	raised    time.Time
	held      time.Time // when somebody last had to wait

	steady steady
}

// wait returns zero where a call may go now, else how long until one may.
func (r *ramp) wait(now time.Time) time.Duration {
	if r.limit == 0 {
		return 0
	}
	r.raise(now)
	if r.limit == 0 {
		return 0
	}
	if dt := now.Sub(r.filled).Seconds(); dt > 0 {
		r.tokens = math.Min(r.burst(), r.tokens+dt*r.limit)
		r.filled = now
	}
	if r.tokens >= 1 {
		return 0
	}
	r.held = now
	return max(time.Millisecond, time.Duration((1-r.tokens)/r.limit*float64(time.Second)))
}

func (r *ramp) burst() float64 { return math.Max(1, r.limit*rampBurst.Seconds()) }

// raise lifts the limit, or ends it.
func (r *ramp) raise(now time.Time) {
	if now.Before(r.calmUntil) {
		return
	}
	if now.Sub(r.held) > rampOver && now.Sub(r.calmUntil) > rampOver {
		r.limit = 0
		return
	}
	for ; r.limit > 0 && !r.raised.Add(rampEvery).After(now); r.raised = r.raised.Add(rampEvery) {
		if r.limit *= rampBy; r.limit > rampAtMost {
			r.limit = 0
		}
	}
}

func (r *ramp) take() {
	if r.limit > 0 {
		r.tokens--
	}
}

func (r *ramp) giveBack() {
	if r.limit > 0 {
		r.tokens = math.Min(r.burst(), r.tokens+1)
	}
}

// restart begins again after an outage since a time, for a while no faster than before it. Where nothing
// is known of the time before, the pace is stranger.
func (r *ramp) restart(now, since time.Time, stranger float64) {
	rate := stranger
	if r.steady.known() {
		rate = math.Max(r.steady.before(now, since), restartFloor)
	}
	if r.limit > 0 {
		rate = math.Min(rate, r.limit)
	}
	r.limit, r.tokens, r.filled = rate, 0, now
	r.calmUntil = now.Add(restartCalm)
	r.raised, r.held = r.calmUntil, now
}

// steady counts the successes of about the last minute in which nothing was wrong, idle times included,
// each fading.
type steady struct {
	accepted float64
	seconds  float64 // that the count stands for
	at       time.Time
	wrong    time.Time // when the first call began that failed since the last success; zero for none
}

// known says whether there is a steady rate: whether any call has ever succeeded.
func (s *steady) known() bool { return !s.at.IsZero() }

// note takes account of a call that began at a time and succeeded or failed.
func (s *steady) note(now, began time.Time, ok bool) {
	switch {
	case ok && s.known():
		s.fade(now)
		s.accepted++
		s.wrong = time.Time{}
	case ok: // the first one begins the time that is counted
		s.at, s.wrong = now, time.Time{}
	case s.wrong.IsZero():
		s.wrong = began
	}
}

func (s *steady) fade(now time.Time) {
	dt, w := now.Sub(s.at).Seconds(), steadyOver.Seconds()
	if dt <= 0 {
		return
	}
	f := math.Exp(-dt / w)
	s.accepted *= f
	s.seconds = s.seconds*f + w*(1-f)
	s.at = now
}

// before returns the calls per second before an outage that was noticed at since and is over now.
func (s *steady) before(now, since time.Time) float64 {
	if !s.wrong.IsZero() && s.wrong.Before(since) {
		since = s.wrong
	}
	s.fade(since)
	s.at, s.wrong = now, time.Time{} // an outage is not a time without jobs
	return s.accepted / max(s.seconds, 1)
}
