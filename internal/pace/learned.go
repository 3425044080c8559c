package pace

import (
	"math"
	"time"
)

// Learned is what is known of one quota. The zero value knows nothing and has no limit. It changes only
// by Next, which is pure, so that whoever has the counts can work out what follows.
//
// Three things move the limit. A cut: refusals are more than what is tolerated (a CUSUM chart, so that
// many in a short time and few in a long one both show). A closing: refusals in a row, as when a quota
// that is counted by the second or the minute is used up; then only probes go, more and more seldom,
// until one is let through, and the limit is what the API let through on average meanwhile. A rise: the
// limit has held calls back for a while and hardly any were refused; rises double from a small one on, so
// that a pace near the quota stays near it, and one far below it does not stay there.
type Learned struct {
	// Limit is how many calls per second may start; 0 is no limit.
	Limit float64 `json:"limit,omitempty"`
	// Epoch counts the changes after which the answers to earlier calls say nothing about the limit.
	Epoch uint64 `json:"epoch,omitempty"`

	// Closed says that nothing is let through: calls only probe whether that is still so.
	Closed bool `json:"closed,omitempty"`
	// Shut is for how many seconds, ShutThrough how many calls were let through in them, and Span what the
	// last closings tell of the quota's window, fading.
	Shut        float64 `json:"shut,omitempty"`
	ShutThrough float64 `json:"shut_through,omitempty"`
	Span        float64 `json:"span,omitempty"`
	// Longest is the longest Shut of late.
	Longest float64 `json:"longest,omitempty"`
	// Storm says that the last long closing was taken for one that had nothing to do with the pace.
	Storm bool `json:"storm,omitempty"`
	// Row is how many refusals came since the last accepted answer.
	Row int `json:"row,omitempty"`
	// Seconds are those since the last opening, and Through is how many calls were let through in them.
	Seconds float64 `json:"seconds,omitempty"`
	Through float64 `json:"through,omitempty"`

	// Excess is by how many the refusals exceed what is tolerated, over Answers of which Refused are
	// refusals. It is never below zero.
	Excess  float64 `json:"excess,omitempty"`
	Answers float64 `json:"answers,omitempty"`
	Refused float64 `json:"refused,omitempty"`

	// Noise is the share of refusals that stays however slow the calls are. It shows when Cuts, from CutFrom
	// down, have not made the share less: of all CutAnswers before the last cut, CutRefused were refusals.
	Noise      float64 `json:"noise,omitempty"`
	Cuts       int     `json:"cuts,omitempty"`
	CutFrom    float64 `json:"cut_from,omitempty"`
	CutAnswers float64 `json:"cut_answers,omitempty"`
	CutRefused float64 `json:"cut_refused,omitempty"`
	// AllAnswers and AllRefused are those since the last cut, and LateAnswers and LateRefused those of the
	// cuts before, each counting less than the next.
	AllAnswers  float64 `json:"all_answers,omitempty"`
	AllRefused  float64 `json:"all_refused,omitempty"`
	LateAnswers float64 `json:"late_answers,omitempty"`
	LateRefused float64 `json:"late_refused,omitempty"`

	// Mark is about what was too fast last, 0 where that is not known, and Good the fastest that was not
	// since the last cut; Best is the last Good there was. Sure says that the mark was found slowly, from below.
	Mark float64 `json:"mark,omitempty"`
	Good float64 `json:"good,omitempty"`
	Best float64 `json:"best,omitempty"`
	Sure bool    `json:"sure,omitempty"`
	// Rises are those since the last cut.
	Rises int `json:"rises,omitempty"`
	// Held is for how many seconds the present limit has held calls back, with so many answers.
	Held        float64 `json:"held,omitempty"`
	HeldAnswers float64 `json:"held_answers,omitempty"`
	HeldRefused float64 `json:"held_refused,omitempty"`
}

// Counts are answers of the API that came within a time.
type Counts struct {
	Accepted int // answers other than 429, to calls of the present epoch
	Refused  int // 429, likewise
	Row      int // refusals since the last accepted answer, likewise
	Through  int // answers other than 429, to calls of any epoch
	// Rate is how many calls per second were let through in the last second.
	Rate float64
	// Held says that calls had to wait for the limit, or as a Retry-After asked.
	Held bool
	// Elapsed is the time that the counts stand for.
	Elapsed time.Duration
}

// before puts counts in front of c.
func (c *Counts) before(earlier Counts) {
	if c.Accepted == 0 {
		c.Row += earlier.Row
	}
	c.Accepted += earlier.Accepted
	c.Refused += earlier.Refused
	c.Through += earlier.Through
	c.Held = c.Held || earlier.Held
}

const (
	fastest = 20_000.0 // calls/s; faster is no limit
	slowest = 0.1      // calls/s; a slower quota shows in closings

	// idleSeconds is how long there may be no news before the time counts as idle, where a call may start
	// at least twice in it.
	idleSeconds = 10.0
	// longestPast is how many seconds an opening looks back at the most.
	longestPast = 120.0
)

// Next returns what is known after the answers in c.
func (l Learned) Next(c Counts) Learned {
	seconds := l.pass(c)
	if c.Accepted > 0 {
		l.Row = c.Row
	} else {
		l.Row += c.Refused
	}
	switch {
	case l.Closed && c.Accepted > 0:
		return l.open()
	case l.Closed:
		l.Limit = max(1/lastProbe, l.Limit/math.Pow(probeGrowth, float64(c.Refused)))
		return l
	case float64(l.Row) >= l.closing():
		return l.close()
	}
	l.weigh(c)
	if l.Excess >= cutAt {
		return l.cut(c.Rate)
	}
	if l.Limit > 0 {
		l.hold(c, seconds)
	}
	return l
}

// pass counts the time and what it let through, and returns the time in seconds.
func (l *Learned) pass(c Counts) float64 {
	seconds := c.Elapsed.Seconds()
	idle := idleSeconds
	if l.Limit > 0 {
		idle = max(idle, 2/l.Limit)
	}
	if l.Closed && c.Held { // as a Retry-After asked: that is no idle time, and part of the quota's window
		idle += longestPause.Seconds()
	}
	seconds = min(seconds, idle)
	l.Seconds += seconds
	l.Through += float64(c.Through)
	if l.Seconds > longestPast {
		l.Through *= longestPast / l.Seconds
		l.Seconds = longestPast
	}
	if l.Closed {
		l.Shut += seconds
		l.ShutThrough += float64(c.Through)
	}
	return seconds
}

// begin starts a new epoch at limit.
func (l Learned) begin(limit float64) Learned {
	l.Limit = min(fastest, max(slowest, limit))
	l.Epoch++
	l.Excess, l.Answers, l.Refused = 0, 0, 0
	l.CutAnswers += l.AllAnswers
	l.CutRefused += l.AllRefused
	l.LateAnswers = lateFades*l.LateAnswers + l.AllAnswers
	l.LateRefused = lateFades*l.LateRefused + l.AllRefused
	l.AllAnswers, l.AllRefused = 0, 0
	l.Good, l.Rises, l.Held, l.HeldAnswers, l.HeldRefused = 0, 0, 0, 0, 0
	return l
}
