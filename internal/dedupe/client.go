package dedupe

import (
	"context"
	"crypto/tls"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

const (
	maxRetries      = 2
	minRetryBackoff = 10 * time.Millisecond
	maxRetryBackoff = 250 * time.Millisecond
	// maxIdle is less than the 5 minutes after which load balancers and managed Redis cut idle
	// connections, often without a word.
	maxIdle = 4 * time.Minute
)

// silent drops what go-redis would print on stderr by itself.
type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

// connect makes the client; it dials nothing. There are retries, since every script may be repeated,
// but few, since the caller waits and asks again anyhow. RESP2 and no extras at connect are what
// every server, proxy and managed Redis understands.
func connect(cfg Config) redis.UniversalClient {
	// go-redis has one logger for the whole process. Whatever it logs also comes back as the error of
	// some step, which is where this program logs it; so it is silenced here (the swap is atomic).
	redis.SetLogger(silent{})

	srv := cfg.Server
	opts := &redis.UniversalOptions{
		Addrs: srv.Addrs, DB: srv.DB, MasterName: srv.Master, Protocol: 2,
		Username: srv.Username, Password: srv.Password,
		MaxRetries: maxRetries, MinRetryBackoff: minRetryBackoff, MaxRetryBackoff: maxRetryBackoff,
		DialTimeout: cfg.IOTimeout, DialerRetries: 1, ReadTimeout: cfg.IOTimeout, WriteTimeout: cfg.IOTimeout,
		ContextTimeoutEnabled: true, // without it deadlines of contexts are ignored
		PoolSize:              cfg.PoolSize, PipelinePoolSize: -1, PoolTimeout: cfg.Timeout, ConnMaxIdleTime: maxIdle,
		DisableIdentity: true, MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	if srv.TLS {
		opts.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: cfg.RootCAs}
	}
	switch {
	case srv.Master != "":
		return redis.NewFailoverClient(opts.Failover())
	case srv.Cluster:
		cluster := opts.Cluster()
		cluster.MaxRetries = -1               // its own tries are redirects, to whatever node has the slot then
		cluster.DisableRoutingPolicies = true // they want COMMAND, which ACLs may not allow
		return redis.NewClusterClient(cluster)
	default:
		return redis.NewClient(opts.Simple())
	}
}
