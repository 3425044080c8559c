package dedupe_test

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/dedupe"
	"replyworker/internal/dedupe/dedupetest"
	"replyworker/internal/pace"
)

func requireReason(t *testing.T, want dedupe.Reason, err error) *dedupe.Error {
	t.Helper()
	var e *dedupe.Error
	require.ErrorAs(t, err, &e, "want a *dedupe.Error with reason %s, got %v", want, err)
	require.Equal(t, want, e.Reason, "%v", err)
	return e
}

func claimant() dedupe.Claimant {
	return dedupe.Claimant{
		Key:   dedupe.Key{MchID: "1900000001", IdempotentID: "550e8400-e29b-41d4-a716-446655440000"},
		Token: dedupe.NewToken(), Source: "reply-jobs/3/1041/1763884800000", Content: string(make([]byte, 32)),
	}
}

// TestServerErrors goes through what servers say, Redis 6 with its wrapping of errors in scripts among
// them.
func TestServerErrors(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		text   string
		reason dedupe.Reason
		hint   string
	}{
		{
			"MISCONF Redis is configured to save RDB snapshots, but is currently unable to persist",
			dedupe.ReasonRefused, "disk",
		},
		{"OOM command not allowed when used memory > 'maxmemory'.", dedupe.ReasonRefused, "maxmemory"},
		{
			"ERR Error running script (call to f_0a1b): @user_script:30: -OOM command not allowed",
			dedupe.ReasonRefused, "maxmemory",
		},
		{
			"ERR Error running script (call to f_0a1b): @user_script:30: @user_script: 30: -MISCONF Redis is",
			dedupe.ReasonRefused, "disk",
		},
		{
			"ERR Error running script (call to f_0a1b): @user_script:9: WRONGTYPE Operation against a key",
			dedupe.ReasonWrongType, "TYPE",
		},
		{"READONLY You can't write against a read only replica.", dedupe.ReasonRefused, "replica"},
		{"NOAUTH Authentication required.", dedupe.ReasonRefused, "password"},
		{"NOPERM this user has no permissions to run the 'evalsha' command", dedupe.ReasonRefused, "rights"},
		{"MOVED 3999 127.0.0.1:6381", dedupe.ReasonRefused, "Cluster"},
		{"LOADING Redis is loading the dataset in memory", dedupe.ReasonUnavailable, "redis-url"},
		{"CLUSTERDOWN The cluster is down", dedupe.ReasonUnavailable, "redis-url"},
		{"ERR max number of clients reached", dedupe.ReasonUnavailable, "redis-url"},
		{"BUSY Redis is busy running a script.", dedupe.ReasonUnavailable, "redis-url"},
		{"ERR unknown command 'EVALSHA'", dedupe.ReasonProtocol, ""},
	} {
		t.Run(row.text, func(t *testing.T) {
			t.Parallel()
			srv := dedupetest.NewFake(t)
			s := dedupetest.Store(t, srv, nil)
			srv.SetError(row.text)
			_, err := s.Claim(t.Context(), claimant(), 1)
			e := requireReason(t, row.reason, err)
			require.Contains(t, e.Hint(), row.hint)
			require.Contains(t, e.Key, "550e8400")
			require.ErrorContains(t, err, "redis claim")
			require.ErrorContains(t, s.Renew(t.Context(), []dedupe.Claimant{claimant()})[0], string(row.reason))
			requireReason(t, row.reason, s.Ping(t.Context()))
			require.Equal(t, row.reason.String(), string(row.reason))
			require.Contains(t, dedupe.Reasons(), row.reason)
		})
	}
}

// TestNoAnswer asks a server that takes connections and says nothing.
func TestNoAnswer(t *testing.T) {
	t.Parallel()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	s, err := dedupe.New(dedupe.Config{
		Server:  dedupe.Server{Addrs: []string{l.Addr().String()}},
		Timeout: 200 * time.Millisecond, IOTimeout: 20 * time.Millisecond,
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })

	start := time.Now()
	_, err = s.Claim(t.Context(), claimant(), 1)
	requireReason(t, dedupe.ReasonTimeout, err)
	for _, err := range s.Renew(t.Context(), []dedupe.Claimant{claimant(), claimant()}) {
		requireReason(t, dedupe.ReasonTimeout, err)
	}
	require.Less(t, time.Since(start), 10*time.Second, "a silent server must not hold a step up")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = s.Claim(ctx, claimant(), 1)
	requireReason(t, dedupe.ReasonCanceled, err)
	require.ErrorIs(t, err, context.Canceled)
}

func TestNobodyThere(t *testing.T) {
	t.Parallel()
	srv := dedupetest.NewFake(t)
	s := dedupetest.Store(t, srv, nil)
	c := claimant()
	_, err := s.Claim(t.Context(), c, 1)
	require.NoError(t, err)
	srv.Close()
	_, err = s.Claim(t.Context(), c, 1)
	requireReason(t, dedupe.ReasonUnavailable, err)
	require.NoError(t, srv.Restart())
	got, err := s.Claim(t.Context(), c, 1)
	require.NoError(t, err, "the same Store goes on when Redis is back")
	require.Equal(t, 1, got.Attempts)
}

func TestObserve(t *testing.T) {
	t.Parallel()
	srv := dedupetest.NewFake(t)
	var mu sync.Mutex
	seen := map[string]int{}
	failed := 0
	s := dedupetest.Store(t, srv, func(c *dedupe.Config) {
		c.Observe = func(op string, _ time.Duration, err error) {
			mu.Lock()
			defer mu.Unlock()
			seen[op]++
			if err != nil {
				failed++
			}
		}
	})
	c := claimant()
	_, err := s.Claim(t.Context(), c, 1)
	require.NoError(t, err)
	require.ErrorIs(t, s.Park(t.Context(), claimant(), dedupe.Parked{}), dedupe.ErrLost)
	s.Renew(t.Context(), []dedupe.Claimant{c, c})
	_, err = s.ListHolds(t.Context())
	require.NoError(t, err)
	require.Zero(t, failed, "a lost claim is an answer, no failure")
	srv.SetError("OOM no")
	s.Renew(t.Context(), []dedupe.Claimant{c, c})
	require.Equal(t, 1, failed)
	require.Equal(t, map[string]int{"claim": 1, "park": 1, "renew": 2, "list_holds": 1}, seen)
	for op := range seen {
		require.Contains(t, dedupe.Ops(), op)
	}
}

func TestArgumentsRefused(t *testing.T) {
	t.Parallel()
	s := dedupetest.Store(t, dedupetest.NewFake(t), nil)
	ctx := t.Context()
	for name, change := range map[string]func(*dedupe.Claimant){
		"no merchant":       func(c *dedupe.Claimant) { c.MchID = "" },
		"merchant:with":     func(c *dedupe.Claimant) { c.MchID = "a:b" },
		"merchant}with":     func(c *dedupe.Claimant) { c.MchID = "a}" },
		"no id":             func(c *dedupe.Claimant) { c.IdempotentID = "" },
		"no source":         func(c *dedupe.Claimant) { c.Source = "" },
		"no token":          func(c *dedupe.Claimant) { c.Token = "" },
		"short content":     func(c *dedupe.Claimant) { c.Content = "abc" },
		"content, not hex":  func(c *dedupe.Claimant) { c.Content = string(make([]byte, 64)) },
		"endless id":        func(c *dedupe.Claimant) { c.IdempotentID = string(make([]byte, 1000)) },
		"source, too long ": func(c *dedupe.Claimant) { c.Source = string(make([]byte, 1000)) },
	} {
		c := claimant()
		change(&c)
		_, err := s.Claim(ctx, c, 1)
		requireReason(t, dedupe.ReasonInvalid, err)
		require.Empty(t, requireReason(t, dedupe.ReasonInvalid, s.Park(ctx, c, dedupe.Parked{})).Hint(), name)
		_, err = s.Begin(ctx, c, 1)
		requireReason(t, dedupe.ReasonInvalid, err)
		requireReason(t, dedupe.ReasonInvalid, s.Renew(ctx, []dedupe.Claimant{c})[0])
	}
	c := claimant()
	_, err := s.Claim(ctx, c, -1)
	requireReason(t, dedupe.ReasonInvalid, err)
	requireReason(t, dedupe.ReasonInvalid, s.Park(ctx, c, dedupe.Parked{GiveBack: -1}))
	requireReason(t, dedupe.ReasonInvalid, s.Park(ctx, c, dedupe.Parked{MaybeSent: "perhaps"}))
	requireReason(t, dedupe.ReasonInvalid, s.Fail(ctx, c, dedupe.Failure{State: dedupe.StateDone}))
	requireReason(t, dedupe.ReasonInvalid, s.Fail(ctx, c, dedupe.Failure{State: dedupe.StateDead, Reason: "a\nb"}))
	_, err = s.Complete(ctx, c, dedupe.Done{})
	requireReason(t, dedupe.ReasonInvalid, err)
	requireReason(t, dedupe.ReasonInvalid, s.MarkPublished(ctx, dedupe.Key{}, "s"))
	_, _, err = s.Lookup(ctx, dedupe.Key{})
	requireReason(t, dedupe.ReasonInvalid, err)
	_, err = s.ProbeHold(ctx, "1", dedupe.Probe{})
	requireReason(t, dedupe.ReasonInvalid, err)
	_, err = s.ReleaseHold(ctx, "")
	requireReason(t, dedupe.ReasonInvalid, err)
	requireReason(t, dedupe.ReasonInvalid, s.ProbeDone(ctx, "", "t"))
	_, err = s.RenewHolds(ctx, []string{""}, time.Second)
	requireReason(t, dedupe.ReasonInvalid, err)
	_, errs := s.SharePaces(t.Context(), []pace.Ask{{MchID: "1", Want: -1}})
	requireReason(t, dedupe.ReasonInvalid, errs[0])
	_, err = s.Lock(ctx, "", "t", "", time.Second)
	requireReason(t, dedupe.ReasonInvalid, err)
}
