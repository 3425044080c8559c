package wxclient

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// Host is one of the API's two hosts. They take the same requests; a request's signature does not
// cover the host.
type Host int

// The two hosts.
const (
	Primary Host = iota
	Backup

	hostCount = 2
)

// String returns "primary" or "backup", for metrics and outcomes.
func (h Host) String() string {
	switch h {
	case Primary:
		return "primary"
	case Backup:
		return "backup"
	default:
		return "host(" + strconv.Itoa(int(h)) + ")"
	}
}

// parseBase checks a host's URL. It is scheme, host and maybe a port, nothing else: the signature
// covers the path, so a path before the API's own would be signed and then be wrong behind any proxy
// that takes it away again.
func parseBase(name, raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		// The cause is left out: it repeats the whole value, which may have a password in it.
		return nil, fmt.Errorf("%s: not a URL", name)
	}
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf(name+": "+format, args...))
	}
	switch {
	case u.Opaque != "" || u.Hostname() == "":
		fault("must be https://HOST or https://HOST:PORT")
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		fault("http is allowed to loopback addresses only, use https")
	case u.Scheme != "https" && u.Scheme != "http":
		fault("scheme %q, must be https", u.Scheme)
	}
	if u.User != nil {
		fault("must have no user name or password")
	}
	if u.Path != "" && u.Path != "/" {
		fault("must have no path, the path is signed as the API knows it")
	}
	if u.RawQuery != "" || u.ForceQuery || strings.Contains(raw, "#") {
		fault("must have no query and no fragment")
	}
	if !validPort(u) {
		fault("port must be 1 to 65535")
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host}, nil
}

func validPort(u *url.URL) bool {
	if u.Port() == "" {
		return !strings.HasSuffix(u.Host, ":")
	}
	n, err := strconv.ParseUint(u.Port(), 10, 16)
	return err == nil && n > 0
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
