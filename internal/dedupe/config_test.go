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

func TestURLForms(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ url, target, fault string }{
		{url: "", target: "redis://127.0.0.1:6379/0"},
		{url: "redis://localhost", target: "redis://localhost:6379/0"},
		{url: "redis://localhost:6380/2", target: "redis://localhost:6380/2"},
		{url: "redis://localhost/", target: "redis://localhost:6379/0"},
		{url: "rediss://user:s%40cret@h:1/1", target: "rediss://h:1/1"},
		{url: "redis://:p@ss:w/rd@h:1", target: "redis://h:1/0"},
		{url: "redis://u:1?hunter2@h", fault: "needs percent-encoding"},
		{url: "redis://[::1]:6380", target: "redis://[::1]:6380/0"},
		{url: "redis://[::1]", target: "redis://[::1]:6379/0"},
		{url: "redis://a:1,b:2,c", target: "redis://a:1,b:2,c:6379"},
		{url: "redis://u:s@a:1,redis://b:2/", target: "redis://a:1,b:2"},
		{url: "redis+sentinel://u:s@a:1,b/mymaster/3", target: "redis+sentinel://a:1,b:26379/mymaster/3"},
		{url: "rediss+sentinel://a/m?sentinel_username=x&sentinel_password=y", target: "rediss+sentinel://a:26379/m/0"},
		{url: "localhost:6379", fault: "has no scheme"},
		{url: "http://localhost", fault: "unknown scheme"},
		{url: "redis://", fault: "address 1 is empty"},
		{url: "redis://a,,b", fault: "address 2 is empty"},
		{url: "redis://a:port", fault: "address 1 is not host:port"},
		{url: "redis://a:0", fault: "address 1 is not host:port"},
		{url: "redis://a:1/x", fault: "not a database number"},
		{url: "redis://a:1,b:2/3", fault: "database 0 only"},
		{url: "redis+sentinel://a", fault: "no master name"},
		{url: "redis://a?sentinel_password=y", fault: "unknown option"},
		{url: "redis://a?x=%zz", fault: "percent-encoded"},
		{url: "redis://u:%zz@a", fault: "percent-encoded"},
	} {
		t.Run(row.url, func(t *testing.T) {
			t.Parallel()
			s, err := dedupe.New(dedupe.Config{URL: row.url})
			if row.fault != "" {
				require.ErrorContains(t, err, row.fault)
				require.ErrorContains(t, err, "redis-url: ")
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
		URL: "redis://a", RootCAs: x509.NewCertPool(), Prefix: "{x}", Lease: time.Millisecond, Retention: time.Microsecond,
		PoolSize: -1, Timeout: -1, IOTimeout: -1,
	})
	for _, name := range []string{
		"redis-ca-file", "redis-prefix", "claim-lease", "claim-retention", "pool size", "timeout:", "I/O timeout",
	} {
		require.ErrorContains(t, err, name)
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	t.Parallel()
	const secret = "hunter2"
	for _, url := range []string{
		"redis://u:hunter2@127.0.0.1:1/0", "redis://u:hunter2@127.0.0.1:port", "//u:hunter2@x", "redis://u:hunter2%zz@x",
		"redis://u:1?hunter2@h",
	} {
		cfg := dedupe.Config{URL: url, Password: secret, Timeout: time.Second}
		printed := fmt.Sprintf("%v %+v %#v %s", cfg, cfg, cfg, cfg)
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

	ping := func(url, password string, roots *x509.CertPool) error {
		t.Helper()
		s, err := dedupe.New(dedupe.Config{URL: url, Password: password, RootCAs: roots})
		require.NoError(t, err)
		defer func() { require.NoError(t, s.Close()) }()
		return s.Ping(t.Context())
	}
	require.NoError(t, ping("rediss://worker:s%40cret@"+srv.Addr(), "", pool))
	require.NoError(t, ping("rediss://worker:wrong@"+srv.Addr(), "s@cret", pool), "the password file goes before the URL")
	requireReason(t, dedupe.ReasonRefused, ping("rediss://worker@"+srv.Addr(), "wrong", pool))
	requireReason(t, dedupe.ReasonRefused, ping("rediss://"+srv.Addr(), "", pool))
	requireReason(t, dedupe.ReasonUnavailable, ping("rediss://worker:s%40cret@"+srv.Addr(), "", nil))
}
