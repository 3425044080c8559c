package app_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"replyworker/internal/job"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

func TestJobsReachTheirLogIDs(t *testing.T) {
	b := newBench(t, 3)
	w := b.run(nil)
	for i, id := range ids("job", 60) {
		b.produce(int32(i%3), jobValue("complaint-"+id[:6], id, "hello", nil))
	}
	for _, e := range b.outcomes(60) {
		require.Equal(t, job.StatusSucceeded, e.Status, e)
		effect, ok := b.stack.Sim.Effect(b.stack.Materials.MchID, e.IdempotentID)
		require.True(t, ok)
		require.Equal(t, effect.LogID, e.LogID)
		require.Equal(t, 1, e.Attempts)
	}
	require.NoError(t, w.stop())
	require.Empty(t, b.stack.Sim.Stats().Refused)
}
