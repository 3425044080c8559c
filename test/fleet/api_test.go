//go:build linux

package fleet_test

import (
	"errors"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"replyworker/internal/config"
	"replyworker/test/fleet"
)

// TestStartAPI: the settings are such as the product takes, and lead to what stands before the hosts.
func TestStartAPI(t *testing.T) {
	t.Parallel()
	before := map[string]string{}
	api, err := fleet.StartAPI(fleet.APIConfig{Dir: t.TempDir(), Proxy: func(name, upstream string) (string, error) {
		before[name] = upstream
		return map[string]string{"primary": "127.0.0.1:1", "backup": "127.0.0.1:2"}[name], nil
	}})
	require.NoError(t, err)
	defer func() { require.NoError(t, api.Sim.Close()) }()
	cfg, err := config.Load(config.Sources{Env: api.Settings})
	require.NoError(t, err)
	require.Equal(t, "https://127.0.0.1:1", cfg.PrimaryURL)
	require.Equal(t, "https://127.0.0.1:2", cfg.BackupURL)
	require.Len(t, before, 2)
	for name, host := range before {
		conn, err := net.Dial("tcp", host)
		require.NoError(t, err, name)
		require.NoError(t, conn.Close())
	}
}

// TestStartAPIFails: where nothing can stand before a host, the hosts are gone again.
func TestStartAPIFails(t *testing.T) {
	t.Parallel()
	var host string
	_, err := fleet.StartAPI(fleet.APIConfig{Dir: t.TempDir(), Proxy: func(_, upstream string) (string, error) {
		host = upstream
		return "", errors.New("no room")
	}})
	require.ErrorContains(t, err, "no room")
	_, err = net.Dial("tcp", host)
	require.Error(t, err)
}
