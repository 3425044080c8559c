package wxclient

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http/httptrace"
	"sync/atomic"
)

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
