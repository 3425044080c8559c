package wxclient

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
	"time"
)

// Sight is what a host shows to anybody who connects to it.
type Sight struct {
	Host    string               // and port, as configured
	Address string               // what was connected to: the host's, or the proxy's
	Proxied bool                 // a proxy of the environment stands between
	TLS     *tls.ConnectionState // nil for plain http
	Status  int
	// Ahead is how far the host's clock is ahead of ours, as its Date header tells, to about a second;
	// Dated says that there was one.
	Ahead time.Duration
	Dated bool
	Round time.Duration // from the question, once connected, to the first of the answer
}

// Step is how far a connection to a host came.
type Step string

// The steps, in their order.
const (
	StepProxy   Step = "proxy"      // the setting of the proxy cannot be used
	StepName    Step = "DNS"        // the host's name was not found
	StepConnect Step = "connection" // no connection, to it or to the proxy
	StepTLS     Step = "TLS"        // no TLS, or a certificate that is not trusted
	StepAnswer  Step = "answer"     // no answer of HTTP
)

// LookError says at which step a look at a host ended. It is no verdict of the API's.
type LookError struct {
	Step Step
	Err  error
}

func (e *LookError) Error() string { return string(e.Step) + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *LookError) Unwrap() error { return e.Err }

// Look connects to a host as a call would, through the same proxy and with the same trust, and asks
// for its front page: nothing is signed, and nothing of a merchant is sent. Any answer of HTTP will do.
// Its error is a *LookError. It ends with ctx; the time of a call is not its limit.
func (c *Client) Look(ctx context.Context, host Host) (Sight, error) {
	if host < 0 || host >= hostCount || c.bases[host] == nil {
		return Sight{}, &LookError{StepConnect, errors.New("host is not configured")}
	}
	base := c.bases[host]
	w := &watch{}
	u := &url.URL{Scheme: base.Scheme, Host: base.Host, Path: "/"}
	req, err := http.NewRequestWithContext(w.watch(ctx), http.MethodGet, u.String(), nil)
	if err != nil {
		return Sight{}, &LookError{StepConnect, err}
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", c.userAgent)
	sight := Sight{Host: base.Host}
	if c.own != nil {
		proxy, err := c.own.Proxy(req)
		if err != nil {
			return sight, &LookError{StepProxy, err}
		}
		sight.Proxied = proxy != nil
	}
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return w.seen(sight), &LookError{w.step(), quiet(err)}
	}
	defer resp.Body.Close()                                       //nolint:errcheck // nothing is left to be learned from it
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection may serve again
	sight = w.seen(sight)
	sight.TLS, sight.Status = resp.TLS, resp.StatusCode
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		// The header tells whole seconds, so the host's clock is half a second later on average.
		sight.Ahead, sight.Dated = date.Add(time.Second/2).Sub(c.now().Add(-sight.Round/2)), true
	}
	return sight, nil
}

// watch notes how far a connection got. net/http calls its hooks from goroutines of its own.
type watch struct {
	mu              sync.Mutex
	named, dialed   bool
	tls, secure     bool
	address         string
	wrote, answered time.Time
}

func (w *watch) watch(ctx context.Context) context.Context {
	note := func(do func()) {
		w.mu.Lock()
		defer w.mu.Unlock()
		do()
	}
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		DNSDone: func(info httptrace.DNSDoneInfo) { note(func() { w.named = info.Err == nil }) },
		ConnectStart: func(_, address string) {
			note(func() { w.named, w.address = true, address })
		},
		ConnectDone: func(_, address string, err error) {
			note(func() {
				if err == nil {
					w.dialed, w.address = true, address
				}
			})
		},
		TLSHandshakeStart: func() { note(func() { w.tls = true }) },
		TLSHandshakeDone:  func(_ tls.ConnectionState, err error) { note(func() { w.secure = err == nil }) },
		GotConn: func(info httptrace.GotConnInfo) {
			note(func() {
				w.named, w.dialed, w.tls, w.secure, w.address = true, true, true, true, info.Conn.RemoteAddr().String()
			})
		},
		WroteRequest:         func(httptrace.WroteRequestInfo) { note(func() { w.wrote = time.Now() }) },
		GotFirstResponseByte: func() { note(func() { w.answered = time.Now() }) },
	})
}

// seen adds what was noted.
func (w *watch) seen(s Sight) Sight {
	w.mu.Lock()
	defer w.mu.Unlock()
	s.Address = w.address
	if !w.wrote.IsZero() && w.answered.After(w.wrote) {
		s.Round = w.answered.Sub(w.wrote)
	}
	return s
}

// step says where a connection that failed had come to.
func (w *watch) step() Step {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case !w.named:
		return StepName
	case !w.dialed:
		return StepConnect
	case w.tls && !w.secure:
		return StepTLS
	default:
		return StepAnswer
	}
}
