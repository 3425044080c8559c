package processor

import (
	"context"
	"errors"
	"time"

	"replyworker/internal/dedupe"
	"replyworker/internal/gate"
	"replyworker/internal/job"
	"replyworker/internal/schedule"
	"replyworker/internal/wxclient"
)

// tally is what a turn's calls amount to.
type tally struct {
	attempts int  // as the claim has them
	giveBack int  // of those, how many are not to count
	spent    bool // the last one counts
	switched bool // the turn's one change of host is made
	maybe    bool
	change   dedupe.Tri // what becomes of the claim's own maybe_sent
}

func (t *tally) maybeSent()   { t.maybe, t.change = true, dedupe.Set }
func (t *tally) counted() int { return t.attempts - t.giveBack }

// count says whether the last attempt counts.
func (t *tally) count(counts bool) {
	t.spent = counts
	if !counts {
		t.giveBack++
	}
}

// call makes a won job's attempts: one, and where its host fails one more on the other host at once.
func (u *turn) call(c dedupe.Claim) schedule.Next {
	n := tally{attempts: c.Attempts, maybe: c.MaybeSent}
	for body := u.job.Body(); ; {
		if u.task.Draining() {
			return u.giveUp(&n)
		}
		if u.expired(time.Now()) {
			u.release(gate.Unused)
			return u.fail(job.Result{Status: job.StatusExpired, Attempts: n.attempts - 1, MaybeSent: n.maybe})
		}
		answer, err := u.attempt(body, &n)
		if err == nil {
			return u.succeed(answer, &n)
		}
		if again, next := u.elsewhere(err, &n); !again {
			return next
		}
	}
}

// elsewhere deals with a failed attempt: the job goes to the other host at once, or its turn is over.
func (u *turn) elsewhere(e *wxclient.Error, n *tally) (again bool, next schedule.Next) {
	u.note(e)
	if e.Sent && uncertain(e.Class) {
		n.maybeSent()
	}
	if e.Class != wxclient.ClassHostFailed {
		return false, u.conclude(e, n)
	}
	n.count(u.othersSucceeded())
	if n.switched || u.task.Draining() || !u.p.gate.Switch(time.Now(), u.grant) {
		return false, u.conclude(e, n)
	}
	n.switched = true
	attempts, err := u.p.claims.Begin(u.ctx, u.claim, n.attempts)
	switch {
	case errors.Is(err, dedupe.ErrLost):
		u.lost()
		return false, schedule.ParkUntil(time.Now())
	case err != nil:
		u.owe(0, n)
		return false, u.storeFailed(err)
	}
	n.attempts = attempts
	return true, schedule.Next{}
}

// uncertain says of which classes the API may have taken the reply.
func uncertain(c wxclient.Class) bool {
	switch c {
	case wxclient.ClassUnknown, wxclient.ClassUnknownKey, wxclient.ClassHostFailed, wxclient.ClassTransient,
		wxclient.ClassCanceled:
		return true
	default:
		return false
	}
}

// attempt makes one call, with its claim kept alive. Where the turn may yet change the host, it does not
// wait for one that is out longer than it must.
func (u *turn) attempt(body []byte, n *tally) (wxclient.Answer, *wxclient.Error) {
	u.tries++
	all, own := u.p.gate.Successes(u.job.MchID)
	if u.tries == 1 {
		u.begun = successes{all, own}
	}
	u.before, u.begun = u.begun, successes{all, own}
	defer u.p.renewer.hold(u.claim)()
	u.grant.Begin(time.Now())
	switch {
	case n.switched:
		return u.reply(u.ctx, u.grant.Host, body)
	case u.grant.HostProbe():
		return u.probe(body, n.attempts)
	default:
		ctx, done := u.whileWorthwhile()
		defer done()
		return u.reply(ctx, u.grant.Host, body)
	}
}

// reply makes one call on a host.
func (u *turn) reply(ctx context.Context, host wxclient.Host, body []byte) (wxclient.Answer, *wxclient.Error) {
	begin := time.Now()
	answer, err := u.p.cfg.API.Reply(ctx, host, u.merchant, u.job.ComplaintID, body)
	var e *wxclient.Error
	switch {
	case err == nil:
	case !errors.As(err, &e):
		e = &wxclient.Error{Class: wxclient.ClassTransient, Host: host, Sent: true, Err: err}
	case errors.Is(e.Err, errHostOut):
		e.Class = wxclient.ClassHostFailed
	}
	u.p.metrics.attempt(host, e, time.Since(begin))
	return answer, e
}

// othersSucceeded says whether calls of anybody have succeeded since this job's attempt before the
// last began. The fault is then this job's own, and the attempt counts.
func (u *turn) othersSucceeded() bool {
	all, _ := u.p.gate.Successes(u.job.MchID)
	return all > u.before.all
}

// ownSucceeded is othersSucceeded for the calls of the job's own merchant.
func (u *turn) ownSucceeded() bool {
	_, own := u.p.gate.Successes(u.job.MchID)
	return own > u.before.own
}

// note keeps the last answer for the outcome and the dead letter.
func (u *turn) note(e *wxclient.Error) {
	u.answer = job.Answer{
		Host: e.Host.String(), HTTPStatus: e.Status, Code: e.Code, Message: e.Message, RequestID: e.RequestID,
	}
	if u.answer.Message == "" && e.Err != nil {
		u.answer.Message = e.Err.Error()
	}
	u.detail = e.Error()
	u.p.log.Debug().Str("idempotent_id", u.job.IdempotentID).Str("class", e.Class.String()).Err(e).Msg("attempt failed")
}

// conclude decides what becomes of a job whose attempt has failed (design section 4, row by row).
// Holds and the brake are decided before the grant goes back and before anything is settled:
// otherwise the refusals in flight are buried past them.
func (u *turn) conclude(e *wxclient.Error, n *tally) schedule.Next {
	if u.keysReplaced(e) {
		n.count(false)
		u.release(answered(e))
		return u.park(0, n)
	}
	switch e.Class {
	case wxclient.ClassHostFailed: // counted in elsewhere, where its fault was reported
		return u.retryOrExhaust(e, n, gate.HostFailed)
	case wxclient.ClassUnknown:
		u.p.warn.say("unverified", func() {
			u.p.log.Error().Err(e).Str("idempotent_id", u.job.IdempotentID).Msg("an answer could not be verified")
		})
		n.count(true)
		return u.retryOrExhaust(e, n, gate.Answered)
	case wxclient.ClassTransient:
		n.count(true)
		return u.retryOrExhaust(e, n, answered(e))
	case wxclient.ClassSlowDown:
		n.count(u.p.gate.Succeeding(time.Now(), u.job.MchID))
		u.grant.RetryAfter = e.RetryAfter
		return u.retryOrExhaust(e, n, gate.SlowDown)
	case wxclient.ClassCredentials:
		n.count(u.ownSucceeded())
		u.p.holds.credentials(u.ctx, u.job.MchID, e)
		return u.retryOrExhaust(e, n, answered(e))
	case wxclient.ClassUnknownKey:
		n.count(false)
		u.p.holds.credentials(u.ctx, u.job.MchID, e)
		return u.retryOrExhaust(e, n, gate.Answered)
	case wxclient.ClassCanceled:
		return u.giveUp(n)
	default: // refused, which says nothing of the attempts before it
		return u.end(job.ReasonRejected, e, n, answered(e))
	}
}

// keysReplaced says that the call was refused for keys that are not the merchant's any more: that says
// nothing of the new ones, and the job goes again with them.
func (u *turn) keysReplaced(e *wxclient.Error) bool {
	return (e.Class == wxclient.ClassCredentials || e.Class == wxclient.ClassUnknownKey) &&
		u.p.merchant(u.job.MchID) != u.merchant
}

// answered is how a call ended that was refused: by the host, or before the host was asked.
func answered(e *wxclient.Error) gate.End {
	if e.Status == 0 {
		return gate.Unused
	}
	return gate.Answered
}

// retryOrExhaust parks the job for its next try, or ends it where its counted attempts are spent.
func (u *turn) retryOrExhaust(e *wxclient.Error, n *tally, end gate.End) schedule.Next {
	if n.spent && u.p.cfg.Retry.Spent(n.counted()) {
		return u.end(job.ReasonExhausted, e, n, end)
	}
	wait := u.p.cfg.Retry.Wait(max(u.tries, n.counted()), e.RetryAfter)
	if e.Class == wxclient.ClassCredentials || e.Class == wxclient.ClassUnknownKey {
		// The hold says when; a success that was on its way may end it at once, though.
		wait = min(wait, credentialsFirst)
	}
	u.release(end)
	return u.park(wait, n)
}

// end settles a job as failed, unless the brake says that the fault is not in the job; then it waits,
// and the attempt does not count.
func (u *turn) end(reason job.Reason, e *wxclient.Error, n *tally, end gate.End) schedule.Next {
	settle := u.p.mayFail(u.ctx, u.job.MchID, u.job.ComplaintID, cause(reason, e), u.probing())
	u.release(end)
	if !settle {
		n.giveBack++
		return u.park(0, n)
	}
	return u.fail(job.Result{
		Status: job.StatusFailed, Reason: reason, Attempts: n.counted(), MaybeSent: n.maybe,
	})
}

// park gives the claim back until the next try.
func (u *turn) park(wait time.Duration, n *tally) schedule.Next {
	ctx, cancel := u.lastWord()
	defer cancel()
	err := u.p.claims.Park(ctx, u.claim, dedupe.Parked{Delay: wait, GiveBack: n.giveBack, MaybeSent: n.change})
	switch {
	case err == nil:
		u.token = ""
	case errors.Is(err, dedupe.ErrLost):
		u.lost()
	default: // still ours, perhaps
		u.owe(wait, n)
		u.p.storeDown(time.Now(), err)
	}
	next := time.Now().Add(wait)
	if u.probeSucceeds(wait) {
		next = time.Now()
	}
	if u.task.Draining() {
		return schedule.Drop()
	}
	return schedule.ParkUntil(next)
}

// owed is a claim's return that the store has not answered.
type owed struct {
	claim  dedupe.Claimant
	parked dedupe.Parked
	due    time.Time
}

// owe keeps what the turn has learned of its calls until the store can be told. It may count one
// attempt too many.
func (u *turn) owe(wait time.Duration, n *tally) {
	u.owed = &owed{
		claim: u.claim, parked: dedupe.Parked{GiveBack: n.giveBack, MaybeSent: n.change}, due: time.Now().Add(wait),
	}
}

// repark tells the store what is owed to it. A claim that was lost meanwhile has maybe_sent set, by
// whoever took it over.
func (u *turn) repark() error {
	if u.owed == nil {
		return nil
	}
	p := u.owed.parked
	p.Delay = time.Until(u.owed.due)
	if err := u.p.claims.Park(u.ctx, u.owed.claim, p); err != nil && !errors.Is(err, dedupe.ErrLost) {
		return err
	}
	u.owed, u.token = nil, ""
	return nil
}

// giveUp parks a job that this worker has no time for any more. The attempt that was prepared, or cut
// off, does not count.
func (u *turn) giveUp(n *tally) schedule.Next {
	u.release(gate.Unused)
	n.giveBack++
	return u.park(0, n)
}

// lastWordTimeout bounds a write to the claim store that must still be tried when the session's time
// is over.
const lastWordTimeout = time.Second

// lastWord returns the turn's context, or where it has ended a short one of its own.
func (u *turn) lastWord() (context.Context, context.CancelFunc) {
	if u.ctx.Err() == nil {
		return u.ctx, func() {}
	}
	return context.WithTimeout(context.WithoutCancel(u.ctx), lastWordTimeout)
}
