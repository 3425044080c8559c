package ops_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"replyworker/internal/ops"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve starts a server and returns a function that gets a path from it.
func serve(t *testing.T, cfg ops.Config) func(path, token string) (int, string) {
	t.Helper()
	cfg.Addr, cfg.Log = "127.0.0.1:0", zerolog.Nop()
	if cfg.Gatherer == nil {
		cfg.Gatherer = prometheus.NewRegistry()
	}
	s, err := ops.Listen(cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(func() {
		client.CloseIdleConnections()
		cancel()
		require.NoError(t, <-done)
	})
	return func(path, token string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Addr()+path, nil)
		require.NoError(t, err)
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		res, err := client.Do(req)
		require.NoError(t, err)
		defer func() { _ = res.Body.Close() }()
		body, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		return res.StatusCode, string(body)
	}
}

func ok(state string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return state, nil }
}

func TestReadyzHasALineForEachPart(t *testing.T) {
	t.Parallel()
	get := serve(t, ops.Config{Checks: []ops.Check{{Name: "kafka", Run: ok("answers")}, {Name: "hosts", Run: ok("degraded; backup out")}}})
	status, body := get("/readyz", "")
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "[+] kafka: answers\n[+] hosts: degraded; backup out\n", body)
}

// TestAPartThatHangsDoesNotFailTheOthers holds that a broker that does not answer leaves the others
// their time.
func TestAPartThatHangsDoesNotFailTheOthers(t *testing.T) {
	t.Parallel()
	get := serve(t, ops.Config{Checks: []ops.Check{
		{Name: "kafka", Run: func(ctx context.Context) (string, error) {
			<-ctx.Done()
			return "", ctx.Err()
		}},
		{Name: "redis", Run: func(ctx context.Context) (string, error) { return "takes writes", ctx.Err() }},
	}})
	status, body := get("/readyz", "")
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, body, "[-] kafka: context deadline exceeded\n")
	require.Contains(t, body, "[+] redis: takes writes\n")
}

func TestLivezAsksNoDependency(t *testing.T) {
	t.Parallel()
	get := serve(t, ops.Config{Checks: []ops.Check{{Name: "kafka", Run: func(context.Context) (string, error) { return "", errors.New("away") }}}})
	status, body := get("/livez", "")
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "ok\n", body)
	stuck := serve(t, ops.Config{Alive: func() error { return errors.New("stuck for " + time.Minute.String()) }})
	status, body = stuck("/livez", "")
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, body, "stuck")
}

func TestTheTokenGuardsAllButHealthAndMetrics(t *testing.T) {
	t.Parallel()
	get := serve(t, ops.Config{Token: "secret"})
	for _, path := range []string{"/livez", "/readyz", "/metrics"} {
		status, _ := get(path, "")
		require.Equal(t, http.StatusOK, status, path)
	}
	for _, path := range []string{"/", "/debug/pprof/", "/debug/pprof/cmdline"} {
		for _, token := range []string{"", "wrong", "secrets"} {
			status, _ := get(path, token)
			require.Equal(t, http.StatusUnauthorized, status, "%s with %q", path, token)
		}
		status, _ := get(path, "secret")
		require.Equal(t, http.StatusOK, status, path)
	}
}

func TestAnAddressThatIsTakenIsNamed(t *testing.T) {
	t.Parallel()
	_, err := ops.Listen(ops.Config{Addr: "256.0.0.1:1"})
	require.ErrorContains(t, err, "admin-addr 256.0.0.1:1")
}
