// Package dedupetest has the tests that every Redis must pass for dedupe to work on it, and the
// servers to run them, and other packages' tests, on. It is for tests only.
package dedupetest

import (
	"crypto/x509"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/stretchr/testify/require"

	"replyworker/internal/dedupe"
)

// Server is a Redis with keys of its own for one test, and a clock that the test moves.
type Server interface {
	// Where and Roots are for dedupe.Config.
	Where() dedupe.Server
	Roots() *x509.CertPool
	// Prefix is for dedupe.Config; no other test has it.
	Prefix() string
	// Advance moves the time of all keys under Prefix.
	Advance(t testing.TB, d time.Duration)
	// Do sends a command to the server that has its key, or to each where it has none, and returns an
	// answer as it is on the wire.
	Do(t testing.TB, args ...string) string
}

// Store opens a Store on srv, with the defaults where change is nil, and closes it when the test ends.
func Store(t testing.TB, srv Server, change func(*dedupe.Config)) *dedupe.Store {
	t.Helper()
	cfg := dedupe.Config{Server: srv.Where(), RootCAs: srv.Roots(), Prefix: srv.Prefix()}
	if change != nil {
		change(&cfg)
	}
	s, err := dedupe.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// Fake is an embedded server that stands still unless advanced.
type Fake struct {
	*miniredis.Miniredis

	now time.Time
}

// NewFake starts a Fake that stops when the test ends.
func NewFake(t testing.TB) *Fake {
	t.Helper()
	f := &Fake{Miniredis: miniredis.NewMiniRedis(), now: time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)}
	f.SetTime(f.now)
	require.NoError(t, f.Start())
	t.Cleanup(f.Close)
	return f
}

// Where implements Server.
func (f *Fake) Where() dedupe.Server { return dedupe.Server{Addrs: []string{f.Addr()}} }

// Roots implements Server.
func (f *Fake) Roots() *x509.CertPool { return nil }

// Prefix implements Server.
func (f *Fake) Prefix() string { return "replyworker" }

// Advance implements Server. It is not for use by several goroutines at once.
func (f *Fake) Advance(t testing.TB, d time.Duration) {
	t.Helper()
	f.now = f.now.Add(d)
	f.SetTime(f.now)
	f.FastForward(d)
}

// Do implements Server.
func (f *Fake) Do(t testing.TB, args ...string) string {
	t.Helper()
	return newNodes(t, dedupe.Config{Server: f.Where()}).do(t, args...)
}
