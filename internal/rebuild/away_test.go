package rebuild_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/dedupe"
	"replyworker/internal/job"
	"replyworker/internal/rebuild"
)

// claims is a claim store that fails when it is told to.
type claims struct {
	mu    sync.Mutex
	calls int
	asked []string // the ids that were answered
	write []bool
	fail  func(call, index int) error
}

// Restore implements rebuild.Claims.
func (c *claims) Restore(_ context.Context, successes []dedupe.Success, write bool) []dedupe.RestoreResult {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls++
	results := make([]dedupe.RestoreResult, len(successes))
	for i, s := range successes {
		if c.fail != nil {
			results[i].Err = c.fail(c.calls, i)
		}
		if results[i].Err == nil {
			results[i].Restoration = dedupe.Restored
			c.asked, c.write = append(c.asked, s.IdempotentID), append(c.write, write)
		}
	}
	return results
}

func failure(reason dedupe.Reason) error {
	return &dedupe.Error{Op: "restore", Reason: reason, Err: errors.New("as the test wants it")}
}

// some is a topic of one partition with so many successes.
func some(t *testing.T, n int) *topic {
	t.Helper()
	var records []job.Delivery
	for i := range n {
		records = append(records, outcomeOf(t, int64(i), jobOf(t, fmt.Sprintf("id-%d", i), "x"), succeeded("log")))
	}
	return &topic{page: n, partitions: [][]job.Delivery{records}}
}

func TestDryRunWritesNothing(t *testing.T) {
	t.Parallel()
	f, c := some(t, 3), &claims{}
	report, err := rebuild.Run(t.Context(), rebuild.Config{Outcomes: f, Spans: f.spans(), Claims: c, DryRun: true, Patience: patience})
	require.NoError(t, err)
	require.EqualValues(t, 3, report.Restored)
	require.Equal(t, []bool{false, false, false}, c.write)
}

// TestRedisIsAwayForAWhile holds that a success is counted once, however often Redis has to be asked.
func TestRedisIsAwayForAWhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &claims{fail: func(call, index int) error {
			switch {
			case call <= 3:
				return failure(dedupe.ReasonUnavailable)
			case call < 20 && index%2 == 1: // half of the rest each time: it takes long, and comes on
				return failure(dedupe.ReasonTimeout)
			}
			return nil
		}}
		report, err := run(t.Context(), some(t, 64), c)
		require.NoError(t, err)
		require.Equal(t, rebuild.Report{Read: 64, Restored: 64}, report)
		slices.Sort(c.asked)
		require.Len(t, slices.Compact(c.asked), 64)
	})
}

func TestRedisStaysAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &claims{fail: func(call, index int) error {
			if call == 1 && index == 0 {
				return nil
			}
			return failure(dedupe.ReasonUnavailable)
		}}
		began := time.Now()
		report, err := run(t.Context(), some(t, 3), c)
		require.Equal(t, failure(dedupe.ReasonUnavailable), err)
		require.EqualValues(t, 1, report.Restored, "the report says how far it came")
		require.InDelta(t, patience.Seconds(), time.Since(began).Seconds(), 2.5)
	})
}

func TestRedisRefuses(t *testing.T) {
	t.Parallel()
	for _, reason := range []dedupe.Reason{dedupe.ReasonRefused, dedupe.ReasonProtocol} {
		c := &claims{fail: func(_, index int) error {
			if index == 1 {
				return failure(reason)
			}
			return failure(dedupe.ReasonTimeout)
		}}
		_, err := run(t.Context(), some(t, 3), c)
		require.Equal(t, failure(reason), err)
		require.Equal(t, 1, c.calls, "no repeat mends it")
	}
}

func TestAFailureEndsAllPartitions(t *testing.T) {
	t.Parallel()
	bad := errors.New("fetch reply-outcomes/1: it is gone")
	f := some(t, 1)
	f.partitions = slices.Repeat(f.partitions, 30)
	var mu sync.Mutex
	reading, most := 0, 0
	f.before = func(ctx context.Context, _ int) error {
		mu.Lock()
		reading++
		most = max(most, reading)
		full := reading == 8
		mu.Unlock()
		if full {
			return bad
		}
		<-ctx.Done() // the others wait for a broker that does not answer
		return context.Cause(ctx)
	}
	_, err := run(t.Context(), f, &claims{})
	require.ErrorIs(t, err, bad)
	require.Equal(t, 8, most, "partitions read at once")
}

func TestInterrupted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stop := errors.New("interrupted")
		ctx, cancel := context.WithCancelCause(t.Context())
		c := &claims{fail: func(call, _ int) error {
			if call == 3 {
				cancel(stop)
			}
			return failure(dedupe.ReasonUnavailable)
		}}
		_, err := run(ctx, some(t, 3), c)
		require.ErrorIs(t, err, stop)
		require.Equal(t, 3, c.calls)
	})
}
