package config

import (
	"fmt"
	"io"
	"net/url"
	"strings"
)

// Redacted is printed in a secret's place.
const Redacted = "[redacted]"

// Secret is a text that no log, error or encoding shows. Only Reveal gives it out.
//
// It holds a pointer, so that fmt, which cannot call methods on unexported fields, prints an address
// there and not the text.
type Secret struct {
	text *string
}

// NewSecret returns the secret of that text.
func NewSecret(text string) Secret {
	return Secret{text: &text}
}

// Reveal returns the text.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// IsZero says that the secret is empty.
func (s Secret) IsZero() bool { return s.Reveal() == "" }

// String returns "[redacted]", or nothing where the secret is empty.
func (s Secret) String() string {
	if s.IsZero() {
		return ""
	}
	return Redacted
}

// Format prints as String does, whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// MarshalText encodes as String does: for JSON, YAML and whatever else asks.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// redactURL returns the text without what may be a password in it, also where the text is not a URL
// that anybody could parse: everything between the scheme and the last @, and the query. Several
// URLs in one text lose their hosts but the last; better that than a password kept.
func redactURL(text string) string {
	scheme, rest, found := strings.Cut(text, "://")
	if found {
		scheme += "://"
	} else {
		scheme, rest = "", text
	}
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		scheme, rest = scheme+Redacted, rest[at:]
	}
	if found && strings.HasPrefix(rest, ":") {
		return scheme + Redacted
	}
	if head, _, found := strings.Cut(rest, "?"); found {
		rest = head + "?" + Redacted
	}
	return scheme + rest
}

// userinfo returns the part of a URL before the @, without the password's text.
func userinfo(user string, password Secret) string {
	switch {
	case !password.IsZero():
		return url.User(user).String() + ":" + Redacted + "@"
	case user != "":
		return url.User(user).String() + "@"
	default:
		return ""
	}
}
