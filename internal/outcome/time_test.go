package outcome_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/job"
	"replyworker/internal/outcome"
)

// TestARecordWithoutATimestamp holds that a record of an old producer, whose timestamp is -1, has no
// time and no duration instead of one since 1969.
func TestARecordWithoutATimestamp(t *testing.T) {
	t.Parallel()
	now := time.UnixMilli(1_795_000_000_000)
	d := &job.Delivery{Source: job.Source{Topic: "t", Timestamp: time.UnixMilli(-1)}}
	e := outcome.New(d, &job.Job{}, job.Result{Status: job.StatusFailed, StartedAt: now, FinishedAt: now.Add(time.Second)})
	require.Empty(t, e.EnqueuedAt)
	require.Zero(t, e.QueueMS)
	require.Zero(t, e.EndToEndMS)
	require.EqualValues(t, 1000, e.ProcessingMS)
}
