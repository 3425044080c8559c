package wxsim

import (
	"fmt"
	"net"
	"strconv"
	"syscall"
)

// holdPort chooses the port where addr leaves it open, and keeps it, by a socket that is bound but
// does not listen: while the host is down, connections are refused and no other program is given the
// port. Without it a connection to the closed port may even be given that same port for its own end
// and so connect to itself.
func holdPort(addr string) (held string, release func(), err error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", nil, fmt.Errorf("address %q: %w", addr, err)
	}
	ip := net.ParseIP(host)
	if host == "localhost" {
		ip = net.IPv4(127, 0, 0, 1)
	}
	if port != "0" || ip == nil {
		return addr, func() {}, nil
	}
	fd, bound, err := bindUnused(ip)
	if err != nil {
		return "", nil, fmt.Errorf("address %q: %w", addr, err)
	}
	return net.JoinHostPort(ip.String(), strconv.Itoa(bound)), func() { _ = syscall.Close(fd) }, nil
}

func bindUnused(ip net.IP) (fd, port int, err error) {
	family, where := syscall.AF_INET6, syscall.Sockaddr(&syscall.SockaddrInet6{Addr: [16]byte(ip.To16())})
	if v4 := ip.To4(); v4 != nil {
		family, where = syscall.AF_INET, &syscall.SockaddrInet4{Addr: [4]byte(v4)}
	}
	fd, err = syscall.Socket(family, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, 0, fmt.Errorf("socket: %w", err)
	}
	// The listener's socket, which has this option too, may then share the port.
	err = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	if err == nil {
		err = syscall.Bind(fd, where)
	}
	if err == nil {
		where, err = syscall.Getsockname(fd)
	}
	if err != nil {
		_ = syscall.Close(fd)
		return 0, 0, fmt.Errorf("bind: %w", err)
	}
	switch bound := where.(type) {
	case *syscall.SockaddrInet4:
		return fd, bound.Port, nil
	case *syscall.SockaddrInet6:
		return fd, bound.Port, nil
	}
	_ = syscall.Close(fd)
	return 0, 0, fmt.Errorf("bind: odd address %T", where)
}
