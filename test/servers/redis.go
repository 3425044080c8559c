package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// RedisMode is how the servers belong together.
type RedisMode string

// The modes.
const (
	Alone    RedisMode = "alone"    // one server
	Cluster  RedisMode = "cluster"  // three masters, without replicas
	Sentinel RedisMode = "sentinel" // one master, two replicas, and three sentinels that watch them
)

// masterName is what the sentinels call the master.
const masterName = "replyworker"

// RedisConfig sets a Redis up.
type RedisConfig struct {
	// Dir takes data, logs and certificates. It is made where it is not there; the caller removes it.
	Dir string
	// Mode is Alone by default.
	Mode RedisMode
	// Secure asks for TLS on every port, with no other, and for a password on every data node. The
	// sentinels have TLS and no password.
	Secure bool
	// Proxy, if set, is called once for each data node before it starts, with a name such as "redis-0"
	// and the node's address. It returns the address of a TCP proxy in front of it, an IPv4 address and
	// a port. The data nodes know one another, and the sentinels know them, by that address only, so
	// that clients see no other. The sentinels' own addresses are direct. Not for Cluster.
	Proxy func(name, upstream string) (addr string, err error)
	// Properties are added to each data node's configuration, over what stands there.
	Properties map[string]string
}

// Redis is what RedisMode says. Data nodes have the numbers from 0 to Nodes()-1; with Sentinel, the
// sentinels have the three numbers after them. Its methods are safe for concurrent use. Close it.
type Redis struct {
	mode         RedisMode
	nodes        []*node // the data nodes, then the sentinels
	data         int     // how many of them are data nodes
	certs        *certificates
	password     string
	passwordFile string
	ports        ports
	closing      sync.Once
}

// node is one server, of data or a sentinel.
type node struct {
	name     string
	dir      string
	port     int
	proxy    string // what others are told; "" without
	sentinel bool
	dial     dialer
	process  *process
}

// addr is where the node listens.
func (n *node) addr() string { return local(n.port) }

// shown is the address by which others know the node.
func (n *node) shown() string {
	if n.proxy != "" {
		return n.proxy
	}
	return n.addr()
}

// StartRedis starts the servers and returns when they serve: all slots of a Cluster covered, all
// replicas and sentinels known to one another. Nothing runs when it fails. It calls Install.
func StartRedis(ctx context.Context, cfg RedisConfig) (*Redis, error) {
	if cfg.Mode == "" {
		cfg.Mode = Alone
	}
	if cfg.Mode != Alone && cfg.Mode != Cluster && cfg.Mode != Sentinel {
		return nil, fmt.Errorf("redis: no mode %q", cfg.Mode)
	}
	if cfg.Mode == Cluster && cfg.Proxy != nil {
		return nil, errors.New("redis: no proxies for a Cluster")
	}
	in, err := Install(ctx)
	if err != nil {
		return nil, err
	}
	r := &Redis{mode: cfg.Mode}
	if err := r.prepare(ctx, cfg, in); err != nil {
		r.Close()
		return nil, fmt.Errorf("redis: %w", err)
	}
	if err := r.begin(ctx); err != nil {
		r.Close()
		return nil, fmt.Errorf("redis: %w", err)
	}
	return r, nil
}

// prepare writes all that the servers find when they start.
func (r *Redis) prepare(ctx context.Context, cfg RedisConfig, in Installation) (err error) {
	if cfg.Dir, err = filepath.Abs(cfg.Dir); err != nil {
		return err //nolint:wrapcheck // it says which
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return fmt.Errorf("folder: %w", err)
	}
	if cfg.Secure {
		if err := r.secure(cfg.Dir); err != nil {
			return err
		}
	}
	r.data = 1
	if cfg.Mode != Alone {
		r.data = 3
	}
	for i := range r.data {
		if err := r.addNode(ctx, cfg, fmt.Sprintf("redis-%d", i), false); err != nil {
			return err
		}
	}
	if cfg.Mode == Sentinel {
		for i := range 3 {
			if err := r.addNode(ctx, cfg, fmt.Sprintf("sentinel-%d", i), true); err != nil {
				return err
			}
		}
	}
	for _, n := range r.nodes {
		path := filepath.Join(n.dir, "redis.conf")
		if err := os.WriteFile(path, []byte(r.configuration(n, cfg.Properties)), 0o600); err != nil {
			return fmt.Errorf("configuration: %w", err)
		}
		n.process = redisProcess(in, n, path)
	}
	return nil
}

// secure makes the certificates and the password.
func (r *Redis) secure(dir string) error {
	certs, err := makeCertificates(filepath.Join(dir, "redis-certificates"))
	if err != nil {
		return err
	}
	r.certs = &certs
	r.passwordFile = filepath.Join(dir, "redis-password")
	r.password, err = writePassword(r.passwordFile)
	return err
}

func (r *Redis) addNode(ctx context.Context, cfg RedisConfig, name string, sentinel bool) error {
	n := &node{name: name, dir: filepath.Join(cfg.Dir, name), sentinel: sentinel}
	if err := os.MkdirAll(n.dir, 0o700); err != nil {
		return fmt.Errorf("folder: %w", err)
	}
	var err error
	if n.port, err = r.ports.take(ctx, cfg.Mode == Cluster); err != nil {
		return err
	}
	if cfg.Proxy != nil && !sentinel {
		if n.proxy, err = cfg.Proxy(name, n.addr()); err != nil {
			return fmt.Errorf("proxy: %w", err)
		}
	}
	n.dial.addr = n.addr()
	if !sentinel {
		n.dial.password = r.password
	}
	if r.certs != nil {
		if n.dial.tls, err = trust(r.certs.ca); err != nil {
			return err
		}
	}
	r.nodes = append(r.nodes, n)
	return nil
}

// redisProcess is a server, or a sentinel, with that configuration, which it may write to.
func redisProcess(in Installation, n *node, path string) *process {
	p := &process{name: n.name, path: in.RedisServer, args: []string{path}, log: n.dir + ".log"}
	if n.sentinel {
		p.args = append(p.args, "--sentinel")
	}
	if in.RedisLibs != "" {
		p.env = []string{"LD_LIBRARY_PATH=" + in.RedisLibs}
	}
	return p
}

// begin starts the servers: the data nodes first, since a sentinel looks for its master at once.
func (r *Redis) begin(ctx context.Context) error {
	for _, group := range [][]*node{r.nodes[:r.data], r.nodes[r.data:]} {
		for _, n := range group {
			if err := n.process.start(); err != nil {
				return err
			}
		}
		for _, n := range group {
			if err := n.ready(ctx); err != nil {
				return err
			}
		}
	}
	switch r.mode {
	case Cluster:
		return r.join(ctx)
	case Sentinel:
		return poll(ctx, r.watched)
	case Alone:
	}
	return nil
}

// ready waits until a node has loaded its data and answers.
func (n *node) ready(ctx context.Context) error {
	return poll(ctx, func(ctx context.Context) error {
		if err := n.process.exited(); err != nil {
			return &goneError{err}
		}
		_, err := n.dial.do(ctx, "PING")
		return err
	})
}

// Settings returns the product's settings, a line NAME=value each. With proxies, Alone is reached
// through its proxy.
func (r *Redis) Settings() []string {
	all := []string{setting("REDIS_URL", r.url())}
	if r.certs != nil {
		all = append(all, setting("REDIS_PASSWORD_FILE", r.passwordFile), setting("REDIS_CA_FILE", r.certs.ca))
	}
	return all
}

func (r *Redis) url() string {
	scheme := "redis"
	if r.certs != nil {
		scheme = "rediss"
	}
	var addrs []string
	switch r.mode {
	case Cluster:
		for _, n := range r.nodes {
			addrs = append(addrs, scheme+"://"+n.shown())
		}
		return strings.Join(addrs, ",")
	case Sentinel:
		for _, n := range r.nodes[r.data:] {
			addrs = append(addrs, n.addr())
		}
		return scheme + "+sentinel://" + strings.Join(addrs, ",") + "/" + masterName
	default:
		return scheme + "://" + r.nodes[0].shown() + "/0"
	}
}

// Nodes returns how many data nodes there are: 1 for Alone, 3 otherwise.
func (r *Redis) Nodes() int { return r.data }
