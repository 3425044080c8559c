package app_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/wxsim"
)

// TestTwoWorkersFindAQuotaTogether: nobody tells them the quota, nor of each other. What is refused in the
// beginning, and by how much the quota is used, is held by simulation in internal/pace.
func TestTwoWorkersFindAQuotaTogether(t *testing.T) {
	t.Parallel()
	const quota, jobs = 60, 600
	b := newBench(t, 2)
	require.NoError(t, b.stack.Sim.Set(wxsim.Fault{Kind: wxsim.KindQuota, Rate: quota, Window: time.Second}))
	ids := make([]string, jobs)
	for i := range ids {
		ids[i] = fmt.Sprint("job-", i)
	}
	b.give(ids...)
	first, second := b.run(nil), b.run(nil)
	b.succeeded(ids)
	for _, w := range []*worker{first, second} {
		state, _ := w.State()
		require.Len(t, state.Merchants, 1)
		require.NotZero(t, state.Merchants[0].Pace, "the learned pace")
		require.LessOrEqual(t, state.Merchants[0].Pace, 2.0*quota)
	}
	refused := 0
	for _, c := range b.stack.Sim.Calls() {
		if c.Status == http.StatusTooManyRequests {
			refused++
		}
	}
	t.Logf("%d of %d calls refused", refused, jobs+refused)
	require.Less(t, refused, jobs/2)
	require.NoError(t, first.stop())
	require.NoError(t, second.stop())
}
