package dedupetest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/dedupe"
	"replyworker/internal/pace"
)

// testGarbage puts into our keys what this program does not write.
func testGarbage(t *testing.T, e env) {
	key := e.srv.Prefix() + ":job:{" + job.String() + "}"
	c := record("jobs/0/1/1", contentX)
	valid := []string{"s", "c", "t", "T", "l", "1", "h", string(make([]byte, 32)), "o", "S", "a", "1", "u", "1"}
	check := func(t *testing.T) {
		t.Helper()
		_, err := e.Claim(t.Context(), c, 1)
		requireReason(t, dedupe.ReasonWrongType, err)
		require.ErrorContains(t, err, key, "the error should name the key")
		_, err = e.Complete(t.Context(), c, dedupe.Done{LogID: "log-1"})
		requireReason(t, dedupe.ReasonWrongType, err)
		requireReason(t, dedupe.ReasonWrongType, e.Park(t.Context(), c, dedupe.Parked{}))
		requireReason(t, dedupe.ReasonWrongType, e.Fail(t.Context(), c, dedupe.Failure{State: dedupe.StateDead}))
		_, err = e.Begin(t.Context(), c, 1)
		requireReason(t, dedupe.ReasonWrongType, err)
		requireReason(t, dedupe.ReasonWrongType, e.MarkPublished(t.Context(), job, c.Source))
		_, _, err = e.Lookup(t.Context(), job)
		requireReason(t, dedupe.ReasonWrongType, err)
	}
	for _, field := range []string{"s", "t", "l", "h", "o", "a", "u"} {
		t.Run("claim with a broken field "+field, func(t *testing.T) {
			e.srv.Do(t, "DEL", key)
			e.srv.Do(t, append([]string{"HSET", key}, valid...)...)
			_, _, err := e.Lookup(t.Context(), job)
			require.NoError(t, err)
			if field == "o" || field == "t" {
				e.srv.Do(t, "HDEL", key, field)
			} else {
				e.srv.Do(t, "HSET", key, field, "-1e9")
			}
			check(t)
		})
	}
	t.Run("claim of another type", func(t *testing.T) {
		e.srv.Do(t, "DEL", key)
		e.srv.Do(t, "SET", key, "not a hash")
		check(t)
		requireReason(t, dedupe.ReasonWrongType, e.Renew(t.Context(), []dedupe.Claimant{c})[0])
	})
	t.Run("remembered verdict that cannot be read", func(t *testing.T) {
		e.srv.Do(t, "DEL", key)
		e.srv.Do(t, append([]string{"HSET", key, "x:" + c.Source, "??"}, valid...)...)
		require.Equal(t, dedupe.VerdictConflict, e.verdict(t, c))
	})
	t.Run("hold and pace", func(t *testing.T) {
		hold, quota := e.srv.Prefix()+":hold:{1}", e.srv.Prefix()+":quota:{1}"
		e.srv.Do(t, "HSET", hold, "since", "yesterday")
		_, _, err := e.Hold(t.Context(), "1", holdRequest)
		requireReason(t, dedupe.ReasonWrongType, err)
		_, err = e.RenewHolds(t.Context(), []string{"1"}, time.Minute)
		requireReason(t, dedupe.ReasonWrongType, err)
		e.srv.Do(t, "RPUSH", quota, "1")
		_, errs := e.SharePaces(t.Context(), []pace.Ask{{MchID: "1", Want: 1}})
		requireReason(t, dedupe.ReasonWrongType, errs[0])
		requireReason(t, dedupe.ReasonWrongType, e.LearnPaces(t.Context(), []pace.Lesson{{MchID: "1"}})[0])
	})
}

// testScriptCacheLost restarts the server, as far as its cache of scripts goes.
func testScriptCacheLost(t *testing.T, e env) {
	c := record("jobs/0/1/1", contentX)
	e.win(t, c, 1)
	e.srv.Do(t, "SCRIPT", "FLUSH")
	require.Equal(t, []error{nil, nil}, e.Renew(t.Context(), []dedupe.Claimant{c, c}), "in a pipeline")
	e.srv.Do(t, "SCRIPT", "FLUSH")
	require.Equal(t, dedupe.Completed, e.complete(t, c, "log-1").Completion)
}

// testAnswersLost cuts the connection after each step was done and before it was answered. The client
// repeats the call, and the answer must be the one that was lost.
func testAnswersLost(t *testing.T, e env) {
	if where := e.srv.Where(); where.Cluster || where.Master != "" {
		t.Skip("needs to stand between the client and its server, which the client of a Cluster or of Sentinel finds by itself")
	}
	proxy := NewProxy(t, e.srv.Where().Addrs[0])
	s := Store(t, e.srv, func(c *dedupe.Config) {
		c.Server.Addrs, c.Lease, c.PoolSize = []string{proxy.Addr()}, lease, 1
	})
	c := record("jobs/0/1/1", contentX)
	lose := func(name string, step func() (any, error), want any) {
		t.Helper()
		// Loads the script, connects, and says what the step answers when it is done twice unharmed.
		require.NoError(t, s.Ping(t.Context()))
		before := proxy.Lost()
		proxy.LoseAnswers(1)
		got, err := step()
		require.NoError(t, err, name)
		require.Equal(t, before+1, proxy.Lost(), "%s: no answer was lost", name)
		require.Equal(t, want, got, name)
	}
	warm := record("jobs/0/0/0", contentX)
	warm.IdempotentID = "loads the scripts"
	warmUp(t, s, warm)

	lose("claim", func() (any, error) { got, err := s.Claim(t.Context(), c, 1); return got.Attempts, err }, 1)
	lose("begin", func() (any, error) { return s.Begin(t.Context(), c, 1) }, 2)
	lose("renew", func() (any, error) { return nil, s.Renew(t.Context(), []dedupe.Claimant{c})[0] }, nil)
	lose("park", func() (any, error) { return nil, s.Park(t.Context(), c, dedupe.Parked{GiveBack: 1}) }, nil)
	require.Equal(t, 1, e.lookup(t).Attempts)
	c = again(c)
	e.win(t, c, 1)
	lose("fail", func() (any, error) {
		return nil, s.Fail(t.Context(), c, dedupe.Failure{State: dedupe.StateDead, Reason: "rejected"})
	}, nil)
	lose("published", func() (any, error) { return nil, s.MarkPublished(t.Context(), job, c.Source) }, nil)
	other := record("jobs/0/2/2", contentX)
	lose("claim anew", func() (any, error) { got, err := s.Claim(t.Context(), other, 1); return got.Attempts, err }, 1)
	e.advance(t, lease)
	thief := again(other)
	lose("claim taken over", func() (any, error) {
		got, err := s.Claim(t.Context(), thief, 1)
		return got.TakenOver, err
	}, true)
	lose("complete", func() (any, error) {
		got, err := s.Complete(t.Context(), thief, dedupe.Done{LogID: "log-1"})
		return got.Completion, err
	}, dedupe.Completed)
	lose("conflict", func() (any, error) {
		got, err := s.Claim(t.Context(), record("jobs/0/3/3", contentY), 1)
		return got.Verdict, err
	}, dedupe.VerdictConflict)

	lose("hold", func() (any, error) {
		got, _, err := s.Hold(t.Context(), "1", holdRequest)
		return got.Kind, err
	}, holdRequest.Kind)
	e.advance(t, holdRequest.First)
	p := dedupe.Probe{Token: dedupe.NewToken(), Complaint: "c1", Lease: time.Minute}
	lose("probe", func() (any, error) { got, err := s.ProbeHold(t.Context(), "1", p); return got.Granted, err }, true)
	lose("probe done", func() (any, error) { return nil, s.ProbeDone(t.Context(), "1", p.Token) }, nil)

	proxy.LoseAnswers(1000)
	_, err := s.Claim(t.Context(), again(c), 1)
	requireReason(t, dedupe.ReasonUnavailable, err)
}

// warmUp runs each script once, so that none of the answers lost later is about a missing script.
func warmUp(t *testing.T, s *dedupe.Store, c dedupe.Claimant) {
	t.Helper()
	ctx := t.Context()
	_, err := s.Claim(ctx, c, 1)
	require.NoError(t, err)
	_, err = s.Begin(ctx, c, 1)
	require.NoError(t, err)
	require.NoError(t, s.Renew(ctx, []dedupe.Claimant{c})[0])
	require.NoError(t, s.Park(ctx, c, dedupe.Parked{}))
	require.NoError(t, s.Fail(ctx, c, dedupe.Failure{State: dedupe.StateDead}))
	_, err = s.Complete(ctx, c, dedupe.Done{LogID: "log-0"})
	require.NoError(t, err)
	require.NoError(t, s.MarkPublished(ctx, c.Key, c.Source))
	_, _, err = s.Hold(ctx, "0", holdRequest)
	require.NoError(t, err)
	_, err = s.ProbeHold(ctx, "0", dedupe.Probe{Token: "t", Lease: time.Minute})
	require.NoError(t, err)
	require.NoError(t, s.ProbeDone(ctx, "0", "t"))
}
