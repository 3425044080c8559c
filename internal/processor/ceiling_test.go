package processor_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/dedupe"
	"replyworker/internal/processor"
)

// sharedPace is a claim store's bucket that answers after a while.
type sharedPace struct {
	mu     sync.Mutex
	tokens float64
	filled time.Time
	asked  int
	fail   error
}

func (s *sharedPace) TakePace(_ context.Context, _ string, p dedupe.Pace, want int) (int, time.Duration, error) {
	<-time.After(3 * time.Millisecond)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	if s.fail != nil {
		return 0, 0, s.fail
	}
	s.tokens = min(float64(p.Burst), s.tokens+time.Since(s.filled).Seconds()*p.Rate)
	s.filled = time.Now()
	n := min(want, int(s.tokens))
	s.tokens -= float64(n)
	wait := time.Duration((1 - s.tokens) / p.Rate * float64(time.Second))
	return n, max(0, wait), nil
}

func (s *sharedPace) setFail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = err
}

// caller takes from a ceiling as fast as it may.
type caller struct {
	ceiling *processor.Ceiling
	woken   chan struct{}
}

func newCaller(store processor.Paces, rate float64) *caller {
	c := &caller{woken: make(chan struct{}, 1)}
	c.ceiling = processor.NewCeiling(store, "1900000001", rate, func() {
		select {
		case c.woken <- struct{}{}:
		default:
		}
	})
	return c
}

// run calls until ctx ends; of those that were granted the unused share is given back.
func (c *caller) run(ctx context.Context, unused float64, called func(time.Time)) {
	for ctx.Err() == nil {
		wait := c.ceiling.Take(time.Now())
		if wait == 0 {
			if rand.Float64() < unused {
				c.ceiling.GiveBack()
			} else {
				called(time.Now())
			}
			continue
		}
		select {
		case <-ctx.Done():
		case <-c.woken:
		case <-time.After(wait):
		}
	}
}

func TestCeilingIsSharedKeptAndUsed(t *testing.T) {
	t.Parallel()
	for _, rate := range []float64{0.5, 3, 25, 400} {
		for _, workers := range []int{1, 3} {
			t.Run(fmt.Sprintf("%g calls per second, %d workers", rate, workers), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) { keepCeiling(t, rate, workers) })
			})
		}
	}
}

func keepCeiling(t *testing.T, rate float64, workers int) {
	t.Helper()
	const length = 60 * time.Second
	store := &sharedPace{filled: time.Now()}
	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	var mu sync.Mutex
	var calls []time.Time
	var all sync.WaitGroup
	for range workers {
		c := newCaller(store, rate)
		all.Go(func() { c.ceiling.Run(ctx) })
		all.Go(func() {
			c.run(ctx, 0.1, func(at time.Time) {
				mu.Lock()
				defer mu.Unlock()
				calls = append(calls, at)
			})
		})
	}
	all.Wait()
	// What may come at once: a share of a tenth of a second from Redis, and one in each worker's hand.
	burst := (1 + workers) * max(1, int(math.Ceil(rate/10)))
	for i, first := 0, 0; i < len(calls); i++ {
		for calls[i].Sub(calls[first]) >= time.Second {
			first++
		}
		require.LessOrEqual(t, float64(i-first+1), rate+float64(burst), "calls within a second, rate %g, burst %d", rate, burst)
	}
	require.GreaterOrEqual(t, float64(len(calls)), 0.9*rate*length.Seconds()-1, "calls in %s, rate %g", length, rate)
	require.LessOrEqual(t, float64(len(calls)), rate*length.Seconds()+float64(burst), "calls in %s, rate %g", length, rate)
}

func TestCeilingIsClosedWhileTheStoreDoesNotAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &sharedPace{filled: time.Now(), fail: errors.New("no answer")}
		c := newCaller(store, 100)
		ctx, cancel := context.WithCancel(t.Context())
		calls := 0
		var all sync.WaitGroup
		all.Go(func() { c.ceiling.Run(ctx) })
		all.Go(func() { c.run(ctx, 0, func(time.Time) { calls++ }) })
		time.Sleep(10 * time.Second)
		synctest.Wait()
		require.Zero(t, calls, "calls while the store did not answer")
		require.InDelta(t, 50, store.asked, 5, "questions in 10 s without an answer")
		store.setFail(nil)
		time.Sleep(10 * time.Second)
		cancel()
		all.Wait()
		require.InDelta(t, 1000, calls, 100, "calls in the 10 s after the store was back, rate 100")
	})
}

func TestCeilingCallsThatWereGrantedAndNotMadeDoNotPileUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCaller(&sharedPace{filled: time.Now()}, 100)
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() { c.ceiling.Run(ctx) })
		for range 100 { // asked now and then, and never used
			c.ceiling.Take(time.Now())
			time.Sleep(2 * time.Second)
		}
		n := 0
		for c.ceiling.Take(time.Now()) == 0 {
			n++
		}
		require.LessOrEqual(t, n, 10, "calls at once after a long quiet time, rate 100, share 10")
		cancel()
		all.Wait()
	})
}
