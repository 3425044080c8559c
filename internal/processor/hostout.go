package processor

import (
	"context"
	"errors"
	"runtime/debug"
	"sync"
	"time"

	"replyworker/internal/dedupe"
	"replyworker/internal/gate"
	"replyworker/internal/wxclient"
)

// askAgain is how often a call that has had its patience asks whether it is better made elsewhere.
const askAgain = 50 * time.Millisecond

var (
	// errHostOut ends the waiting for a host that is out. What became of the call nobody knows.
	errHostOut  = errors.New("no answer in the usual time from a host that is out; trying the other one")
	errStumbled = errors.New("a fault of the worker: see its log")
)

// whileWorthwhile returns a context for a call that ends with errHostOut once its host is out, it has
// had its patience, and the other host can take it: it would most likely hang until its timeout.
func (u *turn) whileWorthwhile() (context.Context, func()) {
	ctx, cut := context.WithCancelCause(u.ctx)
	begun := time.Now()
	var watch sync.WaitGroup
	watch.Add(1)
	stop := context.AfterFunc(u.grant.HostOut(), func() {
		defer watch.Done()
		if _, ok := u.leave(ctx, u.p.gate.Patience()-time.Since(begun)); ok {
			cut(errHostOut)
		}
	})
	return ctx, func() {
		cut(nil)
		if !stop() {
			watch.Wait() // the grant is the turn's alone again
		}
	}
}

// leave waits for a while, and then until the call that is out may be left for the other host, or ctx
// ends. While the worker drains, calls finish where they are.
func (u *turn) leave(ctx context.Context, patience time.Duration) (left *gate.Grant, ok bool) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil, false
		case <-timer.C:
		}
		if ctx.Err() == nil && !u.task.Draining() {
			if left, ok = u.p.gate.Leave(time.Now(), u.grant); ok {
				return left, true
			}
		}
		timer.Reset(askAgain)
	}
}

// probed is how a host probe ended.
type probed struct {
	answer wxclient.Answer
	err    *wxclient.Error
}

// end is what a probe has found out about its host.
func (p probed) end() gate.End {
	if p.err == nil {
		return gate.Succeeded
	}
	switch p.err.Class {
	case wxclient.ClassCanceled:
		return gate.Unused
	case wxclient.ClassHostFailed:
		return gate.HostFailed
	case wxclient.ClassSlowDown:
		return gate.SlowDown
	default:
		return answered(p.err)
	}
}

// probe makes the call that finds out whether a host is back. Where it is not answered in the usual
// time and the other host can take the job, the job goes on there, and the probe is left to find out
// what it can.
func (u *turn) probe(body []byte) (wxclient.Answer, *wxclient.Error) {
	host, end := u.grant.Host, probed{}
	waiting, stop := context.WithCancel(u.ctx)
	ended := make(chan struct{})
	u.p.probes.Go(func() {
		defer close(ended)
		defer stop()
		end = u.probeCall(host, body)
	})
	left, ok := u.leave(waiting, u.p.gate.Patience())
	if !ok {
		<-ended
		return end.answer, end.err
	}
	claim := u.claim
	u.p.probes.Go(func() {
		<-ended
		u.found(left, claim, end)
	})
	return wxclient.Answer{}, &wxclient.Error{Class: wxclient.ClassHostFailed, Host: host, Sent: true, Err: errHostOut}
}

func (u *turn) probeCall(host wxclient.Host, body []byte) (end probed) {
	defer func() {
		if r := recover(); r != nil { // it is no step's goroutine, where that would be dealt with
			u.p.panicked(&u.d, r, debug.Stack())
			end.err = &wxclient.Error{Class: wxclient.ClassTransient, Host: host, Sent: true, Err: errStumbled}
		}
	}()
	end.answer, end.err = u.reply(u.ctx, host, body)
	return end
}

// found uses what a probe has found out whose job has gone on: about its host, and where the API took
// the reply, about the job. Whatever has become of that meanwhile, its claim knows what to make of it.
func (u *turn) found(left *gate.Grant, claim dedupe.Claimant, end probed) {
	u.p.gate.Done(time.Now(), left, end.end())
	if end.err != nil {
		return
	}
	if _, err := u.p.claims.Complete(u.ctx, claim, dedupe.Done{LogID: end.answer.LogID}); err != nil {
		// The API has it in its memory, and says it again to the job's next attempt.
		u.p.log.Debug().Err(err).Str("idempotent_id", claim.IdempotentID).Msg("the success of a probe was not noted")
	}
	u.p.succeeded(u.ctx, claim.MchID)
}
