package processor

import (
	"context"
	"math"
	"sync"
	"time"

	"replyworker/internal/dedupe"
)

// Paces is what a Ceiling asks of the claim store; its method is dedupe.Store's.
type Paces interface {
	TakePace(ctx context.Context, mchid string, p dedupe.Pace, want int) (int, time.Duration, error)
}

const (
	// A ceiling asks for the calls of so long at once, so that Redis is asked a few times a second.
	ceilingShare = 100 * time.Millisecond
	ceilingRetry = 200 * time.Millisecond
	// stockLife is how long calls that were granted may wait to be made. Granted and not made, they
	// are gone: the pace is slower for that moment, never faster.
	stockLife = time.Second
)

// Ceiling is a merchant's fixed limit of calls per second, shared by all workers through Redis. It is
// a gate.Ceiling.
type Ceiling struct {
	store Paces
	mchid string
	pace  dedupe.Pace
	share int
	wake  func()
	ask   chan struct{}

	mu      sync.Mutex
	stock   int
	until   time.Time // the stock's end
	retryAt time.Time
}

// NewCeiling makes a ceiling of rate calls per second; wake is called when calls have been granted.
// Run must be running while it is in use.
func NewCeiling(store Paces, mchid string, rate float64, wake func()) *Ceiling {
	share := max(1, int(math.Ceil(rate*ceilingShare.Seconds())))
	return &Ceiling{
		store: store, mchid: mchid, pace: dedupe.Pace{Rate: rate, Burst: share}, share: share,
		wake: wake, ask: make(chan struct{}, 1),
	}
}

// Take implements gate.Ceiling.
func (c *Ceiling) Take(now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stock > 0 && now.Before(c.until) {
		c.stock--
		return 0
	}
	if wait := c.retryAt.Sub(now); wait > 0 {
		return wait
	}
	select {
	case c.ask <- struct{}{}:
	default:
	}
	return ceilingRetry // wake comes sooner
}

// GiveBack implements gate.Ceiling.
func (c *Ceiling) GiveBack() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stock = min(c.stock+1, c.share) // what comes back after a stall must not come on top of the rate
}

// Run asks Redis for calls when they are wanted, until ctx ends.
func (c *Ceiling) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.ask:
			c.refill(ctx)
			c.wake()
		}
	}
}

func (c *Ceiling) refill(ctx context.Context) {
	granted, wait, err := c.store.TakePace(ctx, c.mchid, c.pace, c.share)
	now := time.Now()
	if err != nil {
		granted = 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !now.Before(c.until) {
		c.stock = 0
	}
	c.stock, c.until = c.stock+granted, now.Add(stockLife)
	switch missing := c.share - granted; {
	case err != nil:
		c.retryAt = now.Add(ceilingRetry)
	case missing > 0: // ask again when there is a whole share to be had, not for every single call
		rest := time.Duration(float64(missing-1) / c.pace.Rate * float64(time.Second))
		c.retryAt = now.Add(max(wait+rest, time.Millisecond))
	}
}
