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
		u.guard(func() {
			if _, ok := u.leave(ctx, u.p.gate.Patience()-time.Since(begun)); ok {
				cut(errHostOut)
			}
		})
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

// guard does something in a goroutine that is no step's, where a panic would be dealt with.
func (u *turn) guard(do func()) {
	defer func() {
		if r := recover(); r != nil {
			u.p.panicked(&u.d, r, debug.Stack())
		}
	}()
	do()
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

// retryAfter is what the answer asks to wait, zero where it asks nothing.
func (p probed) retryAfter() time.Duration {
	if p.err == nil {
		return 0
	}
	return p.err.RetryAfter
}

// probe makes the call that finds out whether a host is back. Where it is not answered in the usual
// time and the other host can take the job, the job goes on there, and the probe is left to find out
// what it can. attempts are the job's, with this one.
func (u *turn) probe(body []byte, attempts int) (wxclient.Answer, *wxclient.Error) {
	host := u.grant.Host
	end := probed{err: &wxclient.Error{Class: wxclient.ClassTransient, Host: host, Sent: true, Err: errStumbled}}
	waiting, stop := context.WithCancel(u.ctx)
	ended := make(chan struct{})
	u.p.probes.Go(func() {
		defer close(ended)
		defer stop()
		u.guard(func() { end.answer, end.err = u.reply(u.ctx, host, body) })
	})
	grant, ok := u.leave(waiting, u.p.gate.Patience())
	if !ok {
		<-ended
		return end.answer, end.err
	}
	left, claim := &leftProbe{over: make(chan struct{})}, u.claim
	u.left = left
	u.p.probes.Go(func() {
		defer close(left.over)
		<-ended
		grant.RetryAfter = end.retryAfter()
		u.p.gate.Done(time.Now(), grant, end.end())
		if end.err == nil {
			u.guard(func() { left.succeeded = u.taken(claim, end.answer, attempts) })
		}
	})
	return wxclient.Answer{}, &wxclient.Error{Class: wxclient.ClassHostFailed, Host: host, Sent: true, Err: errHostOut}
}

// taken records that the API took a reply by a probe that its job had left. What has become of the job
// meanwhile, its claim knows what to make of.
func (u *turn) taken(claim dedupe.Claimant, answer wxclient.Answer, attempts int) bool {
	err := u.persist(writeComplete, func(ctx context.Context) error {
		_, err := u.p.claims.Complete(ctx, claim, dedupe.Done{LogID: answer.LogID, Attempts: attempts})
		return err
	})
	u.p.succeeded(u.ctx, claim.MchID)
	return err == nil
}

// leftProbe is a probe that its job has left.
type leftProbe struct {
	over      chan struct{} // closed when it has ended and what it found is in the claim
	succeeded bool          // once it is over: the API took the reply
}

// awaitProbe waits for the job's probe, where it has left one. A job must not be settled as failed, and
// its complaint go on, while the API may yet take it in a call of our own.
func (u *turn) awaitProbe() {
	if u.left == nil {
		return
	}
	defer u.p.renewer.hold(u.claim)()
	<-u.left.over
	u.left = nil
}

// probeSucceeds waits for a while whether the job's probe, where it has left one, succeeds.
func (u *turn) probeSucceeds(within time.Duration) bool {
	if u.left == nil {
		return false
	}
	limit := time.NewTimer(within)
	defer limit.Stop()
	look := time.NewTicker(askAgain)
	defer look.Stop()
	for !u.task.Draining() {
		select {
		case <-u.left.over:
			found := u.left.succeeded
			u.left = nil
			return found
		case <-limit.C:
			return false
		case <-u.ctx.Done():
			return false
		case <-look.C:
		}
	}
	return false
}
