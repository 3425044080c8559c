package dedupetest

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/dedupe"
)

// success is the success of c's record as its outcome tells it, of now by the server's clock.
func (e env) success(t testing.TB, c dedupe.Claimant, logID string) dedupe.Success {
	t.Helper()
	return dedupe.Success{
		Key: c.Key, Source: c.Source, Content: c.Content, LogID: logID, Attempts: 2, FinishedAt: e.clock(t),
	}
}

// clock is the server's: an embedded one has a day of its own.
func (e env) clock(t testing.TB) time.Time {
	t.Helper()
	c := record("asks for the time", contentX)
	c.IdempotentID = "asks for the time"
	e.complete(t, c, "log-0")
	rec, found, err := e.Lookup(t.Context(), c.Key)
	require.NoError(t, err)
	require.True(t, found)
	return rec.UpdatedAt
}

// restore restores one success and says in one word what came of it.
func (e env) restore(t testing.TB, s dedupe.Success, write bool) dedupe.Restoration {
	t.Helper()
	got := e.Restore(t.Context(), []dedupe.Success{s}, write)
	require.Len(t, got, 1)
	require.NoError(t, got[0].Err)
	return got[0].Restoration
}

func jobKey(srv Server, k dedupe.Key) string { return srv.Prefix() + ":job:{" + k.String() + "}" }

// testRestore restores a claim that is gone, and asks what each kind of record is told then.
func testRestore(t *testing.T, e env) {
	me := record("jobs/0/1/1", contentX)
	s := e.success(t, me, "log-1")
	s.MaybeSent = true

	require.Equal(t, dedupe.Restored, e.restore(t, s, false))
	_, found, err := e.Lookup(t.Context(), job)
	require.NoError(t, err)
	require.False(t, found, "only asked: nothing is written")

	require.Equal(t, dedupe.Restored, e.restore(t, s, true))
	require.Equal(t, dedupe.RestorePresent, e.restore(t, s, true), "it may be done twice")
	require.Equal(t, dedupe.RestorePresent, e.restore(t, s, false))
	require.Equal(t, dedupe.Record{
		State: dedupe.StateDone, Attempts: 2, MaybeSent: true, LogID: "log-1", Published: true, Source: me.Source,
		Content: contentX, UpdatedAt: s.FinishedAt,
	}, e.lookup(t))

	got := e.claim(t, me, 1)
	require.Equal(t, dedupe.VerdictDone, got.Verdict, "the very same record")
	require.True(t, got.Published, "its outcome is where this was learnt from")
	require.Equal(t, "log-1", got.LogID)
	got = e.claim(t, record("jobs/0/2/2", contentX), 1)
	require.Equal(t, dedupe.VerdictDuplicate, got.Verdict, "another record of the same content")
	require.Equal(t, "log-1", got.LogID)
	require.Equal(t, dedupe.VerdictConflict, e.verdict(t, record("jobs/0/3/3", contentY)))

	// A worker whose call was out meanwhile finds that it is not needed.
	require.Equal(t, dedupe.Completed, e.complete(t, me, "log-1").Completion)
	require.Equal(t, dedupe.CompletedByOther, e.complete(t, record("jobs/0/2/2", contentX), "log-1").Completion)
	require.ErrorIs(t, e.Park(t.Context(), again(me), dedupe.Parked{}), dedupe.ErrLost)
}

// testRestoreTable has a row for each claim that a restoration can find. None of them may change.
func testRestoreTable(t *testing.T, e env) {
	me, same := record("jobs/0/1/1", contentX), record("jobs/0/2/2", contentX)
	other := record("jobs/0/3/3", contentY)
	claimed := func(c dedupe.Claimant) func(*testing.T) { return func(t *testing.T) { e.win(t, c, 1) } }
	waiting := func(c dedupe.Claimant) func(*testing.T) {
		return func(t *testing.T) {
			e.win(t, c, 1)
			e.park(t, c, dedupe.Parked{Delay: time.Hour})
		}
	}
	failed := func(c dedupe.Claimant, state dedupe.State, logID string) func(*testing.T) {
		return func(t *testing.T) {
			e.win(t, c, 1)
			e.fail(t, c, state, dedupe.Keep)
			if logID != "" {
				require.Equal(t, dedupe.CompletedSettled, e.complete(t, c, logID).Completion)
			}
		}
	}
	done := func(c dedupe.Claimant, logID string) func(*testing.T) {
		return func(t *testing.T) { e.complete(t, c, logID) }
	}
	present, disagrees := dedupe.RestorePresent, dedupe.RestoreDisagrees
	for _, row := range []struct {
		name   string
		before func(*testing.T)
		want   dedupe.Restoration
		source string
		logID  string
	}{
		{"own claim", claimed(me), present, me.Source, ""},
		{"another record's claim", claimed(same), present, same.Source, ""},
		{"other content's claim", claimed(other), disagrees, other.Source, ""},
		{"waiting", waiting(same), present, same.Source, ""},
		{"other content waits", waiting(other), disagrees, other.Source, ""},
		{"done, and not published", done(me, "log-1"), present, me.Source, "log-1"},
		{"done by another record", done(same, "log-1"), present, same.Source, "log-1"},
		{"done with another log_id", done(me, "log-2"), disagrees, me.Source, "log-2"},
		{"other content is done", done(other, "log-1"), disagrees, other.Source, "log-1"},
		{"dead", failed(same, dedupe.StateDead, ""), present, same.Source, ""},
		{"dead and yet taken", failed(same, dedupe.StateDead, "log-1"), present, same.Source, "log-1"},
		{"dead and yet taken, with another log_id", failed(same, dedupe.StateDead, "log-2"), disagrees, same.Source, "log-2"},
		{"expired", failed(me, dedupe.StateExpired, ""), present, me.Source, ""},
		{"other content is dead", failed(other, dedupe.StateDead, ""), disagrees, other.Source, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			key := jobKey(e.srv, job)
			e.srv.Do(t, "DEL", key)
			row.before(t)
			s := e.success(t, me, "log-1")
			fields, lives := e.srv.Do(t, "HGETALL", key), pttl(t, e.srv, key)
			for _, write := range []bool{false, true, true} {
				got := e.Restore(t.Context(), []dedupe.Success{s}, write)
				require.Equal(t, []dedupe.RestoreResult{{Restoration: row.want, Source: row.source, LogID: row.logID}}, got)
			}
			require.Equal(t, fields, e.srv.Do(t, "HGETALL", key), "a claim that is there stays as it is")
			near(t, lives, pttl(t, e.srv, key))
		})
	}
}

// pttl is how long a key still lives.
func pttl(t testing.TB, srv Server, key string) time.Duration {
	t.Helper()
	var ms int64
	_, err := fmt.Sscanf(srv.Do(t, "PTTL", key), ":%d", &ms)
	require.NoError(t, err)
	return time.Duration(ms) * time.Millisecond
}

// testRestoreLives checks how long restored claims live.
func testRestoreLives(t *testing.T, e env) {
	const retention = dedupe.DefaultRetention
	me := record("jobs/0/1/1", contentX)
	now := e.clock(t)
	for _, row := range []struct {
		name string
		ago  time.Duration
		want dedupe.Restoration
		left time.Duration
	}{
		{"of now", 0, dedupe.Restored, retention},
		{"of yesterday", 24 * time.Hour, dedupe.Restored, retention - 24*time.Hour},
		{"almost forgotten", retention - time.Minute, dedupe.Restored, time.Minute},
		{"to be forgotten now", retention, dedupe.RestoreTooOld, 0},
		{"long forgotten", 3 * retention, dedupe.RestoreTooOld, 0},
		{"of a clock that is ahead", -24 * time.Hour, dedupe.Restored, retention},
	} {
		t.Run(row.name, func(t *testing.T) {
			key := jobKey(e.srv, job)
			e.srv.Do(t, "DEL", key)
			s := dedupe.Success{Key: job, Source: me.Source, Content: contentX, LogID: "l", FinishedAt: now.Add(-row.ago)}
			require.Equal(t, row.want, e.restore(t, s, false))
			require.Equal(t, row.want, e.restore(t, s, true))
			if row.want == dedupe.Restored {
				near(t, row.left, pttl(t, e.srv, key))
				return
			}
			_, found, err := e.Lookup(t.Context(), job)
			require.NoError(t, err)
			require.False(t, found)
		})
	}
	s := e.success(t, me, "log-1")
	s.FinishedAt = s.FinishedAt.Add(-retention / 2)
	e.srv.Do(t, "DEL", jobKey(e.srv, job))
	require.Equal(t, dedupe.Restored, e.restore(t, s, true))
	e.advance(t, retention/2-time.Minute)
	require.Equal(t, dedupe.VerdictDuplicate, e.verdict(t, record("jobs/0/2/2", contentX)))
	e.advance(t, time.Minute)
	require.Equal(t, dedupe.VerdictWon, e.verdict(t, record("jobs/0/2/2", contentX)), "forgotten, as it would have been")
}

// patient is a Store on the same server that waits long for an answer: an embedded server is slow, and
// a repeated restoration finds the claims present.
func (e env) patient(t testing.TB) env {
	t.Helper()
	e.Store = Store(t, e.srv, func(c *dedupe.Config) { c.Lease, c.IOTimeout, c.Timeout = lease, time.Minute, 2*time.Minute })
	return e
}

// testRestoreMany restores more than go into one pipeline, some of them wrong, while the server has
// none of the scripts.
func testRestoreMany(t *testing.T, e env) {
	e = e.patient(t)
	now := e.clock(t)
	const n = 450
	many := make([]dedupe.Success, n)
	for i := range many {
		many[i] = dedupe.Success{
			Key: dedupe.Key{MchID: job.MchID, IdempotentID: fmt.Sprint("id-", i)}, Source: fmt.Sprint("jobs/0/", i, "/1"),
			Content: contentX, LogID: fmt.Sprint("log-", i), FinishedAt: now,
		}
	}
	wrong := map[int]func(*dedupe.Success){
		0:     func(s *dedupe.Success) { s.IdempotentID = "" },
		1:     func(s *dedupe.Success) { s.MchID = "a:b" },
		2:     func(s *dedupe.Success) { s.Source = "" },
		199:   func(s *dedupe.Success) { s.Content = strings.Repeat("z", 64) },
		200:   func(s *dedupe.Success) { s.LogID = "" },
		201:   func(s *dedupe.Success) { s.LogID = strings.Repeat("x", 1000) },
		202:   func(s *dedupe.Success) { s.FinishedAt = time.Time{} },
		203:   func(s *dedupe.Success) { s.FinishedAt = now.AddDate(10_000, 0, 0) },
		204:   func(s *dedupe.Success) { s.Attempts = -1 },
		n - 1: func(s *dedupe.Success) { s.Attempts = 1 << 60 },
	}
	for i, change := range wrong {
		change(&many[i])
	}
	broken := jobKey(e.srv, many[300].Key)
	e.srv.Do(t, "SET", broken, "no claim")
	many[301] = many[302] // twice in one batch: the first of the two makes the claim
	for round, want := range []dedupe.Restoration{dedupe.Restored, dedupe.RestorePresent} {
		e.srv.Do(t, "SCRIPT", "FLUSH")
		for i, got := range e.Restore(t.Context(), many, true) {
			switch {
			case wrong[i] != nil:
				requireReason(t, dedupe.ReasonInvalid, got.Err)
			case i == 300:
				requireReason(t, dedupe.ReasonWrongType, got.Err)
				require.ErrorContains(t, got.Err, broken, "the error should name the key")
			case i == 302:
				require.Equal(t, dedupe.RestorePresent, got.Restoration)
			default:
				require.NoError(t, got.Err)
				require.Equal(t, want, got.Restoration, "success %d in round %d", i, round)
			}
		}
	}
	rec, found, err := e.Lookup(t.Context(), many[448].Key)
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, "log-448", rec.LogID)
	require.Empty(t, e.Restore(t.Context(), nil, true))
}

// testRestoreRace lets restorations run beside each other and beside workers, over the same keys.
func testRestoreRace(t *testing.T, e env) {
	e = e.patient(t)
	const keys, restorers = 40, 4
	now := e.clock(t)
	of := func(i int, source string) dedupe.Claimant {
		c := record(source, contentX)
		c.IdempotentID = fmt.Sprint("race-", i)
		return c
	}
	all := make([]dedupe.Success, keys)
	for i := range all {
		c := of(i, "jobs/0/1/1")
		all[i] = dedupe.Success{Key: c.Key, Source: c.Source, Content: c.Content, LogID: "log-1", FinishedAt: now}
	}
	var running sync.WaitGroup
	restored := make([][]dedupe.RestoreResult, restorers)
	for r := range restored {
		running.Go(func() { restored[r] = e.Restore(t.Context(), all, true) })
	}
	won, ends := make([]bool, keys), make([]dedupe.Completion, keys)
	running.Go(func() {
		for i := range keys {
			c := of(i, "jobs/0/2/2")
			got, err := e.Claim(t.Context(), c, 1)
			won[i] = err == nil && got.Verdict == dedupe.VerdictWon
			if done, err := e.Complete(t.Context(), c, dedupe.Done{LogID: "log-1", Attempts: 1}); err == nil {
				ends[i] = done.Completion
			}
		}
	})
	running.Wait()
	for i := range keys {
		count := 0
		for r := range restored {
			require.NoError(t, restored[r][i].Err)
			if restored[r][i].Restoration == dedupe.Restored {
				count++
			}
		}
		rec, found, err := e.Lookup(t.Context(), all[i].Key)
		require.NoError(t, err)
		require.True(t, found)
		require.Equal(t, dedupe.StateDone, rec.State)
		if won[i] {
			require.Zero(t, count, "key %d: a worker's claim was written over", i)
			require.Equal(t, dedupe.Completed, ends[i])
			require.Equal(t, "jobs/0/2/2", rec.Source)
		} else {
			require.Equal(t, 1, count, "key %d: restored by so many", i)
			require.Equal(t, dedupe.CompletedByOther, ends[i])
			require.Equal(t, "jobs/0/1/1", rec.Source)
		}
	}
}
