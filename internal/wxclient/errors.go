package wxclient

import (
	"encoding/json"
	"errors"
	"net/textproto"
	"strconv"
	"strings"
	"time"
)

// Error is a call that did not succeed. Everything in it that came from outside is bounded and
// printable, save Detail.
type Error struct {
	Class Class
	Host  Host
	// Status is the HTTP status, zero where no answer came.
	Status int
	// Code and Message are the API's, from an answer that may be unsigned: for people and metrics'
	// exemplars, not to decide by. Empty where there was none.
	Code    string
	Message string
	// Detail is the answer's "detail" member as it came, nil where it is larger than 4 KiB. It may
	// repeat parts of the request, so it is not for logs; Error does not show it.
	Detail json.RawMessage
	// RequestID is the Request-ID header, empty where there was none.
	RequestID string
	// RetryAfter is what the answer asks to wait, zero to an hour.
	RetryAfter time.Duration
	// KeyID is the key that the answer was signed with, for ClassUnknownKey only.
	KeyID string
	// Sent reports whether the request may have reached the API: false where it ended before there
	// was a connection (refused, DNS, TLS, connect timeout), true in any doubt.
	Sent bool
	// Err is what went wrong where Status does not say it all; else nil. For ClassCanceled it is the
	// context's cause.
	Err error
}

// Error returns host, class, status, and what the API or the connection said.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Host.String())
	b.WriteString(" host: ")
	b.WriteString(e.Class.String())
	if e.Status != 0 {
		b.WriteString(": HTTP ")
		b.WriteString(strconv.Itoa(e.Status))
	}
	if e.Err != nil {
		b.WriteString(": ")
		b.WriteString(e.Err.Error())
	}
	if e.Code != "" {
		b.WriteString(": ")
		b.WriteString(e.Code)
	}
	if e.Message != "" {
		b.WriteString(": ")
		b.WriteString(e.Message)
	}
	if e.RequestID != "" {
		b.WriteString(" (request id ")
		b.WriteString(e.RequestID)
		b.WriteByte(')')
	}
	return b.String()
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

const maxCauseBytes = 256

// wireError is a fault of a connection, with a text that is bounded and leaves out what net/http
// quotes from the other side: a server that is no HTTP server may send our own request back.
type wireError struct {
	text string
	err  error
}

func (e *wireError) Error() string { return e.text }

func (e *wireError) Unwrap() error { return e.err }

func quiet(err error) error {
	if _, ok := errors.AsType[textproto.ProtocolError](err); ok { // whose text has the whole line, unquoted
		return &wireError{text: "answer is not HTTP: malformed header", err: err}
	}
	text, _, quoted := strings.Cut(err.Error(), `"`)
	if quoted {
		text = strings.TrimRight(text, " :(") + " (rest not shown)"
	}
	return &wireError{text: clean(text, maxCauseBytes), err: err}
}
