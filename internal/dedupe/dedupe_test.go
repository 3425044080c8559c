package dedupe_test

import (
	"flag"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"replyworker/internal/dedupe"
	"replyworker/internal/dedupe/dedupetest"
	"replyworker/internal/stacktest"
)

func TestMain(m *testing.M) {
	flag.Parse()
	// The embedded server takes half a millisecond for a script: fewer runs than rapid's 100, unless
	// the command line says otherwise.
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		_ = f.Value.Set("30")
	}
	// A go-redis pool that could not dial looks once a second whether it can; it sees only then that it
	// is closed.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}

// TestStore runs the suite on the embedded Redis, or on the real one that TEST_SERVERS names.
func TestStore(t *testing.T) {
	t.Parallel()
	dedupetest.Run(t, func(t *testing.T) dedupetest.Server { return stacktest.RedisServer(t) })
}

// TestBytesPerClaim holds the size of a finished claim, of which there are as many as jobs in the
// retention. Measured on Redis 7.0.15: 281 bytes without details, 380 with those below.
func TestBytesPerClaim(t *testing.T) { //nolint:tparallel // the two share srv's one connection
	t.Parallel()
	const details = `{"host":"primary","http_status":200,"request_id":"08F4E9A6B70610A9031895B9C2A801209C9C0B28B6DC03-0"}`
	srv := stacktest.RealRedis(t)
	s := dedupetest.Store(t, srv, func(c *dedupe.Config) { c.Prefix = srv.Prefix() + ":replyworker" })
	for _, row := range []struct {
		name, details string
		limit         int
	}{{"without details", "", 300}, {"with details", details, 400}} {
		t.Run(row.name, func(t *testing.T) {
			c := claimant()
			c.IdempotentID += row.name
			_, err := s.Claim(t.Context(), c, 1)
			require.NoError(t, err)
			_, err = s.Complete(t.Context(), c, dedupe.Done{
				LogID: "300285320210322170000071077", Details: row.details, Attempts: 1,
			})
			require.NoError(t, err)
			require.NoError(t, s.MarkPublished(t.Context(), c.Key, c.Source))
			key := srv.Prefix() + ":replyworker:job:{" + c.Key.String() + "}"
			require.Contains(t, srv.Do(t, "OBJECT", "ENCODING", key), "list", "the hash should be a listpack or ziplist")
			n, err := strconv.Atoi(strings.Trim(srv.Do(t, "MEMORY", "USAGE", key), ":\r\n"))
			require.NoError(t, err)
			n -= len(key) - len("replyworker:job:{"+claimant().Key.String()+"}")
			t.Logf("%d bytes, but for the test's longer key", n)
			require.LessOrEqual(t, n, row.limit)
		})
	}
}

// clusterServer makes the same server known as a Cluster.
type clusterServer struct{ *dedupetest.Fake }

func (c clusterServer) Where() dedupe.Server {
	where := c.Fake.Where()
	where.Cluster = true
	return where
}

func TestCluster(t *testing.T) {
	t.Parallel()
	srv := clusterServer{dedupetest.NewFake(t)}
	s := dedupetest.Store(t, srv, nil)
	ctx := t.Context()
	require.NoError(t, s.Ping(ctx))
	c := dedupe.Claimant{
		Key:   dedupe.Key{MchID: "1", IdempotentID: "a"},
		Token: dedupe.NewToken(), Source: "s", Content: string(make([]byte, 32)),
	}
	got, err := s.Claim(ctx, c, 1)
	require.NoError(t, err)
	require.Equal(t, dedupe.VerdictWon, got.Verdict)
	require.Equal(t, []error{nil, nil}, s.Renew(ctx, []dedupe.Claimant{c, c}))
	_, _, err = s.Hold(ctx, "1", dedupe.HoldRequest{Kind: dedupe.HoldBrake, First: 1e9, Max: 1e9, TTL: 1e9})
	require.NoError(t, err)
	holds, err := s.ListHolds(ctx)
	require.NoError(t, err)
	require.Len(t, holds, 1)
	_, err = s.EvictionPolicy(ctx)
	require.NoError(t, err)
}
