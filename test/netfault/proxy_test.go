package netfault_test

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"replyworker/test/netfault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo answers each byte with itself.
func echo(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}()
		}
	}()
	return ln.Addr().String()
}

func connect(t *testing.T) (*netfault.Proxy, net.Conn) {
	t.Helper()
	p, err := netfault.Listen(echo(t))
	require.NoError(t, err)
	t.Cleanup(p.Close)
	return p, dial(t, p)
}

func dial(t *testing.T, p *netfault.Proxy) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr())
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	require.NoError(t, c.SetDeadline(time.Now().Add(10*time.Second)))
	return c
}

func ask(c net.Conn) error {
	if _, err := c.Write([]byte("x")); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 1))
	return err
}

func TestPassAndCut(t *testing.T) {
	t.Parallel()
	p, c := connect(t)
	require.NoError(t, ask(c))
	require.Equal(t, 2, p.Open())
	p.Cut()
	require.Error(t, ask(c))
	require.NoError(t, ask(dial(t, p)), "a new connection passes")
}

func TestHalfClose(t *testing.T) {
	t.Parallel()
	_, c := connect(t)
	_, err := c.Write([]byte("abc"))
	require.NoError(t, err)
	require.NoError(t, c.(*net.TCPConn).CloseWrite())
	all, err := io.ReadAll(c)
	require.NoError(t, err)
	require.Equal(t, "abc", string(all), "the answer comes after the question's end")
}

func TestRefuse(t *testing.T) {
	t.Parallel()
	p, c := connect(t)
	require.NoError(t, ask(c))
	p.Set(netfault.Refuse, 0)
	require.Error(t, ask(c))
	if c, err := net.Dial("tcp", p.Addr()); err == nil { // it may be reset before it is made
		require.Error(t, ask(c))
		_ = c.Close()
	}
	p.Set(netfault.Pass, 0)
	require.NoError(t, ask(dial(t, p)))
}

func TestStallKeepsConnectionsAndBytes(t *testing.T) {
	t.Parallel()
	p, c := connect(t)
	p.Set(netfault.Stall, 0)
	answered := make(chan error, 1)
	go func() { answered <- ask(c) }()
	select {
	case err := <-answered:
		require.Fail(t, "no byte may move", "%v", err)
	case <-time.After(50 * time.Millisecond):
	}
	p.Set(netfault.Pass, 0)
	require.NoError(t, <-answered)
}

func TestSlow(t *testing.T) {
	t.Parallel()
	const delay = 30 * time.Millisecond
	p, c := connect(t)
	p.Set(netfault.Slow, delay)
	start := time.Now()
	require.NoError(t, ask(c))
	require.GreaterOrEqual(t, time.Since(start), 2*delay, "once each way")
}

func TestCloseWhileStalled(t *testing.T) {
	t.Parallel()
	p, c := connect(t)
	p.Set(netfault.Stall, 0)
	_, err := c.Write([]byte("x"))
	require.NoError(t, err)
	p.Close()
	require.Zero(t, p.Open())
	require.Error(t, ask(c))
}
