package pace_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestAQuotaIsFoundSoon looks at the first half minute alone, wherever in the quota's window it begins: the
// quota is found in ten seconds, when it is new as well as when it is cut to an eighth, and no beginning leaves
// the pace far below it.
func TestAQuotaIsFoundSoon(t *testing.T) {
	t.Parallel()
	const rate, find, look = 200.0, 10 * time.Second, 20 * time.Second
	if underRace {
		t.Skip("no simulations of so many calls under the race detector")
	}
	for _, q := range quotas {
		if warm(rate, q.name) > find {
			continue
		}
		for _, workers := range []int{1, 2, 4} {
			t.Run(fmt.Sprintf("%s, %d workers", q.name, workers), func(t *testing.T) {
				t.Parallel()
				whole, eighth := starts(func(seed uint64) (whole, eighth float64) {
					limit := q.make(rate)
					s := simulate(seed, limit, workers, ours)
					s.count(find)
					whole = s.count(look).used(rate, look)
					s.count(time.Duration(seed) * time.Second / beginnings)
					limit.set(rate / 8)
					s.count(find)
					return whole, s.count(look).used(rate/8, look)
				})
				for _, u := range [][]float64{whole, eighth} {
					t.Logf("used: %.2f", u)
					require.GreaterOrEqual(t, u[len(u)/2], 0.95, "median of the share that was used")
					require.GreaterOrEqual(t, u[0], 0.6, "the worst beginning")
				}
			})
		}
	}
}

// beginnings are how many moments of a second the simulations begin, or change, in.
const beginnings = 16

// starts is what comes of each beginning, sorted.
func starts(run func(seed uint64) (a, b float64)) (as, bs []float64) {
	for seed := range uint64(beginnings) {
		a, b := run(seed)
		as, bs = append(as, a), append(bs, b)
	}
	slices.Sort(as)
	slices.Sort(bs)
	return as, bs
}
