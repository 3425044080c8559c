package gate

import (
	"context"
	"time"
)

// The doubling wait between two probes of a host goes up to mostCooldowns times the first one, and not
// over maxCooldown.
const (
	mostCooldowns = 6
	maxCooldown   = 30 * time.Second
)

// breaker watches one host. Consecutive failures open it; one probe at a time, after a wait that
// doubles, finds out whether the host is back.
type breaker struct {
	threshold int
	first     time.Duration
	jitter    func() float64 // in [0, 1)

	calls     int       // that are out
	failures  int       // consecutive, while closed
	failedAt  time.Time // the first of them
	answerAt  time.Time // the last answer
	open      bool
	since     time.Time // of the present state
	cooldown  time.Duration
	probeAt   time.Time
	probing   bool
	lastProbe string // the lane that probed last

	out    context.Context //nolint:containedctx // The host's own, see Grant.HostOut.
	endOut context.CancelFunc
}

func newBreaker(cfg Config) breaker {
	b := breaker{threshold: cfg.BreakerFailures, first: cfg.BreakerCooldown, jitter: cfg.Jitter}
	b.out, b.endOut = context.WithCancel(context.Background())
	return b
}

// ready says whether lane may call the host now, and whether as its probe. Where it may not, wait
// is the time until it is worth asking again, zero where a probe is out and its end will tell.
func (b *breaker) ready(now time.Time, lane string) (ok, probe bool, wait time.Duration) {
	if !b.open {
		return true, false, 0
	}
	if b.probing {
		return false, false, 0
	}
	if now.Before(b.probeAt) {
		return false, false, b.probeAt.Sub(now) // for everybody: the grace begins when others may go
	}
	if at := b.probeAt.Add(min(sameLaneGrace, b.first)); lane == b.lastProbe && now.Before(at) {
		// One odd job must not keep the host out: the others go first.
		return false, false, at.Sub(now)
	}
	return true, true, 0
}

// better says that new calls should go to this host, of two that are in, since the other is suspect. Of
// a host that has answered nothing since, only few calls find out whether it is: as many as could open
// its breaker.
func (b *breaker) better(than *breaker) bool {
	return than.suspect() && !b.suspect() && (b.calls < b.threshold || b.answerAt.After(than.failedAt))
}

// suspect says that the last call has failed, and that if those which are out fail as well the host
// will be out: a host that hangs lets one call time out before the others.
func (b *breaker) suspect() bool {
	return !b.open && b.failures > 0 && b.failures+b.calls >= b.threshold
}

func (b *breaker) failed(now time.Time, g *Grant) (changed bool) {
	switch {
	case g.hostProbe:
		b.cooldown = min(2*b.cooldown, b.longest())
		b.schedule(now)
	case g.at.Before(b.since):
		// It began before the host went out or came back. After an outage the last time-outs come in
		// when the probe has long succeeded; they are news of the past.
	case !b.open:
		if b.failures == 0 {
			b.failedAt = now
		}
		b.failures++
		if b.failures >= b.threshold {
			b.open, b.since, b.cooldown = true, now, b.first
			b.schedule(now)
			return true
		}
	}
	return false
}

// answers takes note of any answer that shows the host to be well. An answer to a call that began
// before the breaker opened tells nothing new.
func (b *breaker) answers(now time.Time, g *Grant) (changed bool) {
	if b.open && !g.hostProbe {
		return false
	}
	b.failures, b.answerAt = 0, now
	if b.open {
		b.open, b.since, b.lastProbe = false, now, ""
		b.out, b.endOut = context.WithCancel(context.Background())
		return true
	}
	return false
}

// schedule sets the next probe a cooldown away, up to a fifth of it later.
func (b *breaker) schedule(now time.Time) {
	b.probeAt = now.Add(b.cooldown + time.Duration(float64(b.cooldown)*0.2*b.jitter()))
}

// longest returns the longest wait between two probes. It is never shorter than the first.
func (b *breaker) longest() time.Duration {
	return max(b.first, min(mostCooldowns*b.first, maxCooldown))
}
