package wxclient

import (
	"context"
	"net"
)

// DialWith makes the client's own transport connect by dial, so that a test may have the other end of
// each connection without a socket.
func (c *Client) DialWith(dial func(ctx context.Context, network, addr string) (net.Conn, error)) {
	c.own.DialContext = dial
}
