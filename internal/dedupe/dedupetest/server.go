// Package dedupetest has the tests that every Redis must pass for dedupe to work on it, and the
// servers to run them, and other packages' tests, on. It is for tests only.
package dedupetest

import (
	"bufio"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/proto"
	"github.com/stretchr/testify/require"

	"replyworker/internal/dedupe"
)

// Server is a Redis with keys of its own for one test, and a clock that the test moves.
type Server interface {
	// Where is for dedupe.Config.
	Where() dedupe.Server
	// Prefix is for dedupe.Config; no other test has it.
	Prefix() string
	// Advance moves the time of all keys under Prefix.
	Advance(t testing.TB, d time.Duration)
	// Do sends a command and returns the answer as it is on the wire.
	Do(t testing.TB, args ...string) string
}

// Store opens a Store on srv, with the defaults where change is nil, and closes it when the test ends.
func Store(t testing.TB, srv Server, change func(*dedupe.Config)) *dedupe.Store {
	t.Helper()
	cfg := dedupe.Config{Server: srv.Where(), Prefix: srv.Prefix()}
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
	return do(t, dial(t, f.Where()), args...)
}

// Real is a server that somebody else runs. Its clock cannot be moved, so Advance moves what the keys
// say about time into the past instead.
type Real struct {
	where  dedupe.Server
	prefix string
	client *proto.Client
}

// NewReal uses the server at rawURL, redis://[user:password@]host:port[/db], and deletes its keys in
// the end.
func NewReal(t testing.TB, rawURL string) *Real {
	t.Helper()
	where := parse(t, rawURL)
	r := &Real{where: where, prefix: "test-" + dedupe.NewToken(), client: dial(t, where)}
	t.Cleanup(func() {
		for _, key := range r.keys(t) {
			r.Do(t, "DEL", key)
		}
	})
	return r
}

// Where implements Server.
func (r *Real) Where() dedupe.Server { return r.where }

// Prefix implements Server.
func (r *Real) Prefix() string { return r.prefix }

// Do implements Server.
func (r *Real) Do(t testing.TB, args ...string) string {
	t.Helper()
	return do(t, r.client, args...)
}

// timeFields are those of claims and holds that hold a moment in milliseconds.
var timeFields = map[string]bool{"l": true, "n": true, "u": true, "since": true, "next": true, "until": true}

// Advance implements Server.
func (r *Real) Advance(t testing.TB, d time.Duration) {
	t.Helper()
	for _, key := range r.keys(t) {
		if strings.Contains(r.Do(t, "TYPE", key), "string") {
			at, err := proto.ReadString(r.Do(t, "GET", key))
			require.NoError(t, err)
			n, err := strconv.ParseInt(at, 10, 64)
			require.NoError(t, err)
			r.Do(t, "SET", key, strconv.FormatInt(max(0, n-d.Microseconds()), 10), "KEEPTTL")
		} else {
			fields, err := proto.ReadStrings(r.Do(t, "HKEYS", key))
			require.NoError(t, err)
			for _, f := range fields {
				if timeFields[f] {
					r.Do(t, "HINCRBY", key, f, strconv.FormatInt(-d.Milliseconds(), 10))
				}
			}
		}
		left, err := strconv.ParseInt(strings.Trim(r.Do(t, "PTTL", key), ":\r\n"), 10, 64)
		require.NoError(t, err)
		r.Do(t, "PEXPIRE", key, strconv.FormatInt(left-d.Milliseconds(), 10))
	}
}

func (r *Real) keys(t testing.TB) []string {
	t.Helper()
	var keys []string
	cursor := "0"
	for {
		conn := r.Do(t, "SCAN", cursor, "MATCH", r.prefix+":*", "COUNT", "1000")
		next, page := scanPage(t, conn)
		keys = append(keys, page...)
		if cursor = next; cursor == "0" {
			return keys
		}
	}
}

// scanPage takes SCAN's answer apart: a cursor, and a list of keys.
func scanPage(t testing.TB, wire string) (cursor string, keys []string) {
	t.Helper()
	rd := bufio.NewReader(strings.NewReader(wire))
	head, err := rd.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "*2\r\n", head)
	raw, err := proto.Read(rd)
	require.NoError(t, err)
	cursor, err = proto.ReadString(raw)
	require.NoError(t, err)
	raw, err = proto.Read(rd)
	require.NoError(t, err)
	keys, err = proto.ReadStrings(raw)
	require.NoError(t, err)
	return cursor, keys
}

// parse reads the URL of a test server. Nothing of it is printed but the host.
func parse(t testing.TB, rawURL string) dedupe.Server {
	t.Helper()
	u, err := url.Parse(rawURL)
	require.True(t, err == nil && u.Scheme == "redis" && u.Port() != "", "the test URL is not redis://host:port")
	where := dedupe.Server{Addrs: []string{u.Host}, Username: u.User.Username()}
	where.Password, _ = u.User.Password()
	if db := strings.Trim(u.Path, "/"); db != "" {
		where.DB, err = strconv.Atoi(db)
		require.NoError(t, err)
	}
	return where
}

func dial(t testing.TB, where dedupe.Server) *proto.Client {
	t.Helper()
	c, err := proto.Dial(where.Addrs[0])
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	switch {
	case where.Username != "":
		do(t, c, "AUTH", where.Username, where.Password)
	case where.Password != "":
		do(t, c, "AUTH", where.Password)
	}
	if where.DB != 0 {
		do(t, c, "SELECT", strconv.Itoa(where.DB))
	}
	return c
}

func do(t testing.TB, c *proto.Client, args ...string) string {
	t.Helper()
	answer, err := c.Do(args...)
	require.NoError(t, err, "command %q", args)
	require.False(t, strings.HasPrefix(answer, "-"), "command %q: %s", args, answer)
	return answer
}
