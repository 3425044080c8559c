package dedupe_test

import (
	"crypto/x509"
	"fmt"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/stretchr/testify/require"

	"replyworker/internal/dedupe"
)

func TestServers(t *testing.T) {
	t.Parallel()
	one, two := []string{"a:1"}, []string{"a:1", "[::1]:2"}
	for _, row := range []struct {
		server        dedupe.Server
		target, fault string
	}{
		{server: dedupe.Server{Addrs: one}, target: "redis://a:1/0"},
		{server: dedupe.Server{Addrs: one, TLS: true, DB: 2}, target: "rediss://a:1/2"},
		{server: dedupe.Server{Addrs: one, Cluster: true}, target: "redis+cluster://a:1"},
		{server: dedupe.Server{Addrs: two, Cluster: true, TLS: true}, target: "rediss+cluster://a:1,[::1]:2"},
		{server: dedupe.Server{Addrs: two, Master: "m", DB: 3}, target: "redis+sentinel://a:1,[::1]:2/m/3"},
		{server: dedupe.Server{Addrs: one, Master: "m", TLS: true}, target: "rediss+sentinel://a:1/m/0"},
		{fault: "no address"},
		{server: dedupe.Server{Addrs: []string{"a:1", "b"}, Cluster: true}, fault: "address 2 is not host:port"},
		{server: dedupe.Server{Addrs: two}, fault: "several addresses are for a Cluster or Sentinel"},
		{server: dedupe.Server{Addrs: one, Cluster: true, DB: 3}, fault: "database 0 only"},
		{server: dedupe.Server{Addrs: one, Cluster: true, Master: "m"}, fault: "a Cluster has no Sentinel"},
		{server: dedupe.Server{Addrs: one, DB: -1}, fault: "database -1 is negative"},
	} {
		t.Run(row.target+row.fault, func(t *testing.T) {
			t.Parallel()
			s, err := dedupe.New(dedupe.Config{Server: row.server})
			if row.fault != "" {
				require.ErrorContains(t, err, "redis-url: ")
				require.ErrorContains(t, err, row.fault)
				return
			}
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, s.Close()) })
			require.Equal(t, row.target, s.Target())
		})
	}
}

func TestConfigFaultsAllAtOnce(t *testing.T) {
	t.Parallel()
	_, err := dedupe.New(dedupe.Config{
		Server: dedupe.Server{DB: -1}, RootCAs: x509.NewCertPool(), Prefix: "{x}", Lease: time.Millisecond, Retention: time.Microsecond,
		PoolSize: -1, Timeout: -1, IOTimeout: -1,
	})
	for _, name := range []string{
		"redis-url", "redis-ca-file", "redis-prefix", "claim-lease", "claim-retention", "pool size", "timeout:", "I/O timeout",
	} {
		require.ErrorContains(t, err, name)
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	t.Parallel()
	const secret = "hunter2"
	for _, addr := range []string{"127.0.0.1:1", "127.0.0.1"} {
		cfg := dedupe.Config{
			Server: dedupe.Server{Addrs: []string{addr}, Username: "u-" + secret, Password: secret}, Timeout: time.Second,
		}
		printed := fmt.Sprintf("%v %+v %#v %s", cfg, cfg, cfg, cfg)
		printed += fmt.Sprintf("%v %+v %#v %s", cfg.Server, cfg.Server, cfg.Server, cfg.Server)
		s, err := dedupe.New(cfg)
		if err == nil {
			err = s.Ping(t.Context())
			printed += s.Target()
			require.NoError(t, s.Close())
		}
		require.Error(t, err)
		require.NotContains(t, printed+err.Error(), secret)
	}
}

func TestPasswordAndTLS(t *testing.T) {
	t.Parallel()
	web := httptest.NewTLSServer(nil) // for its certificate
	t.Cleanup(web.Close)
	srv := miniredis.NewMiniRedis()
	srv.RequireUserAuth("worker", "s@cret")
	require.NoError(t, srv.StartTLS(web.TLS))
	t.Cleanup(srv.Close)
	pool := x509.NewCertPool()
	pool.AddCert(web.Certificate())

	ping := func(username, password string, roots *x509.CertPool) error {
		t.Helper()
		s, err := dedupe.New(dedupe.Config{
			Server:  dedupe.Server{Addrs: []string{srv.Addr()}, TLS: true, Username: username, Password: password},
			RootCAs: roots,
		})
		require.NoError(t, err)
		defer func() { require.NoError(t, s.Close()) }()
		return s.Ping(t.Context())
	}
	require.NoError(t, ping("worker", "s@cret", pool))
	requireReason(t, dedupe.ReasonRefused, ping("worker", "wrong", pool))
	requireReason(t, dedupe.ReasonRefused, ping("", "", pool))
	requireReason(t, dedupe.ReasonUnavailable, ping("worker", "s@cret", nil))
}
