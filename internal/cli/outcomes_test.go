package cli_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"replyworker/internal/cli"
)

func TestOutcomesHelp(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"outcomes", "outcomes tail", "outcomes stats", "outcomes export"} {
		got := run(t, nil, append(strings.Fields(command), "--help")...)
		require.Equal(t, 0, got.status, got.stderr)
		golden(t, "help-"+strings.ReplaceAll(command, " ", "-")+".txt", got.stdout)
	}
}

func TestOutcomesCompletion(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ args, want string }{
		{"outcomes |", "export\t"},
		{"outcomes tail --status |", "succeeded\n"},
		{"outcomes tail --since |", ":4"},
		{"outcomes stats --by |", "label:NAME\n"},
		{"outcomes stats --reason |", "exhausted\n"},
		{"outcomes export --format |", "parquet\n"},
		{"outcomes export --out |", ":0"}, // files
	} {
		args, last, _ := strings.Cut(tt.args, "|")
		got := run(t, nil, append(append([]string{"__complete"}, strings.Fields(args)...), last)...)
		require.Equal(t, 0, got.status)
		require.Contains(t, got.stdout, tt.want, tt.args)
	}
}

// TestOutcomesAreCutOff lets fetches be refused in the middle: nothing is shown of what is not all, no
// file is left, and it is said.
func TestOutcomesAreCutOff(t *testing.T) {
	t.Parallel()
	o := newOutcomesTopic(t, 2)
	broker := o.kafka.Embedded("to refuse fetch requests").Cluster()
	o.put(succeeded(t, 0, 1, "first", "log-1"), succeeded(t, 1, 2, "second", "log-2"))
	var refused atomic.Int64 // since the last fetch that was answered
	atFifth := make(chan func(), 1)
	broker.ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		broker.KeepControl()
		fetch := req.(*kmsg.FetchRequest)
		if fetch.Topics[0].Partitions[0].Partition == 0 {
			refused.Store(0) // the first outcome is on its way, and has a few refusals' time to arrive
			return nil, nil, false
		}
		if refused.Add(1) == 5 {
			select {
			case stop := <-atFifth:
				stop()
			default:
			}
		}
		res := fetch.ResponseKind().(*kmsg.FetchResponse)
		res.ErrorCode = kerr.UnknownServerError.Code
		return res, nil, true
	})
	dir := t.TempDir()
	file := filepath.Join(dir, "outcomes.parquet")
	for _, tt := range []struct {
		args []string
		says string
	}{
		{[]string{"export", "--out", file}, "worker: not finished: 1 outcomes were read; " + file + " was not written\n"},
		{[]string{"export", "--format", "csv"}, "worker: not finished: 1 outcomes were read; standard output has a part of them\n"},
		{[]string{"stats"}, "worker: not finished: 1 outcomes were read; they are not shown, since they are not all\n"},
		{[]string{"tail", "--no-follow"}, "worker: not finished: 1 outcomes were read; 1 were shown\n"},
	} {
		args := append([]string{"outcomes"}, tt.args...)
		got := run(t, o.env, args...)
		require.Equal(t, 1, got.status, "%s: %s", args, got.stderr)
		require.Contains(t, got.stderr, tt.says)
		require.Contains(t, got.stderr, "worker: fetch "+o.name+"/1: ")
		require.Contains(t, got.stderr, "; then run it again\n")

		ctx, cancel := context.WithCancelCause(t.Context())
		atFifth <- func() { cancel(cli.ErrInterrupted) }
		got = runWith(ctx, o.env, strings.NewReader(""), append(args, "--start-timeout", "1m")...)
		cancel(nil)
		require.Equal(t, 130, got.status)
		require.Contains(t, got.stderr, tt.says)
		require.True(t, strings.HasSuffix(got.stderr, "worker: interrupted\n"), got.stderr)
	}
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

// TestOutcomesExportOntoAFullDisk: what is wrong is the disk, not Kafka.
func TestOutcomesExportOntoAFullDisk(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("needs /dev/full, a disk that is always full")
	}
	o := newOutcomesTopic(t, 1)
	o.put(succeeded(t, 0, 1, "id", "log"))
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	require.NoError(t, err)
	defer full.Close()
	var stderr bytes.Buffer
	status := cli.Run(t.Context(), []string{"outcomes", "export", "--format", "csv"}, o.env, strings.NewReader(""), full, &stderr)
	require.Equal(t, 1, status)
	require.Contains(t, stderr.String(), "worker: write CSV: write /dev/full: no space left on device\n")
	require.NotContains(t, stderr.String(), "hint: check kafka")
}
