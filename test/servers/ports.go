package servers

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// Ports are taken from here. They lie below those that the kernel gives to outgoing connections, so
// that none of these takes a port while its server is down; and a Redis Cluster's second port, 10000
// higher, lies below them too.
const (
	lowestPort  = 11000
	highestPort = 22700
	busOffset   = 10000
)

// ports reserves TCP ports on loopback. A server binds its port later, and again after each restart; so
// the reservation is a UDP socket at the same number, which no other process can have at the same time.
// It is safe for concurrent use.
type ports struct {
	mu   sync.Mutex
	held []net.PacketConn
}

// take reserves a port, with the one that is busOffset higher where bus is set.
func (p *ports) take(ctx context.Context, bus bool) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for range 2000 {
		port := lowestPort + rand.IntN(highestPort-lowestPort) //nolint:gosec // no secret
		if bus && !p.reserve(ctx, port+busOffset) {
			continue
		}
		if p.reserve(ctx, port) {
			return port, nil
		}
	}
	return 0, fmt.Errorf("no free port from %d to %d on 127.0.0.1", lowestPort, highestPort)
}

func (p *ports) reserve(ctx context.Context, port int) bool {
	var lc net.ListenConfig
	mark, err := lc.ListenPacket(ctx, "udp4", local(port))
	if err != nil {
		return false
	}
	l, err := lc.Listen(ctx, "tcp4", local(port))
	if err != nil {
		mark.Close() //nolint:errcheck // nothing was sent
		return false
	}
	l.Close() //nolint:errcheck // nobody has connected
	p.held = append(p.held, mark)
	return true
}

// free gives all ports back.
func (p *ports) free() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, mark := range p.held {
		mark.Close() //nolint:errcheck // nothing was sent
	}
	p.held = nil
}

// local is an address on loopback.
func local(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
