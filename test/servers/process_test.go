package servers

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// shell is a process that runs a script of sh.
func shell(t *testing.T, script string) *process {
	t.Helper()
	p := &process{name: "shell", path: "/bin/sh", args: []string{"-c", script}, log: filepath.Join(t.TempDir(), "log")}
	t.Cleanup(func() { p.kill() })
	return p
}

// printed waits until the process has printed a text.
func printed(t *testing.T, p *process, text string) {
	t.Helper()
	require.Eventually(t, func() bool { return strings.Contains(tail(p.log, 10), text) },
		10*time.Second, 5*time.Millisecond, "the process prints %q", text)
}

func TestProcessLivesSeveralTimes(t *testing.T) {
	t.Parallel()
	p := shell(t, `echo up $A; sleep 600 & wait`)
	p.env = []string{"A=b"}
	require.Zero(t, p.pid())
	require.NoError(t, p.exited(), "it has not been started")
	require.ErrorIs(t, p.kill(), errNotRunning)

	require.NoError(t, p.start())
	first := p.pid()
	require.NotZero(t, first)
	require.ErrorContains(t, p.start(), "runs already")
	printed(t, p, "up b")
	require.NoError(t, p.kill())
	require.Zero(t, p.pid())
	require.ErrorContains(t, p.exited(), "killed")

	require.NoError(t, p.start())
	require.NotEqual(t, first, p.pid())
	printed(t, p, "up b\nup b")
	require.NoError(t, p.stop(t.Context()), "SIGTERM ends it")
	require.ErrorIs(t, p.stop(t.Context()), errNotRunning)
}

func TestProcessThatDoesNotStopIsKilled(t *testing.T) {
	t.Parallel()
	p := shell(t, `trap 'echo deaf' TERM; echo up; while :; do sleep 600 & wait; done`)
	require.NoError(t, p.start())
	printed(t, p, "up")
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- p.stop(ctx) }()
	printed(t, p, "deaf") // it has been asked, and goes on
	cancel(errors.New("no patience"))
	err := <-stopped
	require.ErrorContains(t, err, "had to be killed: no patience")
	require.ErrorContains(t, err, "deaf", "the end of the log")
	require.Zero(t, p.pid())
}

func TestProcessThatFailsShowsItsLog(t *testing.T) {
	t.Parallel()
	p := shell(t, `for i in 1 2 3 4 5 6 7 8 9; do printf "line %d\n\n\n\n" $i; done; exit 3`)
	err := p.finish(t.Context())
	require.ErrorContains(t, err, "exit status 3")
	require.ErrorContains(t, err, "line 9")
	require.NotContains(t, err.Error(), "line 1\n", "the last lines only")

	require.NoError(t, shell(t, "exit 0").finish(t.Context()))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, shell(t, "sleep 600").finish(ctx), context.Canceled)
	require.ErrorContains(t, (&process{name: "x", path: "/not/there", log: p.log}).start(), "/not/there")
}

func TestPollStops(t *testing.T) {
	t.Parallel()
	asked := 0
	require.NoError(t, poll(t.Context(), func(context.Context) error {
		if asked++; asked < 3 {
			return errPending
		}
		return nil
	}))
	require.Equal(t, 3, asked)

	gone := errors.New("gone")
	require.ErrorIs(t, poll(t.Context(), func(context.Context) error { return &goneError{gone} }), gone)

	ctx, cancel := context.WithCancel(t.Context())
	err := poll(ctx, func(context.Context) error { cancel(); return errPending })
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, errPending, "the last answer says what was missing")
}

func TestPortsAreReserved(t *testing.T) {
	t.Parallel()
	var p, other ports
	t.Cleanup(p.free)
	t.Cleanup(other.free)
	port, err := p.take(t.Context(), true)
	require.NoError(t, err)
	require.False(t, other.reserve(t.Context(), port), "nobody else may have it")
	require.False(t, other.reserve(t.Context(), port+busOffset), "nor the second one")
	l, err := net.Listen("tcp4", local(port))
	require.NoError(t, err, "its server may")
	require.NoError(t, l.Close())
	p.free()
	require.True(t, other.reserve(t.Context(), port))

	l, err = net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	require.False(t, other.reserve(t.Context(), l.Addr().(*net.TCPAddr).Port), "one that somebody listens on")
}

func TestCertificatesServe(t *testing.T) {
	t.Parallel()
	certs, err := makeCertificates(filepath.Join(t.TempDir(), "certs"))
	require.NoError(t, err)
	pair, err := tls.LoadX509KeyPair(certs.cert, certs.key)
	require.NoError(t, err)
	ca, err := os.ReadFile(certs.ca)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(ca))
	for _, name := range []string{"127.0.0.1", "localhost"} {
		_, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots})
		require.NoError(t, err, name)
	}
	_, err = pair.Leaf.Verify(x509.VerifyOptions{DNSName: "example.com", Roots: roots})
	require.Error(t, err)
	_, err = tls.LoadX509KeyPair(certs.store, certs.store)
	require.NoError(t, err, "both in one file")
}
