package replay_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/deadletter"
	"replyworker/internal/dedupe"
	"replyworker/internal/kafkaio"
	"replyworker/internal/replay"
)

var errAway = errors.New("redis is away")

// fakeLocks is a Redis with one lock.
type fakeLocks struct {
	mu           sync.Mutex
	token, owner string
	ends         time.Time
	away         bool          // it answers with an error at once
	hangs        bool          // it does not answer
	answerLost   bool          // it does what it is asked, and the answer is lost
	slow         time.Duration // what an answer takes
	renewals     int
	given        int // how often it was given back
}

func (f *fakeLocks) set(change func(*fakeLocks)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

// trouble returns the error of a Redis that is away.
func (f *fakeLocks) trouble(ctx context.Context) error {
	f.mu.Lock()
	away, hangs, slow := f.away, f.hangs, f.slow
	f.mu.Unlock()
	<-time.After(slow)
	switch {
	case hangs:
		<-ctx.Done()
		return ctx.Err()
	case away:
		return errAway
	}
	return ctx.Err()
}

func (f *fakeLocks) Lock(ctx context.Context, _, token, owner string, ttl time.Duration) (dedupe.Lock, error) {
	if err := f.trouble(ctx); err != nil {
		return dedupe.Lock{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	if f.token != "" && f.token != token && now.Before(f.ends) {
		return dedupe.Lock{Owner: f.owner, Left: f.ends.Sub(now)}, nil
	}
	if f.token == token {
		f.renewals++
	}
	f.token, f.owner, f.ends = token, owner, now.Add(ttl)
	if f.answerLost {
		return dedupe.Lock{}, errAway
	}
	return dedupe.Lock{Held: true}, nil
}

func (f *fakeLocks) Unlock(ctx context.Context, _, token string) error {
	if err := f.trouble(ctx); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.token == token {
		f.token = ""
		f.given++
	}
	return nil
}

// work does something for so long, unless its context ends.
func work(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

func exclusively(ctx context.Context, f *fakeLocks, owner string, do func(context.Context) error) error {
	return replay.Exclusively(ctx, f, "replay", owner, do)
}

func TestTheLockIsRenewedAndGivenBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fakeLocks{}
		require.NoError(t, exclusively(t.Context(), f, "me", func(ctx context.Context) error { return work(ctx, time.Hour) }))
		require.Empty(t, f.token)
		require.InDelta(t, 360, f.renewals, 2)
		failed := errors.New("failed")
		require.ErrorIs(t, exclusively(t.Context(), f, "me", func(context.Context) error { return failed }), failed)
		require.Empty(t, f.token)
		require.Equal(t, 2, f.given)
	})
}

func TestTheSecondCallerIsTurnedAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fakeLocks{}
		err := exclusively(t.Context(), f, "first@host", func(ctx context.Context) error {
			if err := work(ctx, 45*time.Second); err != nil {
				return err
			}
			err := exclusively(ctx, f, "second", func(context.Context) error { return errors.New("both have it") })
			var busy *replay.BusyError
			require.ErrorAs(t, err, &busy)
			require.Equal(t, "first@host", busy.Owner)
			require.Equal(t, 25*time.Second, busy.Left)
			require.EqualError(t, err, "another replay or discard is running: first@host (its lock ends 25s after it dies)")
			return nil
		})
		require.NoError(t, err)
		require.NoError(t, exclusively(t.Context(), f, "second", func(context.Context) error { return nil }))
	})
}

func TestTheLockIsGivenBackAfterAnInterruption(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fakeLocks{}
		ctx, cancel := context.WithCancelCause(t.Context())
		enough := errors.New("enough")
		err := exclusively(ctx, f, "me", func(ctx context.Context) error {
			cancel(enough)
			return work(ctx, time.Hour)
		})
		require.ErrorIs(t, err, enough)
		require.Empty(t, f.token)
	})
}

// TestTheLockEndsBeforeAnotherCanHaveIt takes Redis away for a while, in each way, from each second on.
func TestTheLockEndsBeforeAnotherCanHaveIt(t *testing.T) {
	t.Parallel()
	ways := map[string]func(*fakeLocks, bool){
		"it refuses":           func(f *fakeLocks, on bool) { f.away = on },
		"it hangs":             func(f *fakeLocks, on bool) { f.hangs = on },
		"its answers are lost": func(f *fakeLocks, on bool) { f.answerLost = on },
	}
	for name, way := range ways {
		for _, slow := range []time.Duration{0, 3 * time.Second} {
			for from := range 12 {
				for _, lasts := range []time.Duration{2 * time.Second, 9 * time.Second, 14 * time.Second, 31 * time.Second, time.Hour} {
					synctest.Test(t, func(t *testing.T) {
						f := &fakeLocks{slow: slow}
						var taken, ended time.Time // when another could have it, and when the work ended
						err := exclusively(t.Context(), f, "me", func(ctx context.Context) error {
							<-time.After(time.Duration(from)*time.Second + time.Millisecond)
							f.set(func(f *fakeLocks) { way(f, true) })
							err := work(ctx, lasts)
							if err == nil {
								f.set(func(f *fakeLocks) { way(f, false) })
								err = work(ctx, 2*time.Minute)
							}
							ended = time.Now()
							f.set(func(f *fakeLocks) { taken = f.ends; way(f, false) })
							return err
						})
						if err != nil {
							require.ErrorIs(t, err, replay.ErrLockLost, "%s from %ds for %s", name, from, lasts)
						}
						require.Less(t, ended, taken.Add(time.Nanosecond), "%s from %ds for %s: another could have it", name, from, lasts)
						if lasts < 10*time.Second && slow == 0 {
							require.NoError(t, err, "%s from %ds for %s: too short to matter", name, from, lasts)
						}
						if lasts > 30*time.Second {
							require.Error(t, err, "%s from %ds for %s", name, from, lasts)
						}
					})
				}
			}
		}
	}
}

// Somebody deleted the lock, and another replay has taken it.
func TestALockThatAnotherHasIsLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fakeLocks{}
		err := exclusively(t.Context(), f, "me", func(ctx context.Context) error {
			f.set(func(f *fakeLocks) { f.token, f.owner = "another", "someone" })
			return work(ctx, time.Minute)
		})
		require.ErrorIs(t, err, replay.ErrLockLost)
		require.Equal(t, "another", f.token, "it is not ours to be given back")
	})
}

func TestWithoutRedisNothingIsDone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		err := exclusively(t.Context(), &fakeLocks{away: true}, "me", func(context.Context) error { return errors.New("it was done") })
		require.ErrorIs(t, err, errAway)
		require.ErrorContains(t, err, "lock against a second replay: ")
	})
}

// TestAStepEndsWithTheLock holds that what a replay has begun is not seen through once another may be
// running.
func TestAStepEndsWithTheLock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, 1)
		d.failed(0, "c", idOf(0))
		f := &fakeLocks{}
		cfg, items := d.config(all(1))
		began := time.Now()
		err := exclusively(t.Context(), f, "me", func(ctx context.Context) error {
			f.set(func(f *fakeLocks) { f.away = true })
			d.kafka.reads = func(kafkaio.Span) error { return work(ctx, 10*time.Second) }
			d.kafka.decide = func(n int, _ string) fate {
				if n == 1 { // the job itself, for less than a step may take, and longer than the lock is good for
					<-time.After(16 * time.Second)
				}
				return taken
			}
			_, err := replay.Run(ctx, cfg, items)
			return err
		})
		require.Error(t, err)
		require.Less(t, time.Since(began), 32*time.Second)
		d.kafka.reads = nil
		require.Len(t, d.kafka.records[jobsTopic][0], 1, "the job was sent, without the lock")
		require.Equal(t, deadletter.StatusReplaying, d.statuses()[idOf(0)])
	})
}
