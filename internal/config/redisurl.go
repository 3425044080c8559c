package config

import (
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// RedisMode is how the Redis servers of a URL belong together.
type RedisMode int

// The modes. The zero value is one server by itself.
const (
	RedisSingle RedisMode = iota
	RedisCluster
	RedisSentinel
)

// RedisURL is the setting redis-url, taken apart. Printing it shows no password.
//
// Forms: redis://[user[:password]@]host[:port][/db] for one server; several of these, with commas
// between them, or redis+cluster:// for one address that leads to a cluster;
// redis+sentinel://host[:port],.../master[/db] for Sentinel, where user and password are the master's
// and Sentinel itself is asked without. The second and later addresses may leave the scheme out.
// rediss in place of redis is TLS.
type RedisURL struct {
	Mode     RedisMode
	TLS      bool
	Addrs    []string // host:port
	Username string
	Password Secret
	DB       int    // 0 for Cluster
	Master   string // of Sentinel
}

// String returns the URL in its shortest form, the password redacted.
func (u RedisURL) String() string {
	if len(u.Addrs) == 0 {
		return ""
	}
	scheme := "redis"
	if u.TLS {
		scheme = "rediss"
	}
	path := "/" + strconv.Itoa(u.DB)
	switch u.Mode {
	case RedisCluster:
		scheme, path = scheme+"+cluster", ""
	case RedisSentinel:
		scheme, path = scheme+"+sentinel", "/"+url.PathEscape(u.Master)+path
	case RedisSingle:
	}
	return scheme + "://" + userinfo(u.Username, u.Password) + strings.Join(u.Addrs, ",") + path
}

// MarshalText encodes as String does.
func (u RedisURL) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

func redisURLValue(field func(*Config) *RedisURL) value {
	return value{
		kind: "URL",
		list: true,
		parse: func(c *Config, text string) rule {
			u, r := parseRedisURL(text)
			if !r.broken() {
				*field(c) = u
			}
			return r
		},
		check: func(c *Config) rule { return field(c).check() },
		text:  func(c *Config) string { return field(c).String() },
		clear: func(c *Config) { *field(c) = RedisURL{} },
	}
}

// check holds what a parsed URL holds by its making, for one made by hand.
func (u *RedisURL) check() rule {
	for _, addr := range u.Addrs {
		if checkHostPort(addr).broken() {
			return rule{must: "have addresses of the form host:port"}
		}
	}
	if u.Mode == RedisSentinel && u.Master == "" {
		return rule{must: "name the master after the hosts", do: "such as redis+sentinel://host:26379/mymaster"}
	}
	if u.Mode == RedisCluster && u.DB != 0 {
		return rule{must: "use database 0", do: "Redis Cluster has no other"}
	}
	return rule{}
}

// parseRedisURL reads the forms of RedisURL. What url.Parse says is never passed on: it repeats the
// text, and a password may be in it.
func parseRedisURL(text string) (RedisURL, rule) {
	parts := strings.Split(text, ",")
	var u RedisURL
	scheme, rest, found := strings.Cut(strings.TrimSpace(parts[0]), "://")
	if !found || !u.setScheme(strings.ToLower(scheme)) {
		return u, rule{
			must: "begin with redis://, rediss://, redis+cluster://, rediss+cluster://, " +
				"redis+sentinel:// or rediss+sentinel://",
			do: "such as redis://127.0.0.1:6379/0",
		}
	}
	parts[0] = rest
	var path string
	for i, part := range parts {
		part = strings.TrimSpace(part)
		if own, rest, found := strings.Cut(part, "://"); found && i > 0 {
			if !strings.EqualFold(own, scheme) {
				return u, rule{must: "have the same scheme in every address"}
			}
			part = rest
		}
		if r := u.addPart(part, &path); r.broken() {
			return u, r
		}
	}
	if len(u.Addrs) > 1 && u.Mode == RedisSingle {
		u.Mode = RedisCluster
	}
	if r := u.setPath(strings.Trim(path, "/")); r.broken() {
		return u, r
	}
	return u, u.check()
}

func (u *RedisURL) setScheme(scheme string) bool {
	base, mode, _ := strings.Cut(scheme, "+")
	switch base {
	case "redis":
	case "rediss":
		u.TLS = true
	default:
		return false
	}
	switch mode {
	case "":
	case "cluster":
		u.Mode = RedisCluster
	case "sentinel":
		u.Mode = RedisSentinel
	default:
		return false
	}
	return mode != "" || scheme == base
}

// addPart takes one address with what may stand around it. What several addresses say must agree.
func (u *RedisURL) addPart(part string, path *string) rule {
	parsed, err := url.Parse("redis://" + part)
	if err != nil || !isHost(parsed.Hostname()) {
		return rule{
			must: "be made of addresses host:port",
			do:   "a / ? # @ , or % in a password is written as %2F %3F %23 %40 %2C %25",
		}
	}
	if parsed.RawQuery != "" || parsed.ForceQuery || parsed.Fragment != "" {
		return rule{must: "be without ? and #", do: "options have settings of their own"}
	}
	port := parsed.Port()
	if port == "" {
		port = "6379"
		if u.Mode == RedisSentinel {
			port = "26379"
		}
	}
	addr := net.JoinHostPort(parsed.Hostname(), port)
	if checkHostPort(addr).broken() {
		return rule{must: "have ports from 1 to 65535"}
	}
	if slices.Contains(u.Addrs, addr) {
		return rule{must: "not name " + addr + " twice"}
	}
	u.Addrs = append(u.Addrs, addr)
	if parsed.Path != "" && parsed.Path != "/" {
		if *path != "" && *path != parsed.Path {
			return rule{must: "have the same database in every address"}
		}
		*path = parsed.Path
	}
	return u.addUser(parsed.User)
}

func (u *RedisURL) addUser(user *url.Userinfo) rule {
	if user == nil {
		return rule{}
	}
	password, _ := user.Password()
	if (u.Username != "" || !u.Password.IsZero()) &&
		(u.Username != user.Username() || u.Password.Reveal() != password) {
		return rule{must: "have the same user and password in every address"}
	}
	u.Username = user.Username()
	if password != "" {
		u.Password = NewSecret(password)
	}
	return rule{}
}

func (u *RedisURL) setPath(path string) rule {
	db := path
	if u.Mode == RedisSentinel {
		u.Master, db, _ = strings.Cut(path, "/")
	}
	if db == "" {
		return rule{}
	}
	n, err := strconv.ParseUint(db, 10, 16)
	if err != nil {
		return rule{must: "end in a database number", do: "such as redis://127.0.0.1:6379/0"}
	}
	u.DB = int(n)
	return rule{}
}
