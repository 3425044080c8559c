package dedupetest

import (
	"bufio"
	"crypto/x509"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2/proto"
	"github.com/stretchr/testify/require"

	"replyworker/internal/dedupe"
)

// Real is a Redis that somebody else runs: a server, a Cluster, or what Sentinel leads to. Its clock
// cannot be moved, so Advance moves what the keys say about time into the past instead.
type Real struct {
	where  dedupe.Server
	roots  *x509.CertPool
	prefix string
	nodes  *nodes
}

// NewReal uses the servers that cfg names, with keys of its own, which it deletes in the end.
func NewReal(t testing.TB, cfg dedupe.Config) *Real {
	t.Helper()
	r := &Real{where: cfg.Server, roots: cfg.RootCAs, prefix: "test-" + dedupe.NewToken(), nodes: newNodes(t, cfg)}
	t.Cleanup(func() {
		for _, key := range r.keys(t) {
			r.Do(t, "DEL", key)
		}
	})
	return r
}

// Where implements Server.
func (r *Real) Where() dedupe.Server { return r.where }

// Roots implements Server.
func (r *Real) Roots() *x509.CertPool { return r.roots }

// Prefix implements Server.
func (r *Real) Prefix() string { return r.prefix }

// Do implements Server.
func (r *Real) Do(t testing.TB, args ...string) string {
	t.Helper()
	return r.nodes.do(t, args...)
}

// timeFields are those of claims and holds that hold a moment in milliseconds.
var timeFields = map[string]bool{"l": true, "n": true, "u": true, "since": true, "next": true, "until": true}

// paceFields are those of paces that hold a moment in microseconds.
var paceFields = map[string]bool{"f": true, "c": true, "d": true}

// Advance implements Server.
func (r *Real) Advance(t testing.TB, d time.Duration) {
	t.Helper()
	for _, key := range r.keys(t) {
		moments, back := timeFields, d.Milliseconds()
		if strings.Contains(key, ":quota:") {
			moments, back = paceFields, d.Microseconds()
		}
		if strings.Contains(r.Do(t, "TYPE", key), "hash") {
			fields, err := proto.ReadStrings(r.Do(t, "HKEYS", key))
			require.NoError(t, err)
			for _, f := range fields {
				if moments[f] {
					r.Do(t, "HINCRBY", key, f, strconv.FormatInt(-back, 10))
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
	for _, node := range r.nodes.all {
		for cursor := "0"; ; {
			next, page := scanPage(t, r.nodes.ask(t, node, "SCAN", cursor, "MATCH", r.prefix+":*", "COUNT", "1000"))
			keys = append(keys, page...)
			if cursor = next; cursor == "0" {
				break
			}
		}
	}
	return keys
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
