package cli_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/cli"
	"replyworker/internal/devstack"
)

// runIn runs a command with an environment of its own and returns its exit status and what it said.
func runIn(ctx context.Context, t *testing.T, env []string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errOut strings.Builder
	status = cli.Run(ctx, args, env, strings.NewReader(""), &out, &errOut)
	return status, out.String(), errOut.String()
}

func stackEnv(t *testing.T, more ...string) []string {
	t.Helper()
	stack, err := devstack.Start(devstack.Config{Partitions: 1})
	require.NoError(t, err)
	t.Cleanup(stack.Close)
	return append(append(stack.Env(), "REPLYWORKER_ADMIN_ADDR=127.0.0.1:0", "REPLYWORKER_START_TIMEOUT=1s"), more...)
}

func TestRunSaysWhatKeepsItFromStarting(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		env    []string
		status int
		want   []string
	}{
		{
			"a topic is missing",
			[]string{"REPLYWORKER_TOPIC_OUTCOMES=elsewhere"},
			1,
			[]string{"no topic elsewhere", "worker topics create"},
		},
		{"no broker", []string{"REPLYWORKER_KAFKA_BROKERS=127.0.0.1:1"}, 1, []string{"kafka at 127.0.0.1:1 does not answer", "hint:"}},
		{"no redis", []string{"REPLYWORKER_REDIS_URL=redis://127.0.0.1:1"}, 1, []string{"redis at redis://127.0.0.1:1", "hint:"}},
		{"no merchant", []string{"REPLYWORKER_MCHID="}, 2, []string{"mchid"}},
		{"a key file that is none", []string{"REPLYWORKER_PRIVATE_KEY_FILE=run_test.go"}, 2, []string{"private-key-file", "PEM"}},
		{"a key file that is not there", []string{"REPLYWORKER_PRIVATE_KEY_FILE=no-such-file"}, 2, []string{"private-key-file", "no-such-file"}},
		{"an address in use or not ours", []string{"REPLYWORKER_ADMIN_ADDR=127.0.0.1:99999"}, 2, []string{"admin-addr"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			status, _, stderr := runIn(t.Context(), t, stackEnv(t, c.env...), "run")
			require.Equal(t, c.status, status, stderr)
			for _, want := range c.want {
				require.Contains(t, stderr, want)
			}
			require.Less(t, time.Since(began), 10*time.Second)
		})
	}
}

func TestRunDrainsAndExitsWithZero(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(time.Second, func() { cancel(cli.ErrInterrupted) })
	status, stdout, stderr := runIn(ctx, t, stackEnv(t, "REPLYWORKER_LOG_FORMAT=json"), "run")
	require.Equal(t, 0, status, stderr)
	require.Empty(t, stdout)
	require.Regexp(t, `"signing":"(crypto/rsa|OpenSSL [^"]+)"[^\n]*"message":"working"`, stderr)
	require.Contains(t, stderr, `"message":"stopped"`)
}

func TestDemoRefusesWhatItCannotDo(t *testing.T) {
	t.Parallel()
	status, _, stderr := runIn(t.Context(), t, nil, "demo", "--jobs", "0")
	require.Equal(t, 2, status, stderr)
	require.Contains(t, stderr, "--jobs 0")
	status, _, stderr = runIn(t.Context(), t, nil, "demo", "--input", "no-such-file")
	require.Equal(t, 2, status, stderr)
	require.Contains(t, stderr, "no-such-file")
}

func TestDemoThroughTheCommandLine(t *testing.T) {
	t.Parallel()
	status, stdout, stderr := runIn(t.Context(), t, nil, "demo", "--jobs", "20", "--exit")
	require.Equal(t, 0, status, stderr)
	require.Empty(t, stdout)
	require.Contains(t, stderr, "enqueued 20 =")
}

func TestSchemaOfLenientJobs(t *testing.T) {
	t.Parallel()
	_, strict, _ := runIn(t.Context(), t, nil, "schema", "job")
	status, lenient, stderr := runIn(t.Context(), t, nil, "schema", "job", "--validation", "lenient")
	require.Equal(t, 0, status, stderr)
	require.NotEqual(t, strict, lenient)
	_, byName, _ := runIn(t.Context(), t, nil, "schema", "job-lenient")
	require.Equal(t, byName, lenient)
	status, _, stderr = runIn(t.Context(), t, nil, "schema", "job", "--validation", "loose")
	require.Equal(t, 2, status, stderr)
}
