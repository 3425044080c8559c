package dedupetest

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// Proxy stands between a Store and its server, loses answers and holds them back.
type Proxy struct {
	listener net.Listener
	upstream string
	drop     atomic.Int64
	dropped  atomic.Int64
	running  sync.WaitGroup

	asked   atomic.Int64
	holding atomic.Int64

	mu    sync.Mutex
	conns map[net.Conn]bool
	held  chan struct{} // closed when answers may pass; nil where they may
}

// NewProxy starts a Proxy to upstream that stops when the test ends.
func NewProxy(t testing.TB, upstream string) *Proxy {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &Proxy{listener: l, upstream: upstream, conns: make(map[net.Conn]bool)}
	p.running.Go(p.serve)
	t.Cleanup(p.stop)
	return p
}

// Addr is where the Store should connect.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// LoseAnswers makes the proxy cut the connection instead of passing on the next n answers: the server
// has done what it was asked, and the client does not know.
func (p *Proxy) LoseAnswers(n int) { p.drop.Store(int64(n)) }

// Lost counts the answers lost so far.
func (p *Proxy) Lost() int { return int(p.dropped.Load()) }

// Asked counts what came from the Store in one piece so far: about the round trips.
func (p *Proxy) Asked() int { return int(p.asked.Load()) }

// HoldAnswers holds all answers back until the function that it returns is called.
func (p *Proxy) HoldAnswers() (release func()) {
	held := make(chan struct{})
	p.mu.Lock()
	p.held = held
	p.mu.Unlock()
	return sync.OnceFunc(func() {
		p.mu.Lock()
		p.held = nil
		p.mu.Unlock()
		close(held)
	})
}

// Holding counts the connections whose answers are being held back.
func (p *Proxy) Holding() int { return int(p.holding.Load()) }

func (p *Proxy) awaitRelease() {
	p.mu.Lock()
	held := p.held
	p.mu.Unlock()
	if held != nil {
		p.holding.Add(1)
		defer p.holding.Add(-1)
		<-held
	}
}

func (p *Proxy) serve() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.upstream)
		if err != nil {
			_ = client.Close()
			continue
		}
		if !p.track(client, server) {
			return
		}
		p.running.Go(func() { p.forward(client, server, func() bool { p.asked.Add(1); return false }) })
		p.running.Go(func() { p.forward(server, client, func() bool { p.awaitRelease(); return p.take() }) })
	}
}

// take tells whether the answer at hand is to be lost.
func (p *Proxy) take() bool {
	for {
		n := p.drop.Load()
		if n == 0 {
			return false
		}
		if p.drop.CompareAndSwap(n, n-1) {
			p.dropped.Add(1)
			return true
		}
	}
}

func (p *Proxy) forward(from, to net.Conn, lose func() bool) {
	defer func() { _, _ = from.Close(), to.Close() }()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if err != nil || lose() {
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

func (p *Proxy) track(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		if p.conns == nil {
			_ = c.Close()
		} else {
			p.conns[c] = true
		}
	}
	return p.conns != nil
}

func (p *Proxy) stop() {
	_ = p.listener.Close()
	p.mu.Lock()
	for c := range p.conns {
		if err := c.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			continue
		}
	}
	p.conns = nil
	p.mu.Unlock()
	p.running.Wait()
}
