package pace

import "math"

const (
	// closedRow refusals in a row close; where many calls are refused anyhow, as many as come in a row by
	// a chance of less than this.
	closedRow = 5
	chance    = 1e-4
	// The gaps between probes grow by probeGrowth each: from the limit's, or firstProbe, to lastProbe, in
	// seconds.
	firstProbe  = 0.02
	lastProbe   = 5.0
	probeGrowth = 1.15
	// openTo is the share of what was let through that is tried after an opening.
	openTo = 0.98
	// A closing of fewer seconds than shortShut says that the pace before it was nearly right.
	shortShut = 2.0
	// An opening for fewer seconds than briefly, in which no more was let through than while it was closed
	// before, was none: a window began while the calls of the pace before were still on their way.
	briefly = 0.5
	// What was let through tells about the quota after so many seconds and calls.
	sureSeconds = 3.0
	sureCalls   = 10.0
	// longestSpan is the longest window of a quota, in seconds, that rises wait for. Each rise and closing
	// makes what is known of it less by spanFades, and each closing the longest of them by longestFades.
	longestSpan  = 30.0
	spanFades    = 0.8
	longestFades = 0.95
)

// closing is how many refusals in a row are no chance.
func (l *Learned) closing() float64 {
	if l.Noise == 0 {
		return closedRow
	}
	return max(closedRow, math.Log(chance)/math.Log(l.Noise))
}

// close stops all but probes.
func (l Learned) close() Learned {
	gap := firstProbe
	if l.Limit > 0 {
		gap = min(lastProbe, max(gap, 1/l.Limit))
	}
	good := l.Good
	if l.Seconds < briefly && l.Through <= l.ShutThrough { // hardly open: the closing before it goes on
		l.Seconds, l.Through = l.Seconds+l.Shut, l.Through+l.ShutThrough
	}
	l.Mark, l.Cuts, l.Shut, l.ShutThrough = l.Limit, 0, 0, 0
	l.Closed = true
	l = l.begin(1 / gap)
	l.Good = good
	return l
}

// open goes on at the rate of what was let through since the opening before.
func (l Learned) open() Learned {
	// The API opened somewhere between the last two probes.
	limit := openTo * l.Through / max(l.Seconds-0.5/l.Limit, 0.1)
	// Where all closings have been short, and now there is a long one, it is hardly for the pace.
	long := l.Shut >= shortShut
	l.Storm = long && !l.Storm && l.Best > 0 && l.Longest < shortShut
	if l.Storm {
		limit = max(limit, cutTo*l.Best)
	} else if !long {
		limit = max(limit, cutTo*l.Good)
	}
	if l.Mark > 0 {
		limit = min(limit, cutTo*l.Mark)
	}
	l.Mark = 0
	if l.Seconds >= sureSeconds && l.Through >= sureCalls {
		l.Mark = markOver * limit
	}
	if !l.Storm {
		l.Span = min(longestSpan, max(l.Shut, spanFades*l.Span))
		l.Longest = max(l.Shut, longestFades*l.Longest)
	}
	l.Closed, l.Seconds, l.Through = false, 0, 0
	return l.begin(limit)
}
