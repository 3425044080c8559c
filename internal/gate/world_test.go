package gate_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/gate"
	"replyworker/internal/retry"
	"replyworker/internal/schedule"
	"replyworker/internal/wxclient"
)

// The API as the simulated workers find it.
type health string

const (
	well    health = ""
	refused health = "refused" // fails at once
	failing health = "failing" // 503, as slow as when it is well
	hanging health = "hanging" // fails after requestTimeout
)

const requestTimeout = 10 * time.Second

// api is both hosts, in the fake time of a bubble.
type api struct {
	latency time.Duration

	mu     sync.Mutex
	health health
	calls  []*apiCall // in the order in which they began
}

type apiCall struct {
	began, ended time.Time // ended is zero while it is out
	worker       int
	host         wxclient.Host
	mchid        string
	ok           bool
}

func (a *api) set(h health) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.health = h
}

// call makes a call, which goes as the API is when it begins.
func (a *api) call(worker int, g *gate.Grant) bool {
	a.mu.Lock()
	c := &apiCall{began: time.Now(), worker: worker, host: g.Host, mchid: g.MchID, ok: a.health == well}
	a.calls = append(a.calls, c)
	takes := a.latency
	switch a.health {
	case refused:
		takes = time.Millisecond
	case hanging:
		takes = requestTimeout
	case well, failing:
	}
	a.mu.Unlock()
	<-time.After(takes)
	a.mu.Lock()
	defer a.mu.Unlock()
	c.ended = time.Now()
	return c.ok
}

// since returns the calls that began in the time from t on, d long, in that order.
func (a *api) since(t time.Time, d time.Duration) []apiCall {
	a.mu.Lock()
	defer a.mu.Unlock()
	var found []apiCall
	i, _ := slices.BinarySearchFunc(a.calls, t, func(c *apiCall, t time.Time) int { return c.began.Compare(t) })
	for ; i < len(a.calls) && a.calls[i].began.Before(t.Add(d)); i++ {
		found = append(found, *a.calls[i])
	}
	return found
}

// recovered returns when the first call after t succeeded.
func (a *api) recovered(t time.Time) time.Time {
	var first time.Time
	for _, c := range a.since(t, 24*time.Hour) {
		if c.ok && !c.ended.IsZero() && (first.IsZero() || c.ended.Before(first)) {
			first = c.ended
		}
	}
	return first
}

// sharedRate is a fixed limit of several workers: a bucket of tokens.
type sharedRate struct {
	mu                  sync.Mutex
	rate, burst, tokens float64
	filled              time.Time
}

func (s *sharedRate) Take(now time.Time) (uint64, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens = min(s.burst, s.tokens+now.Sub(s.filled).Seconds()*s.rate)
	s.filled = now
	if s.tokens < 1 {
		return 0, max(time.Millisecond, time.Duration((1-s.tokens)/s.rate*float64(time.Second)))
	}
	s.tokens--
	return 0, 0
}

func (s *sharedRate) GiveBack(time.Time, uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens++
}

func (s *sharedRate) Answer(_, _ time.Time, _ uint64, _ bool, _ time.Duration) {}

func (s *sharedRate) Limit() float64 { return s.rate }

// node is one worker: its gate and its scheduler, the real ones.
type node struct {
	id      int
	api     *api
	gate    *gate.Gate
	session *schedule.Session
	retry   retry.Policy

	mu      sync.Mutex
	backlog int
}

func (n *node) add(mchid string, lane int) {
	n.mu.Lock()
	n.backlog++
	n.mu.Unlock()
	tries := 0
	n.session.Add(&schedule.Task{
		MchID: mchid, Lane: fmt.Sprint(mchid, "/", lane), Finished: func() {
			n.mu.Lock()
			n.backlog--
			n.mu.Unlock()
		},
		Step: func(_ context.Context, _ *schedule.Task, g *gate.Grant) schedule.Next { return n.step(g, &tries) },
	})
}

// step does with a grant what the processor does: one call, where its host fails one more on the other
// host at once, then a wait.
func (n *node) step(g *gate.Grant, tries *int) schedule.Next {
	*tries++
	ok := n.api.call(n.id, g)
	if !ok && n.gate.Switch(time.Now(), g) {
		*tries++
		ok = n.api.call(n.id, g)
	}
	if ok {
		n.gate.Done(time.Now(), g, gate.Succeeded)
		return schedule.Finish()
	}
	n.gate.Done(time.Now(), g, gate.HostFailed)
	return schedule.ParkUntil(time.Now().Add(n.retry.Wait(*tries, 0)))
}

func (n *node) waiting() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.backlog
}

// load is what jobs come in, and who works on them.
type load struct {
	jobs        float64       // a second and merchant
	every       time.Duration // they come in batches of so long; 0 one by one
	merchants   int           // 0 is one
	workers     int           // 0 is one
	concurrency int           // of each worker
	latency     time.Duration
	rate        float64 // the most calls a second and merchant, shared by the workers; 0 for no limit
}

// total is how many jobs come in a second.
func (l *load) total() float64 { return l.jobs * float64(l.merchants) }

// capacity is the most calls in a second that the workers can make.
func (l *load) capacity() float64 {
	c := float64(l.concurrency*l.workers) / l.latency.Seconds()
	if l.rate > 0 {
		c = min(c, l.rate*float64(l.merchants))
	}
	return c
}

// world is workers and an API in a bubble's time.
type world struct {
	load
	t     *testing.T
	api   *api
	nodes []*node
	due   float64 // jobs that should have come by now
	made  int
}

func newWorld(t *testing.T, l load) *world {
	t.Helper()
	l.merchants, l.workers = max(1, l.merchants), max(1, l.workers)
	w := &world{load: l, t: t, api: &api{latency: l.latency}}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	t.Cleanup(func() {
		for _, n := range w.nodes {
			n.session.Drain(ctx)
		}
		cancel()
		running.Wait()
	})
	shared := map[string]*sharedRate{}
	for m := range l.merchants {
		shared[fmt.Sprint(m)] = &sharedRate{rate: l.rate, burst: max(1, l.rate/10), filled: time.Now()}
	}
	var paces func(string) gate.Pace
	if l.rate > 0 {
		paces = func(mchid string) gate.Pace { return shared[mchid] }
	}
	for id := range l.workers {
		random := rand.New(rand.NewPCG(1, uint64(id)))
		g := newGate(gate.Config{
			Concurrency: l.concurrency, HasBackup: true, BreakerFailures: 5, Jitter: random.Float64, Pace: paces,
		})
		s := schedule.New(schedule.Config{Gate: g, MaxRunning: 4*l.concurrency + 64})
		running.Go(func() { s.Run(ctx) })
		w.nodes = append(w.nodes, &node{
			id: id, api: w.api, gate: g, session: s.NewSession(),
			retry: retry.Policy{Initial: 500 * time.Millisecond, Max: time.Minute},
		})
	}
	return w
}

// pass lets time pass while jobs come in, of each merchant in turn.
func (w *world) pass(d time.Duration) {
	step := w.every
	if step == 0 {
		step = time.Duration(float64(time.Second) / w.total())
	}
	for end := time.Now().Add(d); time.Now().Before(end); {
		<-time.After(step)
		w.due += step.Seconds() * w.total()
		for ; float64(w.made) < w.due; w.made++ {
			merchant, lane := w.made%w.merchants, w.made/w.merchants
			w.nodes[lane%w.workers].add(fmt.Sprint(merchant), lane/w.workers%1000)
		}
	}
}

// passIdle is pass for a time in which next to nothing is called: the jobs come in larger batches, so
// that the test is done sooner.
func (w *world) passIdle(d time.Duration) {
	every := w.every
	w.every = max(every, 5*time.Second)
	w.pass(d)
	w.every = every
}

func (w *world) waiting() (n int) {
	for _, node := range w.nodes {
		n += node.waiting()
	}
	return n
}

// settling is how long an outage takes to become quiet: the calls under way end, and the first waits
// between probes, which are shorter, are over.
const settling = 2*requestTimeout + 65*time.Second

// outage takes the API away for d, looks at the calls that are made meanwhile, and returns when the
// first call has succeeded after it.
func (w *world) outage(h health, d time.Duration) (recovered time.Time) {
	w.t.Helper()
	w.api.set(h)
	w.pass(settling)
	began := time.Now()
	w.passIdle(d - settling)
	w.probesOnly(began, d-settling)
	w.api.set(well)
	back := time.Now()
	w.pass(time.Minute)
	recovered = w.api.recovered(back)
	require.False(w.t, recovered.IsZero(), "no call has succeeded in the minute after the hosts were back")
	return recovered
}

// probesOnly checks the calls of a time in which both hosts are out.
func (w *world) probesOnly(from time.Time, d time.Duration) {
	w.t.Helper()
	for at := from; !at.Add(time.Minute).After(from.Add(d)); at = at.Add(time.Minute) {
		calls := len(w.api.since(at, time.Minute))
		require.LessOrEqual(w.t, calls, 4*w.workers, "calls in the minute from %s on, two hosts, %d workers",
			at.Sub(from), w.workers)
		require.NotZero(w.t, calls, "calls in the minute from %s on", at.Sub(from))
	}
	ended := map[string]time.Time{}
	for _, c := range w.api.since(from, d) {
		who := fmt.Sprint(c.worker, c.host)
		last, called := ended[who]
		require.False(w.t, called && (last.IsZero() || c.began.Before(last)), "worker %d calls host %s while it has a probe out there", c.worker, c.host)
		ended[who] = c.ended
	}
}

// noStorm checks the ten seconds from t on: no more than perSecond calls a second, a little in any
// second of them, and one or two of each merchant and worker at the beginning.
func (w *world) noStorm(t time.Time, perSecond float64) {
	w.t.Helper()
	first := float64(2 * w.merchants * w.workers)
	calls := w.api.since(t, 10*time.Second)
	w.t.Logf("%d calls in the first ten seconds, %.1f jobs/s before; %d jobs wait", len(calls), w.total(), w.waiting())
	require.LessOrEqual(w.t, float64(len(calls)), 10*perSecond+first, "calls in the ten seconds after the recovery")
	require.GreaterOrEqual(w.t, float64(len(calls)), 8*perSecond/float64(w.workers)-first, "calls in the ten seconds after the recovery")
	for _, c := range calls {
		n := len(w.api.since(c.began, time.Second))
		require.LessOrEqual(w.t, float64(n), 1.1*perSecond+first, "calls in the second that begins %s after the recovery",
			c.began.Sub(t))
	}
}

// drains checks that within patience all that can be called is called, or nothing waits any more.
func (w *world) drains(since time.Time, patience time.Duration) {
	w.t.Helper()
	for {
		at := time.Now()
		w.pass(10 * time.Second)
		calls := float64(len(w.api.since(at, 10*time.Second))) / 10
		if calls >= 0.8*w.capacity() || w.waiting() < w.concurrency {
			w.t.Logf("%.0f calls/s of %.0f that can be made, %s after the recovery; %d jobs wait", calls, w.capacity(),
				time.Since(since).Round(time.Second), w.waiting())
			return
		}
		require.Less(w.t, time.Since(since), patience, "%.1f calls/s of %.1f that can be made; %d jobs wait", calls,
			w.capacity(), w.waiting())
	}
}
