package pace

import "time"

// recent counts by the second.
type recent struct {
	since     time.Time
	now, last float64
}

func (r *recent) add(now time.Time) {
	r.turn(now)
	r.now++
}

func (r *recent) turn(now time.Time) {
	switch d := now.Sub(r.since); {
	case d >= 2*time.Second:
		*r = recent{since: now}
	case d >= time.Second:
		*r = recent{since: r.since.Add(time.Second), last: r.now}
	}
}

// rate returns how many were counted in the last second.
func (r *recent) rate(now time.Time) float64 {
	r.turn(now)
	return r.now + r.last*(1-now.Sub(r.since).Seconds())
}
