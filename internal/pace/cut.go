package pace

const (
	// tolerated is the share of refusals, beside twice the noise, that is no reason to be slower, and
	// cutAt the excess that is one.
	tolerated = 0.01
	cutAt     = 2.0
	// cutTo is what is left of a limit beside the share that was refused, and goodTo of one that was good.
	cutTo  = 0.98
	goodTo = 0.99
	// nearGood is how far above what was good a limit may be that was found slowly.
	nearGood = 1.1
	// fewest answers are what a share is taken of, so that a handful of refusals is no large cut.
	fewest = 20.0
	// firstLimit is the least that the first limit of all is, in calls/s: where calls are few, their rate
	// tells nothing.
	firstLimit = 1.0
	// cutRow refusals in a row at a cut mean that a quota is used up, not that calls come a little too fast.
	cutRow = 3
	// markOver is how far above the new limit the quota may be thought to be, at the most.
	markOver = 1.3

	// Cuts are in a row where the limit has not come back to cutAgain of the first one's in between, nor
	// cleanAnswers have come without a refusal right after one.
	cutAgain     = 0.97
	cleanAnswers = 100.0
	// A row is useless where it has more than uselessCuts, has gone below uselessTo of what should have
	// been enough, and of noiseAnswers or more there is still a share refused that is not below
	// uselessShare of what it was, and is below noiseAtMost.
	uselessCuts  = 4
	uselessTo    = 0.8
	uselessShare = 0.75
	noiseAtMost  = 0.4
	noiseAnswers = 40.0
	// lateFades is how much less the answers before a cut count after it.
	lateFades = 0.8
)

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

// cut goes down by the share of refusals; where there was no limit, to what went through of late.
func (l Learned) cut(rate float64) Learned {
	if l.Limit == 0 {
		return l.begin(max(cutTo*rate, cutTo*l.Through/max(l.Seconds, 1), firstLimit))
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
		answers >= noiseAnswers && share < noiseAtMost && share > uselessShare*before
}
