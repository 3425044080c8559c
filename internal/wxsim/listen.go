package wxsim

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

var errClosed = errors.New("simulator is closed")

const (
	keepAlive     = 8 * time.Second // The real API's.
	headerTimeout = 10 * time.Second
	upPatience    = 2 * time.Second
	upPause       = 20 * time.Millisecond
)

// ListenParams says where and as whom to serve. The zero value serves on two free ports of 127.0.0.1
// with a certificate of a CA made for the purpose.
type ListenParams struct {
	PrimaryAddr string // Default 127.0.0.1:0. Port 0 is a free one, which the host keeps while it is down.
	BackupAddr  string // The same.
	// Certificate is the servers'; CAPEM is the CA that clients should trust for it. Both or neither.
	Certificate *tls.Certificate
	CAPEM       []byte
}

// Servers are the hosts that Listen started. Sim.Close stops them.
type Servers struct {
	PrimaryURL, BackupURL string // Without a trailing slash.
	CAPEM                 []byte // What a client must trust, in PEM.
}

// Listen starts HTTPS servers for both hosts. While a "down" fault is in force its host refuses
// connections; afterwards it is up again on the same port. Nothing is left running where it fails.
func (s *Sim) Listen(p ListenParams) (*Servers, error) {
	if p.Certificate == nil {
		ca, err := newAuthority(time.Now())
		if err != nil {
			return nil, err
		}
		if p.Certificate, err = ca.issue(nil, time.Now()); err != nil {
			return nil, err
		}
		p.CAPEM = ca.certPEM
	}
	s.change.Lock()
	defer s.change.Unlock()
	if s.isClosed() {
		return nil, errClosed
	}
	primary, err := s.start(Primary, or(p.PrimaryAddr, "127.0.0.1:0"), p.Certificate)
	if err != nil {
		return nil, err
	}
	backup, err := s.start(Backup, or(p.BackupAddr, "127.0.0.1:0"), p.Certificate)
	if err != nil {
		primary.close()
		return nil, err
	}
	s.servers = append(s.servers, primary, backup)
	if err := s.switchHosts(); err != nil {
		return nil, err
	}
	return &Servers{PrimaryURL: primary.url(), BackupURL: backup.url(), CAPEM: p.CAPEM}, nil
}

// hostServer is one host's server. Its port may close and open again.
type hostServer struct {
	host    Host
	addr    string
	http    *http.Server
	release func() // Gives the port back.
	serving sync.WaitGroup
	open    sync.WaitGroup // Connections.

	mu    sync.Mutex
	ln    net.Listener // Nil while down.
	used  bool         // It has been up before.
	conns map[*trackedConn]struct{}
}

func (s *Sim) start(host Host, addr string, cert *tls.Certificate) (*hostServer, error) {
	addr, release, err := holdPort(addr)
	if err != nil {
		return nil, fmt.Errorf("listen for %s: %w", host, err)
	}
	srv := &hostServer{host: host, addr: addr, release: release, conns: map[*trackedConn]struct{}{}}
	srv.http = &http.Server{
		Handler:           s.Handler(host),
		TLSConfig:         &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*cert}},
		Protocols:         new(http.Protocols),
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       keepAlive,
		ErrorLog:          log.New(io.Discard, "", 0), // Broken connections are what a simulator is for.
	}
	srv.http.Protocols.SetHTTP1(true) // As the API; and connections of HTTP/2 could not be reset.
	if err := srv.up(); err != nil {
		release()
		return nil, fmt.Errorf("listen for %s: %w", host, err)
	}
	return srv, nil
}

// up opens the port, unless it is open. A port that was just closed may be busy for a moment.
func (h *hostServer) up() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ln != nil {
		return nil
	}
	ln, err := net.Listen("tcp", h.addr)
	deadline := time.Now().Add(upPatience)
	for errors.Is(err, syscall.EADDRINUSE) && h.used && time.Now().Before(deadline) {
		<-time.After(upPause)
		ln, err = net.Listen("tcp", h.addr)
	}
	if err != nil {
		return fmt.Errorf("open port: %w", err)
	}
	h.addr, h.ln, h.used = ln.Addr().String(), ln, true
	h.serving.Go(func() {
		// It always ends with an error, when the port closes.
		_ = h.http.ServeTLS(&trackingListener{Listener: ln, host: h}, "", "")
	})
	return nil
}

// down closes the port and resets every connection.
func (h *hostServer) down() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ln == nil {
		return
	}
	_ = h.ln.Close()
	h.ln = nil
	for conn := range h.conns {
		conn.forget()
		_ = conn.SetLinger(0)
		_ = conn.TCPConn.Close()
	}
}

// close ends the server for good and waits for its connections.
func (h *hostServer) close() {
	h.down()
	_ = h.http.Close()
	h.serving.Wait()
	h.open.Wait()
	h.release()
}

func (h *hostServer) url() string {
	host, port, err := net.SplitHostPort(h.addr)
	if ip := net.ParseIP(host); err == nil && ip != nil && ip.IsUnspecified() {
		return "https://localhost:" + port
	}
	return "https://" + h.addr
}

// trackingListener notes the connections that it accepts, so that they can be reset.
type trackingListener struct {
	net.Listener
	host *hostServer
}

// Accept returns the next connection, resetting those that came in while the port was closing.
func (l *trackingListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err //nolint:wrapcheck // net/http looks at it.
		}
		tcp, ok := conn.(*net.TCPConn)
		if !ok {
			return conn, nil
		}
		if tracked := l.host.track(tcp, l.Listener); tracked != nil {
			return tracked, nil
		}
		_ = tcp.SetLinger(0)
		_ = tcp.Close()
	}
}

func (h *hostServer) track(tcp *net.TCPConn, from net.Listener) *trackedConn {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ln != from {
		return nil
	}
	conn := &trackedConn{TCPConn: tcp, host: h}
	h.conns[conn] = struct{}{}
	h.open.Add(1)
	return conn
}

type trackedConn struct {
	*net.TCPConn
	host *hostServer
}

// Close closes the connection and forgets it.
func (c *trackedConn) Close() error {
	c.host.mu.Lock()
	c.forget()
	c.host.mu.Unlock()
	return c.TCPConn.Close() //nolint:wrapcheck // net/http looks at it.
}

// forget is called with the host's lock held.
func (c *trackedConn) forget() {
	if _, open := c.host.conns[c]; open {
		delete(c.host.conns, c)
		c.host.open.Done()
	}
}
