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
}

func (s *store) wait(now time.Time) time.Duration {
	if !s.down {
		return 0
	}
	return max(0, s.retryAt.Sub(now))
}

func (s *store) admitted(now time.Time) {
	if s.down {
		s.retryAt = now.Add(s.retry)
	}
}

// StoreDown stops everybody: the claim store did not answer.
func (g *Gate) StoreDown(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := &g.store
	if s.down && now.Before(s.retryAt) {
		return // several found out at the same time
	}
	s.retry = min(max(2*s.retry, storeRetryFirst), storeRetryMax)
	s.down, s.retryAt = true, now.Add(s.retry)
}

// StoreUp lets everybody go on: the claim store has answered.
func (g *Gate) StoreUp() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.store.down {
		g.store = store{}
		g.wake()
	}
}

// StoreIsDown says whether calls are stopped because the claim store does not answer.
func (g *Gate) StoreIsDown() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.store.down
}
