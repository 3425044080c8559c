package wxclient_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/wxclient"
)

// looking returns a client for a host and trust in it.
func looking(t *testing.T, url string, roots *x509.CertPool) *wxclient.Client {
	t.Helper()
	c, err := wxclient.New(wxclient.Config{PrimaryURL: url, RootCAs: roots, Now: testNow, UserAgent: "replyworker/test"})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func rootsOf(s *httptest.Server) *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return pool
}

// TestLookSendsNothingOfAMerchant holds what a look at a host is: one unsigned request for its front page.
func TestLookSendsNothingOfAMerchant(t *testing.T) {
	t.Parallel()
	seen := make(chan *http.Request, 2)
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- r
		w.Header().Set("Date", testNow().Add(90*time.Second).UTC().Format(http.TimeFormat))
		w.WriteHeader(http.StatusNotFound)
	}))
	t.Cleanup(s.Close)
	sight, err := looking(t, s.URL, rootsOf(s)).Look(t.Context(), wxclient.Primary)
	require.NoError(t, err)
	req := <-seen
	require.Empty(t, seen)
	require.Equal(t, "GET /", req.Method+" "+req.URL.String())
	require.Equal(t, http.Header{"Accept": {"application/json"}, "User-Agent": {"replyworker/test"}}, withoutEncoding(req.Header))

	require.Equal(t, s.Listener.Addr().String(), sight.Host)
	require.Equal(t, sight.Host, sight.Address)
	require.False(t, sight.Proxied)
	require.Equal(t, http.StatusNotFound, sight.Status)
	require.Equal(t, s.Certificate(), sight.TLS.PeerCertificates[0])
	require.True(t, sight.Dated)
	require.InDelta(t, 90, sight.Ahead.Seconds(), 2)
	require.Positive(t, sight.Round)
}

func withoutEncoding(h http.Header) http.Header {
	h = h.Clone()
	h.Del("Accept-Encoding")
	return h
}

func TestLookWithoutADate(t *testing.T) {
	t.Parallel()
	url := afterRequest(t, say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
	sight, err := looking(t, url, nil).Look(t.Context(), wxclient.Primary)
	require.NoError(t, err)
	require.False(t, sight.Dated)
	require.Nil(t, sight.TLS)
}

// TestLookSaysHowFarItCame holds that a fault is told by where it is, which is what there is to be done
// about.
func TestLookSaysHowFarItCame(t *testing.T) {
	t.Parallel()
	stranger := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(stranger.Close)
	old := httptest.NewUnstartedServer(http.NotFoundHandler())
	old.TLS = &tls.Config{MaxVersion: tls.VersionTLS11}
	old.StartTLS()
	t.Cleanup(old.Close)
	closed, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, closed.Close())

	for name, row := range map[string]struct {
		url   string
		roots *x509.CertPool
		step  wxclient.Step
	}{
		"no such name":  {"https://no-such-host.invalid", nil, wxclient.StepName},
		"nobody there":  {"https://" + closed.Addr().String(), nil, wxclient.StepConnect},
		"not trusted":   {stranger.URL, x509.NewCertPool(), wxclient.StepTLS},
		"TLS too old":   {old.URL, rootsOf(old), wxclient.StepTLS},
		"not HTTP":      {afterRequest(t, say("SSH-2.0-OpenSSH_9.6\r\n")), nil, wxclient.StepAnswer},
		"hung up":       {afterRequest(t, func(net.Conn) {}), nil, wxclient.StepAnswer},
		"not TLS":       {"https" + rawServer(t, say("HTTP/1.1 400 Bad Request\r\n\r\n"))[len("http"):], nil, wxclient.StepTLS},
		"not there too": {"https://[::1]:1", nil, wxclient.StepConnect},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := looking(t, row.url, row.roots).Look(t.Context(), wxclient.Primary)
			var look *wxclient.LookError
			require.ErrorAs(t, err, &look)
			require.Equal(t, row.step, look.Step, "%v", err)
		})
	}
	_, err = looking(t, stranger.URL, nil).Look(t.Context(), wxclient.Backup)
	require.ErrorContains(t, err, "host is not configured")
}

func TestLookEndsWithItsContext(t *testing.T) {
	t.Parallel()
	url := rawServer(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := looking(t, url, nil).Look(ctx, wxclient.Primary)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	var look *wxclient.LookError
	require.ErrorAs(t, err, &look)
	require.Equal(t, wxclient.StepAnswer, look.Step)
}
