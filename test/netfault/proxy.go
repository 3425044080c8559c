// Package netfault is a TCP proxy that misbehaves on request, to put between a program and what it
// talks to.
package netfault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// Mode is what a proxy does with its connections.
type Mode string

// The modes of a proxy.
const (
	Pass   Mode = "pass"   // Bytes go both ways at once.
	Slow   Mode = "slow"   // Each piece read is passed on after a delay, in order.
	Stall  Mode = "stall"  // Connections are taken and stay; no byte moves, as when packets are dropped.
	Refuse Mode = "refuse" // Those that there are, are reset, and new ones as soon as they are made.
)

const (
	pieceSize   = 32 << 10
	dialTimeout = 5 * time.Second
)

// Proxy listens on a loopback port and passes connections on to one address. It starts in Pass. It is
// safe for concurrent use. Close it.
type Proxy struct {
	upstream string
	listener net.Listener
	ctx      context.Context //nolint:containedctx // Its end is Close, for every connection.
	cancel   context.CancelFunc
	done     sync.WaitGroup

	mu      sync.Mutex
	mode    Mode
	delay   time.Duration
	changed chan struct{} // Closed, and made anew, when the mode changes.
	conns   map[*net.TCPConn]struct{}
}

// Listen starts a proxy in front of upstream, a host and port.
func Listen(upstream string) (*Proxy, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("proxy for %s: %w", upstream, err)
	}
	p := &Proxy{
		upstream: upstream, listener: ln, mode: Pass, changed: make(chan struct{}), conns: map[*net.TCPConn]struct{}{},
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.done.Go(p.accept)
	return p, nil
}

// Addr returns the address to connect to.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Set changes the mode, for the connections that there are as well. delay is for Slow.
func (p *Proxy) Set(mode Mode, delay time.Duration) {
	p.mu.Lock()
	p.mode, p.delay = mode, delay
	close(p.changed)
	p.changed = make(chan struct{})
	p.mu.Unlock()
	if mode == Refuse {
		p.Cut()
	}
}

// Cut resets the connections that there are; new ones are as the mode says.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		reset(c)
	}
}

// Open returns the number of connections, each counted on both sides.
func (p *Proxy) Open() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns)
}

// Close resets every connection and returns when nothing is left.
func (p *Proxy) Close() {
	p.cancel()
	_ = p.listener.Close() // Nothing is to be done about it.
	p.Cut()
	p.done.Wait()
}

func (p *Proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // The client left while it waited.
		}
		p.done.Go(func() { p.serve(c.(*net.TCPConn)) }) //nolint:forcetypeassert // A TCP listener's.
	}
}

// serve passes one connection on until either side ends it.
func (p *Proxy) serve(client *net.TCPConn) {
	if !p.enter(client) {
		return
	}
	defer p.leave(client)
	if !p.may() {
		return
	}
	dialer := &net.Dialer{Timeout: dialTimeout}
	c, err := dialer.DialContext(p.ctx, "tcp", p.upstream)
	if err != nil {
		return
	}
	server := c.(*net.TCPConn) //nolint:forcetypeassert // "tcp" says so.
	if !p.enter(server) {
		return
	}
	defer p.leave(server)
	var both sync.WaitGroup
	both.Go(func() { p.pass(client, server) })
	both.Go(func() { p.pass(server, client) })
	both.Wait()
}

// pass moves bytes one way, as the mode allows at each moment.
func (p *Proxy) pass(from, to *net.TCPConn) {
	piece := make([]byte, pieceSize)
	for {
		n, err := from.Read(piece)
		if n > 0 {
			if !p.may() {
				break
			}
			if _, err := to.Write(piece[:n]); err != nil {
				break
			}
		}
		if err != nil {
			// Its end is passed on as it came: the other direction may have more to say.
			if errors.Is(err, io.EOF) && p.may() && to.CloseWrite() == nil {
				return
			}
			break
		}
	}
	reset(from)
	reset(to)
}

// may waits until bytes may move; false when they never may.
func (p *Proxy) may() bool {
	for {
		p.mu.Lock()
		mode, delay, changed := p.mode, p.delay, p.changed
		p.mu.Unlock()
		var slow <-chan time.Time
		switch mode {
		case Pass:
			return p.ctx.Err() == nil
		case Refuse:
			return false
		case Slow:
			slow = time.After(delay)
		case Stall:
		}
		select {
		case <-p.ctx.Done():
			return false
		case <-slow:
			return true
		case <-changed:
		}
	}
}

// enter notes a connection, unless it must not be.
func (p *Proxy) enter(c *net.TCPConn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mode == Refuse || p.ctx.Err() != nil {
		reset(c)
		return false
	}
	p.conns[c] = struct{}{}
	return true
}

func (p *Proxy) leave(c *net.TCPConn) {
	p.mu.Lock()
	delete(p.conns, c)
	p.mu.Unlock()
	_ = c.Close() // Both directions are over.
}

// reset ends a connection with RST instead of FIN.
func reset(c *net.TCPConn) {
	_ = c.SetLinger(0) // A connection that is closed already is what is wanted.
	_ = c.Close()
}
