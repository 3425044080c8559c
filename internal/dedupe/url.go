package dedupe

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// target is a parsed redis-url.
type target struct {
	tls              bool
	addrs            []string // host:port
	user, password   string
	db               int
	sentinel         bool
	master           string // with sentinel
	sentinelUser     string
	sentinelPassword string
}

func (t target) cluster() bool { return !t.sentinel && len(t.addrs) > 1 }

// String is the URL without its secrets.
func (t target) String() string {
	scheme := "redis"
	if t.tls {
		scheme = "rediss"
	}
	hosts := strings.Join(t.addrs, ",")
	switch {
	case t.sentinel:
		return fmt.Sprintf("%s+sentinel://%s/%s/%d", scheme, hosts, t.master, t.db)
	case t.cluster():
		return fmt.Sprintf("%s://%s", scheme, hosts)
	default:
		return fmt.Sprintf("%s://%s/%d", scheme, hosts, t.db)
	}
}

// parseURL reads the forms that Config.URL lists. net/url takes no lists of hosts, and its errors
// repeat the URL with its password; those of this function repeat nothing secret.
func parseURL(raw string) (target, error) {
	scheme, rest, found := strings.Cut(strings.TrimSpace(raw), "://")
	if !found {
		return target{}, errors.New("has no scheme; use redis://, rediss:// or redis+sentinel://")
	}
	var t target
	t.tls = strings.HasPrefix(scheme, "rediss")
	switch scheme {
	case "redis", "rediss":
	case "redis+sentinel", "rediss+sentinel":
		t.sentinel = true
	default:
		return target{}, errors.New("unknown scheme; use redis://, rediss:// or redis+sentinel://")
	}
	// Further addresses may repeat the scheme, and then credentials only in the first.
	rest = strings.ReplaceAll(rest, ","+scheme+"://", ",")
	rest, query, _ := strings.Cut(rest, "?")
	hosts, err := t.takeCredentials(rest)
	if err != nil {
		return target{}, err
	}
	hosts, path, _ := strings.Cut(hosts, "/")
	if err := t.takeHosts(hosts); err != nil {
		return target{}, err
	}
	if err := t.takePath(strings.TrimSuffix(path, "/")); err != nil {
		return target{}, err
	}
	return t, t.takeQuery(query)
}

// takeCredentials takes user and password off the front and returns what follows them.
func (t *target) takeCredentials(rest string) (string, error) {
	at := strings.LastIndexByte(rest, '@')
	if at < 0 {
		return rest, nil
	}
	user, password, _ := strings.Cut(rest[:at], ":")
	var err1, err2 error
	t.user, err1 = url.PathUnescape(user)
	t.password, err2 = url.PathUnescape(password)
	if err1 != nil || err2 != nil {
		// The cause is left out on purpose: it repeats a part of the password.
		return "", errors.New("user or password is not percent-encoded properly")
	}
	return rest[at+1:], nil
}

func (t *target) takeHosts(hosts string) error {
	port := "6379"
	if t.sentinel {
		port = "26379"
	}
	for i, addr := range strings.Split(hosts, ",") {
		addr = strings.TrimSuffix(strings.TrimSpace(addr), "/")
		if addr == "" {
			return fmt.Errorf("address %d is empty", i+1)
		}
		if _, _, err := net.SplitHostPort(addr); err != nil {
			addr = net.JoinHostPort(strings.Trim(addr, "[]"), port)
		}
		host, p, err := net.SplitHostPort(addr)
		if n, perr := strconv.ParseUint(p, 10, 16); err != nil || perr != nil || n == 0 || host == "" ||
			strings.ContainsAny(host, "@/ ") {
			return fmt.Errorf("address %d is not host:port", i+1)
		}
		t.addrs = append(t.addrs, addr)
	}
	return nil
}

// takePath reads "db", or "master-name/db" with Sentinel.
func (t *target) takePath(path string) error {
	if t.sentinel {
		t.master, path, _ = strings.Cut(path, "/")
		if t.master == "" {
			return errors.New("has no master name: redis+sentinel://host/master-name")
		}
	}
	if path == "" {
		return nil
	}
	db, err := strconv.ParseUint(path, 10, 16)
	if err != nil {
		return errors.New("what follows the host is not a database number")
	}
	if t.cluster() && db != 0 {
		return errors.New("a Cluster has database 0 only")
	}
	t.db = int(db)
	return nil
}

func (t *target) takeQuery(query string) error {
	if strings.Contains(query, "@") {
		return errors.New("a question mark in user or password needs percent-encoding: %3F")
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return errors.New("what follows the question mark is not percent-encoded properly")
	}
	for name := range values {
		switch {
		case name == "sentinel_username" && t.sentinel:
			t.sentinelUser = values.Get(name)
		case name == "sentinel_password" && t.sentinel:
			t.sentinelPassword = values.Get(name)
		default:
			return fmt.Errorf("unknown option %q", name)
		}
	}
	return nil
}
