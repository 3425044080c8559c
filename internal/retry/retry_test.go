package retry_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"replyworker/internal/retry"
)

func ExamplePolicy_Wait() {
	p := retry.Policy{Initial: 500 * time.Millisecond, Max: time.Minute, Attempts: 8}
	for n := 1; n <= 9; n++ {
		shortest, longest := time.Hour, time.Duration(0)
		for range 10_000 {
			w := p.Wait(n, 0)
			shortest, longest = min(shortest, w), max(longest, w)
		}
		fmt.Println(n, shortest.Round(time.Second/4), longest.Round(time.Second/4))
	}
	fmt.Println(p.Wait(1, 2*time.Minute))
	// Output:
	// 1 250ms 750ms
	// 2 500ms 1.5s
	// 3 1s 3s
	// 4 2s 6s
	// 5 4s 12s
	// 6 8s 24s
	// 7 16s 48s
	// 8 30s 1m0s
	// 9 30s 1m0s
	// 2m0s
}

func TestWaitStaysWithinItsBounds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := retry.Policy{
			Initial: time.Duration(rapid.Int64Range(1, int64(time.Hour)).Draw(t, "initial")),
			Max:     time.Duration(rapid.Int64Range(1, int64(30*24*time.Hour)).Draw(t, "max")),
		}
		n := rapid.OneOf(rapid.IntRange(-2, 100), rapid.Int()).Draw(t, "n")
		asked := time.Duration(rapid.Int64Range(-1, int64(48*time.Hour)).Draw(t, "retry after"))
		interval := math.Min(float64(p.Max), float64(p.Initial)*math.Pow(2, float64(max(n, 1)-1)))
		got := p.Wait(n, asked)
		least, most := time.Duration(interval/2)-1, time.Duration(math.Min(float64(p.Max), 1.5*interval))+1
		if got < max(least, asked) || got > max(most, asked) {
			t.Fatalf("%+v.Wait(%d, %s) = %s, want %s to %s, and %s at the least", p, n, asked, got, least, most, asked)
		}
	})
}

func TestSpent(t *testing.T) {
	t.Parallel()
	p := retry.Policy{Attempts: 3}
	require.Equal(t, []bool{false, false, true, true}, []bool{p.Spent(0), p.Spent(2), p.Spent(3), p.Spent(4)},
		"after 0, 2, 3 and 4 of 3 attempts")
}
