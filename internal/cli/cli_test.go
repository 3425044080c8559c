package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"replyworker/internal/cli"
	"replyworker/internal/config"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares got with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o600))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err, "run the test with -update to make the file")
	require.Equal(t, string(want), got, "%s differs; run the test with -update if it is to", path)
}

type result struct {
	status int
	stdout string
	stderr string
}

func run(t *testing.T, env []string, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	status := cli.Run(t.Context(), args, env, strings.NewReader(""), &stdout, &stderr)
	return result{status, stdout.String(), stderr.String()}
}

func TestWrongUsage(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args string
		want string
	}{
		{
			"versoin",
			"unknown command \"versoin\" for worker; did you mean \"version\"?\nhint: `worker --help` lists the commands",
		},
		{"zzzzzzz", "unknown command \"zzzzzzz\" for worker\nhint: `worker --help` lists the commands"},
		{"config", "worker config needs a command: print\nhint: `worker config --help` lists the commands"},
		{
			"config prnt",
			"unknown command \"prnt\" for worker config; did you mean \"print\"?\nhint: `worker config --help` lists the commands",
		},
		{"config print x", "worker config print takes no argument \"x\"\nhint: usage: worker config print [flags]"},
		{
			"config print --kafka-broker=hunter2",
			"unknown flag: --kafka-broker; did you mean --kafka-brokers?\nhint: `worker config print --help` lists the flags",
		},
		{"config print -x", "unknown shorthand flag: 'x' in -x\nhint: `worker config print --help` lists the flags"},
		{"config print --rate", "flag needs an argument: --rate\nhint: `worker config print --help` lists the flags"},
		{
			"version -o xml",
			"invalid argument \"xml\" for \"-o, --output\" flag: must be table or json\n" +
				"hint: `worker version --help` lists the flags",
		},
		{
			"completion",
			"worker completion needs SHELL (bash, zsh, fish, powershell)\n" +
				"hint: usage: worker completion SHELL",
		},
		{
			"completion bsh",
			"unknown shell \"bsh\"; did you mean \"bash\"?\n" +
				"hint: there are bash, zsh, fish, powershell",
		},
		{"schema jb", "unknown schema \"jb\"; did you mean \"job\"?\nhint: there are job, job-lenient, outcome, resolution"},
		{
			"help setings",
			"no help on \"setings\"; did you mean \"settings\"?\n" +
				"hint: `worker --help` lists the commands and topics",
		},
	} {
		t.Run(tt.args, func(t *testing.T) {
			t.Parallel()
			got := run(t, nil, strings.Fields(tt.args)...)
			require.Equal(t, 2, got.status)
			require.Empty(t, got.stdout)
			require.True(t, strings.HasPrefix(got.stderr, "worker: "+tt.want), "got:  %s\nwant: worker: %s", got.stderr, tt.want)
			require.NotContains(t, got.stderr, "hunter2")
		})
	}
	got := run(t, nil)
	require.Equal(t, 2, got.status, "no command at all")
	require.Contains(t, got.stderr, "worker: worker needs a command: ")
}

func TestConfigPrint(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "worker.yaml")
	require.NoError(t, os.WriteFile(file, []byte("kafka-brokers: [a:1, b:2]\nlog-level: warn\n"), 0o600))
	env := []string{"REPLYWORKER_CONFIG=" + file, "REPLYWORKER_LOG_LEVEL=error", "REPLYWORKER_BACKUP_URL="}

	got := run(t, env, "config", "print", "--origin", "--redis-url=rediss://u:hunter2@h")
	require.Equal(t, 0, got.status, got.stderr)
	golden(t, "config-print-origin.txt", strings.ReplaceAll(got.stdout, dir, "DIR"))
	got = run(t, env, "config", "print", "--redis-url=rediss://u:hunter2@h")
	require.Equal(t, 0, got.status, got.stderr)
	golden(t, "config-print.txt", got.stdout)
	require.Equal(t, "worker: warning: redis-url has a password in it; "+
		"redis-password-file keeps it out of process lists\n", got.stderr)

	got = run(t, env, "-o", "json", "config", "print")
	require.Equal(t, 0, got.status, got.stderr)
	rows := map[string]map[string]string{}
	for line := range strings.Lines(got.stdout) {
		row := map[string]string{}
		require.NoError(t, json.Unmarshal([]byte(line), &row))
		rows[row["name"]] = row
	}
	require.Len(t, rows, len(config.Settings()))
	require.Equal(t, map[string]string{
		"name": "kafka-brokers", "value": "a:1,b:2", "origin": "file " + file + ":1",
	}, rows["kafka-brokers"])
	require.Equal(t, map[string]string{
		"name": "backup-url", "value": "", "origin": "env REPLYWORKER_BACKUP_URL",
	}, rows["backup-url"])
}

func TestConfigWithFaults(t *testing.T) {
	t.Parallel()
	got := run(t, []string{"REPLYWORKER_CONCURENCY=8"}, "config", "print", "--rate=-1")
	require.Equal(t, result{2, "", `worker: configuration: 2 faults
  - REPLYWORKER_CONCURENCY (env REPLYWORKER_CONCURENCY) is no setting; did you mean REPLYWORKER_CONCURRENCY?
  - rate = "-1" (flag --rate) must be a number from 0.001 to 100000, or 0 for no limit; leave it out for the default 0
hint: ` + "`worker help settings` lists every setting and its default\n"}, got)

	got = run(t, nil, "config", "print", "--config=none.yaml")
	require.Equal(t, result{2, "", "worker: configuration: config = \"none.yaml\" (flag --config) cannot be read: " +
		"no such file or directory; check the path and the permissions\n" +
		"hint: `worker help settings` lists every setting and its default\n"}, got)

	got = run(t, []string{"REPLYWORKER_CONCURENCY=8"}, "version")
	require.Equal(t, 0, got.status, "a command without configuration does not mind")
}

func TestVersion(t *testing.T) {
	t.Parallel()
	got := run(t, nil, "version", "-o", "json")
	require.Equal(t, 0, got.status)
	var v map[string]any
	require.NoError(t, json.Unmarshal([]byte(got.stdout), &v))
	require.Equal(t, "replyworker", v["name"])
	for _, field := range []string{"version", "revision", "time", "modified", "go", "platform", "signing"} {
		require.Contains(t, v, field)
	}
	got = run(t, nil, "version")
	require.Contains(t, got.stdout, "replyworker")
	require.Empty(t, got.stderr)
	require.Equal(t, 0, run(t, nil, "--version").status)
}

func TestSchema(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"job", "outcome", "resolution"} {
		got := run(t, nil, "schema", name)
		require.Equal(t, 0, got.status, got.stderr)
		require.True(t, json.Valid([]byte(got.stdout)), name)
		require.True(t, strings.HasSuffix(got.stdout, "}\n"), name)
	}
}

func TestCompletion(t *testing.T) {
	t.Parallel()
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		got := run(t, nil, "completion", shell)
		require.Equal(t, 0, got.status, got.stderr)
		require.Contains(t, got.stdout, "worker", shell)
		require.Empty(t, got.stderr)
	}
	for _, tt := range []struct{ args, want string }{
		{"comp", "completion\t"},
		{"config print --log-f", "--log-format"},
		{"config print --log-format |", "auto\njson\nconsole\n:4"},
		{"config print --private-key-file |", ":0"},
		{"config print --kafka-group |", ":4"},
		{"version -o |", "table\njson\n:4"},
		{"completion |", "bash\nzsh\nfish\npowershell\n:4"},
		{"schema |", "job\n"},
		{"help set", "settings"},
	} {
		args := append([]string{"__complete"}, strings.Fields(strings.ReplaceAll(tt.args, " |", ""))...)
		if strings.HasSuffix(tt.args, "|") {
			args = append(args, "")
		}
		require.Contains(t, run(t, nil, args...).stdout, tt.want, tt.args)
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args   string
		golden string
	}{
		{"--help", "help.txt"},
		{"help", "help.txt"},
		{"config print --help", "help-config-print.txt"},
		{"help config print", "help-config-print.txt"},
		{"help config", "help-config.txt"},
		{"help settings", "help-settings.txt"},
		{"help exit-status", "help-exit-status.txt"},
		{"help exit-statuses", "help-exit-status.txt"},
		{"help configuration", "help-configuration.txt"},
		{"help headers", "help-headers.txt"},
	} {
		got := run(t, nil, strings.Fields(tt.args)...)
		require.Equal(t, 0, got.status, got.stderr)
		require.Empty(t, got.stderr)
		golden(t, tt.golden, got.stdout)
	}
}

// brokenWriter is a full disk.
type brokenWriter struct{}

var errFull = errors.New("no space left on device")

func (brokenWriter) Write([]byte) (int, error) { return 0, errFull }

func TestStdoutThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	for _, args := range []string{"config print", "config print -o json", "version", "schema job", "completion bash", "help", "job --help"} {
		var stderr bytes.Buffer
		status := cli.Run(t.Context(), strings.Fields(args), nil, strings.NewReader(""), brokenWriter{}, &stderr)
		require.Equal(t, 1, status, args)
		want := "worker: write to stdout: no space left on device\n"
		if strings.Contains(args, "json") {
			want = `{"error":"write to stdout: no space left on device","hint":"","status":1,"faults":[]}` + "\n"
		}
		require.Equal(t, want, stderr.String(), args)
	}
}

func TestNilArgumentsAreNone(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(fmt.Errorf("%w by a test", cli.ErrInterrupted))
	var stdout, stderr bytes.Buffer
	require.Equal(t, 2, cli.Run(ctx, nil, nil, strings.NewReader(""), &stdout, &stderr))
	require.Equal(t, 0, cli.Run(ctx, []string{"version"}, nil, strings.NewReader(""), &stdout, &stderr),
		"a command that got done is done, whatever came meanwhile")
}
