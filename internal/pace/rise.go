package pace

import "math"

const (
	// riseBy is the first rise, the second is twice that, and so on up to riseAtMost.
	riseBy     = 0.005
	riseAtMost = 0.25
	// A rise needs so many seconds and the time of so many calls, twice the calls where the mark is sure,
	// but not longer than slowRise seconds for them.
	riseSeconds = 1.0
	riseCalls   = 20.0
	slowRise    = 60.0
	// Where the mark has been passed by beyond, or is not known, fastCalls are enough; where it is not
	// known, the rise is fastRises doublings larger, too.
	beyond    = 1.05
	fastCalls = 5.0
	fastRises = 3
	// triedShare of what the limit lets through must have been called for it to have been tried.
	triedShare = 0.75
	// noiseFades is how slowly the noise goes down where less is refused.
	noiseFades = 0.75
)

// hold counts how long the limit has held calls back, and rises in the end.
func (l *Learned) hold(c Counts, seconds float64) {
	l.HeldAnswers += float64(c.Accepted + c.Refused)
	l.HeldRefused += float64(c.Refused)
	if !c.Held {
		return
	}
	l.Held += seconds
	calls, rises := riseCalls, l.Rises
	if l.Sure {
		calls *= 2
	}
	switch {
	case l.Mark == 0:
		calls, rises = fastCalls, rises+fastRises
	case l.Limit > beyond*l.Mark:
		calls = fastCalls
	}
	if l.Held >= riseSeconds+2*l.Span+min(calls/l.Limit, slowRise) {
		l.rise(rises)
	}
}

// rise goes up, where the limit was really tried meanwhile, and hardly any calls were refused.
func (l *Learned) rise(doublings int) {
	share := l.HeldRefused / max(1, l.HeldAnswers)
	if share < l.Noise {
		l.Noise = noiseFades*l.Noise + (1-noiseFades)*share
	}
	tried := l.HeldAnswers >= triedShare*l.Limit*l.Held
	if tried && share <= 2*l.Noise+tolerated {
		l.Good, l.Best = l.Limit, l.Limit
		l.Limit *= 1 + min(riseAtMost, riseBy*math.Pow(2, float64(doublings)))
		l.Rises++
		l.Span *= spanFades
	}
	l.Held, l.HeldAnswers, l.HeldRefused = 0, 0, 0
	if l.Limit > fastest {
		*l = Learned{Epoch: l.Epoch + 1}
	}
}
