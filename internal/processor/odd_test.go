package processor_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/dedupe"
	"replyworker/internal/job"
	"replyworker/internal/wxclient"
)

// TestAnswersThatMakeNoSense holds that a store whose answers say nothing about the job is one that is
// away: everybody waits, and above all a success is written until it is there. Were it taken for a claim
// that cannot be used, its log_id would be published and forgotten, and the next record of the same id
// would be sent again.
func TestAnswersThatMakeNoSense(t *testing.T) {
	t.Parallel()
	for _, op := range []string{opClaim, opComplete, opFail, opPark} {
		t.Run(op, func(t *testing.T) {
			t.Parallel()
			var n atomic.Int64
			w := newWorld(t)
			k := w.start(fakes{before: func(_ context.Context, did string) error {
				if did == op && n.Add(1) <= 3 {
					return &dedupe.Error{Op: op, Reason: dedupe.ReasonProtocol, Err: errors.New("NOSCRIPT")}
				}
				return nil
			}, reply: func(_ context.Context, c call) (wxclient.Answer, error) {
				switch {
				case op == opFail:
					return wxclient.Answer{}, fault(wxclient.ClassRefused, 400, "PARAM_ERROR")
				case op == opPark && c.attempt == 1:
					return wxclient.Answer{}, fault(wxclient.ClassTransient, 500, "SYSTEM_ERROR")
				default:
					return w.take(c.id), nil
				}
			}})
			r := k.outcome(record("c", "id", nil))
			require.GreaterOrEqual(t, n.Load(), int64(3))
			if op == opFail {
				require.Equal(t, job.ReasonRejected, r.Reason)
				require.Equal(t, dedupe.StateDead, w.claim("id").State)
				return
			}
			require.Equal(t, job.StatusSucceeded, r.Status)
			require.Equal(t, dedupe.StateDone, w.claim("id").State, "the success is not remembered")
			require.Equal(t, r.LogID, w.claim("id").LogID)
			odd, _ := k.processor.Odd()
			require.Zero(t, odd)
		})
	}
}

// TestAnOddClaimIsAskedAgain holds that a job whose key something else has written goes on soon after
// the key is gone, and that it can be seen until then.
func TestAnOddClaimIsAskedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := "replyworker:job:{" + testMchID + ":id}"
	require.NoError(t, w.redis.Set(key, "not a hash"))
	k := w.start(fakes{})
	d := record("c", "id", nil)
	k.deliver(d)
	w.eventually("it is seen", func() bool {
		n, id := k.processor.Odd()
		return n == 1 && id == "id"
	})
	began := time.Now()
	w.redis.Del(key)
	k.wait(d)
	require.Less(t, time.Since(began), 5*time.Second)
	n, _ := k.processor.Odd()
	require.Zero(t, n)
	require.Len(t, w.callsOf("id"), 1)
}
