package wxclient_test

import (
	"bufio"
	"context"
	"io"
	"log"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"replyworker/internal/wxclient"
)

// peer is the other side of a client's connections. They are pipes, so that in a bubble of synctest the
// clock only moves while both sides wait.
type peer struct {
	requests atomic.Int64 // that were read to their end
	dials    atomic.Int64
	taken    atomic.Int64 // bytes that the client has read of the first connection

	serving sync.WaitGroup
	mu      sync.Mutex
	open    []net.Conn
}

// pipeClient returns a client whose every connection is served by serve, n counting them from 0. serve
// must return once the client has closed the connection.
func pipeClient(t *testing.T, cfg wxclient.Config, serve func(p *peer, conn net.Conn, n int)) (*wxclient.Client, *peer) {
	t.Helper()
	if cfg.PrimaryURL == "" {
		cfg.PrimaryURL = "http://127.0.0.1:80"
	}
	c := newClient(t, cfg)
	p := &peer{}
	c.DialWith(func(context.Context, string, string) (net.Conn, error) {
		n := int(p.dials.Add(1)) - 1
		ours, theirs := net.Pipe()
		p.mu.Lock()
		p.open = append(p.open, theirs)
		p.mu.Unlock()
		p.serving.Go(func() {
			defer theirs.Close()
			conn := theirs
			if n == 0 {
				conn = &metered{Conn: theirs, written: &p.taken}
			}
			serve(p, conn, n)
		})
		return ours, nil
	})
	return c, p
}

// next reads one request.
func (p *peer) next(r *bufio.Reader) bool {
	if _, err := readRequest(r); err != nil {
		return false
	}
	p.requests.Add(1)
	return true
}

// metered counts what the other side of a pipe has read.
type metered struct {
	net.Conn

	written *atomic.Int64
}

func (m *metered) Write(b []byte) (int, error) {
	n, err := m.Conn.Write(b)
	m.written.Add(int64(n))
	return n, err
}

// quietLog drops what net/http logs by itself of what comes on idle connections, as the program does.
func quietLog(tb testing.TB) {
	tb.Helper()
	before := log.Writer()
	log.SetOutput(io.Discard)
	tb.Cleanup(func() { log.SetOutput(before) })
}

// stop closes what a failed test has left open, and waits for serve.
func (p *peer) stop() {
	p.mu.Lock()
	for _, conn := range p.open {
		conn.Close()
	}
	p.mu.Unlock()
	p.serving.Wait()
}

// inBubble runs a test in a bubble, which ends when no goroutine of the client or its peer is left.
func inBubble(t *testing.T, cfg wxclient.Config, serve func(p *peer, conn net.Conn, n int),
	test func(t *testing.T, c *wxclient.Client, p *peer),
) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c, p := pipeClient(t, cfg, serve)
		defer func() {
			c.Close()
			synctest.Wait()
			p.stop()
		}()
		test(t, c, p)
	})
}
