package processor

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"replyworker/internal/dedupe"
	"replyworker/internal/gate"
	"replyworker/internal/job"
	"replyworker/internal/schedule"
	"replyworker/internal/wxclient"
)

const (
	// A job that another delivery has claimed asks again after askFirst, doubling to askMax: the other
	// is probably done long before its lease is over.
	askFirst = 50 * time.Millisecond
	askMax   = 2 * time.Second
	// After a failure of the claim store that concerns this job alone it asks again after oddFirst,
	// doubling to oddMax: somebody has to look at the key.
	oddFirst = time.Second
	oddMax   = 30 * time.Second
	// ungatedRetry is the wait of a job that needs no leave while the claim store is away.
	ungatedRetry = 2 * time.Second
)

// turn is one step of a work.
type turn struct {
	*work
	ctx   context.Context //nolint:containedctx // a turn is the step's own frame, and ends with it
	task  *schedule.Task
	grant *gate.Grant // nil where the step runs without leave, or once it was given back
	claim dedupe.Claimant

	ungated  bool               // the step runs without leave
	merchant *wxclient.Merchant // whose job it is, as it was when the step began
}

// step is a schedule.Task's Step.
func (w *work) step(ctx context.Context, t *schedule.Task, grant *gate.Grant) (next schedule.Next) {
	if w.progress == nil {
		w.progress = &progress{started: time.Now()}
	}
	u := &turn{work: w, ctx: ctx, task: t, grant: grant, ungated: grant == nil}
	defer func() {
		if r := recover(); r != nil {
			w.p.panicked(&w.d, r, debug.Stack())
			next = u.settleFault()
		}
		u.release(gate.Unused)
	}()
	switch {
	case w.failed != nil:
		return u.publish(*w.failed, nil)
	case t.Draining():
		return schedule.Drop()
	case t.Expired() || w.expired(time.Now()):
		return u.expire()
	}
	if u.merchant = w.p.merchant(w.job.MchID); u.merchant == nil {
		return u.unsigned()
	}
	if u.ungated {
		return schedule.ParkUntil(time.Now()) // its merchant was gone and is back: it asks for leave again
	}
	return u.claimAndCall()
}

func (w *work) expired(now time.Time) bool {
	return !w.job.ExpiresAt.IsZero() && !now.Before(w.job.ExpiresAt)
}

// probing says that the merchant is held and this step's call is to find out whether it still must be.
func (u *turn) probing() bool { return u.grant != nil && u.grant.HoldProbe }

// release gives the grant back, once.
func (u *turn) release(end gate.End) {
	if u.grant == nil {
		return
	}
	if u.grant.HoldProbe {
		u.p.holds.probed(u.ctx, u.job.MchID)
	}
	u.task.Returning()
	u.p.gate.Done(time.Now(), u.grant, end)
	u.grant = nil
}

// newClaim prepares the step's claim. It has a new token, unless it is not known what became of the
// last one: the answer to a claim may have been lost, and the store knows its holder by the token.
func (u *turn) newClaim() {
	if u.token == "" {
		u.token = dedupe.NewToken()
	}
	u.claim = dedupe.Claimant{
		Key:    u.key(),
		Token:  u.token,
		Source: u.d.Source.ID(), Content: string(u.job.Content[:]),
	}
}

// lost takes note that the claim is another's, or nobody's, by now.
func (u *turn) lost() {
	u.token = ""
	u.p.metrics.lost.Inc()
	u.p.log.Warn().Str("idempotent_id", u.job.IdempotentID).Msg("claim lost; asking again what has become of the job")
}

// ask claims the job.
func (u *turn) ask(spend int) (dedupe.Claim, error) {
	if err := u.repark(); err != nil {
		return dedupe.Claim{}, err
	}
	u.newClaim()
	c, err := u.p.claims.Claim(u.ctx, u.claim, spend)
	if err == nil {
		u.p.gate.StoreUp()
		u.p.metrics.claims.WithLabelValues(string(c.Verdict)).Inc()
		if u.oddities > 0 {
			u.oddities = 0
			u.p.odd.settled(u.job.IdempotentID)
		}
	}
	return c, err
}

// claimAndCall claims the job with its first attempt, and calls where it was won.
func (u *turn) claimAndCall() schedule.Next {
	c, err := u.ask(1)
	if err != nil {
		return u.storeFailed(err)
	}
	if c.Verdict != dedupe.VerdictWon {
		u.release(gate.Unused)
		return u.notWon(c)
	}
	if c.TakenOver && u.p.cfg.Retry.Spent(c.Attempts-1) {
		// A job whose calls end with the worker itself must not go on for ever.
		u.release(gate.Unused)
		u.detail = "the last attempt never ended: its worker died or was cut off"
		return u.fail(job.Result{
			Status: job.StatusFailed, Reason: job.ReasonExhausted, Attempts: c.Attempts - 1, MaybeSent: true,
		})
	}
	if u.probing() && !u.p.holds.mayProbe(u.ctx, u.job.MchID, u.task.Lane) {
		return u.giveUp(&tally{attempts: c.Attempts}) // the gate says when
	}
	return u.call(c)
}

// notWon ends or parks a job that somebody else, or an earlier delivery, has dealt with.
func (u *turn) notWon(c dedupe.Claim) schedule.Next {
	switch c.Verdict {
	case dedupe.VerdictDone:
		return u.again(job.Result{
			Status: job.StatusSucceeded, LogID: c.LogID, Attempts: c.Attempts, MaybeSent: c.MaybeSent,
		}, c)
	case dedupe.VerdictSettled:
		return u.again(settledResult(c), c)
	case dedupe.VerdictDuplicate:
		u.task.Advance()
		return u.publish(job.Result{Status: job.StatusDuplicate, LogID: c.LogID}, nil)
	case dedupe.VerdictConflict:
		u.task.Advance()
		return u.publish(u.conflict(), nil)
	default: // busy
		u.asked++
		ask := min(askFirst<<min(u.asked-1, 10), askMax)
		return schedule.ParkUntil(time.Now().Add(min(c.Wait+time.Millisecond, ask)))
	}
}

// conflict is the end of a record whose idempotent id belongs to other content.
func (u *turn) conflict() job.Result {
	return job.Result{
		Status: job.StatusFailed, Reason: job.ReasonConflict,
		Detail: "idempotent_id " + u.job.IdempotentID + " belongs to a reply with other content",
	}
}

// again publishes what an earlier delivery of this record has settled, unless it is known to be
// published.
func (u *turn) again(r job.Result, c dedupe.Claim) schedule.Next {
	u.task.Advance()
	u.in.met(&u.d.Source)
	if c.Published {
		return schedule.Finish()
	}
	return u.publish(r, u.claimed())
}

// expire ends a job that is past its time. It is claimed first: an earlier delivery may have
// succeeded, and another may be calling now.
func (u *turn) expire() schedule.Next {
	u.release(gate.Unused)
	c, err := u.ask(0)
	if err != nil {
		return u.storeFailed(err)
	}
	if c.Verdict != dedupe.VerdictWon {
		return u.notWon(c)
	}
	return u.fail(job.Result{
		Status: job.StatusExpired, Attempts: c.Attempts, MaybeSent: c.MaybeSent, Detail: "expires_at has passed",
	})
}

// unsigned ends a job whose merchant is not configured any more. It is claimed first, as one that is past
// its time: an earlier delivery may have succeeded.
func (u *turn) unsigned() schedule.Next {
	u.release(gate.Unused)
	c, err := u.ask(0)
	if err != nil {
		return u.storeFailed(err)
	}
	if c.Verdict != dedupe.VerdictWon {
		return u.notWon(c)
	}
	return u.fail(job.Result{
		Status: job.StatusFailed, Reason: job.ReasonInvalidJob, Attempts: c.Attempts, MaybeSent: c.MaybeSent,
		Detail: notConfigured(u.job).Error(),
	})
}

// storeFailed parks a job whose claim could not be asked for. Jobs wait for the store: without it
// nobody can say that a reply is not sent twice.
func (u *turn) storeFailed(err error) schedule.Next {
	now := time.Now()
	if u.ctx.Err() != nil {
		return schedule.Drop()
	}
	if odd(err) {
		u.release(gate.Unused)
		u.p.metrics.claims.WithLabelValues(oddDecision).Inc()
		u.p.odd.note(u.job.IdempotentID, now)
		u.p.warn.say("odd claim", func() {
			u.p.log.Error().Err(err).Str("idempotent_id", u.job.IdempotentID).Msg("the job's claim cannot be used; it waits")
		})
		u.oddities++
		return schedule.ParkUntil(now.Add(min(oddFirst<<min(u.oddities-1, 10), oddMax)))
	}
	u.p.storeDown(now, err)
	u.release(gate.Unused)
	if u.ungated {
		return schedule.ParkUntil(now.Add(ungatedRetry))
	}
	return schedule.ParkUntil(now) // the gate says when
}

// odd says that the claim store did answer, and that its answer concerns this job alone. An answer
// that makes no sense does not: it is the store, or what stands before it, that is not well.
func odd(err error) bool {
	var e *dedupe.Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Reason {
	case dedupe.ReasonWrongType, dedupe.ReasonInvalid:
		return true
	default:
		return false
	}
}

// storeDown stops everybody until the claim store answers again.
func (p *Processor) storeDown(now time.Time, err error) {
	p.gate.StoreDown(now)
	p.warn.say("store", func() { p.log.Error().Err(err).Msg("redis does not answer; jobs wait") })
}

// settleFault ends a job over which the worker has stumbled.
func (u *turn) settleFault() (next schedule.Next) {
	defer func() {
		if r := recover(); r != nil {
			u.p.panicked(&u.d, r, debug.Stack())
			next = schedule.ParkUntil(time.Now().Add(oddMax))
		}
	}()
	u.release(gate.Unused)
	r := job.Result{Status: job.StatusFailed, Reason: job.ReasonInternal, Detail: "a fault of the worker: see its log"}
	if u.failed != nil {
		return u.publish(r, nil)
	}
	if u.claim.Token == "" {
		u.newClaim()
	}
	c, err := u.p.claims.Claim(u.ctx, u.claim, 0)
	if err != nil {
		return u.storeFailed(err)
	}
	if c.Verdict != dedupe.VerdictWon {
		return u.notWon(c)
	}
	r.Attempts, r.MaybeSent = c.Attempts, true
	return u.fail(r)
}

func (p *Processor) panicked(d *job.Delivery, r any, stack []byte) {
	p.metrics.panics.Inc()
	p.log.Error().Str("source", d.Source.ID()).Str("panic", fmt.Sprint(r)).Bytes("stack", stack).
		Msg("a job made the worker stumble")
}
