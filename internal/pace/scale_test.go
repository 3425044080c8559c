package pace_test

import (
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// class is merchants that are alike.
type class struct {
	name      string
	merchants int
	rate      float64 // of the quota, calls/s
	demand    float64 // jobs for each call of the quota
}

// tenThousand are the merchants of docs/scale.md: quotas of 1, 25 and 200 calls per second, most of them with fewer
// jobs than their quota takes, and one in ten with more.
var tenThousand = []class{
	{"1/s, half used", 8100, 1, 0.5},
	{"1/s, too many jobs", 900, 1, 1.2},
	{"25/s, half used", 810, 25, 0.5},
	{"25/s, too many jobs", 90, 25, 1.2},
	{"200/s, half used", 90, 200, 0.5},
	{"200/s, too many jobs", 10, 200, 1.2},
}

// merchantRun is how one merchant fared: what it used of what it could (its jobs, or its quota where they
// are more), what was refused, and what it asked of Redis each second.
type merchantRun struct{ used, refused, questions float64 }

// TestTenThousandMerchants simulates merchants over 50 workers that share nothing but the store, three
// minutes after two. It takes one merchant in oneIn, and all of them where REPLYWORKER_SCALE is "full".
func TestTenThousandMerchants(t *testing.T) {
	t.Parallel()
	const workers = 50
	oneIn := oneIn
	if os.Getenv("REPLYWORKER_SCALE") == "full" {
		oneIn = 1
	}
	total := 0.0
	for _, c := range tenThousand {
		runs := make([]merchantRun, max(2, c.merchants/oneIn))
		var wait sync.WaitGroup
		for i := range runs {
			wait.Go(func() { runs[i] = runMerchant(uint64(i), c, workers) })
		}
		wait.Wait()
		used, worst, refused, questions := sum(runs)
		total += questions * float64(c.merchants)
		t.Logf("| %s | %d | %.1f %% | %.1f %% | %.1f %% | %.2f |", c.name, c.merchants, 100*used, 100*worst, 100*refused, questions)
		require.GreaterOrEqual(t, used, 0.85, "%s: what could be used", c.name)
		require.LessOrEqual(t, refused, 0.08, "%s: share of calls refused", c.name) // few calls, at random moments
	}
	t.Logf("questions to Redis: %.0f a second", total)
}

func runMerchant(seed uint64, c class, workers int) merchantRun {
	var q quota = newBucket(c.rate, 2)
	if seed%2 == 0 {
		q = &fixedWindow{rate: c.rate, length: time.Second}
	}
	s := simulate(seed, q, workers, ours)
	spread := rand.New(rand.NewPCG(seed, 3))
	for _, w := range s.workers { // partitions are not alike
		w.demand = c.rate * c.demand / float64(workers) * 2 * spread.Float64()
	}
	s.count(2 * time.Minute)
	const length = 3 * time.Minute
	asked := s.questions
	tally := s.count(length)
	return merchantRun{
		used:      tally.used(c.rate*min(1, c.demand), length),
		refused:   tally.share(),
		questions: float64(s.questions-asked) / length.Seconds(),
	}
}

// sum returns the means, and what the worst in a hundred have used.
func sum(runs []merchantRun) (used, worst, refused, questions float64) {
	n := float64(len(runs))
	for _, r := range runs {
		used, refused, questions = used+r.used/n, refused+r.refused/n, questions+r.questions/n
	}
	slices.SortFunc(runs, func(a, b merchantRun) int { return int(1e6 * (a.used - b.used)) })
	return used, runs[len(runs)/100].used, refused, questions
}
