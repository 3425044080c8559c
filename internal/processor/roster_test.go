package processor_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/dedupe"
	"replyworker/internal/job"
	"replyworker/internal/retry"
	"replyworker/internal/wxclient"
)

// roster is the test's merchant with keys of its own, beside another one.
func roster(serial string) map[string]*wxclient.Merchant {
	return map[string]*wxclient.Merchant{
		testMchID: {MchID: testMchID, CertSerial: serial}, "1900000002": {MchID: "1900000002"},
	}
}

// TestJobsOfAMerchantThatIsGone: those that wait, for their next try or because it is held, end as one
// that is read now does; what had succeeded stays so.
func TestJobsOfAMerchantThatIsGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k := w.start(fakes{first: time.Hour, reply: func(_ context.Context, c call) (wxclient.Answer, error) {
		if c.id == "succeeds" || c.id == "by default" {
			return w.take(c.id), nil
		}
		return wxclient.Answer{}, fault(wxclient.ClassCredentials, 401, "SIGN_ERROR")
	}})
	succeeds := record("a", "succeeds", nil)
	require.Equal(t, job.StatusSucceeded, k.outcome(succeeds).Status)
	jobs := many("job", 20)
	k.deliver(jobs...)
	w.eventually("held", func() bool { _, held := k.gate.Held(testMchID); return held && k.gate.State().SlotsUsed == 0 })

	k.processor.SetMerchants(map[string]*wxclient.Merchant{"1900000002": {MchID: "1900000002"}}, "1900000002")
	k.scheduler.SetGated(testMchID, false)
	k.gate.Forget(testMchID)
	k.wait(jobs...)
	for _, d := range jobs {
		all := w.outcomesOf(d.Source.ID())
		require.Len(t, all, 1)
		require.Equal(t, job.ReasonInvalidJob, all[0].result.Reason)
		require.Contains(t, all[0].result.Detail, `"1900000001" is not a configured merchant`)
		require.Len(t, w.lettersOf(d.Source.ID()), 1)
	}
	require.Equal(t, dedupe.StateDone, w.claim("succeeds").State)
	require.Equal(t, job.StatusSucceeded, k.outcome(record("b", "by default", nil)).Status, "the new default signs")
}

// TestJobsOfAMerchantThatIsGoneWaitForTheStore: without Redis nobody knows how they ended.
func TestJobsOfAMerchantThatIsGoneWaitForTheStore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var away atomic.Bool
	k := w.start(fakes{first: time.Hour, before: func(_ context.Context, op string) error {
		if away.Load() && op == opClaim {
			return unavailable(op)
		}
		return nil
	}, reply: func(context.Context, call) (wxclient.Answer, error) {
		return wxclient.Answer{}, fault(wxclient.ClassCredentials, 401, "SIGN_ERROR")
	}})
	d := record("a", "job", nil)
	k.deliver(d)
	w.eventually("held", func() bool { _, held := k.gate.Held(testMchID); return held && k.gate.State().SlotsUsed == 0 })
	away.Store(true)
	k.processor.SetMerchants(map[string]*wxclient.Merchant{}, "")
	k.scheduler.SetGated(testMchID, false)
	w.eventually("it has asked in vain", k.gate.StoreIsDown)
	require.Zero(t, k.finishedCount(d.Source.ID()))
	away.Store(false)
	k.wait(d)
	require.Equal(t, job.ReasonInvalidJob, w.outcomesOf(d.Source.ID())[0].result.Reason)
}

// TestAMerchantThatIsBackAsksForLeaveAgain: its jobs were let go without leave, and did not run yet.
func TestAMerchantThatIsBackAsksForLeaveAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k := w.start(fakes{})
	k.scheduler.SetGated(testMchID, false) // as if it had been gone for a moment
	d := record("a", "job", nil)
	k.deliver(d)
	time.AfterFunc(50*time.Millisecond, func() { k.scheduler.SetGated(testMchID, true) })
	k.wait(d)
	require.Equal(t, job.StatusSucceeded, w.outcomesOf(d.Source.ID())[0].result.Status)
}

// TestNewKeysAreProbedAtOnce: a merchant that is held because of its keys, and not to be probed for an
// hour, goes on once it has others, for each of the two ways that keys are wrong.
func TestNewKeysAreProbedAtOnce(t *testing.T) {
	t.Parallel()
	unknown := &wxclient.Error{Class: wxclient.ClassUnknownKey, Status: 200, KeyID: "PUB_KEY_ID_9", Sent: true}
	for name, refusal := range map[string]*wxclient.Error{
		"credentials": fault(wxclient.ClassCredentials, 401, "SIGN_ERROR"), "answer key": unknown,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			var healed atomic.Bool
			k := w.start(fakes{first: time.Hour, reply: func(_ context.Context, c call) (wxclient.Answer, error) {
				if healed.Load() {
					return w.take(c.id), nil
				}
				e := *refusal
				return wxclient.Answer{}, &e
			}})
			jobs := many("job", 10)
			k.deliver(jobs...)
			w.eventually("held", func() bool {
				_, held := k.gate.Held(testMchID)
				return held && k.scheduler.Counts().Running == 0 && k.gate.State().SlotsUsed == 0
			})
			healed.Store(true)
			k.processor.SetMerchants(roster("NEW"), testMchID)
			k.processor.NewKeys(t.Context(), []string{testMchID, "1900000002"})
			k.wait(jobs...)
			for _, d := range jobs {
				r := w.outcomesOf(d.Source.ID())[0].result
				require.Equal(t, job.StatusSucceeded, r.Status)
				require.Equal(t, 1, r.Attempts, "what the hold cost does not count")
			}
		})
	}
}

// TestNewKeysDuringAnOutageOfTheStore: that they are there is told to the store when it answers again.
func TestNewKeysDuringAnOutageOfTheStore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var healed, away atomic.Bool
	k := w.start(fakes{first: time.Hour, before: func(_ context.Context, op string) error {
		if away.Load() {
			return unavailable(op)
		}
		return nil
	}, reply: func(_ context.Context, c call) (wxclient.Answer, error) {
		if healed.Load() {
			return w.take(c.id), nil
		}
		return wxclient.Answer{}, fault(wxclient.ClassCredentials, 401, "SIGN_ERROR")
	}})
	d := record("a", "job", nil)
	k.deliver(d)
	w.eventually("held", func() bool {
		_, held := k.gate.Held(testMchID)
		return held && k.scheduler.Counts().Running == 0 && k.gate.State().SlotsUsed == 0
	})
	healed.Store(true)
	away.Store(true)
	k.processor.SetMerchants(roster("NEW"), testMchID)
	k.processor.NewKeys(t.Context(), []string{testMchID})
	require.Zero(t, k.finishedCount(d.Source.ID()))
	away.Store(false)
	k.wait(d)
}

// TestARefusalOfOldKeysHoldsNobody: the call began before the keys were replaced, and its end says
// nothing of the new ones.
func TestARefusalOfOldKeysHoldsNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	out, answer := make(chan struct{}), make(chan struct{})
	k := w.start(fakes{
		first: time.Hour, retry: retry.Policy{Initial: time.Hour, Max: time.Hour, Attempts: 3},
		reply: func(_ context.Context, c call) (wxclient.Answer, error) {
			if c.attempt > 1 {
				return w.take(c.id), nil
			}
			close(out)
			<-answer
			return wxclient.Answer{}, fault(wxclient.ClassCredentials, 401, "SIGN_ERROR")
		},
	})
	d := record("a", "job", nil)
	k.deliver(d)
	<-out
	k.processor.SetMerchants(roster("NEW"), testMchID)
	close(answer)
	k.wait(d)
	r := w.outcomesOf(d.Source.ID())[0].result
	require.Equal(t, job.StatusSucceeded, r.Status)
	require.Equal(t, 1, r.Attempts)
	require.NotContains(t, k.log.String(), "merchant is held")
}
