//go:build linux

package integration_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const promisedGap = 3 * time.Second

// TestMeasureARollingRestart: of two workers first one and then the other ends and starts again, while
// no call hangs. Outcomes go on coming, from every partition.
func TestMeasureARollingRestart(t *testing.T) {
	const rate = 60
	s := newStage(t, manyPartitions)
	require.NoError(t, s.api.Sim.Set(quick()))
	a, b := s.worker(), s.worker()
	s.start(a, b)
	s.shares(manyPartitions, a, b)
	l := s.load(rate, manyPartitions)
	s.steady(l, rate, time.Second)
	from := time.Now()
	s.more(5 * rate)
	natural, naturalOne := s.gaps(from, time.Now(), manyPartitions)
	milliseconds("restart.gap_before", natural)
	milliseconds("restart.gap_before_in_a_partition", naturalOne)

	for _, c := range []struct {
		name          string
		goes, remains int
	}{{"first", 0, 1}, {"second", 1, 0}} {
		from = time.Now()
		s.leave(s.workers[c.goes])
		milliseconds("restart."+c.name+".worker_stopped_after", time.Since(from))
		s.start(s.workers[c.goes])
		s.shares(manyPartitions, a, b)
		s.more(3 * rate)
		all, one := s.gaps(from, time.Now(), manyPartitions)
		milliseconds("restart."+c.name+".worst_gap", all)
		milliseconds("restart."+c.name+".worst_gap_in_a_partition", one)
		require.Less(t, one, generous*promisedGap, "without an outcome in a partition")
	}
	l.end()
	s.judge()
	s.nothingTwice()
}
