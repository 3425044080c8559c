package dedupetest

import (
	"crypto/tls"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2/proto"
	"github.com/stretchr/testify/require"

	"replyworker/internal/dedupe"
)

// nodes are the servers of a Redis that have keys, asked without the product's client. They are for
// one goroutine.
type nodes struct {
	server dedupe.Server
	tls    *tls.Config // nil for plain text
	all    []string    // their addresses: one, or the masters of a Cluster
	conns  map[string]*proto.Client
}

// newNodes finds the servers. Connections end with the test.
func newNodes(t testing.TB, cfg dedupe.Config) *nodes {
	t.Helper()
	n := &nodes{server: cfg.Server, conns: map[string]*proto.Client{}}
	if n.server.TLS {
		n.tls = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: cfg.RootCAs}
	}
	t.Cleanup(func() {
		for _, c := range n.conns {
			_ = c.Close()
		}
	})
	switch {
	case n.server.Master != "":
		n.all = []string{n.master(t)}
	case n.server.Cluster:
		n.all = n.masters(t)
	default:
		n.all = n.server.Addrs
	}
	return n
}

// do sends a command to the node that has its key, or to all of them where it has none.
func (n *nodes) do(t testing.TB, args ...string) string {
	t.Helper()
	answer := ""
	for _, node := range n.all {
		answer = n.answer(t, node, args...)
		if moved, ok := strings.CutPrefix(answer, "-MOVED "); ok { // slot, address
			return n.ask(t, n.reachable(strings.Fields(moved)[1]), args...)
		}
		require.False(t, strings.HasPrefix(answer, "-"), "command %q: %s", args, answer)
		if args[0] != "SCRIPT" {
			break
		}
	}
	return answer
}

// ask sends a command to one node, which must not refuse it.
func (n *nodes) ask(t testing.TB, node string, args ...string) string {
	t.Helper()
	answer := n.answer(t, node, args...)
	require.False(t, strings.HasPrefix(answer, "-"), "command %q: %s", args, answer)
	return answer
}

func (n *nodes) answer(t testing.TB, node string, args ...string) string {
	t.Helper()
	if n.conns[node] == nil {
		n.conns[node] = n.dial(t, node)
		n.logIn(t, node)
	}
	answer, err := n.conns[node].Do(args...)
	require.NoError(t, err, "command %q", args)
	return answer
}

func (n *nodes) dial(t testing.TB, addr string) *proto.Client {
	t.Helper()
	var c *proto.Client
	var err error
	if n.tls != nil {
		c, err = proto.DialTLS(addr, n.tls)
	} else {
		c, err = proto.Dial(addr)
	}
	require.NoError(t, err)
	return c
}

func (n *nodes) logIn(t testing.TB, node string) {
	t.Helper()
	s := n.server
	switch {
	case s.Username != "":
		n.ask(t, node, "AUTH", s.Username, s.Password)
	case s.Password != "":
		n.ask(t, node, "AUTH", s.Password)
	}
	if s.DB != 0 {
		n.ask(t, node, "SELECT", strconv.Itoa(s.DB))
	}
}

// master asks Sentinel.
func (n *nodes) master(t testing.TB) string {
	t.Helper()
	sentinel := n.dial(t, n.server.Addrs[0])
	defer func() { _ = sentinel.Close() }()
	addr, err := sentinel.DoStrings("SENTINEL", "get-master-addr-by-name", n.server.Master)
	require.NoError(t, err)
	require.Len(t, addr, 2, "Sentinel should know the master %s", n.server.Master)
	return net.JoinHostPort(addr[0], addr[1])
}

// masters asks one node of a Cluster for those that have slots:
// "id ip:port@bus[,host] flags ... link-state slot ..." a line.
func (n *nodes) masters(t testing.TB) []string {
	t.Helper()
	text, err := proto.ReadString(n.ask(t, n.server.Addrs[0], "CLUSTER", "NODES"))
	require.NoError(t, err)
	var all []string
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) > 8 && slices.Contains(strings.Split(f[2], ","), "master") {
			addr, _, _ := strings.Cut(f[1], "@")
			all = append(all, n.reachable(addr))
		}
	}
	require.NotEmpty(t, all, "masters with slots in %q", text)
	return all
}

// reachable fills in the host, which a Cluster leaves out where it does not know its own.
func (n *nodes) reachable(addr string) string {
	if strings.HasPrefix(addr, ":") {
		host, _, _ := net.SplitHostPort(n.server.Addrs[0])
		return host + addr
	}
	return addr
}
