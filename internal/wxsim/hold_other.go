//go:build !linux

package wxsim

import (
	"fmt"
	"net"
)

// holdPort keeps nothing here: a port chosen by the system may be given away while the host is down.
func holdPort(addr string) (held string, release func(), err error) {
	if _, _, err := net.SplitHostPort(addr); err != nil {
		return "", nil, fmt.Errorf("address %q: %w", addr, err)
	}
	return addr, func() {}, nil
}
