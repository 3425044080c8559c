package pace

import "time"

// longestPause is the most that a Retry-After makes all of a merchant's calls wait.
const longestPause = time.Minute

// pause is the time that a Retry-After asks for.
type pause struct {
	until time.Time
	taken time.Time // when the refused call was let through
}

func (p *pause) ask(now, taken time.Time, retryAfter time.Duration) {
	if until := now.Add(min(retryAfter, longestPause)); retryAfter > 0 && until.After(p.until) {
		*p = pause{until, taken}
	}
}

func (p *pause) accepted(taken time.Time) {
	if taken.After(p.taken) {
		*p = pause{}
	}
}
