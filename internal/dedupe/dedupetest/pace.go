package dedupetest

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/dedupe"
)

// slow is a pace at which a test's own time does not count: a permit in a hundred seconds.
var slow = dedupe.Pace{Rate: 0.01, Burst: 3}

func testPace(t *testing.T, e env) {
	ctx := t.Context()
	take := func(want, granted int, wait time.Duration) {
		t.Helper()
		n, w, err := e.TakePace(ctx, "1", slow, want)
		require.NoError(t, err)
		require.Equal(t, granted, n)
		near(t, wait, w)
	}
	take(2, 2, 0)
	take(5, 1, 100*time.Second)
	take(1, 0, 100*time.Second)
	e.advance(t, 50*time.Second)
	take(1, 0, 50*time.Second)
	e.advance(t, 50*time.Second)
	take(1, 1, 0)
	take(1, 0, 100*time.Second)
	require.NoError(t, e.ReturnPace(ctx, "1", slow, 2))
	take(3, 2, 100*time.Second)
	e.advance(t, 24*time.Hour)
	take(10, 3, 100*time.Second)

	require.NoError(t, e.ReturnPace(ctx, "1", slow, 1000))
	take(10, 3, 100*time.Second)
	require.NoError(t, e.ReturnPace(ctx, "never used", slow, 1))

	n, _, err := e.TakePace(ctx, "2", slow, 1)
	require.NoError(t, err)
	require.Equal(t, 1, n, "each merchant has its own pace")

	faster := dedupe.Pace{Rate: 1, Burst: 3}
	e.advance(t, 2*time.Second)
	n, _, err = e.TakePace(ctx, "1", faster, 3)
	require.NoError(t, err)
	require.LessOrEqual(t, n, 3, "a rate that was raised")
}

func testPaceShared(t *testing.T, e env) {
	second := Store(t, e.srv, nil)
	total := 0
	for i := range 20 {
		s := e.Store
		if i%2 == 1 {
			s = second
		}
		n, _, err := s.TakePace(t.Context(), "1", slow, 1)
		require.NoError(t, err)
		total += n
		if i == 9 {
			require.Equal(t, 3, total, "two stores share one burst")
			e.advance(t, 200*time.Second)
		}
	}
	require.Equal(t, 5, total, "and one rate")
}

// testPaceOdd takes rates that do not divide a second, and those that are refused.
func testPaceOdd(t *testing.T, e env) {
	third := dedupe.Pace{Rate: 0.03, Burst: 3}
	total := 0
	for range 300 {
		n, wait, err := e.TakePace(t.Context(), "1", third, 3)
		require.NoError(t, err)
		total += n
		if n == 0 {
			require.Positive(t, wait)
		}
		e.advance(t, 10*time.Second)
	}
	require.InDelta(t, 3+3000*0.03, total, 2, "3 at once and 0.03 a second for 3000 seconds")

	for _, p := range []dedupe.Pace{
		{},
		{Rate: 1},
		{Rate: -1, Burst: 1},
		{Rate: math.NaN(), Burst: 1},
		{Rate: math.Inf(1), Burst: 1},
		{Rate: 2e6, Burst: 1},
	} {
		_, _, err := e.TakePace(t.Context(), "1", p, 1)
		requireReason(t, dedupe.ReasonInvalid, err)
	}
	_, _, err := e.TakePace(t.Context(), "1", third, 0)
	requireReason(t, dedupe.ReasonInvalid, err)
}

func testPing(t *testing.T, e env) {
	require.NoError(t, e.Ping(t.Context()))
	require.NoError(t, e.Ping(t.Context()))
	require.Equal(t, ":1\r\n", e.srv.Do(t, "EXISTS", e.srv.Prefix()+":ping"))
	e.advance(t, time.Minute)
	require.Equal(t, ":0\r\n", e.srv.Do(t, "EXISTS", e.srv.Prefix()+":ping"), "the key should not stay for good")
	_, err := e.EvictionPolicy(t.Context())
	require.NoError(t, err)
}
