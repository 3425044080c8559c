package wxclient

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

const (
	pathBefore = "/v3/merchant-service/complaints-v2/"
	pathAfter  = "/response-immediate-service"

	// maxComplaintIDBytes is 64 characters of four bytes. Job validation counts the characters.
	maxComplaintIDBytes = 256
)

func (c *Client) newRequest(
	ctx context.Context, host Host, m *Merchant, complaintID string, body []byte,
) (*http.Request, *Error) {
	fault := func(class Class, err error) (*http.Request, *Error) {
		return nil, &Error{Class: class, Host: host, Err: err}
	}
	if host < 0 || host >= hostCount || c.bases[host] == nil {
		return fault(ClassHostFailed, errors.New("host is not configured"))
	}
	if err := m.Validate(); err != nil {
		return fault(ClassCredentials, err)
	}
	if err := checkReply(complaintID, body); err != nil {
		return fault(ClassRefused, err)
	}

	// RawPath is used by net/http only while it is an encoding of Path; both are set, and what will
	// be written is asked of the URL itself, so that what is signed is what is sent.
	u := &url.URL{
		Scheme:  c.bases[host].Scheme,
		Host:    c.bases[host].Host,
		Path:    pathBefore + complaintID + pathAfter,
		RawPath: pathBefore + escapeSegment(complaintID) + pathAfter,
	}
	authorization, err := c.authorize(m, http.MethodPost, u.RequestURI(), body)
	if err != nil {
		return fault(ClassCredentials, err)
	}
	req := &http.Request{
		Method: http.MethodPost,
		URL:    u,
		Header: http.Header{
			"Accept":           {"application/json"},
			"Authorization":    {authorization},
			"Content-Type":     {"application/json"},
			"User-Agent":       {c.userAgent},
			"Wechatpay-Serial": {m.AnswerKeyID},
		},
		// A bytes.Reader that net/http can recognise, so that head and body leave in one write. No
		// GetBody: nothing but the caller sends a request again.
		Body:          io.NopCloser(bytes.NewReader(body)),
		ContentLength: int64(len(body)),
	}
	return req.WithContext(ctx), nil
}

// checkReply refuses what job validation should not have let through.
func checkReply(complaintID string, body []byte) error {
	switch {
	case complaintID == "" || complaintID == "." || complaintID == "..":
		return fmt.Errorf("complaint id %q cannot be a path segment", complaintID)
	case len(complaintID) > maxComplaintIDBytes:
		return fmt.Errorf("complaint id of %d bytes, limit %d", len(complaintID), maxComplaintIDBytes)
	case len(body) == 0:
		return errors.New("empty body")
	}
	return nil
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
