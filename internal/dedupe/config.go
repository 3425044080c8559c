package dedupe

import (
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Defaults of Config.
const (
	DefaultPrefix    = "replyworker"
	DefaultLease     = 30 * time.Second
	DefaultRetention = 336 * time.Hour
	DefaultTimeout   = 5 * time.Second
	DefaultIOTimeout = 2 * time.Second
)

// Config tells a Store where Redis is and how long claims last. Zero fields take their defaults.
type Config struct {
	// Server is where Redis is. It has no default.
	Server Server
	// RootCAs verify the server's certificate. Default the system's. Refused without Server.TLS.
	RootCAs *x509.CertPool
	// Prefix begins every key. Default DefaultPrefix; without white space and braces.
	Prefix string
	// Lease is how long a claim holds without renewal. Default DefaultLease; at least 10 ms, less than
	// Retention. Renewed each third of it, it may be shorter than a call to the API.
	Lease time.Duration
	// Retention is how long a claim outlives the last step on it. Default DefaultRetention; should be
	// longer than the job and dead-letter topics keep records, for a record read after it is sent anew.
	Retention time.Duration
	// PoolSize is the most connections at once, per server. Default 10 per CPU.
	PoolSize int
	// Timeout bounds one step with its retries. Default DefaultTimeout; larger than IOTimeout, or
	// there are none.
	Timeout time.Duration
	// IOTimeout bounds a dial, a write or a read. Default DefaultIOTimeout.
	IOTimeout time.Duration
	// Observe, where set, is told of each step: its name (one of Ops), how long it took with its
	// retries, and its failure. It is called by many goroutines at once. ErrLost is no failure here.
	Observe func(op string, d time.Duration, err error)
}

// String describes the configuration without its secrets, for every printing verb but %#v.
func (c Config) String() string {
	return fmt.Sprintf("redis %s prefix %s lease %s retention %s", c.Server, c.Prefix, c.Lease, c.Retention)
}

// GoString is String: %#v prints no secrets either.
func (c Config) GoString() string { return c.String() }

func (c Config) withDefaults() Config {
	set(&c.Prefix, DefaultPrefix)
	set(&c.Lease, DefaultLease)
	set(&c.Retention, DefaultRetention)
	set(&c.Timeout, DefaultTimeout)
	set(&c.IOTimeout, DefaultIOTimeout)
	return c
}

func set[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// validate reports all faults at once, by the names of contract section 6.
func (c Config) validate() error {
	var faults []error
	add := func(broken bool, format string, args ...any) {
		if broken {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	if err := c.Server.validate(); err != nil {
		faults = append(faults, fmt.Errorf("redis-url: %w", err))
	}
	add(c.RootCAs != nil && !c.Server.TLS, "redis-ca-file: redis-url is not for TLS; use rediss://")
	add(strings.ContainsAny(c.Prefix, "{} \t\r\n"), "redis-prefix: %q contains white space or a brace", c.Prefix)
	add(c.Lease < 10*time.Millisecond, "claim-lease: %s is less than 10ms", c.Lease)
	add(c.Retention <= c.Lease, "claim-retention: %s is not more than claim-lease, %s", c.Retention, c.Lease)
	add(c.PoolSize < 0, "pool size: %d is negative", c.PoolSize)
	add(c.Timeout < 0, "timeout: %s is negative", c.Timeout)
	add(c.IOTimeout < 0, "I/O timeout: %s is negative", c.IOTimeout)
	return errors.Join(faults...)
}
