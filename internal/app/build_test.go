package app_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/stretchr/testify/require"

	"replyworker/internal/app"
	"replyworker/internal/config"
)

func TestRedisIsWhatTheURLSays(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		url  config.RedisURL
		want string
	}{
		{config.RedisURL{Addrs: []string{"a:1"}, DB: 2, Username: "u", Password: config.NewSecret("p")}, "redis://a:1/2"},
		{config.RedisURL{Addrs: []string{"a:1"}, TLS: true}, "rediss://a:1/0"},
		{config.RedisURL{Addrs: []string{"a:1"}, Mode: config.RedisCluster}, "redis+cluster://a:1"},
		{config.RedisURL{Addrs: []string{"a:1", "b:2"}, Mode: config.RedisCluster}, "redis+cluster://a:1,b:2"},
		{
			config.RedisURL{Addrs: []string{"a:1", "b:2"}, Mode: config.RedisSentinel, Master: "m", DB: 3},
			"redis+sentinel://a:1,b:2/m/3",
		},
	} {
		t.Run(row.want, func(t *testing.T) {
			t.Parallel()
			cfg := config.Default()
			cfg.RedisURL = row.url
			store, err := app.Redis(cfg)
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, store.Close()) })
			require.Equal(t, row.want, store.Target())
		})
	}
}

func TestThePasswordFileGoesBeforeTheURL(t *testing.T) {
	t.Parallel()
	server := miniredis.RunT(t)
	server.RequireUserAuth("worker", "s@cret")
	file := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(file, []byte("s@cret\n"), 0o600))
	for _, row := range []struct{ name, password, file string }{
		{"in the URL", "s@cret", ""},
		{"in a file", "", file},
		{"in both", "wrong", file},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			cfg := config.Default()
			cfg.RedisURL = config.RedisURL{
				Addrs: []string{server.Addr()}, Username: "worker", Password: config.NewSecret(row.password),
			}
			cfg.RedisPasswordFile = row.file
			store, err := app.Redis(cfg)
			require.NoError(t, err)
			defer func() { require.NoError(t, store.Close()) }()
			require.NoError(t, store.Ping(t.Context()))
		})
	}
}
