package dedupe_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2/server"
	"github.com/stretchr/testify/require"

	"replyworker/internal/dedupe"
	"replyworker/internal/dedupe/dedupetest"
	"replyworker/internal/stacktest"
)

// telling makes a server answer INFO with a text, an error where it begins with "-", and CONFIG GET with
// that of save, "-" for a refusal.
func telling(t *testing.T, info, save string) *dedupetest.Fake {
	t.Helper()
	srv := dedupetest.NewFake(t)
	srv.SetTime(time.Time{}) // a clock that goes
	srv.Server().SetPreHook(func(p *server.Peer, command string, args ...string) bool {
		switch {
		case command == "INFO" && strings.HasPrefix(info, "-"):
			p.WriteError(info[1:])
		case command == "INFO":
			p.WriteBulk(info)
		case command == "CONFIG" && save == "-":
			p.WriteError("ERR unknown command 'CONFIG'")
		case command == "CONFIG":
			p.WriteStrings([]string{args[1], save})
		default:
			return false
		}
		return true
	})
	return srv
}

// infoOf is what Redis 7 writes, as far as it is looked at.
const infoOf = "# Server\r\nredis_version:7.0.15\r\n" +
	"# Memory\r\nused_memory:900\r\nmaxmemory:1000\r\nmaxmemory_policy:volatile-lru\r\n" +
	"# Persistence\r\naof_enabled:1\r\nrdb_last_bgsave_status:err\r\naof_last_bgrewrite_status:ok\r\naof_last_write_status:err\r\n" +
	"# Replication\r\nrole:master\r\n"

func TestInspect(t *testing.T) {
	t.Parallel()
	srv := telling(t, infoOf, "3600 1 300 100")
	nodes, err := dedupetest.Store(t, srv, nil).Inspect(t.Context())
	require.NoError(t, err)
	require.Len(t, nodes, 1)
	require.Less(t, nodes[0].Clock.Abs(), 10*time.Second)
	require.Positive(t, nodes[0].Round)
	nodes[0].Clock, nodes[0].Round = 0, 0
	require.Equal(t, dedupe.Node{
		Address: srv.Addr(), Version: "redis 7.0.15", Role: "master", Policy: "volatile-lru", UsedMemory: 900, MaxMemory: 1000,
		AppendOnly: "on", Snapshots: "on", Unsaved: []string{"a snapshot", "its append-only file"},
	}, nodes[0])
}

func TestInspectFindsWhatIsOff(t *testing.T) {
	t.Parallel()
	nodes, err := dedupetest.Store(t, telling(t, "redis_version:7.2.4\r\nvalkey_version:8.1.0\r\naof_enabled:0\r\n", ""),
		nil).Inspect(t.Context())
	require.NoError(t, err)
	require.Equal(t, "valkey 8.1.0", nodes[0].Version)
	require.Equal(t, "off", nodes[0].AppendOnly)
	require.Equal(t, "off", nodes[0].Snapshots)
	require.Empty(t, nodes[0].Unsaved)
}

// TestInspectOfServersThatKeepItToThemselves holds that managed servers, which refuse to tell, are no
// fault, and that silence is.
func TestInspectOfServersThatKeepItToThemselves(t *testing.T) {
	t.Parallel()
	for _, refusal := range []string{"NOPERM this user has no permissions to run the 'info' command", "ERR unknown command 'INFO'"} {
		nodes, err := dedupetest.Store(t, telling(t, "-"+refusal, "-"), nil).Inspect(t.Context())
		require.NoError(t, err)
		require.ErrorContains(t, nodes[0].Untold, refusal)
		require.Empty(t, nodes[0].Version)
	}
	nodes, err := dedupetest.Store(t, telling(t, infoOf, "-"), nil).Inspect(t.Context())
	require.NoError(t, err)
	require.Empty(t, nodes[0].Snapshots, "only CONFIG tells")
	srv := telling(t, infoOf, "")
	store := dedupetest.Store(t, srv, nil)
	srv.Close()
	_, err = store.Inspect(t.Context())
	requireReason(t, dedupe.ReasonUnavailable, err)
}

func TestInspectTellsTheClock(t *testing.T) {
	t.Parallel()
	srv := dedupetest.NewFake(t)
	srv.SetTime(time.Now().Add(-time.Hour))
	nodes, err := dedupetest.Store(t, srv, nil).Inspect(t.Context())
	require.NoError(t, err)
	require.InDelta(t, -time.Hour.Seconds(), nodes[0].Clock.Seconds(), 60)
}

// TestInspectOnWhateverRedisThereIs holds that a real one tells what is asked of it, and every master of a
// Cluster.
func TestInspectOnWhateverRedisThereIs(t *testing.T) {
	t.Parallel()
	srv := stacktest.RealRedis(t)
	store := dedupetest.Store(t, srv, nil)
	nodes, err := store.Inspect(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, nodes)
	require.Equal(t, srv.Where().Cluster, len(nodes) > 1)
	for _, n := range nodes {
		require.NoError(t, n.Untold)
		_, number, _ := strings.Cut(n.Version, " ")
		major, _, _ := strings.Cut(number, ".")
		_, err := strconv.Atoi(major)
		require.NoError(t, err, n.Version)
		require.Equal(t, "master", n.Role)
		require.NotEmpty(t, n.Policy)
		require.Positive(t, n.UsedMemory)
		require.NotEmpty(t, n.AppendOnly)
		require.NotEmpty(t, n.Snapshots)
		require.Less(t, n.Clock.Abs(), time.Second+n.Round)
	}
}
