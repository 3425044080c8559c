package reconcile

import (
	"encoding/json"
	"fmt"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"replyworker/internal/job"
	"replyworker/internal/outcome"
)

// TestAReplyTakesFewBytes holds what the documented bound on memory counts on: each reply of another
// complaint, as they mostly are. It is not parallel, for it measures the heap.
func TestAReplyTakesFewBytes(t *testing.T) {
	const n, limit = 50_000, 600
	heap := func() int {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	before := heap()
	r := newRun(Config{})
	for i := range n {
		value, err := json.Marshal(outcome.Event{
			SchemaVersion: 1, Status: job.StatusSucceeded, IdempotentID: fmt.Sprintf("550e8400-e29b-41d4-a716-%012d", i),
			ComplaintID: fmt.Sprintf("200201820200101080%09d", i), MchID: "1900000001",
			LogID: fmt.Sprintf("3002853202103221700%08d", i), FinishedAt: "2026-11-23T08:00:00.000Z",
			Source: outcome.Source{Topic: "reply-jobs", Partition: 3, Offset: int64(i)},
		})
		require.NoError(t, err)
		require.NoError(t, r.take(&job.Delivery{Value: value}))
	}
	each := (heap() - before) / n
	runtime.KeepAlive(r)
	t.Logf("%d bytes each", each)
	require.Less(t, each, limit)
}
