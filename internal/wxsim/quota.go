package wxsim

import "time"

// quota limits calls per merchant: a token bucket, or fixed windows. Its owner locks it.
type quota struct {
	rate   float64
	burst  float64
	window time.Duration
	states map[string]*quotaState
}

type quotaState struct {
	left  float64
	since time.Time
}

func newQuota(f Fault) *quota {
	q := &quota{rate: f.Rate, burst: float64(f.Burst), window: f.Window, states: map[string]*quotaState{}}
	if f.Burst == 0 {
		q.burst = max(1, f.Rate)
	}
	if f.Window > 0 {
		q.burst = max(1, f.Rate*f.Window.Seconds())
	}
	return q
}

func (q *quota) allow(mchID string, now time.Time) bool {
	state := q.states[mchID]
	if state == nil {
		state = &quotaState{left: q.burst, since: now}
		q.states[mchID] = state
	}
	q.refill(state, now)
	if state.left < 1-1e-9 { // Sums of fractions of a second fall a little short of a whole call.
		return false
	}
	state.left--
	return true
}

func (q *quota) refill(state *quotaState, now time.Time) {
	passed := now.Sub(state.since)
	if passed <= 0 {
		return
	}
	if q.window > 0 {
		if whole := passed.Truncate(q.window); whole > 0 {
			state.left, state.since = q.burst, state.since.Add(whole)
		}
		return
	}
	state.left, state.since = min(q.burst, state.left+q.rate*passed.Seconds()), now
}
