package gate

import (
	"context"
	"sync"
	"time"

	"replyworker/internal/wxclient"
)

const (
	// sameLaneGrace is how much later the lane that probed last may probe again than any other; where
	// the breaker's cooldown is shorter, that.
	sameLaneGrace = 5 * time.Second
	// succeedingWithin is how recent a merchant's success must be for "others are succeeding".
	succeedingWithin = time.Second
)

// Config sets a Gate up.
type Config struct {
	// Concurrency is the number of API calls at once, over all merchants.
	Concurrency int
	// HasBackup says whether there is a second host.
	HasBackup bool
	// BreakerFailures is how many consecutive failures open a host's breaker.
	BreakerFailures int
	// BreakerCooldown is the first wait before a host is probed; it doubles up to six times that, and
	// not over 30 s unless the first is longer.
	BreakerCooldown time.Duration
	// Pace returns the pace of a merchant that wants to call for the first time, or nil where it has none;
	// nil is nobody has one. It is called under the gate's lock.
	Pace func(mchid string) Pace
	// Jitter returns numbers in [0, 1). It is called under the gate's lock.
	Jitter func() float64
	// OnBreaker is told of every opening and closing, under the gate's lock; nil for nobody.
	OnBreaker func(host wxclient.Host, open bool)
}

// Gate admits calls. It is safe for concurrent use.
type Gate struct {
	cfg     Config
	changed chan struct{}

	mu        sync.Mutex
	used      int
	hosts     []breaker // by wxclient.Host
	merchants map[string]*merchant
	askers    int // merchants that have asked for leave
	successes uint64
	usual     usual
	outage    time.Time // since when both hosts are out; zero while one is well
	calm      calm
	store     store
}

type merchant struct {
	asked       bool // for leave, at any time
	used        int  // slots
	pace        Pace // nil for none
	ramp        ramp
	hold        *hold
	held        *Hold // that has ended and is to be followed by a calm start
	successes   uint64
	lastSuccess time.Time
}

// take takes account of one call, where the ramp and the pace leave room for it now; else it returns how
// long to wait.
func (m *merchant) take(now time.Time) (epoch uint64, wait time.Duration) {
	if wait := m.ramp.wait(now); wait > 0 {
		return 0, wait
	}
	if m.pace != nil {
		if epoch, wait = m.pace.Take(now); wait > 0 {
			return 0, wait
		}
	}
	m.ramp.take()
	return epoch, 0
}

// giveBack returns what was taken for a call that was not made.
func (m *merchant) giveBack(now time.Time, epoch uint64) {
	m.ramp.giveBack()
	if m.pace != nil {
		m.pace.GiveBack(now, epoch)
	}
}

// Pace is a merchant's limit on calls, shared by all workers; pace.Pacer is one. It must not block.
type Pace interface {
	// Take takes account of a call that may go now, and wait is zero; else wait is how long until it is
	// asked again. The epoch goes back with the call's answer.
	Take(now time.Time) (epoch uint64, wait time.Duration)
	// GiveBack returns what was taken and not used.
	GiveBack(now time.Time, epoch uint64)
	// Answer tells of the answer to a call that was taken account of at a time; any but 429 is not refused.
	Answer(now, taken time.Time, epoch uint64, refused bool, retryAfter time.Duration)
	// Limit returns the limit in calls/s, 0 for none.
	Limit() float64
}

// New makes a Gate with every breaker closed and nobody held.
func New(cfg Config) *Gate {
	hosts := 1
	if cfg.HasBackup {
		hosts = 2
	}
	g := &Gate{cfg: cfg, changed: make(chan struct{}, 1), merchants: map[string]*merchant{}}
	for range hosts {
		g.hosts = append(g.hosts, newBreaker(cfg))
	}
	return g
}

func (g *Gate) merchant(mchid string) *merchant {
	m := g.merchants[mchid]
	if m == nil {
		m = &merchant{}
		g.merchants[mchid] = m
	}
	return m
}

// Changed receives a value when something happened that may let a refused job through before the
// wait that it was told has passed.
func (g *Gate) Changed() <-chan struct{} { return g.changed }

// Wake lets those who wait ask again.
func (g *Gate) Wake() {
	select {
	case g.changed <- struct{}{}:
	default:
	}
}

// Ask is who wants to call: a merchant and the lane (the complaint) of the job.
type Ask struct {
	MchID string
	Lane  string
}

// Grant is the leave to make one call. It goes back by exactly one call of Done.
type Grant struct {
	Ask
	Host wxclient.Host
	// HoldProbe says that the merchant is held and this call is to find out whether it still must be.
	HoldProbe bool
	// RetryAfter is what a SlowDown asked to wait; the holder sets it before Done.
	RetryAfter time.Duration

	m         *merchant
	at        time.Time       // of the leave
	began     time.Time       // of the call
	epoch     uint64          // of the merchant's pace at the leave
	out       context.Context //nolint:containedctx // A host's, not a caller's: see HostOut.
	hostProbe bool
	called    bool   // a call's end was reported on an earlier host
	reserved  bool   // the call on the other host is taken account of,
	next      uint64 // in this epoch
	left      bool   // of a probe that its job has left; it has no slot
}

// HostProbe says that the host is out, and this call is to find out whether it is back.
func (g *Grant) HostProbe() bool { return g.hostProbe }

// HostOut ends when the host goes out of service. A call that is out then may be better made on the
// other one: see Leave.
func (g *Grant) HostOut() context.Context { return g.out }

// Begin takes note that the call begins. It is the holder's to call.
func (g *Grant) Begin(now time.Time) { g.began = now }

// Denial says why a job may not call now.
type Denial struct {
	// Wait is when it is worth asking again; zero where Changed will tell.
	Wait time.Duration
	// Everyone says that no other job of this merchant would be let through either.
	Everyone bool
	// Full says that no job of any merchant would be let through: all slots are taken, both hosts are
	// out, or the claim store does not answer.
	Full bool
}

// Try asks for leave to call. Exactly one of the answers is nil.
func (g *Gate) Try(now time.Time, ask Ask) (*Grant, *Denial) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.used >= g.cfg.Concurrency {
		return nil, &Denial{Everyone: true, Full: true}
	}
	if wait, closed := g.store.closed(now); closed {
		return nil, &Denial{Wait: wait, Everyone: true, Full: true}
	}
	m := g.merchant(ask.MchID)
	if !m.asked && g.cfg.Pace != nil {
		m.pace = g.cfg.Pace(ask.MchID)
	}
	g.calmDown(now, m)
	if g.used >= g.cfg.Concurrency-g.spare() && m.used >= g.share() {
		return nil, &Denial{Everyone: true} // a slot that is free by then will tell
	}
	if m.hold != nil {
		if wait, everyone, ok := m.hold.ready(now, ask.Lane); !ok {
			return nil, &Denial{Wait: wait, Everyone: everyone}
		}
	}
	host, probe, d := g.host(now, ask.Lane)
	if d != nil {
		return nil, d
	}
	epoch, wait := m.take(now)
	if wait > 0 {
		return nil, &Denial{Wait: wait, Everyone: true}
	}
	grant := &Grant{Ask: ask, m: m, epoch: epoch}
	g.enter(now, grant, host, probe)
	if m.hold != nil {
		grant.HoldProbe = true
		m.hold.probe = grant
	}
	if g.store.down {
		g.store.probe = grant
	}
	g.used++
	m.used++
	return grant, nil
}

// enter makes a grant one for a call on a host.
func (g *Gate) enter(now time.Time, grant *Grant, host wxclient.Host, probe bool) {
	b := &g.hosts[host]
	b.calls++
	grant.Host, grant.at, grant.began, grant.out = host, now, now, b.out
	grant.hostProbe, grant.called = probe, false
	if probe {
		b.probing, b.lastProbe = true, grant.Lane
	}
}

// host chooses the host for lane: the primary while it is well or due for a probe, else the backup,
// which is also taken while the primary is suspect and it is not.
func (g *Gate) host(now time.Time, lane string) (wxclient.Host, bool, *Denial) {
	var soonest time.Duration
	everyone := true
	for h := range g.hosts {
		b := &g.hosts[h]
		ok, probe, wait := b.ready(now, lane)
		if host := wxclient.Host(h); ok {
			if !probe && g.otherIsWell(host) && g.hosts[other(host)].better(b) {
				return other(host), false, nil
			}
			return host, probe, nil
		}
		if wait > 0 && (soonest == 0 || wait < soonest) {
			soonest = wait
		}
		if !b.probing && !now.Before(b.probeAt) {
			everyone = false // only this lane is kept from probing
		}
	}
	return 0, false, &Denial{Wait: soonest, Everyone: everyone, Full: everyone}
}

// Switch moves a grant whose call has failed on its host to the other one, to be tried at once, and
// takes the failure as reported. It says no where there is no other host, it is out too, or the
// merchant's pace leaves no room; the grant then has no host until it goes back by Done.
func (g *Gate) Switch(now time.Time, grant *Grant) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.hostFailed(now, grant)
	grant.called = true
	if len(g.hosts) < 2 {
		return false
	}
	to := other(grant.Host)
	ok, probe, _ := g.hosts[to].ready(now, grant.Lane)
	if !ok {
		return false
	}
	if !grant.reserved {
		epoch, wait := grant.m.take(now)
		if wait > 0 {
			return false
		}
		grant.next = epoch
	}
	grant.epoch, grant.reserved = grant.next, false
	g.hosts[grant.Host].calls--
	g.enter(now, grant, to, probe)
	return true
}

// Leave says whether a call that is still out is better made on the other host: its own is out, the
// other is well, the claim store is there, and the merchant's pace leaves room, which is then kept for
// Switch. Where the call was a host probe, left is a grant of the probe's own, without a slot, that goes
// back by Done. Leave must not be called once the grant was moved or went back.
func (g *Gate) Leave(now time.Time, grant *Grant) (left *Grant, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	better := !g.store.down && g.hosts[grant.Host].open && g.otherIsWell(grant.Host)
	if grant.reserved || !better {
		return nil, false
	}
	epoch, wait := grant.m.take(now)
	if wait > 0 {
		return nil, false
	}
	if grant.hostProbe {
		probe := *grant
		probe.left, probe.HoldProbe, grant.hostProbe = true, false, false
		g.hosts[grant.Host].calls++
		left = &probe
	}
	grant.reserved, grant.next = true, epoch
	return left, true
}

func other(h wxclient.Host) wxclient.Host {
	if h == wxclient.Primary {
		return wxclient.Backup
	}
	return wxclient.Primary
}

func (g *Gate) otherIsWell(h wxclient.Host) bool { return len(g.hosts) == 2 && !g.hosts[other(h)].open }

// End is how a granted call ended, as far as the gate cares.
type End int

// The ends of a granted call.
const (
	Unused     End = iota // no call was made
	Succeeded             // 2xx, verified
	Answered              // any other answer that shows the host to be well
	SlowDown              // 429
	HostFailed            // refused, reset, timed out, 502 to 504
)

// Done gives a grant back with the end of its call. Whether a hold stays is the caller's to say.
func (g *Gate) Done(now time.Time, grant *Grant, end End) {
	g.mu.Lock()
	defer g.mu.Unlock()
	m := grant.m
	if !grant.left {
		g.used--
		m.used--
	}
	g.hosts[grant.Host].calls--
	if grant.reserved { // and not used
		m.giveBack(now, grant.next)
		grant.reserved = false
	}
	if m.hold != nil && m.hold.probe == grant {
		m.hold.probe = nil
	}
	g.store.returned(now, grant)
	switch end {
	case Unused:
		if grant.hostProbe {
			g.hosts[grant.Host].probing = false
		}
		if !grant.called {
			m.giveBack(now, grant.epoch)
		}
	case HostFailed:
		if !grant.called {
			g.hostFailed(now, grant)
		}
	case Succeeded, Answered, SlowDown:
		if end == Succeeded && !grant.left { // its job's own call tells whether others succeed
			g.successes++
			m.successes++
			m.lastSuccess = now
		}
		if end == Succeeded && !grant.hostProbe { // how long those take that are out says little of others
			g.usual.note(now.Sub(grant.began))
		}
		g.hostAnswered(now, grant) // first: where it ends an outage, this answer belongs to what follows
		if m.pace != nil {
			m.pace.Answer(now, grant.at, grant.epoch, end == SlowDown, grant.RetryAfter)
		}
		if m.hold == nil { // the probes of a held merchant are no steady rate
			m.ramp.steady.note(now, grant.at, end == Succeeded)
		}
	}
	g.Wake()
}

func (g *Gate) hostFailed(now time.Time, grant *Grant) {
	grant.m.ramp.steady.note(now, grant.at, false)
	b := &g.hosts[grant.Host]
	if b.failed(now, grant) {
		b.endOut()
		if g.cfg.OnBreaker != nil {
			g.cfg.OnBreaker(grant.Host, true)
		}
	}
	if grant.hostProbe {
		b.probing = false
		grant.hostProbe = false
	}
	if g.outage.IsZero() && g.allOpen() {
		g.outage = now
	}
	g.Wake()
}

func (g *Gate) hostAnswered(now time.Time, grant *Grant) {
	b := &g.hosts[grant.Host]
	closed := b.answers(now, grant)
	if grant.hostProbe {
		b.probing = false
	}
	if !closed {
		return
	}
	if g.cfg.OnBreaker != nil {
		g.cfg.OnBreaker(grant.Host, false)
	}
	if !g.outage.IsZero() {
		g.restart(now)
		g.outage = time.Time{}
	}
}

func (g *Gate) allOpen() bool {
	for i := range g.hosts {
		if !g.hosts[i].open {
			return false
		}
	}
	return true
}

// Successes returns how many calls have succeeded so far, over all merchants and for one. Two of
// these tell whether others succeeded in between.
func (g *Gate) Successes(mchid string) (all, own uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if m := g.merchants[mchid]; m != nil {
		own = m.successes
	}
	return g.successes, own
}

// Succeeding says whether the merchant's calls are succeeding at this time.
func (g *Gate) Succeeding(now time.Time, mchid string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	m := g.merchants[mchid]
	return m != nil && !m.lastSuccess.IsZero() && now.Sub(m.lastSuccess) <= succeedingWithin
}
