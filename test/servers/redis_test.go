package servers_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"replyworker/internal/config"
	"replyworker/test/servers"
)

// redisClient is a client of the settings.
func redisClient(t *testing.T, settings []string) redis.UniversalClient {
	t.Helper()
	cfg := load(t, settings)
	opts := &redis.UniversalOptions{
		Addrs: cfg.RedisURL.Addrs, MasterName: cfg.RedisURL.Master, DB: cfg.RedisURL.DB,
		Password: secret(t, cfg, "redis-password-file"), MaxRetries: -1, ContextTimeoutEnabled: true,
		IsClusterMode: cfg.RedisURL.Mode == config.RedisCluster,
	}
	if cfg.RedisURL.TLS {
		opts.TLSConfig = trust(t, cfg, "redis-ca-file")
	}
	c := redis.NewUniversalClient(opts)
	t.Cleanup(func() { c.Close() })
	return c
}

// keys lie in different thirds of a Cluster's slots.
var keys = []string{"a", "b", "c", "d", "e", "f", "g", "h"}

// hold says nil when every key has its value.
func hold(ctx context.Context, c redis.UniversalClient) error {
	for _, key := range keys {
		if got, err := c.Get(ctx, key).Result(); err != nil || got != "v-"+key {
			return fmt.Errorf("key %s is %q: %w", key, got, err)
		}
	}
	return nil
}

func TestRedis(t *testing.T) {
	for _, mode := range []servers.RedisMode{servers.Alone, servers.Cluster, servers.Sentinel} {
		for _, secure := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, secure %t", mode, secure), func(t *testing.T) {
				ctx := needReal(t)
				r, err := servers.StartRedis(ctx, servers.RedisConfig{Dir: t.TempDir(), Mode: mode, Secure: secure})
				require.NoError(t, err)
				t.Cleanup(r.Close)
				pids := redisPIDs(r)
				require.Len(t, pids, map[servers.RedisMode]int{servers.Alone: 1, servers.Cluster: 3, servers.Sentinel: 6}[mode])

				c := redisClient(t, r.Settings())
				for _, key := range keys {
					require.NoError(t, c.Set(ctx, key, "v-"+key, 0).Err())
				}
				require.NoError(t, hold(ctx, c))
				keepsData(ctx, t, r, c, mode)
				policy, err := r.Do(ctx, 0, "CONFIG", "GET", "maxmemory-policy")
				require.NoError(t, err)
				require.Equal(t, "maxmemory-policy\nnoeviction", policy)

				require.NoError(t, r.FlushAll(ctx))
				eventually(ctx, t, func(ctx context.Context) error { // a connection to an old master may be in the way
					got, err := c.Get(ctx, keys[0]).Result()
					if errors.Is(err, redis.Nil) {
						return nil
					}
					return fmt.Errorf("after FLUSHALL key %s is %q: %w", keys[0], got, err)
				})

				pids = redisPIDs(r)
				r.Close()
				gone(t, pids)
			})
		}
	}
}

// keepsData kills and stops servers and expects the data to be there afterwards.
func keepsData(ctx context.Context, t *testing.T, r *servers.Redis, c redis.UniversalClient, mode servers.RedisMode) {
	t.Helper()
	if mode == servers.Sentinel {
		failsOver(ctx, t, r, c)
		return
	}
	last := r.Nodes() - 1
	for _, end := range []func(int) error{r.Kill, r.Stop} {
		eventually(ctx, t, func(ctx context.Context) error { return written(ctx, r, last) })
		pid := r.PID(last)
		require.NoError(t, end(last))
		gone(t, []int{pid})
		require.Zero(t, r.PID(last))
		require.Error(t, end(last), "it is gone already")
		require.Error(t, hold(ctx, c))
		require.NoError(t, r.Start(ctx, last))
		eventually(ctx, t, func(ctx context.Context) error { return hold(ctx, c) })
	}
}

// written says nil when a node has given all data to the system. While an fsync is slow, Redis answers
// first and writes up to two seconds later.
func written(ctx context.Context, r *servers.Redis, i int) error {
	info, err := r.Do(ctx, i, "INFO", "persistence")
	if err == nil && !strings.Contains(info, "aof_buffer_length:0\r\n") {
		err = fmt.Errorf("node %d has data in its buffer", i)
	}
	return err
}

// failsOver kills the master, brings it back, and makes the sentinels promote another one.
func failsOver(ctx context.Context, t *testing.T, r *servers.Redis, c redis.UniversalClient) {
	t.Helper()
	first, err := r.Master(ctx)
	require.NoError(t, err)
	require.Zero(t, first)
	_, err = r.Do(ctx, first, "WAIT", "2", "0") // the replicas have all
	require.NoError(t, err)
	require.NoError(t, r.Kill(first))
	eventually(ctx, t, func(ctx context.Context) error {
		now, err := r.Master(ctx)
		if err == nil && now == first {
			err = fmt.Errorf("node %d is still the master", now)
		}
		return err
	})
	eventually(ctx, t, func(ctx context.Context) error { return hold(ctx, c) })
	require.NoError(t, r.Start(ctx, first))
	eventually(ctx, t, func(ctx context.Context) error {
		role, err := r.Do(ctx, first, "ROLE")
		if err == nil && (!strings.HasPrefix(role, "slave") || !strings.Contains(role, "connected")) {
			err = fmt.Errorf("the old master is %q", role)
		}
		return err
	})
	for range 2 {
		before, err := r.Master(ctx)
		require.NoError(t, err)
		require.NoError(t, r.Failover(ctx))
		after, err := r.Master(ctx)
		require.NoError(t, err)
		require.NotEqual(t, before, after)
		eventually(ctx, t, func(ctx context.Context) error { return hold(ctx, c) })
	}
}

func redisPIDs(r *servers.Redis) []int {
	var pids []int
	for i := 0; r.PID(i) != 0; i++ {
		pids = append(pids, r.PID(i))
	}
	return pids
}

func TestRedisBehindProxies(t *testing.T) {
	for _, mode := range []servers.RedisMode{servers.Alone, servers.Sentinel} {
		t.Run(string(mode), func(t *testing.T) {
			ctx := needReal(t)
			proxy := proxies(t)
			direct, shown := map[string]bool{}, map[string]bool{}
			r, err := servers.StartRedis(ctx, servers.RedisConfig{
				Dir: t.TempDir(), Mode: mode, Secure: true,
				Proxy: func(name, upstream string) (string, error) {
					addr, err := proxy(name, upstream)
					direct[upstream], shown[addr] = true, true
					return addr, err
				},
			})
			require.NoError(t, err)
			t.Cleanup(r.Close)
			require.Len(t, shown, r.Nodes())
			for addr := range direct {
				require.NotContains(t, strings.Join(r.Settings(), "\n"), addr)
			}
			c := redisClient(t, r.Settings())
			require.NoError(t, c.Set(ctx, "a", "1", 0).Err())
			if mode == servers.Alone {
				return
			}
			announced(ctx, t, r, shown)
			require.NoError(t, r.Failover(ctx))
			announced(ctx, t, r, shown)
			eventually(ctx, t, func(ctx context.Context) error { return c.Get(ctx, "a").Err() })
		})
	}
}

// announced holds that the sentinels name the proxies of the master and of both replicas, and nothing
// else.
func announced(ctx context.Context, t *testing.T, r *servers.Redis, shown map[string]bool) {
	t.Helper()
	for sentinel := r.Nodes(); r.PID(sentinel) != 0; sentinel++ {
		eventually(ctx, t, func(ctx context.Context) error {
			got := map[string]bool{}
			for _, question := range []string{"MASTER", "REPLICAS"} {
				answer, err := r.Do(ctx, sentinel, "SENTINEL", question, "replyworker")
				if err != nil {
					return err
				}
				lines := strings.Split(answer, "\n")
				for i, line := range lines {
					if line == "ip" {
						got[lines[i+1]+":"+lines[i+3]] = true
					}
				}
			}
			if fmt.Sprint(got) != fmt.Sprint(shown) {
				return fmt.Errorf("sentinel %d names %v, want %v", sentinel, got, shown)
			}
			return nil
		})
	}
}

func TestRedisThatCannotStart(t *testing.T) {
	ctx := needReal(t)
	_, err := servers.StartRedis(ctx, servers.RedisConfig{Dir: t.TempDir(), Properties: map[string]string{"no-such": "1"}})
	require.ErrorContains(t, err, "no-such", "the end of the server's log says why")
	_, err = servers.StartRedis(ctx, servers.RedisConfig{Dir: t.TempDir(), Mode: "two"})
	require.ErrorContains(t, err, `no mode "two"`)
	_, err = servers.StartRedis(ctx, servers.RedisConfig{Dir: t.TempDir(), Mode: servers.Cluster, Proxy: proxies(t)})
	require.ErrorContains(t, err, "no proxies for a Cluster")
}
