package kafkaio

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"
)

// shunFor is how long a broker is not asked first after it took a connection and answered nothing.
// Joining tries again every half second.
const shunFor = 2 * time.Second

// steer connects consumer groups. kafka-go asks for the group's coordinator at the first bootstrap
// address that takes a connection, each time anew: behind a load balancer, or of a broker that hangs,
// that may be one which never answers, and no worker would join while the others are well. So an
// address that was silent is refused for a while, where another one can be asked.
type steer struct {
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
	brokers []string

	mu     sync.Mutex
	silent map[string]time.Time // until when an address is refused
}

func newSteer(brokers []string, dial func(ctx context.Context, network, address string) (net.Conn, error)) *steer {
	return &steer{dial: dial, brokers: brokers, silent: map[string]time.Time{}}
}

func (s *steer) connect(ctx context.Context, network, address string) (net.Conn, error) {
	if s.shuns(address) {
		return nil, fmt.Errorf("%s takes connections and does not answer; another broker is asked", address)
	}
	conn, err := s.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &steered{Conn: conn, heard: func(spoke bool) { s.note(address, spoke) }}, nil
}

// shuns says whether an address is refused: it was silent a moment ago, and another was not.
func (s *steer) shuns(address string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	refused := func(a string) bool { return now.Before(s.silent[a]) }
	return refused(address) && slices.ContainsFunc(s.brokers, func(a string) bool { return !refused(a) })
}

// note keeps whether a connection was of use. Only bootstrap addresses are kept: there are few.
func (s *steer) note(address string, spoke bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case spoke:
		delete(s.silent, address)
	case slices.Contains(s.brokers, address):
		s.silent[address] = time.Now().Add(shunFor)
	}
}

// steered tells of the first read of a connection. One goroutine reads at a time.
type steered struct {
	net.Conn

	heard func(spoke bool) // nil once told
}

// Read implements net.Conn.
func (c *steered) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.heard != nil && (n > 0 || err != nil) {
		c.heard(n > 0)
		c.heard = nil
	}
	return n, err //nolint:wrapcheck // a net.Conn's own
}
