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
	// lockTry is how long one renewal may take, and lockRetry the pause after one that failed.
	lockTry   = 5 * time.Second
	lockRetry = 2 * time.Second
	// lockMargin is how long before its end a lock that cannot be renewed counts as lost, so that a
	// request under way ends before another replay begins.
	lockMargin = 5 * time.Second
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
	token, asked := dedupe.NewToken(), time.Now()
	got, err := locks.Lock(ctx, name, token, owner, lockTTL)
	if err != nil {
		return fmt.Errorf("lock against a second replay: %w", err)
	}
	if !got.Held {
		return &BusyError{Owner: got.Owner, Left: got.Left}
	}
	inner, cancel := context.WithCancelCause(ctx)
	var renewer sync.WaitGroup
	renewer.Go(func() {
		if !keep(inner, asked, func(ctx context.Context) (dedupe.Lock, error) {
			return locks.Lock(ctx, name, token, owner, lockTTL)
		}) {
			cancel(ErrLockLost)
		}
	})
	err = do(inner)
	cancel(nil)
	renewer.Wait()
	last, done := context.WithTimeout(context.WithoutCancel(ctx), lockSteps)
	defer done()
	// A lock that cannot be given back ends by itself.
	_ = locks.Unlock(last, name, token)
	return err
}

// keep renews a lock that was asked for at that time. It returns true when ctx ends, and false where
// the lock may have ended.
func keep(ctx context.Context, asked time.Time, renew func(context.Context) (dedupe.Lock, error)) bool {
	lost := asked.Add(lockTTL - lockMargin)
	next := time.NewTimer(lockRenew)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return true
		case <-next.C:
		}
		asked = time.Now()
		try, done := context.WithTimeout(ctx, min(lockTry, lost.Sub(asked)))
		got, err := renew(try)
		done()
		switch {
		case ctx.Err() != nil:
			return true
		case err == nil && got.Held:
			lost = asked.Add(lockTTL - lockMargin)
			next.Reset(lockRenew)
		case err == nil || !time.Now().Before(lost):
			return false
		default:
			next.Reset(min(lockRetry, time.Until(lost)))
		}
	}
}

// through returns a context that does not end with ctx, so that what was begun is brought to its end,
// but does where the lock is lost, and after the given time in any case.
func through(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	inner, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	stop := context.AfterFunc(ctx, func() {
		if errors.Is(context.Cause(ctx), ErrLockLost) {
			cancel()
		}
	})
	return inner, func() { stop(); cancel() }
}
