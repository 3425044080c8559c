package processor_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/dedupe"
	"replyworker/internal/job"
	"replyworker/internal/retry"
	"replyworker/internal/wxclient"
)

// never is a policy whose first wait outlasts every test: the job stays as its first turn left it.
func never() retry.Policy {
	return retry.Policy{Initial: time.Hour, Max: time.Hour, Attempts: 3}
}

// TestWhatBecomesOfAFailedAttempt goes through the table of the design, row by row: what is counted,
// and how the claim, the merchant and the job look after the first turn.
func TestWhatBecomesOfAFailedAttempt(t *testing.T) {
	t.Parallel()
	unknown := fault(wxclient.ClassUnknown, 200, "")
	unknownKey := fault(wxclient.ClassUnknownKey, 200, "")
	unknownKey.KeyID = "PUB_KEY_ID_NEW"
	refusedConn := fault(wxclient.ClassHostFailed, 0, "")
	refusedConn.Sent, refusedConn.Err = false, errors.New("connection refused")
	timeout := fault(wxclient.ClassHostFailed, 0, "")
	timeout.Err = context.DeadlineExceeded
	slow := fault(wxclient.ClassSlowDown, 429, "FREQUENCY_LIMITED")
	slow.RetryAfter = 2 * time.Hour
	local := fault(wxclient.ClassCredentials, 0, "")
	local.Sent, local.Err = false, errors.New("cannot sign")
	for _, row := range []struct {
		name     string
		fault    *wxclient.Error
		others   string // whose calls succeed meanwhile: "own" the merchant's, "foreign" another merchant's
		calls    int
		attempts int
		maybe    bool
		hold     dedupe.HoldKind
		wait     time.Duration // the least
	}{
		{name: "an unverified answer is counted", fault: unknown, calls: 1, attempts: 1, maybe: true},
		{name: "a key that we do not have holds", fault: unknownKey, calls: 1, maybe: true, hold: dedupe.HoldAnswerKey},
		{
			name: "a key that we do not have is not counted even while others succeed", fault: unknownKey, others: "foreign",
			calls: 1, maybe: true, hold: dedupe.HoldAnswerKey,
		},
		{name: "an outage is not counted", fault: refusedConn, calls: 2},
		{name: "a refused connection while others succeed is counted", fault: refusedConn, others: "foreign", calls: 2, attempts: 2},
		{name: "a timeout may have been sent", fault: timeout, calls: 2, maybe: true},
		{name: "a gateway's 502 may have been sent", fault: fault(wxclient.ClassHostFailed, 502, ""), calls: 2, maybe: true},
		{name: "500 is counted", fault: fault(wxclient.ClassTransient, 500, "SYSTEM_ERROR"), calls: 1, attempts: 1, maybe: true},
		{name: "429 while nobody succeeds is not counted", fault: slow, calls: 1, wait: time.Hour},
		{name: "429 while others of the merchant succeed is counted", fault: slow, others: "own", calls: 1, attempts: 1, wait: time.Hour},
		{name: "429 while other merchants succeed is not counted", fault: slow, others: "foreign", calls: 1, wait: time.Hour},
		{
			name: "401 holds and is not counted", fault: fault(wxclient.ClassCredentials, 401, "SIGN_ERROR"), calls: 1,
			hold: dedupe.HoldCredentials,
		},
		{
			name: "401 while other merchants succeed is not counted", fault: fault(wxclient.ClassCredentials, 401, "SIGN_ERROR"),
			others: "foreign", calls: 1, hold: dedupe.HoldCredentials,
		},
		{
			name: "401 while others of the merchant succeed is counted", fault: fault(wxclient.ClassCredentials, 401, "SIGN_ERROR"),
			others: "own", calls: 1, attempts: 1, hold: dedupe.HoldCredentials,
		},
		{name: "a merchant that cannot sign is held", fault: local, calls: 1, hold: dedupe.HoldCredentials},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			var k *worker
			made := make(chan struct{})
			k = w.start(fakes{retry: never(), first: time.Hour, reply: func(context.Context, call) (wxclient.Answer, error) {
				<-made
				switch row.others {
				case "own":
					k.succeeds(testMchID)
				case "foreign":
					k.succeeds("another")
				}
				e := *row.fault
				return wxclient.Answer{}, &e
			}})
			close(made)
			d := record("c", "id", nil)
			k.deliver(d)
			w.eventually("the job waits\n"+k.log.String(), func() bool { return w.claim("id").State == dedupe.StateWaiting })
			c := w.claim("id")
			require.Equal(t, row.attempts, c.Attempts, "counted attempts")
			require.Equal(t, row.maybe, c.MaybeSent, "maybe sent")
			require.Equal(t, d.Source.ID(), c.Source)
			require.Greater(t, c.Wait, row.wait-time.Second, "the next attempt's time")
			calls := w.callsOf("id")
			require.Len(t, calls, row.calls, "calls")
			require.Equal(t, wxclient.Primary, calls[0].host)
			if row.calls == 2 {
				require.Equal(t, wxclient.Backup, calls[1].host, "at once on the other host")
				require.Equal(t, calls[0].body, calls[1].body)
			}
			held, isHeld := k.gate.Held(testMchID)
			require.Equal(t, row.hold != "", isHeld, "held")
			require.Equal(t, string(row.hold), held.Kind)
			stored, err := w.store.ListHolds(t.Context())
			require.NoError(t, err)
			require.Len(t, stored, map[bool]int{true: 1}[isHeld], "holds in the store")
			if row.hold == dedupe.HoldAnswerKey {
				require.Contains(t, held.Message, "PUB_KEY_ID_NEW", "the key is named")
			}
			require.Empty(t, w.outcomesOf(d.Source.ID()))
			require.Empty(t, w.lettersOf(d.Source.ID()))
			require.Zero(t, k.gate.State().SlotsUsed, "slots")
		})
	}
}

func TestASuccessIsRecordedAndPublishedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k := w.start(fakes{})
	d := record("c", "id", map[string]any{"labels": map[string]string{"team": "refunds"}})
	r := k.outcome(d)
	require.Equal(t, job.StatusSucceeded, r.Status)
	require.Equal(t, w.take("id").LogID, r.LogID)
	require.Equal(t, 1, r.Attempts)
	require.False(t, r.MaybeSent)
	require.Equal(t, job.Answer{Host: "primary", HTTPStatus: 200, RequestID: "req-id"}, r.Answer)
	require.Empty(t, w.lettersOf(d.Source.ID()))
	w.eventually("noted as published", func() bool { return w.claim("id").Published })
	c := w.claim("id")
	require.Equal(t, dedupe.StateDone, c.State)
	require.Equal(t, r.LogID, c.LogID)
}

func TestARefusedJobIsDead(t *testing.T) {
	t.Parallel()
	for _, status := range []int{400, 403, 404} {
		w := newWorld(t)
		k := w.start(fakes{reply: func(context.Context, call) (wxclient.Answer, error) {
			return wxclient.Answer{}, fault(wxclient.ClassRefused, status, "PARAM_ERROR")
		}})
		d := record("c", "id", nil)
		r := k.outcome(d)
		require.Equal(t, job.StatusFailed, r.Status)
		require.Equal(t, job.ReasonRejected, r.Reason)
		require.Equal(t, 1, r.Attempts)
		require.False(t, r.MaybeSent)
		require.Equal(t, job.Answer{
			Host: "primary", HTTPStatus: status, Code: "PARAM_ERROR", Message: "said PARAM_ERROR", RequestID: "req",
		}, r.Answer)
		require.Contains(t, r.Detail, "PARAM_ERROR")
		letters := w.lettersOf(d.Source.ID())
		require.Len(t, letters, 1)
		require.Equal(t, r.Answer, letters[0].result.Answer)
		require.Equal(t, dedupe.StateDead, w.claim("id").State)
		require.Len(t, w.callsOf("id"), 1)
	}
}

// A refusal is a clear answer, but to its own attempt: the one before it may have taken effect all the
// same, before the API began to refuse.
func TestAReplyThatMayHaveBeenSentStaysSoWhenItIsRefusedLater(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k := w.start(fakes{reply: func(_ context.Context, c call) (wxclient.Answer, error) {
		if c.attempt == 1 {
			return wxclient.Answer{}, fault(wxclient.ClassTransient, 500, "SYSTEM_ERROR")
		}
		return wxclient.Answer{}, fault(wxclient.ClassRefused, 400, "PARAM_ERROR")
	}})
	r := k.outcome(record("c", "id", nil))
	require.Equal(t, job.ReasonRejected, r.Reason)
	require.Equal(t, 2, r.Attempts)
	require.True(t, r.MaybeSent)
	require.True(t, w.claim("id").MaybeSent)
}

// A success after an attempt without a clear answer keeps both truths.
func TestASuccessAfterALostAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k := w.start(fakes{reply: func(_ context.Context, c call) (wxclient.Answer, error) {
		a := w.take(c.id)
		if c.host == wxclient.Primary {
			return wxclient.Answer{}, fault(wxclient.ClassHostFailed, 0, "")
		}
		return a, nil
	}})
	r := k.outcome(record("c", "id", nil))
	require.Equal(t, job.StatusSucceeded, r.Status)
	require.Equal(t, "backup", r.Answer.Host)
	require.Equal(t, 2, r.Attempts)
	require.Equal(t, w.take("id").LogID, r.LogID)
}

func TestAttemptsAreSpent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k := w.start(fakes{reply: func(context.Context, call) (wxclient.Answer, error) {
		return wxclient.Answer{}, fault(wxclient.ClassTransient, 500, "SYSTEM_ERROR")
	}})
	d := record("c", "id", nil)
	r := k.outcome(d)
	require.Equal(t, job.ReasonExhausted, r.Reason)
	require.Equal(t, 3, r.Attempts)
	require.True(t, r.MaybeSent)
	calls := w.callsOf("id")
	require.Len(t, calls, 3)
	require.Equal(t, calls[0].body, calls[2].body, "every attempt sends the same bytes")
	require.Len(t, w.lettersOf(d.Source.ID()), 1)
	require.True(t, w.claim("id").MaybeSent)
}

// However long an outage lasts, it costs a job none of its attempts.
func TestAnOutageSpendsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k := w.start(fakes{reply: func(_ context.Context, c call) (wxclient.Answer, error) {
		if c.attempt <= 40 {
			e := fault(wxclient.ClassHostFailed, 0, "")
			e.Sent = false
			return wxclient.Answer{}, e
		}
		return w.take(c.id), nil
	}})
	r := k.outcome(record("c", "id", nil))
	require.Equal(t, job.StatusSucceeded, r.Status)
	require.LessOrEqual(t, r.Attempts, 2)
}

// Attempts are the job's, not the process's.
func TestAttemptsOutliveTheWorker(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	refuse := func(context.Context, call) (wxclient.Answer, error) {
		return wxclient.Answer{}, fault(wxclient.ClassTransient, 500, "SYSTEM_ERROR")
	}
	d := record("c", "id", nil)
	for n := 1; n <= 2; n++ {
		k := w.start(fakes{reply: refuse, retry: retry.Policy{Initial: 400 * time.Millisecond, Max: 400 * time.Millisecond, Attempts: 3}})
		k.deliver(d)
		w.eventually("attempt", func() bool { c := w.claim("id"); return c.State == dedupe.StateWaiting && c.Attempts == n })
		require.True(t, k.session.Drain(t.Context()))
		require.Len(t, w.callsOf("id"), n)
	}
	before := w.claim("id")
	k := w.start(fakes{reply: refuse})
	r := k.outcome(d)
	require.Equal(t, job.ReasonExhausted, r.Reason)
	require.Equal(t, 3, r.Attempts)
	require.Len(t, w.callsOf("id"), 3)
	require.False(t, time.Now().Before(before.UpdatedAt.Add(150*time.Millisecond)), "the restart called before the job's time")
}

// A call that ended before the host was asked says nothing about the host.
func TestALocalFaultSaysNothingOfTheHost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k := w.start(fakes{noHost: true, trips: 1, reply: func(_ context.Context, c call) (wxclient.Answer, error) {
		if c.id == "outage" {
			e := fault(wxclient.ClassHostFailed, 0, "")
			e.Sent = false
			return wxclient.Answer{}, e
		}
		e := fault(wxclient.ClassRefused, 0, "")
		e.Sent, e.Err = false, errors.New("a complaint id that cannot be sent")
		return wxclient.Answer{}, e
	}})
	k.deliver(record("outage", "outage", nil))
	w.eventually("the host is out", func() bool { return k.gate.State().Hosts[0].Open })
	r := k.outcome(record("c", "id", nil))
	require.True(t, k.gate.State().Hosts[0].Open, "nobody has heard of the host")
	require.Equal(t, job.ReasonRejected, r.Reason)
	require.Zero(t, r.Answer.HTTPStatus)
	require.Contains(t, r.Detail, "cannot be sent")
}

// An error of another kind than the client's own is no crash.
func TestAnOddErrorOfTheClient(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k := w.start(fakes{reply: func(context.Context, call) (wxclient.Answer, error) {
		return wxclient.Answer{}, errors.New("something else")
	}})
	r := k.outcome(record("c", "id", nil))
	require.Equal(t, job.ReasonExhausted, r.Reason, "nobody knows what it means, so it is tried again")
	require.True(t, r.MaybeSent)
	require.Contains(t, r.Detail, "something else")
}

func TestPanics(t *testing.T) {
	t.Parallel()
	for _, at := range []string{opClaim, opReply, opPark, opComplete, opFail} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			first := true
			k := w.start(fakes{
				reply: func(_ context.Context, c call) (wxclient.Answer, error) {
					switch at {
					case opPark:
						return wxclient.Answer{}, fault(wxclient.ClassTransient, 500, "")
					case opFail:
						return wxclient.Answer{}, fault(wxclient.ClassRefused, 400, "")
					}
					return w.take(c.id), nil
				},
				before: func(_ context.Context, op string) error {
					if op == at && first {
						first = false
						panic("a fault of the worker")
					}
					return nil
				},
			})
			d := record("c", "id", nil)
			r := k.outcome(d)
			require.Equal(t, job.StatusFailed, r.Status)
			require.Equal(t, job.ReasonInternal, r.Reason)
			require.Len(t, w.lettersOf(d.Source.ID()), 1)
			require.Contains(t, k.log.String(), "a fault of the worker")
			require.Contains(t, k.log.String(), "goroutine", "the stack is in the log")
			require.Equal(t, dedupe.StateDead, w.claim("id").State)
			require.Zero(t, k.gate.State().SlotsUsed)

			after := k.outcome(record("c", "next", nil))
			if at != opPark && at != opFail {
				require.Equal(t, job.StatusSucceeded, after.Status, "the complaint's next job goes on")
			}
		})
	}
}

func TestInvalidJobs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k := w.start(fakes{})
	for name, value := range map[string][]byte{
		"null": nil, "empty": {}, "no JSON": []byte("{"), "unknown field": []byte(`{"idempotent_id":"x","y":1}`),
		"a merchant that is not configured": record("c", "x", map[string]any{"mchid": "1"}).Value,
		"too large":                         []byte(`{"idempotent_id":"` + strings.Repeat("x", 1<<20) + `"}`),
	} {
		d := delivery(name, value)
		r := k.outcome(d)
		require.Equal(t, job.ReasonInvalidJob, r.Reason, name)
		require.NotEmpty(t, r.Detail, name)
		require.Zero(t, r.Attempts, name)
		require.Len(t, w.lettersOf(d.Source.ID()), 1, name)
	}
	require.Empty(t, w.calls)
	require.Empty(t, w.redis.Keys(), "no claims are made")
}
