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

// TestAnInvalidJobSaysWhatIsWrongWithIt holds that an analyst need not look for the dead letter.
func TestAnInvalidJobSaysWhatIsWrongWithIt(t *testing.T) {
	t.Parallel()
	r := job.Result{Status: job.StatusFailed, Reason: job.ReasonInvalidJob, Detail: "job invalid: 1 problem: /message: is missing"}
	require.Equal(t, r.Detail, outcome.New(&job.Delivery{}, &job.Job{}, r).ErrorMessage)
	r.Reason, r.Detail = job.ReasonConflict, "not the API's words"
	require.Empty(t, outcome.New(&job.Delivery{}, &job.Job{}, r).ErrorMessage)
}
