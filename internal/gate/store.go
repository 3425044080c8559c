package gate

import "time"

const (
	storeRetryFirst = 100 * time.Millisecond
	storeRetryMax   = 5 * time.Second
)

// store watches the claim store. While it does not answer, nobody calls (a call that cannot be
// claimed might be a second one), and one job at a time finds out whether it is back.
type store struct {
	down    bool
	retry   time.Duration
	retryAt time.Time
	probe   *Grant // that is out to see whether the store is back
}

// closed says whether nobody may call; wait is zero where a probe is out and its end will tell.
func (s *store) closed(now time.Time) (wait time.Duration, closed bool) {
	switch {
	case !s.down:
		return 0, false
	case s.probe != nil:
		return 0, true
	}
	wait = s.retryAt.Sub(now)
	return max(0, wait), wait > 0
}

// returned takes note of a grant that came back: where it was the probe, it has not found the store
// to be back, and the next one waits twice as long.
func (s *store) returned(now time.Time, grant *Grant) {
	if s.probe != grant {
		return
	}
	s.probe, s.retry = nil, min(2*s.retry, storeRetryMax)
	s.retryAt = now.Add(s.retry)
}

// StoreDown stops everybody: the claim store did not answer.
func (g *Gate) StoreDown(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.store.down {
		return // several found out at the same time, or the probe did; its return says when to go on
	}
	g.store = store{down: true, retry: storeRetryFirst, retryAt: now.Add(storeRetryFirst)}
}

// StoreUp lets everybody go on: the claim store has answered.
func (g *Gate) StoreUp() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.store.down {
		g.store = store{}
		g.Wake()
	}
}

// StoreIsDown says whether calls are stopped because the claim store does not answer.
func (g *Gate) StoreIsDown() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.store.down
}
