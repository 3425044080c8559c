package wxclient

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/url"
)

const (
	pathComplaints = "/v3/merchant-service/complaints-v2/"

	// maxComplaintIDBytes is 64 characters of four bytes. Job validation counts the characters.
	maxComplaintIDBytes = 256

	jsonType = "application/json"
)

// outgoing is a request before it is signed.
type outgoing struct {
	method      string
	path        escapedPath
	query       string // as it is sent; empty for none
	contentType string // empty for none
	signed      []byte // what stands for the body in the signed message
	body        []byte // nil for none
	maxAnswer   int    // the most bytes of a 2xx that are read
}

// escapedPath is a path as it is and as it is written.
type escapedPath struct{ plain, raw string }

// complaintPath is the path of a complaint's call.
func complaintPath(complaintID, call string) escapedPath {
	return escapedPath{
		plain: pathComplaints + complaintID + call,
		raw:   pathComplaints + escapeSegment(complaintID) + call,
	}
}

func (c *Client) newRequest(ctx context.Context, host Host, m *Merchant, out outgoing) (*http.Request, *Error) {
	// RawPath is used by net/http only while it is an encoding of Path; both are set, and what will
	// be written is asked of the URL itself, so that what is signed is what is sent.
	u := &url.URL{
		Scheme: c.bases[host].Scheme, Host: c.bases[host].Host,
		Path: out.path.plain, RawPath: out.path.raw, RawQuery: out.query,
	}
	authorization, err := c.authorize(m, out.method, u.RequestURI(), out.signed)
	if err != nil {
		return nil, &Error{Class: ClassCredentials, Host: host, Err: err}
	}
	req := &http.Request{
		Method: out.method,
		URL:    u,
		Header: http.Header{
			"Accept":           {jsonType},
			"Authorization":    {authorization},
			"User-Agent":       {c.userAgent},
			"Wechatpay-Serial": {m.AnswerKeyID},
		},
	}
	if out.body != nil {
		req.Header["Content-Type"] = []string{out.contentType}
		// A bytes.Reader that net/http can recognise, so that head and body leave in one write. No
		// GetBody: nothing but the caller sends a request again.
		req.Body = io.NopCloser(bytes.NewReader(out.body))
		req.ContentLength = int64(len(out.body))
	}
	return req.WithContext(ctx), nil
}

// escapeSegment percent-escapes everything but RFC 3986's unreserved characters. url.PathEscape
// leaves "$&+:=@" as they are, which is allowed, but a proxy may rewrite them and a server read them
// otherwise, and the path is signed.
func escapeSegment(s string) string {
	const hex = "0123456789ABCDEF"
	n := 0
	for i := range len(s) {
		if !isUnreserved(s[i]) {
			n++
		}
	}
	if n == 0 {
		return s
	}
	b := make([]byte, 0, len(s)+2*n)
	for i := range len(s) {
		if c := s[i]; isUnreserved(c) {
			b = append(b, c)
		} else {
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	return string(b)
}

func isUnreserved(c byte) bool {
	return isAlphanumeric(c) || c == '-' || c == '.' || c == '_' || c == '~'
}

func isAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}
