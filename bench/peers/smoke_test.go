//go:build linux

package peers_test

import (
	"net/http"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"

	"replyworker/bench/peers"
	"replyworker/internal/wxsim"
)

// ordered are the peers that promise order among the jobs of a complaint.
var ordered = []string{"watermill", "parallelconsumer"}

// TestPeerDoesTheWork has each peer do 200 jobs: one signed call and one outcome each. Then a job that the API
// refuses, one that fails twice before it succeeds, one that fails however often it is sent, one whose answer
// is signed wrong once, and one that cannot be read. At last it is stopped, and finds on its return that nothing is left to do.
func TestPeerDoesTheWork(t *testing.T) {
	for _, name := range peers.Names() {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, name)
			const count, complaints = 200, 25
			s.produce(jobsFrom(0, count, complaints)...)
			s.start(name, "BENCH_ATTEMPTS=3", "BENCH_RETRY_INITIAL_MS=50")
			s.await(count, patience)
			s.requireAllSucceeded(count)
			if slices.Contains(ordered, name) {
				require.Zero(t, s.outOfOrder(), "replies before an earlier one of their complaint")
			}

			s.failures(count)

			s.stop()
			calls := s.sim.Stats().Calls
			s.start(name)
			s.produce(jobsFrom(count+5, count+6, complaints)...)
			s.await(count+6, patience)
			require.Equal(t, calls+1, s.sim.Stats().Calls, "what was finished before the stop is not sent again")
			s.stop()
		})
	}
}

// requireAllSucceeded checks both sides: the API's ledger and the outcomes.
func (s *stage) requireAllSucceeded(count int) {
	s.t.Helper()
	all, byID := s.outcomes.read()
	require.Len(s.t, all, count, "one outcome each")
	stats := s.sim.Stats()
	require.Empty(s.t, stats.Refused, "every call passes the API's checks, its signature among them")
	require.EqualValues(s.t, count, stats.Calls)
	require.EqualValues(s.t, count, stats.Effects)
	for _, e := range s.sim.Effects() {
		o := byID[e.IdempotentID]
		require.Equal(s.t, "succeeded", o.Status)
		require.Equal(s.t, e.LogID, o.LogID)
		require.Equal(s.t, e.ComplaintID, o.ComplaintID)
		require.Equal(s.t, e.IdempotentID, o.key)
	}
}

// failures sends five jobs that do not succeed at once, numbered from first.
func (s *stage) failures(first int) {
	jobs := jobsFrom(first, first+4, 1_000) // complaints of their own
	for i, f := range []wxsim.Fault{
		{Kind: wxsim.KindStatus, Status: http.StatusBadRequest},
		{Kind: wxsim.KindStatus, Status: http.StatusInternalServerError, Count: 2},
		{Kind: wxsim.KindStatus, Status: http.StatusInternalServerError},
		{Kind: wxsim.KindWrongSignature, Count: 1},
	} {
		f.IdempotentID = jobs[i].id
		require.NoError(s.t, s.sim.Add(f))
	}
	before := s.sim.Stats().Calls
	s.produce(jobs...)
	broken := jobs[0].record(s.settings.Topic)
	broken.Value = []byte(`{"complaint_id":`)
	require.NoError(s.t, s.client.ProduceSync(s.t.Context(), broken).FirstErr())
	s.await(first+5, patience) // that of the broken job has no id

	_, byID := s.outcomes.read()
	require.Equal(s.t, "failed", byID[jobs[0].id].Status)
	require.Contains(s.t, byID[jobs[0].id].ErrorMessage, "HTTP 400")
	require.Equal(s.t, "succeeded", byID[jobs[1].id].Status)
	require.NotEmpty(s.t, byID[jobs[1].id].LogID)
	require.Equal(s.t, "failed", byID[jobs[2].id].Status)
	require.Contains(s.t, byID[jobs[2].id].ErrorMessage, "HTTP 500")
	require.Equal(s.t, "succeeded", byID[jobs[3].id].Status)
	require.Equal(s.t, "failed", byID[""].Status)
	require.EqualValues(s.t, 1+3+3+2, s.sim.Stats().Calls-before, "a refused job is sent once, others until they succeed or have three")
	require.EqualValues(s.t, 3, s.records(s.settings.Dead))
}

// records is how many records a topic has.
func (s *stage) records(topic string) int64 {
	ends, err := kadm.NewClient(s.client).ListEndOffsets(s.t.Context(), topic)
	require.NoError(s.t, err)
	var n int64
	ends.Each(func(o kadm.ListedOffset) { n += o.Offset })
	return n
}
