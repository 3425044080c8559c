package servers_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/config"
	"replyworker/test/netfault"
)

// needReal skips a test where the real servers are not asked for, and returns a context that bounds it.
// Such tests run one after the other: what they start takes a machine of its own.
func needReal(t *testing.T) context.Context {
	t.Helper()
	if os.Getenv("TEST_REAL") != "1" {
		t.Skip("it starts real servers: TEST_REAL=1 runs it")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// load reads the settings as the product does.
func load(t *testing.T, settings []string) *config.Config {
	t.Helper()
	cfg, err := config.Load(config.Sources{Env: settings})
	require.NoError(t, err)
	require.Empty(t, cfg.Warnings())
	return cfg
}

// secret reads a password that a setting names.
func secret(t *testing.T, cfg *config.Config, name string) string {
	t.Helper()
	s, err := cfg.ReadSecret(name)
	require.NoError(t, err)
	return s.Reveal()
}

// trust makes a client's TLS of the CA that a setting names.
func trust(t *testing.T, cfg *config.Config, name string) *tls.Config {
	t.Helper()
	ca, err := cfg.ReadFile(name)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(ca), "%s has a certificate", name)
	return &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
}

// proxies starts proxies that pass everything on.
func proxies(t *testing.T) func(name, upstream string) (string, error) {
	t.Helper()
	return func(_, upstream string) (string, error) {
		p, err := netfault.Listen(upstream)
		if err != nil {
			return "", err
		}
		t.Cleanup(p.Close)
		return p.Addr(), nil
	}
}

// gone holds that no process is left of these.
func gone(t *testing.T, pids []int) {
	t.Helper()
	for _, pid := range pids {
		require.NotZero(t, pid)
		require.NoDirExists(t, fmt.Sprintf("/proc/%d", pid), "a process is left behind")
	}
}

// eventually awaits what has no event of its own.
func eventually(ctx context.Context, t *testing.T, try func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try(ctx)
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			require.NoError(t, err)
		}
	}
}
