package app_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/dedupe"
	"replyworker/internal/devstack"
	"replyworker/internal/job"
	"replyworker/internal/wxclient"
	"replyworker/internal/wxsim"
)

// give produces one job for each id, each of a complaint of its own.
func (b *bench) give(ids ...string) {
	b.t.Helper()
	for i, id := range ids {
		b.produce(int32(i%b.partitions), jobValue("complaint-"+id, id, "hello", nil))
	}
}

// succeeded checks that so many records succeeded, each with its effect's log_id, and that nothing
// is dead.
func (b *bench) succeeded(ids []string) map[string]end {
	b.t.Helper()
	ends := b.ends(len(ids))
	for _, id := range ids {
		e := ends[id]
		require.Equal(b.t, job.StatusSucceeded, e.Status, "%s: %+v", id, e.Event)
		effect, _ := b.stack.Sim.Effect(b.stack.Materials.MchID, id)
		require.Equal(b.t, effect.LogID, e.LogID)
	}
	b.effects(ids)
	require.Zero(b.t, b.count(devstack.TopicDeadLetters), "dead letters")
	return ends
}

func (w *worker) host(h wxclient.Host) (open bool) {
	s, _ := w.State()
	for _, host := range s.Hosts {
		if host.Host == h {
			return host.Open
		}
	}
	return false
}

func (w *worker) hold() string {
	s, _ := w.State()
	for _, m := range s.Merchants {
		if m.Hold != nil {
			return m.Hold.Kind
		}
	}
	return ""
}

func TestThePrimaryGoesAndComesHome(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2)
	w := b.run(nil)
	require.NoError(t, b.stack.Sim.Set(wxsim.Fault{Kind: wxsim.KindDown, Host: wxsim.Primary}))
	away := ids("away", 20)
	b.give(away...)
	for _, e := range b.succeeded(away) {
		require.Equal(t, "backup", e.Host)
		require.LessOrEqual(t, e.Attempts, 2)
	}
	b.eventually("the primary is out", func() bool { return w.host(wxclient.Primary) })
	require.NoError(t, b.stack.Sim.Clear())
	home := ids("home", 5)
	b.give(home...)
	all := slices.Concat(away, home)
	b.succeeded(all)
	b.eventually("a probe brings the traffic home", func() bool {
		if !w.host(wxclient.Primary) {
			return true
		}
		id := fmt.Sprintf("probe-%d", len(all))
		all = append(all, id)
		b.give(id)
		b.succeeded(all)
		return false
	})
	all = append(all, "last")
	b.give("last")
	require.Equal(t, "primary", b.succeeded(all)["last"].Host)
	require.NoError(t, w.stop())
}

// However long both hosts are away, it costs no job its attempts.
func TestBothHostsAreAway(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2)
	require.NoError(t, b.stack.Sim.Set(wxsim.Fault{Kind: wxsim.KindDown}))
	w := b.run(map[string]string{"REPLYWORKER_RETRY_ATTEMPTS": "2", "REPLYWORKER_BREAKER_COOLDOWN": "50ms", "REPLYWORKER_BRAKE": "3"})
	jobs := ids("job", 20)
	b.give(jobs...)
	b.eventually("both are out", func() bool { return w.host(wxclient.Primary) && w.host(wxclient.Backup) })
	since := time.Now()
	b.eventually("for a while", func() bool { return time.Since(since) > 1500*time.Millisecond })
	require.Zero(t, b.count(devstack.TopicOutcomes))
	require.NoError(t, b.stack.Sim.Clear())
	for id, e := range b.succeeded(jobs) {
		require.LessOrEqual(t, e.Attempts, 2, id)
		require.Len(t, b.callsOf(id), 1, "a recovered host is not stormed")
	}
	require.NoError(t, w.stop())
}

// Answers that cannot be trusted, or that get lost after the API took the reply, are never a success;
// the job goes on with the same id until one is, and it is one reply.
func TestAnswersThatDoNotCount(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2)
	w := b.run(nil)
	var faults []wxsim.Fault
	var jobs []string
	for _, kind := range []wxsim.Kind{
		wxsim.KindWrongSignature, wxsim.KindStaleSignature, wxsim.KindFutureSignature, wxsim.KindMissingSignature,
		wxsim.KindSignTest, wxsim.KindNoLogID, wxsim.KindGarbageBody, wxsim.KindHugeBody, wxsim.KindPartial,
	} {
		id := string(kind)
		jobs = append(jobs, id)
		faults = append(faults, wxsim.Fault{Kind: kind, IdempotentID: id, Count: 2})
	}
	faults = append(faults, wxsim.Fault{Kind: wxsim.KindReset, AfterEffect: true, IdempotentID: "reset", Count: 3})
	faults = append(faults, wxsim.Fault{Kind: wxsim.KindHang, AfterEffect: true, IdempotentID: "hang", Count: 1})
	faults = append(faults, wxsim.Fault{Kind: wxsim.KindStatus, Status: 500, AfterEffect: true, IdempotentID: "500", Count: 2})
	faults = append(faults, wxsim.Fault{Kind: wxsim.KindStatus, Status: 302, IdempotentID: "302", Count: 2})
	jobs = append(jobs, "reset", "hang", "500", "302")
	require.NoError(t, b.stack.Sim.Set(faults...))
	b.give(jobs...)
	for id, e := range b.succeeded(jobs) {
		require.Greater(t, len(b.callsOf(id)), 1)
		require.True(t, e.MaybeSent, "%s: an attempt before ended without a clear answer", id)
	}
	require.NoError(t, w.stop())
}

func TestSlowDown(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1)
	require.NoError(t, b.stack.Sim.Set(wxsim.Fault{Kind: wxsim.KindStatus, Status: 429, RetryAfter: "1", IdempotentID: "slow", Count: 1}))
	w := b.run(nil)
	b.give("slow", "other")
	ends := b.succeeded([]string{"slow", "other"})
	require.GreaterOrEqual(t, ends["slow"].ProcessingMS, int64(1000), "Retry-After is honoured")
	require.Less(t, ends["other"].ProcessingMS, int64(1000), "by this job alone")
	for _, c := range b.callsOf("slow") {
		require.Equal(t, wxsim.Primary, c.Host, "no switch of host")
	}
	require.NoError(t, w.stop())
}

// While our credentials are refused the merchant is held: few calls, nothing dead, attempts kept.
func TestCredentialsAreRefusedForAWhile(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2)
	require.NoError(t, b.stack.Sim.Set(wxsim.Fault{Kind: wxsim.KindStatus, Status: 401}))
	w := b.run(map[string]string{"REPLYWORKER_CONCURRENCY": "8", "REPLYWORKER_RETRY_ATTEMPTS": "2"})
	jobs := ids("job", 30)
	b.give(jobs...)
	b.eventually("held", func() bool { return w.hold() == string(dedupe.HoldCredentials) })
	// One that is out would succeed after Clear, and count the refusals that are told later.
	b.eventually("nothing is out", func() bool { s, _ := w.State(); return s.SlotsUsed == 0 })
	before := b.stack.Sim.Stats().Calls
	b.eventually("a probe", func() bool { return b.stack.Sim.Stats().Calls > before })
	require.LessOrEqual(t, b.stack.Sim.Stats().Calls, int64(12), "those in flight, and probes")
	require.NoError(t, b.stack.Sim.Clear())
	for _, e := range b.succeeded(jobs) {
		require.Equal(t, 1, e.Attempts)
		require.False(t, e.MaybeSent)
	}
	require.Empty(t, w.hold())
	require.NoError(t, w.stop())
}

// A storm of refusals costs few letters: the brake holds the merchant, and the others wait.
func TestAStormOfRefusals(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2)
	require.NoError(t, b.stack.Sim.Set(wxsim.Fault{Kind: wxsim.KindStatus, Status: 403}))
	w := b.run(map[string]string{"REPLYWORKER_CONCURRENCY": "8", "REPLYWORKER_BRAKE": "5"})
	store := b.stack.Redis.Store()
	jobs, began := ids("job", 60), time.Now()
	b.give(jobs...)
	b.eventually("held", func() bool { return w.hold() == string(dedupe.HoldBrake) })
	b.eventually("calm", func() bool {
		s, c := w.State()
		return s.SlotsUsed == 0 && c.Running == 0
	})
	dead, calls := b.count(devstack.TopicDeadLetters), b.stack.Sim.Stats().Calls
	probes := int64(time.Since(began) / (10 * time.Second)) // at most; none on a machine that is not busy
	require.GreaterOrEqual(t, dead, int64(4))
	require.LessOrEqual(t, dead, 4+probes, "a probe that is refused is dead")
	require.LessOrEqual(t, calls, 5+8+probes)
	require.NoError(t, b.stack.Sim.Clear())
	was, err := store.ReleaseHold(t.Context(), b.stack.Materials.MchID)
	require.NoError(t, err)
	require.True(t, was)
	var succeeded int64
	for _, e := range b.ends(len(jobs)) {
		if e.Status == job.StatusSucceeded {
			succeeded++
		}
	}
	require.Equal(t, int64(len(jobs))-b.count(devstack.TopicDeadLetters), succeeded)
	require.LessOrEqual(t, b.count(devstack.TopicDeadLetters), dead+1, "a probe between our count and the end of the faults")
	require.NoError(t, w.stop())
}

// Redis goes away and comes back: jobs wait, and nothing is sent twice, lost or dead.
func TestRedisIsAway(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2)
	redis := b.stack.Redis.Embedded("to answer with errors").Mini()
	w := b.run(nil)
	jobs := ids("job", 60)
	b.give(jobs[:20]...)
	b.succeeded(jobs[:20])
	redis.SetError("LOADING Redis is loading the dataset in memory")
	b.give(jobs[20:]...)
	since := time.Now()
	b.eventually("for a while", func() bool { return time.Since(since) > time.Second })
	calls := b.stack.Sim.Stats().Calls
	require.LessOrEqual(t, calls, int64(20), "nobody calls without a claim")
	redis.SetError("")
	for _, e := range b.succeeded(jobs) {
		require.Equal(t, 1, e.Attempts)
		require.False(t, e.MaybeSent)
	}
	require.NoError(t, w.stop())
}

// TestAHeldMerchantWithOneComplaintIsProbedUntilItRecovers holds that the only complaint there is
// probes again, although it probed last.
func TestAHeldMerchantWithOneComplaintIsProbedUntilItRecovers(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1)
	require.NoError(t, b.stack.Sim.Set(wxsim.Fault{Kind: wxsim.KindStatus, Status: 401, Count: 2}))
	b.run(nil)
	b.produce(0, jobValue("the-only-one", "a", "hello", nil), jobValue("the-only-one", "b", "hello", nil))
	for _, e := range b.outcomes(2) {
		require.Equal(t, job.StatusSucceeded, e.Status)
		require.Equal(t, 1, e.Attempts, "what a hold costs does not count")
	}
}
