package replay

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"replyworker/internal/dedupe"
)

const (
	lockTTL   = 30 * time.Second
	lockRenew = 10 * time.Second
	// lockSteps is how long giving the lock back may take.
	lockSteps = 5 * time.Second
)

// ErrLockLost says that the lock ended before the work did: Redis was away for too long.
var ErrLockLost = errors.New("the replay's lock was lost, since Redis was away for too long; another replay may be running")

// BusyError says that somebody else replays or discards.
type BusyError struct {
	Owner string
	Left  time.Duration // until the lock ends, if it is not renewed
}

// Error says who has the lock.
func (e *BusyError) Error() string {
	return fmt.Sprintf("another replay or discard is running: %s (its lock ends %s after it dies)",
		e.Owner, e.Left.Round(time.Second))
}

// Locks is where locks are kept: a *dedupe.Store.
type Locks interface {
	Lock(ctx context.Context, name, token, owner string, ttl time.Duration) (dedupe.Lock, error)
	Unlock(ctx context.Context, name, token string) error
}

// Exclusively calls do while it holds the lock of that name. It returns a *BusyError where another has
// it. The context of do ends with ErrLockLost as its cause where the lock is lost.
func Exclusively(ctx context.Context, locks Locks, name, owner string, do func(context.Context) error) error {
	token := dedupe.NewToken()
	got, err := locks.Lock(ctx, name, token, owner, lockTTL)
	if err != nil {
		return fmt.Errorf("lock against a second replay: %w", err)
	}
	if !got.Held {
		return &BusyError{Owner: got.Owner, Left: got.Left}
	}
	inner, cancel := context.WithCancelCause(ctx)
	var renewer sync.WaitGroup
	renewer.Go(func() { keep(inner, cancel, locks, name, token, owner) })
	err = do(inner)
	cancel(nil)
	renewer.Wait()
	last, done := context.WithTimeout(context.WithoutCancel(ctx), lockSteps)
	defer done()
	// A lock that cannot be given back ends by itself.
	_ = locks.Unlock(last, name, token)
	return err
}

// keep renews the lock until ctx ends, and cancels it where the lock may have ended.
func keep(ctx context.Context, cancel context.CancelCauseFunc, locks Locks, name, token, owner string) {
	renewed := time.Now()
	tick := time.NewTicker(lockRenew)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		asked := time.Now()
		got, err := locks.Lock(ctx, name, token, owner, lockTTL)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil && got.Held:
			renewed = asked
		case err == nil || time.Since(renewed) > lockTTL-lockRenew:
			cancel(ErrLockLost)
			return
		}
	}
}
