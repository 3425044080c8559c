package wxclient

import (
	"context"
	"crypto"
	"crypto/rsa"
	"net"
)

// DialWith makes the client's own transport connect by dial, so that a test may have the other end of
// each connection without a socket.
func (c *Client) DialWith(dial func(ctx context.Context, network, addr string) (net.Conn, error)) {
	c.own.DialContext = dial
}

// NewSigner makes this build's signer of a key that nobody checked.
func NewSigner(key *rsa.PrivateKey) (crypto.Signer, error) { return newSigner(key) }
