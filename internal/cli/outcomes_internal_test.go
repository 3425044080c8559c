package cli

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/config"
	"replyworker/internal/outcome"
)

func TestShortTime(t *testing.T) {
	t.Parallel()
	for ms, want := range map[int64]string{
		0: "0s", 7: "7ms", 252: "252ms", 1249: "1.25s", 12_345: "12.3s", 123_456: "2m3s", 7_200_000: "2h0m0s",
	} {
		require.Equal(t, want, shortTime(ms))
	}
}

func TestParquetIsNotForATerminal(t *testing.T) {
	t.Parallel()
	s, stdout, stderr := newTestState()
	s.isTerminal = func(any) bool { return true }
	require.Equal(t, statusUsage, s.run(t.Context(), []string{"outcomes", "export", "--format", "parquet"}))
	require.Empty(t, stdout.String())
	require.Equal(t, "worker: parquet is nothing for a terminal\nhint: give --out FILE, or send it into a pipe\n", stderr.String())
}

// TestTailIsHarmlessOnATerminal holds that what producers and the API write cannot move the cursor, or turn
// text around; as JSON its value is the same.
func TestTailIsHarmlessOnATerminal(t *testing.T) {
	t.Parallel()
	value := "{\"schema_version\": 1,\n \"status\": \"failed\", \"error_code\": \"A<\u009b2J\u202e\"}"
	e, err := outcome.Parse([]byte(value))
	require.NoError(t, err)
	for output, want := range map[string]string{
		outputJSON:  `{"schema_version":1,"status":"failed","error_code":"A<\u009b2J\u202e"}` + "\n",
		outputTable: `A<\u009b2J\u202e`,
	} {
		s, stdout, _ := newTestState()
		s.output = output
		tail := &outcomesTail{outcomeReading: &outcomeReading{s: s}}
		require.NoError(t, tail.show(&outcome.Record{Event: e, Value: []byte(value)}))
		require.Contains(t, stdout.String(), want)
		require.NotContains(t, stdout.String(), "\u202e")
	}
}

func TestTailTellsOfLastingTroubleOnce(t *testing.T) {
	t.Parallel()
	s, _, stderr := newTestState()
	now := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	s.now = func() time.Time { return now }
	trouble := &tailTroubles{
		r: &outcomeReading{s: s, cfg: &config.Config{TopicOutcomes: "outcomes"}}, partitions: map[int]*troublePartition{},
	}
	after := func(seconds int, partition int, err error) {
		now = now.Add(time.Duration(seconds) * time.Second)
		trouble.fetched(partition, err)
	}
	refused := errors.New("refused")
	after(0, 1, nil)
	after(1, 1, refused)
	after(4, 1, refused)
	require.Empty(t, stderr.String(), "a leader moves in less")
	after(2, 1, refused)
	after(2, 1, refused)
	after(1, 0, nil)
	after(1, 1, nil)
	after(1, 1, nil)
	require.Equal(t, []string{
		"worker: warning: outcomes partition 1 cannot be read; trying on: since 2026-11-23T08:00:01Z: refused",
		"worker: outcomes partition 1 is read again", "",
	}, strings.Split(stderr.String(), "\n"))
}
