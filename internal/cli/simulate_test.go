package cli_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"replyworker/internal/app"
	"replyworker/internal/cli"
	"replyworker/internal/config"
	"replyworker/internal/job"
	"replyworker/internal/wxclient"
)

// startSimulator runs `simulate` until it is ready. stop ends it and returns what it did.
func startSimulator(t *testing.T, flags ...string) (row map[string]string, stop func() result) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	r, w := io.Pipe()
	var stdout bytes.Buffer
	done := make(chan int, 1)
	args := append([]string{
		"simulate", "-o=json", "--primary-addr=127.0.0.1:0", "--backup-addr=127.0.0.1:0", "--control-addr=127.0.0.1:0",
	}, flags...)
	go func() {
		status := cli.Run(ctx, args, nil, strings.NewReader(""), &stdout, w)
		_ = w.Close()
		done <- status
	}()
	lines := bufio.NewScanner(r)
	var stderr strings.Builder
	for lines.Scan() && lines.Text() != "ready" {
		stderr.WriteString(lines.Text() + "\n")
	}
	require.Equal(t, "ready", lines.Text(), "stderr: %s", stderr.String())
	rest := make(chan struct{})
	go func() {
		defer close(rest)
		for lines.Scan() {
			stderr.WriteString(lines.Text() + "\n")
		}
	}()
	require.NoError(t, json.Unmarshal(stdout.Bytes(), &row))
	var got *result
	stop = func() result {
		if got == nil {
			cancel(cli.ErrInterrupted)
			status := <-done
			<-rest
			got = &result{status, stdout.String(), stderr.String()}
		}
		return *got
	}
	t.Cleanup(func() { stop() })
	return row, stop
}

// simulatorEnv reads what `set -a; . replyworker.env` would export.
func simulatorEnv(t *testing.T, path string) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	var env []string
	for _, line := range splitLines(string(text)) {
		if !strings.HasPrefix(line, "#") {
			env = append(env, line)
		}
	}
	return env
}

func get(t *testing.T, method, url, body string) (status int, text string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	require.NoError(t, err)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	require.NoError(t, err)
	defer func() { require.NoError(t, res.Body.Close()) }()
	b, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, string(b)
}

func TestSimulateServesAWorker(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "sim")
	faults := writeFile(t, "faults.json", `[{"kind":"latency","name":"slow","delay":"1ms"}]`)
	row, stop := startSimulator(t, "--dir", dir, "--mchid=1900000009", "--faults", faults, "--seed=7", "--log-level=debug")
	require.Equal(t, filepath.Join(dir, "replyworker.env"), row["env_file"])
	require.Equal(t, "1900000009", row["mchid"])

	// A client of the product, with the settings of replyworker.env, is understood.
	cfg, err := config.Load(config.Sources{Env: simulatorEnv(t, row["env_file"])})
	require.NoError(t, err)
	require.NoError(t, cfg.RequireMerchant())
	require.Equal(t, row["primary_url"], cfg.PrimaryURL)
	require.Equal(t, row["backup_url"], cfg.BackupURL)
	merchants, err := app.Merchants(cfg)
	require.NoError(t, err)
	api, err := app.API(cfg, "test")
	require.NoError(t, err)
	defer api.Close()
	logID := sendReply(t, api, merchants["1900000009"])

	status, text := get(t, http.MethodGet, row["control_url"]+"/effects", "")
	require.Equal(t, 200, status)
	require.Contains(t, text, logID)
	_, text = get(t, http.MethodGet, row["control_url"]+"/faults", "")
	require.Contains(t, text, `"slow"`)

	got := stop()
	require.Equal(t, 0, got.status, "to be told to stop is a server's regular end: %s", got.stderr)
	require.Contains(t, got.stderr, "1900000009", "debug logs every call")
}

func sendReply(t *testing.T, api *wxclient.Client, m *wxclient.Merchant) string {
	t.Helper()
	require.NotNil(t, m)
	j, err := job.Decode([]byte(jobLine("200201820200101080076610000", "id-1", "hello")), job.Strict)
	require.NoError(t, err)
	answer, err := api.Reply(t.Context(), wxclient.Primary, m, j.ComplaintID, j.Body())
	require.NoError(t, err)
	require.NotEmpty(t, answer.LogID)
	return answer.LogID
}

func TestSimulateKeepsItsKeys(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	read := func() string {
		b, err := os.ReadFile(filepath.Join(dir, "merchant_key.pem"))
		require.NoError(t, err)
		return string(b)
	}
	_, stop := startSimulator(t, "--dir", dir, "--control-addr=")
	require.Equal(t, 0, stop().status)
	first := read()
	row, stop := startSimulator(t, "--dir", dir, "--control-addr=", "--primary-addr=0.0.0.0:0", "--tls-host=simulator.test")
	require.Empty(t, row["control_url"])
	require.Regexp(t, `^https://simulator\.test:\d+$`, row["primary_url"])
	require.Regexp(t, `^https://127\.0\.0\.1:\d+$`, row["backup_url"])
	require.Equal(t, 0, stop().status)
	require.Equal(t, first, read())
}

func TestSimulateTellsAPersonWhatToDo(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cli.ErrInterrupted) // it stops as soon as it listens
	dir := filepath.Join(t.TempDir(), "with space")
	got := runWith(ctx, nil, nil, "simulate", "--dir", dir, "--primary-addr=127.0.0.1:0", "--backup-addr=127.0.0.1:0", "--control-addr=")
	require.Equal(t, 0, got.status, got.stderr)
	require.Equal(t, "Run a worker against it:\n  set -a; . '"+filepath.Join(dir, "replyworker.env")+"'; set +a; worker run\nready\n", got.stderr)
	require.Contains(t, got.stdout, "control       -\n")
}

func TestSimulateRefuses(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "none")
	bad := writeFile(t, "bad.json", `[{"kind":"status"},{"kind":"down","count":1},{"kind":"hang"}]`)
	for _, tt := range []struct {
		flag string
		want string
	}{
		{"--control-addr=0.0.0.0:8445", `--control-addr "0.0.0.0:8445": must be on loopback`},
		{"--control-addr=:8445", "must be on loopback"},
		{"--control-addr=example.org:1", "must be on loopback"},
		{"--control-addr=127.0.0.1", "must be host:port"},
		{"--primary-addr=8443", `--primary-addr "8443": must be host:port`},
		{"--mchid=", "--mchid \"\": must be 1 to 32"},
		{"--mchid=a b", "--mchid \"a b\": must be 1 to 32"},
		{"--faults=none.json", "--faults: open none.json: no such file or directory"},
		{"--faults=" + writeFile(t, "x.json", `{"kind":"down"}`), "cannot unmarshal object"},
		{"--faults=" + writeFile(t, "y.json", `[{"kind":"down","colour":1}]`), "unknown field"},
		{"--faults=" + bad, "[0] fault status: status 0: want 200 to 599; [1] fault down: "},
	} {
		got := run(t, nil, "simulate", "--dir", dir, tt.flag)
		require.Equal(t, 2, got.status, "%s: %s", tt.flag, got.stderr)
		require.Contains(t, got.stderr, tt.want)
		require.Empty(t, got.stdout)
	}
	require.NoDirExists(t, dir, "what is refused makes nothing")
}

func TestSimulateOnAPortThatIsTaken(t *testing.T) {
	t.Parallel()
	row, _ := startSimulator(t, "--dir", t.TempDir(), "--control-addr=")
	taken := strings.TrimPrefix(row["primary_url"], "https://")
	got := run(t, nil, "simulate", "--dir", t.TempDir(), "--primary-addr", taken, "--backup-addr=127.0.0.1:0", "--control-addr=")
	require.Equal(t, 1, got.status)
	require.Contains(t, got.stderr, "address already in use")
	require.Contains(t, got.stderr, "hint: another simulator may be running")
}
