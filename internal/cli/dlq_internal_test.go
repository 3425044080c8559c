package cli

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/config"
	"replyworker/internal/deadletter"
	"replyworker/internal/job"
)

func TestReplayFlags(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		f    replayFlags
		args []string
		want string // part of the error; none where it is empty
	}{
		{replayFlags{maxReplays: 3, rate: 100}, nil, ""},
		{replayFlags{maxReplays: 3}, nil, ""},
		{replayFlags{maxReplays: 1, rate: 0.01}, nil, ""},
		{replayFlags{maxReplays: 3, rate: 0.009}, nil, "--rate 0.009: must be 0, for no limit, or from 0.01 to 1000000"},
		{replayFlags{maxReplays: 3, rate: -1}, nil, "--rate -1"},
		{replayFlags{maxReplays: 3, rate: math.NaN()}, nil, "--rate NaN"},
		{replayFlags{maxReplays: 3, rate: math.Inf(1)}, nil, "--rate +Inf"},
		{replayFlags{maxReplays: 3, rate: math.Inf(-1)}, nil, "--rate -Inf"},
		{replayFlags{}, nil, "--max-replays 0: must be at least 1"},
		{replayFlags{maxReplays: 3, edit: true}, []string{"1/2"}, ""},
		{replayFlags{maxReplays: 3, edit: true}, []string{"1/2", "1/3"}, "--edit needs the PARTITION/OFFSET of one letter"},
		{replayFlags{maxReplays: 3, edit: true}, nil, "--edit needs"},
	} {
		err := tt.f.check(tt.args)
		if tt.want == "" {
			require.NoError(t, err, "%+v", tt.f)
			continue
		}
		require.ErrorContains(t, err, tt.want)
		var usage *usageError
		require.ErrorAs(t, err, &usage)
	}
}

func TestSelection(t *testing.T) {
	t.Parallel()
	s, _, _ := newTestState()
	open := deadletter.StatusOpen
	for _, tt := range []struct {
		name   string
		args   []string
		filter letterFilter
		all    bool
		want   string // part of the error; none where it is empty
	}{
		{"nothing", nil, letterFilter{}, false, "which letters?"},
		{"a status is no selection", nil, letterFilter{statuses: []string{"open"}}, false, "which letters?"},
		{"all", nil, letterFilter{}, true, ""},
		{"a filter", nil, letterFilter{reasons: []string{"rejected"}}, false, ""},
		{"ids", []string{"3/1041", "0/0"}, letterFilter{}, false, ""},
		{"ids and all", []string{"3/1041"}, letterFilter{}, true, "give one or the other"},
		{"ids and a filter", []string{"3/1041"}, letterFilter{codes: []string{"NO_AUTH"}}, false, "give one or the other"},
		{"no ids", []string{"3-1041"}, letterFilter{}, false, `"3-1041" is no dead letter`},
		{"no reason", nil, letterFilter{reasons: []string{"reject"}}, false, `unknown reason`},
		{"a status that the command does not take", nil, letterFilter{statuses: []string{"replayed"}}, true, `unknown status`},
		{"an empty time", nil, letterFilter{timeRange: timeRange{"1h", "2h"}}, false, "no time is between them"},
		{"no time", nil, letterFilter{timeRange: timeRange{since: "yesterday"}}, false, `--since "yesterday" is neither a time`},
	} {
		got, err := s.selection(tt.args, &tt.filter, tt.all, open)
		if tt.want != "" {
			require.ErrorContains(t, err, tt.want, tt.name)
			continue
		}
		require.NoError(t, err, tt.name)
		require.Len(t, got.ids, len(tt.args), tt.name)
	}
	got, err := s.selection(nil, &letterFilter{statuses: []string{"all"}}, true, open, deadletter.StatusDiscarded)
	require.NoError(t, err)
	require.Equal(t, []deadletter.Status{open, deadletter.StatusDiscarded}, got.filter.Statuses, "all that the command takes")
}

// TestPages goes through a list by its pages, also with numbers that nobody means.
func TestPages(t *testing.T) {
	t.Parallel()
	var letters []*deadletter.Letter
	for i := range 120 {
		letters = append(letters, &deadletter.Letter{
			ID: deadletter.ID{Offset: int64(i)}, FailedAt: time.Date(2026, 11, 23, 8, 0, i, 0, time.UTC), Reason: job.ReasonRejected,
		})
	}
	for _, tt := range []struct {
		limit, page, rows int
		told              string
	}{
		{0, 1, 50, "worker: 1 to 50 of 120 dead letters; --page 2 goes on\n"},
		{0, 3, 20, "worker: 101 to 120 of 120 dead letters\n"},
		{0, 4, 0, "worker: 120 dead letters in all, fewer than page 4 begins with\n"},
		{60, 2, 60, "worker: 61 to 120 of 120 dead letters\n"},
		{60, 3, 0, "worker: 120 dead letters in all, fewer than page 3 begins with\n"},
		{500, 1, 120, "worker: 120 dead letters\n"},
		{math.MaxInt, 1, 120, "worker: 120 dead letters\n"},
		{math.MaxInt, 2, 0, "worker: 120 dead letters in all, fewer than page 2 begins with\n"},
		{50, math.MaxInt, 0, fmt.Sprintf("worker: 120 dead letters in all, fewer than page %d begins with\n", math.MaxInt)},
		{math.MaxInt, math.MaxInt, 0, fmt.Sprintf("worker: 120 dead letters in all, fewer than page %d begins with\n", math.MaxInt)},
		{1 << 40, 1 << 40, 0, fmt.Sprintf("worker: 120 dead letters in all, fewer than page %d begins with\n", 1<<40)},
	} {
		s, stdout, stderr := newTestState()
		s.output = outputTable
		d := &letterDesk{s: s, index: &deadletter.Index{}}
		require.NoError(t, d.list(slices.Clone(letters), tt.limit, tt.page))
		require.Equal(t, tt.told, stderr.String())
		require.Equal(t, tt.rows+1, bytes.Count(stdout.Bytes(), []byte("\n")), "limit %d, page %d", tt.limit, tt.page)
	}
}

func TestAsText(t *testing.T) {
	t.Parallel()
	text, raw := asText(nil)
	require.Nil(t, text)
	require.Nil(t, raw)
	text, raw = asText([]byte{})
	require.Empty(t, *text)
	require.Nil(t, raw)
	text, raw = asText([]byte("a\xff"))
	require.Nil(t, text)
	require.Equal(t, []byte("a\xff"), raw)
}

func TestCountReasons(t *testing.T) {
	t.Parallel()
	var letters []*deadletter.Letter
	for _, reason := range []job.Reason{"", "rejected", "internal", "exhausted", "rejected"} {
		letters = append(letters, &deadletter.Letter{Reason: reason})
	}
	for range 50 { // the order must not be that of a map
		require.Equal(t, []reasonRow{{"rejected", 2}, {"exhausted", 1}, {"internal", 1}, {"", 1}}, countReasons(letters))
	}
	require.Empty(t, countReasons(nil))
}

// A letter that needs a default merchant, where none is configured, keeps back plans of itself alone.
func TestPlansOfOthersNeedNoDefaultMerchant(t *testing.T) {
	t.Parallel()
	s, _, _ := newTestState()
	named, unnamed := &deadletter.Letter{MchID: "1900000001"}, &deadletter.Letter{ID: deadletter.ID{Offset: 1}}
	d := &letterDesk{s: s, cfg: &config.Config{}, index: &deadletter.Index{Letters: []*deadletter.Letter{named, unnamed}}}
	cfg, err := d.planConfig([]*deadletter.Letter{named}, 3)
	require.NoError(t, err)
	_, known := cfg.Merchant("")
	require.False(t, known)
	_, err = d.planConfig([]*deadletter.Letter{named, unnamed}, 3)
	require.EqualError(t, err, "letter 0/1 leaves its merchant to the default, and none is configured")
}
