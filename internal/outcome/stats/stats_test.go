package stats_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/job"
	"replyworker/internal/outcome"
	"replyworker/internal/outcome/stats"
)

var finished = time.Date(2026, 11, 23, 16, 20, 0, 0, time.FixedZone("", 8*3600))

func record(status job.Status, host string, ms int64) *outcome.Record {
	return &outcome.Record{
		Event: outcome.Event{Status: status, Host: host, Attempts: 2, QueueMS: ms, ProcessingMS: 2 * ms, EndToEndMS: 3 * ms},
		Times: outcome.Times{Enqueued: finished, Started: finished, Finished: finished},
	}
}

// table returns the rows of a table by these dimensions.
func table(t *testing.T, by []string, records ...*outcome.Record) []stats.Row {
	t.Helper()
	var dimensions []stats.Dimension
	for _, name := range by {
		d, found := stats.DimensionOf(name)
		require.True(t, found, name)
		dimensions = append(dimensions, d)
	}
	table := stats.NewTable(dimensions...)
	for _, r := range records {
		require.NoError(t, table.Add(r))
	}
	rows, err := table.Rows()
	require.NoError(t, err)
	return rows
}

func keys(rows []stats.Row) [][]string {
	var all [][]string
	for _, r := range rows {
		all = append(all, r.Key)
	}
	return all
}

func TestGroupsAreCounted(t *testing.T) {
	t.Parallel()
	maybe := record(job.StatusFailed, "primary", 100)
	maybe.MaybeSent = true
	rows := table(t, []string{"status", "host"},
		record(job.StatusSucceeded, "backup", 10), maybe, record(job.StatusSucceeded, "primary", 10),
		record(job.StatusSucceeded, "primary", 10))
	require.Equal(t, [][]string{{"succeeded", "primary"}, {"failed", "primary"}, {"succeeded", "backup"}}, keys(rows))
	require.Equal(t, stats.Row{
		Key: []string{"succeeded", "primary"}, Count: 2, Attempts: 4,
		Queue:      stats.Latency{P50: 10, P90: 10, P99: 10, Max: 10},
		Processing: stats.Latency{P50: 20, P90: 20, P99: 20, Max: 20},
		EndToEnd:   stats.Latency{P50: 30, P90: 30, P99: 30, Max: 30},
	}, rows[0])
	require.EqualValues(t, 1, rows[1].MaybeSent)
	require.Empty(t, table(t, []string{"status"}))
}

func TestDimensions(t *testing.T) {
	t.Parallel()
	r := record(job.StatusFailed, "backup", 1)
	r.Reason, r.ErrorCode, r.MchID, r.Labels = "rejected", "NO_AUTH", "1900000001", map[string]string{"team": "refunds"}
	for name, want := range map[string]string{
		"status": "failed", "reason": "rejected", "host": "backup", "error_code": "NO_AUTH", "merchant": "1900000001",
		"hour": "2026-11-23T08:00:00Z", "day": "2026-11-23T00:00:00Z", "label:team": "refunds", "label:none": "",
	} {
		require.Equal(t, [][]string{{want}}, keys(table(t, []string{name}, r)), name)
		known := slices.ContainsFunc(stats.Names(), func(n string) bool { return strings.HasPrefix(name, strings.TrimSuffix(n, "NAME")) })
		require.True(t, known, "%s is listed", name)
	}
	r.Times.Finished = time.Time{}
	require.Equal(t, [][]string{{"", ""}}, keys(table(t, []string{"hour", "day"}, r)))
	for _, name := range []string{"", "label:", "Status", "finished_at"} {
		_, found := stats.DimensionOf(name)
		require.False(t, found, name)
	}
}

func TestTimesAreInTheirOrder(t *testing.T) {
	t.Parallel()
	var records []*outcome.Record
	for i, n := range []int{2, 3, 1} {
		for range n {
			r := record(job.StatusSucceeded, "", 1)
			r.Times.Finished = finished.Add(time.Duration(i) * time.Hour)
			records = append(records, r)
		}
	}
	require.Equal(t, [][]string{{"2026-11-23T08:00:00Z"}, {"2026-11-23T09:00:00Z"}, {"2026-11-23T10:00:00Z"}},
		keys(table(t, []string{"hour"}, records...)))
}

func TestOutcomesWithoutTheirTimesAreInNoPercentile(t *testing.T) {
	t.Parallel()
	unknown := record(job.StatusFailed, "", 0)
	unknown.Times.Enqueued = time.Time{} // a record without a timestamp: its queue_ms is 0, and says nothing
	unknown.ProcessingMS = 4
	rows := table(t, []string{"status"}, unknown)
	require.Equal(t, stats.Latency{}, rows[0].Queue)
	require.Equal(t, stats.Latency{P50: 4, P90: 4, P99: 4, Max: 4}, rows[0].Processing)
	rows = table(t, []string{"status"}, unknown, record(job.StatusFailed, "", 50))
	require.EqualValues(t, 2, rows[0].Count)
	require.EqualValues(t, 50, rows[0].Queue.P50)
}

func TestPercentilesAreAsAccurateAsIsSaid(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for name, next := range map[string]func() int64{
		"milliseconds":  func() int64 { return random.Int64N(20) },
		"log normal":    func() int64 { return int64(math.Exp(random.NormFloat64()*2 + 5)) },
		"up to a month": func() int64 { return random.Int64N(30 * 24 * 3600 * 1000) },
		"two heaps":     func() int64 { return 100 + 59_900*random.Int64N(2) },
	} {
		t.Run(name, func(t *testing.T) {
			var all []int64
			var records []*outcome.Record
			for range 20_000 {
				ms := next()
				all = append(all, ms)
				records = append(records, record(job.StatusSucceeded, "", ms))
			}
			slices.Sort(all)
			got := table(t, []string{"status"}, records...)[0].Queue
			for q, ms := range map[float64]int64{0.5: got.P50, 0.9: got.P90, 0.99: got.P99} {
				want := float64(all[int(q*float64(len(all)-1))])
				require.InDelta(t, want, float64(ms), want*stats.Accuracy+0.5+1e-9, "p%g", q*100)
			}
			require.Equal(t, all[len(all)-1], got.Max)
		})
	}
}

func TestGroupsAreBounded(t *testing.T) {
	t.Parallel()
	var records []*outcome.Record
	for i := range 3 * stats.MaxGroups {
		r := record(job.StatusSucceeded, "", 7)
		r.Labels = map[string]string{"ticket": fmt.Sprint(i)}
		records = append(records, r)
	}
	long := record(job.StatusSucceeded, "", 7)
	long.Labels = map[string]string{"ticket": strings.Repeat("\u6295", 1000)}
	rows := table(t, []string{"label:ticket", "status"}, append([]*outcome.Record{long}, records...)...)
	require.Len(t, rows, stats.MaxGroups+1)
	last := rows[stats.MaxGroups]
	require.True(t, last.Others)
	require.Equal(t, []string{"", ""}, last.Key)
	require.EqualValues(t, 2*stats.MaxGroups+1, last.Count)
	require.EqualValues(t, 7, last.Queue.P99)
	for _, row := range rows {
		require.LessOrEqual(t, len(row.Key[0]), 1030)
	}
}
