package wxclient

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Class says what the end of a call that did not succeed means. The set is closed.
type Class int

// The classes. The comments say what makes them; what follows from them is the caller's.
const (
	classNone Class = iota
	// ClassUnknown is a complete 2xx answer that is no success: its signature is bad, missing or
	// stale, it has no log_id, an error code, or more than 1 MiB. The reply was probably taken.
	ClassUnknown
	// ClassUnknownKey is a 2xx answer signed with a key that the merchant does not have.
	ClassUnknownKey
	// ClassHostFailed is a call without a clear answer: refused, reset, DNS, TLS, timeout (a deadline
	// of the caller's is one, too), no HTTP, a 2xx that broke off; and 502, 503, 504. Error.Sent tells
	// whether the API may have taken the reply.
	ClassHostFailed
	// ClassTransient is 500, 202, a redirect, 408, 425, and other 5xx.
	ClassTransient
	// ClassSlowDown is 429.
	ClassSlowDown
	// ClassCredentials is 401, or a merchant that cannot sign.
	ClassCredentials
	// ClassRefused is 400, 403, 404, and other 4xx.
	ClassRefused
	// ClassCanceled is a call that the caller cancelled before it had an answer, or whose context was
	// over before it began. The host is not to blame.
	ClassCanceled
)

// Classes lists every class, for metrics that are to show zeros.
func Classes() []Class {
	return []Class{
		ClassUnknown, ClassUnknownKey, ClassHostFailed, ClassTransient,
		ClassSlowDown, ClassCredentials, ClassRefused, ClassCanceled,
	}
}

// String returns the class as a metric's label.
func (c Class) String() string {
	switch c {
	case ClassUnknown:
		return "unknown"
	case ClassUnknownKey:
		return "unknown_key"
	case ClassHostFailed:
		return "host_failed"
	case ClassTransient:
		return "transient"
	case ClassSlowDown:
		return "slow_down"
	case ClassCredentials:
		return "credentials"
	case ClassRefused:
		return "refused"
	case ClassCanceled:
		return "canceled"
	default:
		return "class(" + strconv.Itoa(int(c)) + ")"
	}
}

// classOf returns what a status means by itself, classNone for the 2xx that may be a success.
func classOf(status int) Class {
	switch status {
	case http.StatusAccepted, http.StatusRequestTimeout, http.StatusTooEarly:
		return ClassTransient
	case http.StatusUnauthorized:
		return ClassCredentials
	case http.StatusTooManyRequests:
		return ClassSlowDown
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return ClassHostFailed
	}
	switch status / 100 {
	case 2:
		return classNone
	case 3, 5:
		return ClassTransient
	case 4:
		return ClassRefused
	default: // no status of HTTP's, or 101: whatever answered, it was not the API
		return ClassHostFailed
	}
}

const (
	maxCodeBytes    = 64
	maxMessageBytes = 512
	maxDetailBytes  = 4 << 10
	maxLogIDChars   = 128
	maxRetryAfter   = time.Hour
)

var (
	errNoObject  = errors.New("answer is no JSON object")
	errNoLogID   = errors.New("answer has no log_id")
	errErrorCode = errors.New("answer has an error code although it is a 2xx")
)

// parseLogID returns the log_id of a verified answer.
func parseLogID(body []byte) (string, error) {
	fields, err := parseFields(body)
	if err != nil {
		return "", err
	}
	id, ok := text(fields["log_id"])
	if !ok || !isPlain(id, maxLogIDChars) {
		return "", errNoLogID
	}
	return id, nil
}

// parseFields returns the members of a verified answer that has no error code.
func parseFields(body []byte) (map[string]json.RawMessage, error) {
	// A map, because struct fields also match names in another case.
	var fields map[string]json.RawMessage
	if json.Unmarshal(body, &fields) != nil || fields == nil {
		return nil, errNoObject
	}
	if code := string(fields["code"]); code != "" && code != `""` && code != "null" {
		return nil, errErrorCode
	}
	return fields, nil
}

// isPlain says that an id of the API's can be used: printable, not blank, of at most maxChars.
func isPlain(id string, maxChars int) bool {
	return strings.TrimSpace(id) != "" && utf8.RuneCountInString(id) <= maxChars &&
		!strings.ContainsFunc(id, isUnprintable)
}

// parseError returns what can be read of an answer's body, bounded. Bodies may be empty, HTML, cut
// off, or have a code that is no string; then there is less to return.
func parseError(body []byte) (code, message string, detail json.RawMessage) {
	var fields map[string]json.RawMessage
	if len(body) > maxBodyBytes || json.Unmarshal(body, &fields) != nil {
		return "", "", nil
	}
	code, _ = text(fields["code"])
	message, _ = text(fields["message"])
	if d := fields["detail"]; len(d) <= maxDetailBytes && string(d) != "null" {
		detail = d
	}
	return clean(code, maxCodeBytes), clean(message, maxMessageBytes), detail
}

// text returns a JSON value that is a string.
func text(raw json.RawMessage) (string, bool) {
	var s string
	if len(raw) == 0 || raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		return "", false
	}
	return s, true
}

// requestID returns the Request-ID header, by which WeChat Pay's support finds a call.
func requestID(h http.Header) string {
	return clean(h.Get("Request-Id"), maxIDBytes)
}

// retryAfter returns the Retry-After header's wait, zero where there is none or it says nothing, and
// an hour at most.
func retryAfter(h http.Header, now time.Time) time.Duration {
	v := h.Get("Retry-After")
	if v == "" {
		return 0
	}
	if strings.Trim(v, "0123456789") == "" {
		n, err := strconv.ParseUint(v, 10, 64)
		if err != nil || n > uint64(maxRetryAfter/time.Second) {
			return maxRetryAfter
		}
		return time.Duration(n) * time.Second
	}
	t, err := http.ParseTime(v)
	if err != nil {
		return 0
	}
	return min(max(t.Sub(now), 0), maxRetryAfter)
}

// clean makes text from outside fit for a log line: unprintable characters become spaces, and it is
// cut at a character's border to at most maxBytes.
func clean(s string, maxBytes int) string {
	// Cut first, so that a text of a megabyte is not looked at for nothing; no character is longer
	// than four bytes, and replacing makes none longer but invalid ones, which become three.
	if len(s) > maxBytes+utf8.UTFMax {
		s = s[:maxBytes+utf8.UTFMax]
	}
	if !utf8.ValidString(s) || strings.ContainsFunc(s, isUnprintable) {
		s = strings.Map(func(r rune) rune {
			if isUnprintable(r) {
				return ' '
			}
			return r
		}, s)
	}
	if len(s) <= maxBytes {
		return s
	}
	cut := maxBytes
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut]
}

func isUnprintable(r rune) bool { return !unicode.IsPrint(r) }
