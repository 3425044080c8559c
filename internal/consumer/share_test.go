package consumer_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"replyworker/internal/consumer"
)

// TestJobsThatWaitLeaveTheRestOfTheBuffer: of a partition's share of 80, 60 records are of a merchant whose
// jobs wait. The records of others behind them are read all the same, all of them.
func TestJobsThatWaitLeaveTheRestOfTheBuffer(t *testing.T) {
	t.Parallel()
	const share, stuck = 80, 60
	c := newCluster(t, 1)
	c.produce(0, numbers(0, stuck)...)
	m := c.join(&member{hold: true}, func(cfg *consumer.Config) { cfg.BufferJobs = share })
	m.await(t, stuck)
	for round := range 10 {
		var want []string
		for i := range 10 {
			want = append(want, fmt.Sprint("other ", round, "/", i))
		}
		c.produce(0, want...)
		m.await(t, stuck+10*(round+1))
		require.Equal(t, want, slices.Clone(m.values()[stuck+10*round:]))
		m.release(func(i int) bool { return i >= stuck })
	}
}
