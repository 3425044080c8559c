package processor

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"replyworker/internal/dedupe"
	"replyworker/internal/gate"
	"replyworker/internal/job"
	"replyworker/internal/schedule"
	"replyworker/internal/wxclient"
)

const (
	maxDetails   = 2048 // the claim store's own bound
	persistFirst = 50 * time.Millisecond
	persistMax   = 5 * time.Second
)

// What is written of a job's end, for metrics and logs.
const (
	writeComplete = "complete"
	writeFail     = "fail"
	writeLetter   = "dead_letter"
	writeOutcome  = "outcome"
)

// persist repeats a write until it is done, or the session's time is over; the job is then delivered
// again. A lost claim and an odd one are returned at once: no repeat mends them.
func (u *turn) persist(what string, write func(context.Context) error) error {
	for wait := persistFirst; ; wait = min(2*wait, persistMax) {
		err := write(u.ctx)
		if err == nil || errors.Is(err, dedupe.ErrLost) || odd(err) || u.ctx.Err() != nil {
			return err
		}
		u.p.metrics.persistErrors.WithLabelValues(what).Inc()
		u.p.warn.say(what, func() {
			u.p.log.Warn().Err(err).Str("write", what).Msg("a result could not be written; trying until it can")
		})
		t := time.NewTimer(wait)
		select {
		case <-u.ctx.Done():
		case <-t.C:
		}
		t.Stop()
	}
}

// succeed settles a job that the API has taken. The lane goes on at once; what is left to write
// changes nothing about the order of replies.
func (u *turn) succeed(answer wxclient.Answer, n *tally) schedule.Next {
	host := u.grant.Host.String()
	u.release(gate.Succeeded)
	u.task.Advance()
	u.p.succeeded(u.ctx, u.job.MchID)
	u.answer = job.Answer{Host: host, HTTPStatus: answer.HTTPStatus, RequestID: answer.RequestID}
	r := job.Result{
		Status: job.StatusSucceeded, LogID: answer.LogID, Attempts: n.attempts, MaybeSent: n.maybe, Answer: u.answer,
	}
	var c dedupe.CompleteResult
	err := u.persist(writeComplete, func(ctx context.Context) (err error) {
		c, err = u.p.claims.Complete(ctx, u.claim, dedupe.Done{LogID: r.LogID, Attempts: n.attempts, MaybeSent: n.change})
		return err
	})
	switch {
	case odd(err):
		u.p.warn.say("odd success", func() {
			u.p.log.Error().Err(err).Str("idempotent_id", u.job.IdempotentID).
				Msg("the job's claim cannot be used; its success is published, and not remembered")
		})
		return u.publish(r, nil)
	case err != nil:
		return schedule.Drop()
	}
	return u.completed(r, c)
}

// completed publishes what the claim says once the API's answer is in it.
func (u *turn) completed(r job.Result, c dedupe.CompleteResult) schedule.Next {
	own := c.Completion != dedupe.CompletedForeign && c.Completion != dedupe.CompletedConflict
	if own && c.LogID != "" && c.LogID != r.LogID {
		u.p.log.Error().Str("idempotent_id", u.job.IdempotentID).Str("log_id", r.LogID).Str("recorded", c.LogID).
			Msg("the API has given two log ids for one idempotent id")
		r.LogID = c.LogID
	}
	switch c.Completion {
	case dedupe.CompletedByOther:
		r.Status = job.StatusDuplicate
		return u.publish(r, nil)
	case dedupe.CompletedForeign:
		u.p.log.Error().Str("idempotent_id", u.job.IdempotentID).
			Msg("the API took this reply, and its idempotent id belongs to another by now")
		return u.publish(r, nil)
	case dedupe.CompletedConflict:
		conflict := u.conflict()
		conflict.MaybeSent = true
		return u.publish(conflict, nil)
	case dedupe.CompletedSettled:
		// Another delivery of this record has settled it meanwhile; its outcome stands.
		return u.publish(settled(c.State, c.Reason, c.Details, c.Attempts, true), u.claimed())
	default:
		return u.publish(r, u.claimed())
	}
}

// fail settles a job that will not be sent (any more): the claim first.
func (u *turn) fail(r job.Result) schedule.Next {
	r.Answer = u.answer
	if r.Detail == "" {
		r.Detail = u.detail
	}
	state := dedupe.StateDead
	if r.Status == job.StatusExpired {
		state = dedupe.StateExpired
	}
	u.awaitProbe()
	f := dedupe.Failure{State: state, Reason: string(r.Reason), Details: encodeDetails(r), MaybeSent: tri(r.MaybeSent)}
	err := u.persist(writeFail, func(ctx context.Context) error { return u.p.claims.Fail(ctx, u.claim, f) })
	switch {
	case errors.Is(err, dedupe.ErrLost):
		u.lost()
		return schedule.ParkUntil(time.Now()) // and publish nothing
	case odd(err):
		return u.storeFailed(err)
	case err != nil:
		return schedule.Drop()
	}
	u.task.Advance()
	return u.publish(r, u.claimed())
}

// publish writes the dead letter where there is one, then the outcome, and ends the job. note is called
// once the outcome is published; nil for nobody.
func (u *turn) publish(r job.Result, note func()) schedule.Next {
	r.StartedAt, r.FinishedAt = u.started, time.Now()
	if r.Status == job.StatusFailed {
		err := u.persist(writeLetter, func(ctx context.Context) error { return u.p.cfg.Letters.Publish(ctx, &u.d, r) })
		if err != nil {
			return schedule.Drop()
		}
	}
	err := u.persist(writeOutcome, func(ctx context.Context) error { return u.p.cfg.Outcomes.Publish(ctx, &u.d, u.job, r) })
	if err != nil {
		return schedule.Drop()
	}
	if note != nil {
		note()
	}
	u.p.finished(u.work, r)
	return schedule.Finish()
}

// claimed returns how to note in the job's own claim that the outcome is published. Nobody waits for the
// note: it only saves a repeat, should the record come again.
func (u *turn) claimed() func() {
	return func() { u.p.claims.NotePublished(u.claim.Key, u.claim.Source) }
}

// details is what a dead claim keeps beside its reason, so that a redelivery can publish it again.
type details struct {
	Detail string     `json:"detail,omitempty"`
	Answer job.Answer `json:"answer"`
}

func encodeDetails(r job.Result) string {
	b, err := json.Marshal(details{Detail: r.Detail, Answer: r.Answer})
	if err != nil || len(b) > maxDetails {
		b, _ = json.Marshal(details{Answer: job.Answer{ //nolint:errchkjson // strings and a number: it cannot fail
			Host: r.Answer.Host, HTTPStatus: r.Answer.HTTPStatus, Code: r.Answer.Code, RequestID: r.Answer.RequestID,
		}})
	}
	return string(b)
}

func settledResult(c dedupe.Claim) job.Result {
	return settled(c.State, c.Reason, c.Details, c.Attempts, c.MaybeSent)
}

func settled(state dedupe.State, reason, text string, attempts int, maybe bool) job.Result {
	var d details
	_ = json.Unmarshal([]byte(text), &d) // without details the outcome has fewer of them
	r := job.Result{
		Status: job.StatusFailed, Reason: job.Reason(reason), Attempts: attempts, MaybeSent: maybe,
		Answer: d.Answer, Detail: d.Detail,
	}
	if state == dedupe.StateExpired {
		r.Status, r.Reason = job.StatusExpired, job.ReasonNone
	}
	return r
}

func tri(v bool) dedupe.Tri {
	if v {
		return dedupe.Set
	}
	return dedupe.Clear
}
