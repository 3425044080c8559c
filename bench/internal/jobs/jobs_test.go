package jobs_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"replyworker/bench/internal/jobs"
	"replyworker/internal/job"
)

// TestJobsAreTheContracts: the values are such as the worker takes, and it sends the bodies and ids that
// are expected here.
func TestJobsAreTheContracts(t *testing.T) {
	t.Parallel()
	b := jobs.Batch{Run: 0xbeef, Jobs: jobs.Max, Complaints: 300}
	for _, n := range []int{0, 1, 299, 300, jobs.Max - 1} {
		decoded, err := job.Decode(b.Value(n), job.Strict)
		require.NoError(t, err)
		require.Equal(t, b.ID(n), decoded.IdempotentID)
		require.Equal(t, b.Complaint(n), decoded.ComplaintID)
		require.Equal(t, string(b.Body(n)), string(decoded.Body()))
		got, ok := b.Number([]byte(decoded.IdempotentID))
		require.True(t, ok)
		require.Equal(t, n, got)
	}
}

func TestNumberRefusesOthers(t *testing.T) {
	t.Parallel()
	b := jobs.Batch{Run: 1, Jobs: 10}
	for _, id := range []string{
		"", jobs.Batch{Run: 2, Jobs: 10}.ID(1), b.ID(10), strings.Replace(b.ID(1), "000000000001", "-00000000001", 1), b.ID(1) + "0",
	} {
		_, ok := b.Number([]byte(id))
		require.False(t, ok, id)
	}
}

func TestPickedIsTheShare(t *testing.T) {
	t.Parallel()
	const all = 100_000
	for _, share := range []float64{0, 0.01, 0.5, 1} {
		picked := 0
		for n := range all {
			if jobs.Picked(n, share) {
				picked++
			}
		}
		require.InDelta(t, share*all, float64(picked), 0.002*all, "a share of %v", share)
	}
}

// TestPickedMeetsManyComplaints: those of a share do not all belong to a few complaints.
func TestPickedMeetsManyComplaints(t *testing.T) {
	t.Parallel()
	b := jobs.Batch{Run: 1, Jobs: 20_000, Complaints: 500}
	met := map[int]bool{}
	for n := range b.Jobs {
		if jobs.Picked(n, 0.01) {
			met[b.ComplaintNumber(n)] = true
		}
	}
	require.Greater(t, len(met), 120)
}
