package wxclient

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
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
	maxBodyBytes   = 1 << 20
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

// Answer is a reply that the API took: its signature is verified and it has a log_id.
type Answer struct {
	LogID      string
	RequestID  string // the Request-ID header; empty where there was none
	HTTPStatus int
}

// Reply sends body, byte for byte, as the merchant's reply to the complaint, in exactly one request
// with a fresh timestamp and nonce, and waits for the answer.
//
// Every error is an [*Error]. Faults that show before anything is sent have no Status and are not
// Sent: a merchant that cannot sign is [ClassCredentials], a complaint id or body that cannot be sent
// is [ClassRefused], a host that is not configured is [ClassHostFailed].
//
// Body must not be changed any more, not even after Reply has returned: of a call that timed out, the
// connection may still be reading it.
func (c *Client) Reply(ctx context.Context, host Host, m *Merchant, complaintID string, body []byte) (Answer, error) {
	if ctx.Err() != nil {
		// Whatever ended it, the host was not asked and is not to blame.
		return Answer{}, &Error{Class: ClassCanceled, Host: host, Err: context.Cause(ctx)}
	}
	callCtx, cancel := context.WithTimeoutCause(ctx, c.timeout, c.errTimeout)
	defer cancel()
	var w wire
	req, fault := c.newRequest(w.watch(callCtx), host, m, complaintID, body)
	if fault != nil {
		return Answer{}, fault
	}
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return Answer{}, &Error{
			Class: brokenClass(ctx), Host: host, Sent: w.sent(err), Err: brokenCause(ctx, callCtx, err),
		}
	}
	defer resp.Body.Close() //nolint:errcheck // nothing is left to be learned from it

	if class := classOf(resp.StatusCode); class != classNone {
		return Answer{}, c.refusal(class, host, resp)
	}
	answer, err := readBody(resp)
	if err != nil {
		return Answer{}, &Error{
			Class: brokenClass(ctx), Host: host, Sent: true, Status: resp.StatusCode, RequestID: requestID(resp.Header),
			Err: fmt.Errorf("answer broke off: %w", brokenCause(ctx, callCtx, err)),
		}
	}
	return c.judge(host, m, resp, answer)
}

// refusal makes the error of an answer that is no 2xx. Its body only adds to what the status says, so
// one that breaks off, is too large or does not come in time is used as far as it goes.
func (c *Client) refusal(class Class, host Host, resp *http.Response) *Error {
	e := &Error{
		Class: class, Host: host, Status: resp.StatusCode, Sent: true,
		RequestID: requestID(resp.Header), RetryAfter: retryAfter(resp.Header, c.now()),
	}
	if resp.StatusCode < http.StatusOK {
		// "101 Switching Protocols": what follows is not HTTP and may never end.
		e.Err = errors.New("not a final HTTP answer")
		return e
	}
	body, _ := readBody(resp)
	e.Code, e.Message, e.Detail = parseError(body)
	return e
}

// judge decides on a 2xx answer that was read to its end, or to the limit.
func (c *Client) judge(host Host, m *Merchant, resp *http.Response, body []byte) (Answer, error) {
	logID, err := c.logID(m, resp.Header, body)
	if err == nil {
		return Answer{LogID: logID, RequestID: requestID(resp.Header), HTTPStatus: resp.StatusCode}, nil
	}
	e := &Error{
		Class: ClassUnknown, Host: host, Status: resp.StatusCode, Sent: true,
		RequestID: requestID(resp.Header), Err: err,
	}
	if keyErr, ok := errors.AsType[*unknownKeyError](err); ok {
		e.Class, e.KeyID = ClassUnknownKey, keyErr.id
	}
	e.Code, e.Message, e.Detail = parseError(body)
	return Answer{}, e
}

// logID returns the log_id of an answer whose signature is good. The raw bytes are verified first:
// nothing of an unverified answer is believed.
func (c *Client) logID(m *Merchant, h http.Header, body []byte) (string, error) {
	if len(body) > maxBodyBytes {
		return "", errTooLarge
	}
	if err := verify(m, h, body, c.now()); err != nil {
		return "", err
	}
	return parseLogID(body)
}

// readBody reads the answer's body, at most one byte more than maxBodyBytes, which tells a body that
// is too large. What it returns with an error is what had come until then.
func readBody(resp *http.Response) ([]byte, error) {
	var buf bytes.Buffer
	if n := resp.ContentLength; n > 0 {
		buf.Grow(int(min(n, maxBodyBytes)) + bytes.MinRead)
	}
	_, err := buf.ReadFrom(io.LimitReader(resp.Body, maxBodyBytes+1))
	return buf.Bytes(), err
}

// wire notes how far a request got on its way.
type wire struct {
	started   atomic.Bool
	connected atomic.Bool
}

// watch returns a context that makes net/http report to w.
//
// GotConn is the border, not WroteHeaders or WroteRequest: it is called in the caller's goroutine
// before the request is handed to the connection's writer. The later hooks run in that writer, and of
// a call that times out at this moment they may come after RoundTrip has returned, with the request
// on the wire and us believing otherwise.
func (w *wire) watch(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { w.started.Store(true) },
		GotConn: func(httptrace.GotConnInfo) { w.connected.Store(true) },
	})
}

// sent reports whether the request may have reached the API although RoundTrip failed with err. It
// errs on the side of yes: a connection found dead before the first byte counts as sent.
func (w *wire) sent(err error) bool {
	if w.started.Load() {
		return w.connected.Load()
	}
	// A transport that reports nothing. Only what can but happen before a request is written is taken
	// for it.
	var op *net.OpError
	var dns *net.DNSError
	var cert *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &op) && (op.Op == "dial" || op.Op == "proxyconnect"):
		return false
	case errors.As(err, &dns), errors.As(err, &cert), errors.As(err, &record):
		return false
	}
	return true
}

// brokenClass tells a call that its caller gave up from one that the host failed. A deadline of the
// caller's is a timeout like our own.
func brokenClass(ctx context.Context) Class {
	if errors.Is(ctx.Err(), context.Canceled) {
		return ClassCanceled
	}
	return ClassHostFailed
}

// brokenCause returns what ended a call without an answer: the end of a context before the fault of
// the connection that it brought about.
func brokenCause(ctx, callCtx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case callCtx.Err() != nil:
		return context.Cause(callCtx)
	default:
		return quiet(err)
	}
}
