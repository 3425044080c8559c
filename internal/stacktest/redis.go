package stacktest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"replyworker/internal/app"
	"replyworker/internal/config"
	"replyworker/internal/dedupe"
	"replyworker/internal/dedupe/dedupetest"
	"replyworker/internal/devstack"
)

// Redis is a Redis with keys of one test's own.
type Redis struct {
	t        testing.TB
	embedded *devstack.Redis // nil where it is real
	env      []string
}

// NewRedis returns a Redis. Its keys are gone when the test has ended.
func NewRedis(t testing.TB) *Redis {
	t.Helper()
	r := &Redis{t: t, env: settings(t, redisPrefix)}
	if r.env != nil {
		server := dedupetest.NewReal(t, redisConfig(t, load(t, r.env)))
		r.env = append(r.env, redisPrefix+"PREFIX="+server.Prefix())
		return r
	}
	var err error
	r.embedded, err = devstack.StartRedis(0)
	require.NoError(t, err)
	t.Cleanup(r.embedded.Close)
	r.env = []string{redisPrefix + "URL=" + r.embedded.URL()}
	return r
}

// Embedded returns the embedded Redis, and skips the test where it is real. needs says what for, as in
// "to answer with errors".
func (r *Redis) Embedded(needs string) *devstack.Redis {
	r.t.Helper()
	if r.embedded == nil {
		r.t.Skipf("needs %s, which only the embedded Redis does", needs)
	}
	return r.embedded
}

// Env returns the settings with which the product reaches the Redis.
func (r *Redis) Env() []string { return r.env }

// Store returns the product's own claim store. It closes when the test ends.
func (r *Redis) Store() *dedupe.Store {
	r.t.Helper()
	store, err := app.Redis(load(r.t, r.env))
	require.NoError(r.t, err)
	r.t.Cleanup(func() { require.NoError(r.t, store.Close()) })
	return store
}

// RedisServer returns the server that tests of dedupe run on: the real one, or one that is embedded
// and stands still unless told.
func RedisServer(t testing.TB) dedupetest.Server {
	t.Helper()
	if env := settings(t, redisPrefix); env != nil {
		return dedupetest.NewReal(t, redisConfig(t, load(t, env)))
	}
	return dedupetest.NewFake(t)
}

// RealRedis returns the real server, and skips the test where there is none.
func RealRedis(t testing.TB) *dedupetest.Real {
	t.Helper()
	env := settings(t, redisPrefix)
	if env == nil {
		t.Skipf("needs a real Redis: %s names none", Variable)
	}
	return dedupetest.NewReal(t, redisConfig(t, load(t, env)))
}

// redisConfig returns where the product finds Redis with these settings.
func redisConfig(t testing.TB, cfg *config.Config) dedupe.Config {
	t.Helper()
	password, err := cfg.ReadSecret("redis-password-file")
	require.NoError(t, err)
	u := cfg.RedisURL
	if password.IsZero() {
		password = u.Password
	}
	return dedupe.Config{
		Server: dedupe.Server{
			Addrs: u.Addrs, Cluster: u.Mode == config.RedisCluster, Master: u.Master, TLS: u.TLS,
			Username: u.Username, Password: password.Reveal(), DB: u.DB,
		},
		RootCAs: roots(t, cfg, "redis-ca-file"),
	}
}
