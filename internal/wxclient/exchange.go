package wxclient

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// maxBodyBytes is the most that is read of an answer, but where a call says otherwise.
const maxBodyBytes = 1 << 20

// received is a 2xx answer that was read to its end and whose signature is good. What it says is for
// the call to judge.
type received struct {
	status int
	header http.Header
	body   []byte
}

// noSuccess is the error of a verified answer that does not say what a success says.
func (r received) noSuccess(host Host, err error) *Error {
	e := &Error{
		Class: ClassUnknown, Host: host, Status: r.status, Sent: true, RequestID: requestID(r.header), Err: err,
	}
	e.Code, e.Message, e.Detail = parseError(r.body)
	return e
}

// ready refuses a call that need not begin, or cannot.
func (c *Client) ready(ctx context.Context, host Host, m *Merchant) *Error {
	if ctx.Err() != nil {
		// Whatever ended it, the host was not asked and is not to blame.
		return &Error{Class: ClassCanceled, Host: host, Err: context.Cause(ctx)}
	}
	if host < 0 || host >= hostCount || c.bases[host] == nil {
		return &Error{Class: ClassHostFailed, Host: host, Err: errors.New("host is not configured")}
	}
	if err := m.Validate(); err != nil {
		return &Error{Class: ClassCredentials, Host: host, Err: err}
	}
	return nil
}

// exchange is what every call does: sign the request, send it once, read the answer, classify it, and
// verify it where it is a 2xx. The caller has asked ready.
func (c *Client) exchange(ctx context.Context, host Host, m *Merchant, out outgoing) (received, *Error) {
	callCtx, cancel := context.WithTimeoutCause(ctx, c.timeout, c.errTimeout)
	defer cancel()
	var w wire
	req, fault := c.newRequest(w.watch(callCtx), host, m, out)
	if fault != nil {
		return received{}, fault
	}
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return received{}, &Error{
			Class: brokenClass(ctx), Host: host, Sent: w.sent(err), Err: brokenCause(ctx, callCtx, err),
		}
	}
	defer resp.Body.Close() //nolint:errcheck // nothing is left to be learned from it

	if class := classOf(resp.StatusCode); class != classNone {
		return received{}, c.refusal(class, host, resp)
	}
	body, err := readBody(resp, out.maxAnswer)
	if err != nil {
		return received{}, &Error{
			Class: brokenClass(ctx), Host: host, Sent: true, Status: resp.StatusCode, RequestID: requestID(resp.Header),
			Err: fmt.Errorf("answer broke off: %w", brokenCause(ctx, callCtx, err)),
		}
	}
	got := received{status: resp.StatusCode, header: resp.Header, body: body}
	if err := c.prove(m, got, out.maxAnswer); err != nil {
		e := got.noSuccess(host, err)
		if keyErr, ok := errors.AsType[*unknownKeyError](err); ok {
			e.Class, e.KeyID = ClassUnknownKey, keyErr.id
		}
		return received{}, e
	}
	return got, nil
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
	body, _ := readBody(resp, maxBodyBytes)
	e.Code, e.Message, e.Detail = parseError(body)
	return e
}

// prove verifies an answer's raw bytes, before anything of it is believed.
func (c *Client) prove(m *Merchant, got received, maxAnswer int) error {
	if len(got.body) > maxAnswer {
		return &tooLargeError{maxAnswer}
	}
	return verify(m, got.header, got.body, c.now())
}

// tooLargeError is a 2xx answer of more than its call reads.
type tooLargeError struct{ limit int }

func (e *tooLargeError) Error() string {
	return fmt.Sprintf("answer is larger than %d MiB", e.limit>>20)
}

// readBody reads the answer's body, at most one byte more than limit, which tells a body that is too
// large. What it returns with an error is what had come until then.
func readBody(resp *http.Response, limit int) ([]byte, error) {
	var buf bytes.Buffer
	if n := resp.ContentLength; n > 0 {
		buf.Grow(int(min(n, int64(limit))) + bytes.MinRead)
	}
	_, err := buf.ReadFrom(io.LimitReader(resp.Body, int64(limit)+1))
	return buf.Bytes(), err
}
