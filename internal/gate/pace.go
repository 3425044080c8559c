package gate

import (
	"math"
	"time"
)

// The learned pace. A quick trial (a quota of 200 calls/s that nobody had told the worker) showed
// that plain additive increase and multiplicative decrease collapses under sporadic refusals; it is
// cut only when refusals are a real share of the recent answers, and not below what was accepted.
const (
	paceFloor       = 0.2 // calls/s
	paceCeiling     = 20_000
	cutShare        = 0.10
	cutTo           = 0.9
	cutEvery        = 400 * time.Millisecond
	raiseEvery      = 500 * time.Millisecond
	raiseBy         = 1.02
	raiseQuietBy    = 1.10
	quietAfter      = 5 * time.Second
	bindingFor      = time.Second
	fewestAnswers   = 20 // a window is long enough to hold about as many
	longestWindow   = 30 * time.Second
	shortestWindow  = time.Second
	mostRefusals    = 10 // so many in a window always are enough for a cut
	fewestRefusals  = 2
	burstSeconds    = 0.05
	steadySmoothing = 5 * time.Second
	restartCalm     = 10 * time.Second
)

// pace is what one merchant may call per second as learned from refusals (429) and outages. It is
// without limit until a refusal or an outage teaches one.
type pace struct {
	limit  float64 // calls/s, +Inf for none
	tokens float64
	filled time.Time

	// Counts of the recent answers, each fading with the window's length. weight is the number of
	// seconds that the counts stand for.
	accepted, refused, weight float64
	counted                   time.Time

	lastCut, lastRefusal, lastRaise, lastBound time.Time

	noRaiseUntil time.Time

	// steady is the smoothed rate of accepted answers while the hosts were well.
	steady       float64
	steadySecond time.Time
	inSecond     int
}

func newPace() pace { return pace{limit: math.Inf(1)} }

func (p *pace) limited() bool { return !math.IsInf(p.limit, 1) }

func (p *pace) burst() float64 { return math.Max(1, p.limit*burstSeconds) }

// wait returns zero where a call may go now, else how long until one may.
func (p *pace) wait(now time.Time) time.Duration {
	if !p.limited() {
		return 0
	}
	p.raise(now)
	if !p.limited() {
		return 0
	}
	p.fill(now)
	if p.tokens >= 1 {
		return 0
	}
	p.lastBound = now
	return max(time.Millisecond, time.Duration((1-p.tokens)/p.limit*float64(time.Second)))
}

func (p *pace) fill(now time.Time) {
	if dt := now.Sub(p.filled).Seconds(); dt > 0 {
		p.tokens = math.Min(p.burst(), p.tokens+dt*p.limit)
		p.filled = now
	}
}

func (p *pace) take() {
	if p.limited() {
		p.tokens--
	}
}

func (p *pace) giveBack() {
	if p.limited() {
		p.tokens = math.Min(p.burst(), p.tokens+1)
	}
}

// raise lifts a limit that has held something back lately; one that binds nobody proves nothing.
func (p *pace) raise(now time.Time) {
	if now.Before(p.noRaiseUntil) || now.Sub(p.lastRaise) < raiseEvery || now.Sub(p.lastBound) > bindingFor {
		return
	}
	p.lastRaise = now
	if now.Sub(p.lastRefusal) >= quietAfter && now.Sub(p.lastCut) >= quietAfter {
		p.limit *= raiseQuietBy
	} else {
		p.limit *= raiseBy
	}
	if p.limit > paceCeiling {
		p.limit = math.Inf(1)
	}
}

// answer takes note of one answer. Every answer but 429 is an accepted call.
func (p *pace) answer(now time.Time, granted time.Time, refused bool) {
	if granted.Before(p.lastCut) {
		return // it was sent at the old pace; the cut has already dealt with it
	}
	p.fade(now)
	if !refused {
		p.accepted++
		p.second(now)
		return
	}
	p.refused++
	p.lastRefusal = now
	p.cut(now)
}

func (p *pace) cut(now time.Time) {
	enough := float64(mostRefusals)
	if p.limited() {
		enough = math.Min(mostRefusals, math.Max(fewestRefusals, cutShare*p.limit*p.window().Seconds()))
	}
	if p.refused < enough || p.refused < cutShare*(p.accepted+p.refused) || now.Sub(p.lastCut) < cutEvery {
		return
	}
	rate := p.accepted / math.Max(p.weight, 0.1)
	p.set(now, math.Min(cutTo*rate, p.limit))
	p.lastCut = now
	p.accepted, p.refused, p.weight = 0, 0, 0
}

// set limits the pace to rate calls/s from now on, with an empty bucket.
func (p *pace) set(now time.Time, rate float64) {
	p.limit = math.Max(paceFloor, rate)
	p.tokens, p.filled, p.lastRaise = 0, now, now
}

func (p *pace) window() time.Duration {
	if !p.limited() {
		return shortestWindow
	}
	w := time.Duration(fewestAnswers / p.limit * float64(time.Second))
	return min(max(w, shortestWindow), longestWindow)
}

func (p *pace) fade(now time.Time) {
	if p.counted.IsZero() {
		p.counted = now
	}
	dt, w := now.Sub(p.counted).Seconds(), p.window().Seconds()
	if dt <= 0 {
		return
	}
	f := math.Exp(-dt / w)
	p.accepted *= f
	p.refused *= f
	p.weight = p.weight*f + w*(1-f)
	p.counted = now
}

// second keeps the steady rate: the smoothed count of accepted answers in each second that had any.
func (p *pace) second(now time.Time) {
	s := now.Truncate(time.Second)
	if s.Equal(p.steadySecond) {
		p.inSecond++
		return
	}
	if p.inSecond > 0 {
		f := math.Exp(-float64(time.Second) / float64(steadySmoothing))
		if p.steady == 0 {
			f = 0
		}
		p.steady = p.steady*f + float64(p.inSecond)*(1-f)
	}
	p.steadySecond, p.inSecond = s, 1
}

// restart begins again after an outage, for a while no faster than before it: a backlog must not
// come down on hosts that have just recovered.
func (p *pace) restart(now time.Time, floor float64) {
	rate := math.Max(p.before(), floor)
	if p.limited() {
		rate = math.Min(rate, p.limit)
	}
	p.set(now, rate)
	p.noRaiseUntil = now.Add(restartCalm)
}

// before returns the pace before an outage: the steady rate, or what the running second has shown
// where there was none yet.
func (p *pace) before() float64 { return math.Max(p.steady, float64(p.inSecond)) }
