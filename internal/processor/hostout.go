package processor

import (
	"context"
	"errors"
	"runtime/debug"
	"time"

	"replyworker/internal/gate"
	"replyworker/internal/wxclient"
)

// errHostOut ends the waiting for a host that is out. What became of the call nobody knows.
var errHostOut = errors.New("no answer in the usual time from a host that is out; trying the other one")

var errStumbled = errors.New("a fault of the worker: see its log")

// whileHostIsIn returns a context for a call that ends with errHostOut when the host goes out and the
// call has had its patience: it would most likely hang until its timeout, and the other host is well.
func (u *turn) whileHostIsIn() (context.Context, func()) {
	ctx, cut := context.WithCancelCause(u.ctx)
	begun := time.Now()
	stop := context.AfterFunc(u.grant.HostOut(), func() {
		wait := time.NewTimer(u.p.gate.Patience() - time.Since(begun))
		defer wait.Stop()
		select {
		case <-wait.C:
			cut(errHostOut)
		case <-ctx.Done():
		}
	})
	return ctx, func() {
		stop()
		cut(nil)
	}
}

// called is how a host probe ended.
type called struct {
	answer wxclient.Answer
	err    *wxclient.Error
}

// end is what a probe has found out about its host.
func (c called) end() gate.End {
	if c.err == nil {
		return gate.Succeeded
	}
	switch c.err.Class {
	case wxclient.ClassCanceled:
		return gate.Unused
	case wxclient.ClassHostFailed:
		return gate.HostFailed
	case wxclient.ClassSlowDown:
		return gate.SlowDown
	default:
		return answered(c.err)
	}
}

// probe makes the call that finds out whether a host is back. Where it is not answered in the usual
// time and the other host is well, the job goes on there, and the probe is left to find out what it can.
func (u *turn) probe(body []byte) (wxclient.Answer, *wxclient.Error) {
	host, ends := u.grant.Host, make(chan called, 1)
	u.p.probes.Go(func() { ends <- u.probeCall(host, body) })
	patience := time.NewTimer(u.p.gate.Patience())
	defer patience.Stop()
	select {
	case end := <-ends:
		return end.answer, end.err
	case <-patience.C:
	}
	left := u.p.gate.Leave(u.grant)
	if left == nil {
		end := <-ends
		return end.answer, end.err
	}
	u.p.probes.Go(func() {
		end := <-ends
		u.p.gate.Done(time.Now(), left, end.end())
	})
	return wxclient.Answer{}, &wxclient.Error{Class: wxclient.ClassHostFailed, Host: host, Sent: true, Err: errHostOut}
}

func (u *turn) probeCall(host wxclient.Host, body []byte) (c called) {
	defer func() {
		if r := recover(); r != nil { // it is no step's goroutine, where that would be dealt with
			u.p.panicked(&u.d, r, debug.Stack())
			c.err = &wxclient.Error{Class: wxclient.ClassTransient, Host: host, Sent: true, Err: errStumbled}
		}
	}()
	c.answer, c.err = u.reply(u.ctx, host, body)
	return c
}
