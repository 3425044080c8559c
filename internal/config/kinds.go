package config

import (
	"fmt"
	"math"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// rule is what a value breaks: the text after "must", and what to do. The zero value is no fault.
type rule struct {
	must string
	do   string
}

func (r rule) broken() bool { return r.must != "" }

// value is how a setting's text becomes its field and back. parse fills the field; check looks at
// the field alone, so that it also holds for a Config made by hand. Neither sees an empty text.
type value struct {
	kind    string
	choices []string
	list    bool // the file may give a list, a repeated flag adds to it
	parse   func(c *Config, text string) rule
	check   func(c *Config) rule
	text    func(c *Config) string
	clear   func(c *Config)
}

// stringValue is a text that test accepts.
func stringValue(kind string, field func(*Config) *string, test func(text string) rule) value {
	return value{
		kind:  kind,
		parse: func(c *Config, text string) rule { *field(c) = text; return rule{} },
		check: func(c *Config) rule { return test(*field(c)) },
		text:  func(c *Config) string { return *field(c) },
		clear: func(c *Config) { *field(c) = "" },
	}
}

// enumValue is one of the choices.
func enumValue(field func(*Config) *string, choices ...string) value {
	v := stringValue(strings.Join(choices, "|"), field, func(text string) rule {
		if slices.Contains(choices, text) {
			return rule{}
		}
		r := rule{must: "be one of " + strings.Join(choices, ", ")}
		if near := Nearest(text, choices); near != "" {
			r.do = "did you mean " + near + "?"
		}
		return r
	})
	v.choices = choices
	return v
}

// listValue is a list of texts, each of which test accepts, none twice.
func listValue(kind string, field func(*Config) *[]string, test func(text string) rule) value {
	check := func(c *Config) rule {
		for i, item := range *field(c) {
			if item == "" {
				return rule{must: "not have an empty entry", do: "take the stray comma out"}
			}
			if r := test(item); r.broken() {
				return rule{must: fmt.Sprintf("have no entry like %s: each must %s", quote(item), r.must), do: r.do}
			}
			if slices.Contains((*field(c))[:i], item) {
				return rule{must: "not name " + item + " twice"}
			}
		}
		return rule{}
	}
	return value{
		kind: kind,
		list: true,
		parse: func(c *Config, text string) rule {
			var items []string
			for item := range strings.SplitSeq(text, ",") {
				items = append(items, strings.TrimSpace(item))
			}
			*field(c) = items
			return rule{}
		},
		check: check,
		text:  func(c *Config) string { return strings.Join(*field(c), ",") },
		clear: func(c *Config) { *field(c) = nil },
	}
}

// boolValue takes true and false in the spellings of flags, shells and YAML.
func boolValue(field func(*Config) *bool) value {
	return value{
		kind: "bool",
		parse: func(c *Config, text string) rule {
			switch strings.ToLower(text) {
			case "true", "on", "yes", "1":
				*field(c) = true
			case "false", "off", "no", "0":
				*field(c) = false
			default:
				return rule{must: "be true or false"}
			}
			return rule{}
		},
		check: func(*Config) rule { return rule{} },
		text:  func(c *Config) string { return strconv.FormatBool(*field(c)) },
		clear: func(c *Config) { *field(c) = false },
	}
}

// number is what an ordered value's parser, limits and printer have in common.
type number[T int | int64 | float64 | time.Duration] struct {
	kind   string
	must   string
	low    T
	high   T
	field  func(*Config) *T
	parse  func(text string) (T, bool)
	format func(T) string
}

func (n number[T]) value() value {
	return value{
		kind: n.kind,
		parse: func(c *Config, text string) rule {
			parsed, ok := n.parse(text)
			if !ok {
				return rule{must: n.must}
			}
			*n.field(c) = parsed
			return rule{}
		},
		check: func(c *Config) rule {
			if got := *n.field(c); got >= n.low && got <= n.high {
				return rule{}
			}
			return rule{must: n.must}
		},
		text:  func(c *Config) string { return n.format(*n.field(c)) },
		clear: func(c *Config) { *n.field(c) = 0 },
	}
}

// intValue is a whole number from 1 to high.
func intValue(field func(*Config) *int, high int) value {
	return number[int]{
		kind: "int", field: field, low: 1, high: high,
		must:   fmt.Sprintf("be a whole number from 1 to %d", high),
		parse:  func(text string) (int, bool) { n, err := strconv.Atoi(text); return n, err == nil },
		format: strconv.Itoa,
	}.value()
}

func durationValue(field func(*Config) *time.Duration, low, high time.Duration) value {
	return number[time.Duration]{
		kind: "duration", field: field, low: low, high: high,
		must: fmt.Sprintf("be a duration from %s to %s, with its unit, such as 500ms, 30s, 5m or 12h",
			formatDuration(low), formatDuration(high)),
		parse:  parseDuration,
		format: formatDuration,
	}.value()
}

func bytesValue(field func(*Config) *int64, low, high int64) value {
	return number[int64]{
		kind: "size", field: field, low: low, high: high,
		must: fmt.Sprintf("be a size from %s to %s, such as 64MiB, or a number of bytes",
			formatBytes(low), formatBytes(high)),
		parse:  parseBytes,
		format: formatBytes,
	}.value()
}

// rateValue is calls per second; 0 is no limit. A rate below one in 1,000 seconds is a mistake.
func rateValue(field func(*Config) *float64) value {
	const low, high = 0.001, 100_000
	must := fmt.Sprintf("be a number from %g to %d, or 0 for no limit", low, high)
	v := number[float64]{
		kind: "number", field: field, high: high, must: must,
		parse: func(text string) (float64, bool) {
			f, err := strconv.ParseFloat(text, 64)
			return f, err == nil && !math.IsNaN(f)
		},
		format: func(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) },
	}.value()
	within := v.check
	v.check = func(c *Config) rule {
		if f := *field(c); f > 0 && f < low {
			return rule{must: must}
		}
		return within(c)
	}
	return v
}

// brakeValue is a count, or off. YAML writers of the older kind turn a bare off into false.
func brakeValue(field func(*Config) *int) value {
	const low, high = 2, 100_000
	must := fmt.Sprintf("be a whole number from %d to %d, or off", low, high)
	return value{
		kind: "int|off",
		parse: func(c *Config, text string) rule {
			switch strings.ToLower(text) {
			case "off", "false":
				*field(c) = 0
				return rule{}
			}
			n, err := strconv.Atoi(text)
			if err != nil {
				return rule{must: must}
			}
			*field(c) = n
			return rule{}
		},
		check: func(c *Config) rule {
			if n := *field(c); n == 0 || n >= low && n <= high {
				return rule{}
			}
			return rule{must: must}
		},
		text: func(c *Config) string {
			if *field(c) == 0 {
				return "off"
			}
			return strconv.Itoa(*field(c))
		},
		clear: func(c *Config) { *field(c) = 0 },
	}
}

func fileValue(field func(*Config) *string) value {
	return stringValue("file", field, checkPath)
}

// checkPath refuses what is a key and not the path of one; the text is not shown then.
func checkPath(text string) rule {
	if looksLikeKey(text) {
		return rule{must: "be the path of a file, and looks like the content of one", do: "write the key to a file"}
	}
	return rule{}
}

func looksLikeKey(text string) bool {
	return strings.Contains(text, "-----BEGIN") || strings.ContainsAny(text, "\r\n")
}

// patternValue is a text of at most longest bytes, made of letters, digits and what else allowed has.
func patternValue(field func(*Config) *string, p pattern) value {
	return stringValue("text", field, p.check)
}

// pattern is a simple grammar of names.
type pattern struct {
	must    string
	do      string
	longest int
	allowed func(r rune) bool
}

func (p pattern) check(text string) rule {
	if text == "" || len(text) > p.longest || strings.ContainsFunc(text, func(r rune) bool { return !p.allowed(r) }) {
		return rule{must: p.must, do: p.do}
	}
	return rule{}
}

func isLetterOrDigit(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}

func isHex(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'a' && r <= 'f' || r >= 'A' && r <= 'F'
}

func mchIDPattern() pattern {
	return pattern{
		must: "be 1 to 32 letters, digits, - or _", do: "it is the merchant number, such as 1900000001",
		longest: 32, allowed: func(r rune) bool { return isLetterOrDigit(r) || r == '-' || r == '_' },
	}
}

func certSerialPattern() pattern {
	return pattern{
		must: "be 1 to 64 hexadecimal digits", longest: 64, allowed: isHex,
		do: "`openssl x509 -in apiclient_cert.pem -noout -serial` prints it after \"serial=\"",
	}
}

func publicKeyIDPattern() pattern {
	return pattern{
		must: "be 1 to 128 letters, digits, - or _", longest: 128,
		do:      "it is shown beside the key in the merchant platform, and begins with PUB_KEY_ID_",
		allowed: func(r rune) bool { return isLetterOrDigit(r) || r == '-' || r == '_' },
	}
}

// checkTopic holds the broker's own rule for names.
func checkTopic(text string) rule {
	p := pattern{
		must: "be 1 to 249 letters, digits, ., _ or -, and neither . nor ..", longest: 249,
		allowed: func(r rune) bool { return isLetterOrDigit(r) || r == '.' || r == '_' || r == '-' },
	}
	if text == "." || text == ".." {
		return rule{must: p.must}
	}
	return p.check(text)
}

// checkPlain takes any text a person can read.
func checkPlain(longest int) func(text string) rule {
	return func(text string) rule {
		if len(text) > longest {
			return rule{must: fmt.Sprintf("be at most %d bytes", longest)}
		}
		return rule{}
	}
}

// checkPrefix keeps the hash tag of Redis Cluster, {...}, in the worker's own hands.
func checkPrefix(text string) rule {
	if len(text) > 128 || strings.ContainsAny(text, "{} \t*?[]\\") {
		return rule{must: "be at most 128 bytes, without spaces and any of { } * ? [ ] \\"}
	}
	return rule{}
}

// checkHostPort takes host:port with both parts there.
func checkHostPort(text string) rule {
	r := rule{must: "be host:port, with a port from 1 to 65535", do: "such as kafka-1.example.com:9092 or [::1]:9092"}
	host, port, err := net.SplitHostPort(text)
	if err != nil || !isHost(host) {
		return r
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return r
	}
	return rule{}
}

// checkListen takes host:port to listen on: no host is every address, port 0 is any free one.
func checkListen(text string) rule {
	r := rule{must: "be host:port to listen on", do: "such as 127.0.0.1:9464, or :9464 for every address"}
	host, port, err := net.SplitHostPort(text)
	if err != nil || host != "" && !isHost(host) {
		return r
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return r
	}
	return rule{}
}

func isHost(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.IsValid()
	}
	return host != "" && len(host) <= 253 && !strings.ContainsFunc(host, func(r rune) bool {
		return !isLetterOrDigit(r) && r != '.' && r != '-' && r != '_'
	})
}

func isLoopback(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Unmap().IsLoopback()
	}
	return strings.EqualFold(host, "localhost")
}

// urlValue is the root of an HTTPS service.
func urlValue(field func(*Config) *string) value {
	v := stringValue("URL", field, checkURL)
	v.parse = func(c *Config, text string) rule { *field(c) = strings.TrimRight(text, "/"); return rule{} }
	return v
}

// checkURL refuses a path too: it would be part of what is signed, and the API has none.
func checkURL(text string) rule {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || !isHost(u.Hostname()) || !isPort(u.Port()):
		return rule{must: "be a URL such as https://api.mch.weixin.qq.com"}
	case u.User != nil:
		return rule{must: "be without a user name or password"}
	case u.RawQuery != "" || u.ForceQuery || strings.Contains(text, "#") || u.Path != "":
		return rule{must: "be a scheme and a host alone, without path, query or fragment"}
	case u.Scheme == "http" && isLoopback(u.Hostname()):
		return rule{}
	case u.Scheme != "https":
		return rule{must: "begin with https:// (http:// is taken for this machine's own addresses only)"}
	}
	return rule{}
}

func isPort(port string) bool {
	if port == "" {
		return true
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

// sameURL says that two URLs that checkURL has passed lead to the same place.
func sameURL(a, b string) bool {
	return canonicalURL(a) == canonicalURL(b)
}

func canonicalURL(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return text
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[u.Scheme]
	}
	return u.Scheme + "://" + net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}
