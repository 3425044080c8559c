package pace

import (
	"encoding/json"
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
	// Shut is for how many seconds, and Span what the last closings tell of the quota's window, fading.
	Shut float64 `json:"shut,omitempty"`
	Span float64 `json:"span,omitempty"`
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
	// cuts before, each counting half as much as the next.
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
	// Held says that calls had to wait for the limit.
	Held bool
	// Elapsed is the time that the counts stand for.
	Elapsed time.Duration
}

const (
	fastest = 20_000.0 // calls/s; faster is no limit
	slowest = 1.0 / 60 // calls/s

	// idleSeconds is the longest time between two counts that is not idle time, where a call does not
	// take longer than half of it.
	idleSeconds = 10.0
	// longestPast is how many seconds an opening looks back at the most.
	longestPast = 120.0

	// closedRow refusals in a row close. The gap between probes then grows by probeGrowth each, from the
	// limit's or firstProbe to lastProbe, in seconds.
	closedRow   = 5
	chance      = 1e-4
	firstProbe  = 0.02
	lastProbe   = 5.0
	probeGrowth = 1.15
	// openTo is the share of what was let through that is tried after an opening. Where the closing took
	// less than shortShut seconds, the pace before it was nearly right.
	openTo    = 0.98
	shortShut = 2.0
	// What was let through tells about the quota only after so many seconds and calls.
	sureSeconds = 1.0
	sureCalls   = 10.0
	// longestSpan is the longest window, in seconds, that is allowed for between two rises. Each rise
	// and closing makes it less by spanFades.
	longestSpan  = 30.0
	spanFades    = 0.8
	longestFades = 0.95

	// tolerated is the share of refusals, beside twice the noise, that is no reason to be slower, and
	// cutAt the excess that is one.
	tolerated = 0.01
	cutAt     = 2.0
	cutTo     = 0.98
	goodTo    = 0.99
	nearGood  = 1.1
	// fewest answers are what a share is taken of, so that a handful of refusals is no large cut.
	fewest = 20.0
	// cutRow refusals in a row at a cut mean that a quota is used up, not that calls are a little too fast.
	cutRow = 3
	// Cuts are in a row where the limit has not come back to cutAgain of the first one's in between, nor
	// cleanAnswers have come without a refusal right after one. More than so many are useless where the share of refusals is not below uselessShare of what it was before,
	// and not above noiseAtMost.
	cutAgain     = 0.97
	cleanAnswers = 100.0
	uselessCuts  = 3
	uselessTo    = 0.8
	uselessShare = 0.7
	noiseAtMost  = 0.4
	noiseFades   = 0.75

	// riseBy is the first rise, the second is twice that, and so on up to riseAtMost. One needs so many
	// seconds and calls, twice the calls where the mark is sure. Where the mark is not known or has been
	// passed by beyond, a rise needs only fastCalls and is larger by so many doublings as fastRises.
	riseBy      = 0.005
	triedShare  = 0.75
	riseAtMost  = 0.5
	riseSeconds = 1.0
	riseCalls   = 20.0
	fastCalls   = 5.0
	fastRises   = 3
	beyond      = 1.05
	// markOver is how far above the new limit the quota may be thought to be, at the most.
	markOver = 1.3
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

// closing is how many refusals in a row are no chance.
func (l *Learned) closing() float64 {
	if l.Noise == 0 {
		return closedRow
	}
	return max(closedRow, math.Log(chance)/math.Log(l.Noise))
}

// pass counts the time and what it let through, and returns the time in seconds.
func (l *Learned) pass(c Counts) float64 {
	seconds := c.Elapsed.Seconds()
	idle := idleSeconds
	if l.Limit > 0 {
		idle = max(idle, 2/l.Limit)
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
	}
	return seconds
}

// close stops all but probes.
func (l Learned) close() Learned {
	gap := firstProbe
	if l.Limit > 0 {
		gap = min(lastProbe, max(gap, 1/l.Limit))
	}
	good := l.Good
	l.Mark, l.Cuts, l.Shut = l.Limit, 0, 0
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
	switch {
	case l.Storm:
		limit = max(limit, cutTo*l.Best)
	case long:
	default:
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

// cut goes down by the share of refusals; where there was no limit, to what was accepted of late.
func (l Learned) cut(rate float64) Learned {
	if l.Limit == 0 {
		return l.begin(cutTo * rate)
	}
	if l.Cuts == 0 || l.Limit > cutAgain*l.CutFrom {
		l.Cuts, l.CutFrom, l.CutAnswers, l.CutRefused = 0, l.Limit, 0, 0
		l.LateAnswers, l.LateRefused = 0, 0
	}
	l.Cuts++
	if l.useless() {
		l.Noise, l.Cuts = (l.AllRefused+l.LateRefused)/(l.AllAnswers+l.LateAnswers), 0
		return l.begin(l.CutFrom)
	}
	l.Noise /= 2
	of := max(fewest, l.Answers)
	if l.Cuts == 1 {
		of = max(of, l.Limit) // it may be the end of a second's quota
	}
	limit := cutTo * (1 - l.Refused/of) * l.Limit
	if l.Row >= cutRow {
		limit = max(cutTo*l.Through/max(l.Seconds, 1), l.Limit/2)
	}
	limit = min(max(limit, goodTo*l.Good), cutTo*l.Limit)
	l.Sure = l.Good > 0 && l.Limit < nearGood*l.Good
	l.Mark = min(l.Limit, markOver*limit)
	return l.begin(limit)
}

// useless says that the cuts in a row have not made the share of refusals less.
func (l *Learned) useless() bool {
	answers := l.AllAnswers + l.LateAnswers
	share := (l.AllRefused + l.LateRefused) / max(1, answers)
	before := l.CutRefused / max(1, l.CutAnswers)
	return l.Cuts > uselessCuts && l.Limit < uselessTo*(1-before)*l.CutFrom &&
		answers >= fewest && share < noiseAtMost && share > uselessShare*before
}

// begin starts a new epoch at limit.
func (l Learned) begin(limit float64) Learned {
	l.Limit = min(fastest, max(slowest, limit))
	l.Epoch++
	l.Excess, l.Answers, l.Refused = 0, 0, 0
	l.CutAnswers += l.AllAnswers
	l.CutRefused += l.AllRefused
	l.LateAnswers = l.LateAnswers/2 + l.AllAnswers
	l.LateRefused = l.LateRefused/2 + l.AllRefused
	l.AllAnswers, l.AllRefused = 0, 0
	l.Good, l.Rises, l.Held, l.HeldAnswers, l.HeldRefused = 0, 0, 0, 0, 0
	return l
}

// weigh keeps the excess of refusals.
func (l *Learned) weigh(c Counts) {
	n, refused := float64(c.Accepted+c.Refused), float64(c.Refused)
	l.Excess += refused - (2*l.Noise+tolerated)*n
	l.Answers += n
	l.Refused += refused
	l.AllAnswers += n
	l.AllRefused += refused
	if l.AllRefused == 0 && l.AllAnswers >= cleanAnswers {
		l.Cuts = 0 // they have helped
	}
	if l.Excess <= 0 {
		l.Excess, l.Answers, l.Refused = 0, 0, 0
	}
}

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
	if l.Held >= riseSeconds+2*l.Span+calls/l.Limit {
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

// Encode returns what Decode reads.
func (l Learned) Encode() []byte {
	text, err := json.Marshal(l)
	if err != nil { // a number that is none, which the arithmetic above cannot make
		return nil
	}
	return text
}

// Decode reads what Encode returned. What cannot be read is nothing learned; the epoch goes on.
func Decode(text []byte, epoch uint64) Learned {
	var l Learned
	if len(text) == 0 {
		return Learned{Epoch: epoch}
	}
	if err := json.Unmarshal(text, &l); err != nil || l.Epoch != epoch {
		return Learned{Epoch: epoch + 1}
	}
	return l
}
