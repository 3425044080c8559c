package cli_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/dedupe"
	"replyworker/internal/devstack"
)

func splitLines(text string) []string {
	text = strings.TrimSuffix(text, "\n")
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

// startRedis starts a Redis and returns a claim store on it, and the environment that makes a command
// use it.
func startRedis(t *testing.T) (*dedupe.Store, []string) {
	t.Helper()
	server, err := devstack.StartRedis(0)
	require.NoError(t, err)
	t.Cleanup(server.Close)
	store, err := dedupe.New(dedupe.Config{Server: dedupe.Server{Addrs: []string{server.Mini().Addr()}}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return store, []string{"REPLYWORKER_REDIS_URL=" + server.URL()}
}

func claimed(t *testing.T, store *dedupe.Store, mchID, id string) dedupe.Claimant {
	t.Helper()
	c := dedupe.Claimant{
		Key: dedupe.Key{MchID: mchID, IdempotentID: id}, Token: dedupe.NewToken(),
		Source: "reply.jobs-1/3/1041/1795000000000", Content: strings.Repeat("ab", 32),
	}
	claim, err := store.Claim(t.Context(), c, 1)
	require.NoError(t, err)
	require.Equal(t, dedupe.VerdictWon, claim.Verdict)
	return c
}

func decodeJob(t *testing.T, got result) map[string]any {
	t.Helper()
	require.Len(t, splitLines(got.stdout), 1, got.stderr)
	var row map[string]any
	require.NoError(t, json.Unmarshal([]byte(got.stdout), &row))
	return row
}

func TestJobThatIsUnderWay(t *testing.T) {
	t.Parallel()
	store, env := startRedis(t)
	claimed(t, store, "1900000001", "some id")
	got := run(t, env, "job", "some id", "--merchant=1900000001", "-o", "json")
	require.Equal(t, 0, got.status, got.stderr)
	row := decodeJob(t, got)
	wait, updated := row["wait_ms"], row["updated_at"]
	delete(row, "wait_ms")
	delete(row, "updated_at")
	require.Equal(t, map[string]any{
		"idempotent_id": "some id", "mchid": "1900000001", "state": "claimed", "reason": "", "attempts": 1.0,
		"maybe_sent": false, "log_id": "", "published": false, "content_sha256": strings.Repeat("ab", 32),
		"source": map[string]any{"topic": "reply.jobs-1", "partition": 3.0, "offset": 1041.0},
	}, row)
	require.Greater(t, wait, 1000.0)
	at, err := time.Parse("2006-01-02T15:04:05.000Z", updated.(string))
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), at, time.Minute)

	got = run(t, env, "job", "some id", "--merchant=1900000001")
	require.Equal(t, 0, got.status)
	require.Contains(t, got.stdout, "state           claimed\nwait            ")
	require.Contains(t, got.stdout, "source          reply.jobs-1 partition 3 offset 1041\n")
}

func TestJobThatIsDone(t *testing.T) {
	t.Parallel()
	store, env := startRedis(t)
	c := claimed(t, store, "1900000001", "done")
	_, err := store.Complete(t.Context(), c, dedupe.Done{LogID: "3002853"})
	require.NoError(t, err)
	got := run(t, append(env, "REPLYWORKER_MCHID=1900000001"), "job", "done", "-o", "json")
	require.Equal(t, 0, got.status, got.stderr)
	row := decodeJob(t, got)
	require.Equal(t, "done", row["state"])
	require.Equal(t, "3002853", row["log_id"])
}

func TestJobThatNobodyKnows(t *testing.T) {
	t.Parallel()
	store, env := startRedis(t)
	claimed(t, store, "1900000001", "id")
	env = append(env, "REPLYWORKER_MCHID=1900000002")
	got := run(t, env, "job", "id", "-o", "json")
	require.Equal(t, 1, got.status)
	require.JSONEq(t, `{"idempotent_id":"id","mchid":"1900000002","state":"unknown","reason":"","attempts":0,
		"maybe_sent":false,"log_id":"","published":false,"wait_ms":0,"content_sha256":"",
		"source":{"topic":"","partition":0,"offset":0},"updated_at":""}`, got.stdout)
	require.Contains(t, got.stderr, `{"error":"nothing is known of \"id\" of merchant 1900000002","hint":"it `)

	got = run(t, env, "job", "id")
	require.Equal(t, 1, got.status)
	require.Contains(t, got.stderr, "worker: nothing is known of \"id\" of merchant 1900000002\nhint: ")
	require.Equal(t, "idempotent_id  id\nmchid          1900000002\nstate          unknown\n", got.stdout)
}

func TestJobThatCannotBeLookedUp(t *testing.T) {
	t.Parallel()
	got := run(t, nil, "job", "id")
	require.Equal(t, result{2, "", "worker: whose job? no default merchant is configured\n" +
		"hint: give --merchant, or set mchid\n"}, got)
	got = run(t, nil, "job", "id", "--merchant=a:b")
	require.Equal(t, 2, got.status)
	require.Contains(t, got.stderr, "merchant id \"a:b\" is empty or has a colon or a brace")
	start := time.Now()
	got = run(t, []string{"REPLYWORKER_REDIS_URL=redis://" + closedAddr(t)}, "job", "id", "--merchant=1", "--start-timeout=1s")
	require.Equal(t, 1, got.status)
	require.Empty(t, got.stdout, "it is not known whether it is known")
	require.Contains(t, got.stderr, "hint: check redis-url and that Redis runs")
	require.Less(t, time.Since(start), 8*time.Second)
	require.Equal(t, 2, run(t, nil, "job").status)
}

func hold(t *testing.T, store *dedupe.Store, mchID string, kind dedupe.HoldKind) {
	t.Helper()
	_, created, err := store.Hold(t.Context(), mchID, dedupe.HoldRequest{
		Kind: kind, Code: "SIGN_ERROR", Message: "签名错误", First: time.Minute, Max: time.Hour, TTL: time.Hour,
	})
	require.NoError(t, err)
	require.True(t, created)
}

func TestHoldsList(t *testing.T) {
	t.Parallel()
	store, env := startRedis(t)
	got := run(t, env, "holds", "list", "-o", "json")
	require.Equal(t, result{0, "", ""}, got)
	hold(t, store, "1900000002", dedupe.HoldBrake)
	hold(t, store, "1900000001", dedupe.HoldCredentials)
	got = run(t, env, "holds", "list", "-o", "json")
	require.Equal(t, 0, got.status, got.stderr)
	lines := splitLines(got.stdout)
	require.Len(t, lines, 2)
	var row map[string]any
	require.NoError(t, json.Unmarshal([]byte(lines[0]), &row))
	require.Greater(t, row["next_probe_ms"], 1000.0)
	_, err := time.Parse(time.RFC3339, row["since"].(string))
	require.NoError(t, err)
	delete(row, "next_probe_ms")
	delete(row, "since")
	require.Equal(t, map[string]any{
		"mchid": "1900000001", "kind": "credentials", "code": "SIGN_ERROR", "message": "签名错误", "probes": 0.0, "last_probe": "",
	}, row)
	got = run(t, env, "holds", "list")
	require.Equal(t, 0, got.status)
	require.Contains(t, got.stdout, "MCHID       KIND         CODE        SINCE")
	require.Contains(t, got.stdout, "1900000002  brake        SIGN_ERROR  ")
}

func TestHoldsRelease(t *testing.T) {
	t.Parallel()
	store, env := startRedis(t)
	hold(t, store, "1900000001", dedupe.HoldBrake)
	hold(t, store, "1900000002", dedupe.HoldBrake)
	got := run(t, env, "holds", "release", "1900000001")
	require.Equal(t, result{2, "", "worker: this wants to be confirmed, and there is no terminal to ask on\n" +
		"hint: give --yes to go on without being asked\n"}, got)
	got = run(t, env, "holds", "release", "1900000001", "--yes")
	require.Equal(t, result{0, "", "worker: merchant 1900000001 goes on\n"}, got)
	got = run(t, env, "holds", "release", "1900000001", "--yes")
	require.Equal(t, result{1, "", "worker: merchant \"1900000001\" is not held\n" +
		"hint: `worker holds list` lists those that are\n"}, got)
	got = run(t, env, "holds", "release", "1900000002", "-y", "-o=json")
	require.Equal(t, 0, got.status)
	require.Contains(t, got.stdout, `"mchid":"1900000002"`)
	holds, err := store.ListHolds(t.Context())
	require.NoError(t, err)
	require.Empty(t, holds)
	require.Equal(t, 2, run(t, nil, "holds", "release").status)
	require.Equal(t, 1, run(t, []string{"REPLYWORKER_REDIS_URL=redis://" + closedAddr(t)}, "holds", "list").status)
}
