package gate

import (
	"math"
	"time"
)

// The learned pace. A quick trial (a quota of 200 calls/s that nobody had told the worker) showed
// that plain additive increase and multiplicative decrease collapses under sporadic refusals; it is
// cut only when refusals are a real share of the recent answers, and not below what was accepted.
const (
	paceFloor        = 0.2 // calls/s
	stormFloor       = 2.0
	paceCeiling      = 20_000
	cutShare         = 0.10
	cutTo            = 0.9
	cutAtLeastTo     = 0.95
	cutBlindTo       = 0.5
	blindShare       = 0.8
	cutMildTo        = 0.8
	mildShare        = 0.3
	raiseEvery       = 500 * time.Millisecond
	raiseCalls       = 2 // nor more often than once in so many calls
	raiseBy          = 1.02
	raiseQuietBy     = 1.10
	raiseVeryQuietBy = 1.5
	quietAfter       = 5 * time.Second
	quietCalls       = 20
	bindingFor       = time.Second
	fewestAnswers    = 20 // a window is long enough to hold about as many
	longestWindow    = 30 * time.Second
	shortestWindow   = time.Second
	longWindow       = 10 * time.Second
	mostRefusals     = 10 // so many in a window always are enough for a cut
	fewestRefusals   = 2
	burstSeconds     = 0.05
	steadyOver       = time.Minute
	restartCalm      = 10 * time.Second
	restartFloor     = 1.0 // calls/s

	// An API that counts by the second goes on refusing until the second is over, however slow we
	// have become. What is granted so soon after a cut says nothing about the new pace.
	settleAfterCut = time.Second

	// Refusals that a row of cuts has not made fewer do not come from the pace. It is then put back,
	// and not cut again for a while.
	uselessRow    = 2
	uselessShare  = 0.5 // of the share before the row
	uselessAtMost = 0.4 // where most calls are refused, slower is right anyway
	leaveUncutFor = 15 * time.Second
)

// pace is what one merchant may call per second as learned from refusals (429) and outages. It is
// without limit until a refusal or an outage teaches one.
type pace struct {
	limit  float64 // calls/s, +Inf for none
	tokens float64
	filled time.Time

	recent answers // at the present pace, over about fewestAnswers
	long   answers // at any pace, over longWindow

	lastRefusal, lastRaise, lastBound time.Time

	lastCut    time.Time
	row        int     // of cuts soon after another
	rowFrom    float64 // the limit before them
	rowShare   float64 // of refusals at the first of them
	uncutUntil time.Time

	noRaiseUntil time.Time

	// steady counts the successes of the last minute in which nothing was wrong, idle times included.
	steady answers
	wrong  time.Time // when the first call began that failed since the last success; zero for none
}

// answers counts answers, each fading with the length of a window.
type answers struct {
	accepted, refused float64
	seconds           float64 // that the counts stand for
	at                time.Time
}

func (a *answers) fade(now time.Time, window time.Duration) {
	if a.at.IsZero() {
		a.at = now
	}
	dt, w := now.Sub(a.at).Seconds(), window.Seconds()
	if dt <= 0 {
		return
	}
	f := math.Exp(-dt / w)
	a.accepted *= f
	a.refused *= f
	a.seconds = a.seconds*f + w*(1-f)
	a.at = now
}

// rate returns how many calls were accepted per second, the counts standing for at least seconds.
func (a *answers) rate(seconds float64) float64 { return a.accepted / max(a.seconds, seconds) }

// calls returns how many calls were answered per second, likewise.
func (a *answers) calls(seconds float64) float64 {
	return (a.accepted + a.refused) / max(a.seconds, seconds)
}

func (a *answers) share() float64 { return a.refused / (a.accepted + a.refused) }

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

// during returns how long n calls take at the present limit, at least least.
func (p *pace) during(n float64, least time.Duration) time.Duration {
	return max(least, time.Duration(n/p.limit*float64(time.Second)))
}

// raise lifts a limit that has held something back lately; one that binds nobody proves nothing.
func (p *pace) raise(now time.Time) {
	if now.Before(p.noRaiseUntil) || now.Before(p.uncutUntil) ||
		now.Sub(p.lastRaise) < p.during(raiseCalls, raiseEvery) ||
		now.Sub(p.lastBound) > p.during(raiseCalls, bindingFor) {
		return
	}
	p.lastRaise = now
	silence := min(now.Sub(p.lastRefusal), now.Sub(p.lastCut), now.Sub(p.noRaiseUntil))
	quiet := float64(silence) / float64(p.during(quietCalls, quietAfter))
	switch {
	case quiet < 1:
		p.limit *= raiseBy
	case quiet < 2:
		p.limit *= raiseQuietBy
	default:
		p.limit *= raiseVeryQuietBy
	}
	if p.limit > paceCeiling {
		p.limit = math.Inf(1)
	}
}

// answer takes note of one answer. Every answer but 429 is an accepted call.
func (p *pace) answer(now time.Time, granted time.Time, refused bool) {
	p.long.fade(now, max(longWindow, p.window()))
	if !refused {
		p.long.accepted++
	}
	if granted.Before(p.lastCut.Add(settleAfterCut)) {
		return // the cut has already dealt with it
	}
	p.recent.fade(now, p.window())
	if !refused {
		p.recent.accepted++
		return
	}
	p.recent.refused++
	p.lastRefusal = now
	p.cut(now)
}

func (p *pace) cut(now time.Time) {
	enough := float64(mostRefusals)
	if p.limited() {
		enough = math.Min(mostRefusals, math.Max(fewestRefusals, cutShare*p.limit*p.window().Seconds()))
	}
	share := p.recent.share()
	if p.recent.refused < enough || share < cutShare || now.Before(p.uncutUntil) {
		return
	}
	if p.useless(now, share) {
		p.set(now, p.rowFrom)
		p.lastCut, p.row = now, 0
		p.uncutUntil = now.Add(leaveUncutFor)
	} else {
		p.set(now, p.slower(share))
		p.lastCut = now
	}
	p.recent = answers{}
}

// useless says whether this would be one more in a row of cuts that have not made refusals fewer.
func (p *pace) useless(now time.Time, share float64) bool {
	// In a quota's own rhythm of cut and rise a cut comes later than this after the one before.
	soon := settleAfterCut + max(p.window(), 2*shortestWindow)
	if p.row == 0 || share < uselessShare*p.rowShare || now.Sub(p.lastCut) > soon {
		p.row, p.rowFrom, p.rowShare = 0, p.limit, share
	}
	p.row++
	return p.row > uselessRow && share <= uselessAtMost
}

// slower returns the pace to go down to when share of the recent calls were refused.
func (p *pace) slower(share float64) float64 {
	least := 0.1
	if !p.limited() {
		// An API that counts by the second may have let all of one through at once.
		least = 1
	}
	was := min(p.limit, p.recent.calls(least))
	to := cutTo * p.recent.rate(least)
	switch {
	case share > blindShare:
		// Next to nothing was accepted: this is too fast, and what would not be was not seen.
		to = max(to, cutTo*p.long.rate(1), cutBlindTo*was)
		if p.recent.accepted == 0 {
			to = max(to, stormFloor) // it may be a fault and no quota, and then end at once
		}
	case share < mildShare:
		// A bucket that holds one call refuses every second one when we are a little too fast. What
		// it accepts then is far less than it would.
		to = max(to, cutMildTo*was)
	}
	return min(to, cutAtLeastTo*was)
}

// set limits the pace to rate calls/s from now on, with an empty bucket.
func (p *pace) set(now time.Time, rate float64) {
	p.limit = math.Max(paceFloor, rate)
	p.tokens, p.filled, p.lastRaise = 0, now, now
}

// window returns how far back the recent answers go.
func (p *pace) window() time.Duration {
	return min(p.during(fewestAnswers, shortestWindow), longestWindow)
}

// note keeps the steady rate. ok says that a call which began at began has succeeded.
func (p *pace) note(now, began time.Time, ok bool) {
	switch {
	case ok && p.known():
		p.steady.fade(now, steadyOver)
		p.steady.accepted++
		p.wrong = time.Time{}
	case ok: // the first one begins the time that is counted
		p.steady.at, p.wrong = now, time.Time{}
	case p.wrong.IsZero():
		p.wrong = began
	}
}

// known says whether there is a steady rate: whether any call has ever succeeded.
func (p *pace) known() bool { return !p.steady.at.IsZero() }

// restart begins again after an outage since a time, for a while no faster than before it: a backlog
// must not come down on hosts that have just recovered. Where nothing is known of the time before, the
// pace is stranger.
func (p *pace) restart(now, since time.Time, stranger float64) {
	rate := stranger
	if p.known() {
		if !p.wrong.IsZero() && p.wrong.Before(since) {
			since = p.wrong
		}
		p.steady.fade(since, steadyOver)
		p.steady.at = now // an outage is not a time without jobs
		rate = math.Max(p.steady.rate(1), restartFloor)
	}
	if p.limited() {
		rate = math.Min(rate, p.limit)
	}
	p.set(now, rate)
	p.wrong, p.noRaiseUntil = time.Time{}, now.Add(restartCalm)
}
