package wxclient

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	defaultTimeout  = 10 * time.Second
	defaultMaxConns = 64

	// maxConnect bounds the connection and the TLS handshake, each, so that a host which swallows
	// packets is given up while there is still time for the other one. Two lost SYN packets fit in.
	maxConnect = 5 * time.Second
	// idleTimeout is below the API's own 8 s, so that we are the ones who close.
	idleTimeout = 5 * time.Second

	maxHeaderBytes = 64 << 10
)

// Config is what a [Client] is made of.
type Config struct {
	// PrimaryURL is the first host, https://HOST or https://HOST:PORT. Plain http is allowed to
	// loopback addresses, for simulators. Required.
	PrimaryURL string
	// BackupURL is the second host, by the same rules. Empty means there is none.
	BackupURL string
	// RootCAs are the authorities that the hosts' certificates are checked with. Nil means the
	// system's.
	RootCAs *x509.CertPool
	// Timeout bounds one call, from connecting to the last byte of the answer. Default 10 s;
	// negative is refused. Connecting and the TLS handshake get at most 5 s of it each.
	Timeout time.Duration
	// MaxConns is how many idle connections are kept to each host: the number of calls that the
	// caller makes at once. Default 64; negative is refused. It is no limit on calls: waiting for
	// a connection would be billed to Timeout and look like a fault of the host.
	MaxConns int
	// UserAgent is sent with every call; the API refuses calls without one. Default "replyworker".
	UserAgent string
	// Now is the clock of signatures. Default time.Now.
	Now func() time.Time
	// Rand is the source of nonces, and is handed to the merchants' signers. It must be safe for
	// concurrent use. Default crypto/rand.Reader.
	Rand io.Reader
	// Transport makes the calls instead of the package's own HTTP/1.1 transport; RootCAs and MaxConns
	// mean nothing then, and [Client.Close] leaves it alone. Nil means the package's own.
	Transport http.RoundTripper
}

// Client calls the API. It is safe for concurrent use. Who made it closes it.
type Client struct {
	bases      [hostCount]*url.URL // nil: there is no such host
	transport  http.RoundTripper
	own        *http.Transport // nil where the caller brought a transport
	timeout    time.Duration
	errTimeout error
	userAgent  string
	now        func() time.Time
	rand       io.Reader
}

// New returns a client. It connects to nothing. Its error joins every fault of the configuration.
func New(cfg Config) (*Client, error) {
	c := &Client{
		timeout:   cfg.Timeout,
		userAgent: cfg.UserAgent,
		now:       cfg.Now,
		rand:      cfg.Rand,
		transport: cfg.Transport,
	}
	var faults []error
	var err error
	if c.bases[Primary], err = parseBase("primary-url", cfg.PrimaryURL); err != nil {
		faults = append(faults, err)
	}
	if cfg.BackupURL != "" {
		if c.bases[Backup], err = parseBase("backup-url", cfg.BackupURL); err != nil {
			faults = append(faults, err)
		}
	}
	if cfg.Timeout < 0 {
		faults = append(faults, fmt.Errorf("request-timeout: %s, must not be negative", cfg.Timeout))
	}
	if cfg.MaxConns < 0 {
		faults = append(faults, fmt.Errorf("connections: %d, must not be negative", cfg.MaxConns))
	}
	if strings.ContainsFunc(cfg.UserAgent, func(r rune) bool { return r < ' ' || r > '~' }) {
		faults = append(faults, errors.New("user agent: must be printable ASCII"))
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}

	if c.timeout == 0 {
		c.timeout = defaultTimeout
	}
	c.errTimeout = fmt.Errorf("no complete answer within %s: %w", c.timeout, context.DeadlineExceeded)
	if c.userAgent == "" {
		c.userAgent = "replyworker"
	}
	if c.now == nil {
		c.now = time.Now
	}
	if c.rand == nil {
		c.rand = rand.Reader
	}
	if c.transport == nil {
		c.own = newTransport(cfg, c.timeout)
		c.transport = c.own
	}
	return c, nil
}

func newTransport(cfg Config, timeout time.Duration) *http.Transport {
	conns := cfg.MaxConns
	if conns == 0 {
		conns = defaultMaxConns
	}
	connect := min(timeout, maxConnect)
	var http1 http.Protocols
	http1.SetHTTP1(true)
	return &http.Transport{
		Proxy:                  proxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: connect}).DialContext,
		TLSClientConfig:        &tls.Config{RootCAs: cfg.RootCAs, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    connect,
		Protocols:              &http1,
		DisableCompression:     true, // the signature covers the bytes as they come
		MaxIdleConnsPerHost:    conns,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxHeaderBytes,
	}
}

// proxyFromEnvironment hides the cause of a broken proxy setting: it repeats the setting, which may
// hold a password.
func proxyFromEnvironment(req *http.Request) (*url.URL, error) {
	u, err := http.ProxyFromEnvironment(req)
	if err != nil {
		return nil, errors.New("HTTPS_PROXY or HTTP_PROXY is not a proxy's URL")
	}
	return u, nil
}

// HasBackup reports whether there is a second host.
func (c *Client) HasBackup() bool { return c.bases[Backup] != nil }

// Close drops idle connections. No call may be under way or come after it.
func (c *Client) Close() {
	if c.own != nil {
		c.own.CloseIdleConnections()
	}
}
