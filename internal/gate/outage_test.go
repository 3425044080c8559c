package gate_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/gate"
)

// TestAnHourWithoutTheAPI holds that in an outage the hosts are called a few times a minute, that the
// ten seconds after it see no more calls than came in before, and that the backlog drains.
func TestAnHourWithoutTheAPI(t *testing.T) {
	t.Parallel()
	usual := load{jobs: 20, concurrency: 64, latency: 100 * time.Millisecond}
	with := func(change func(*load)) load {
		l := usual
		change(&l)
		return l
	}
	for _, tt := range []struct {
		name   string
		health health
		load   load
		// least is the calls per second that are always right after an outage, where that is more than
		// come in.
		least float64
	}{
		{name: "refused", health: refused, load: usual},
		{name: "hanging", health: hanging, load: usual},
		{name: "failing", health: failing, load: usual},
		{name: "few jobs", health: refused, load: with(func(l *load) { l.jobs = 2 })},
		{name: "a job in two seconds", health: refused, load: with(func(l *load) { l.jobs = 0.5 }), least: 1},
		{name: "batches", health: refused, load: with(func(l *load) { l.jobs, l.every = 5, 12*time.Second })},
		{name: "slots all in use", health: hanging, load: with(func(l *load) { l.concurrency, l.latency = 10, 450*time.Millisecond })},
		{name: "a slow API", health: hanging, load: with(func(l *load) { l.concurrency, l.latency = 100, 3*time.Second })},
		{name: "a fast API", health: failing, load: with(func(l *load) { l.concurrency, l.latency = 500, 5*time.Millisecond })},
		{name: "one slot", health: refused, load: load{jobs: 10, concurrency: 1, latency: 10 * time.Millisecond}},
		{name: "merchants", health: refused, load: with(func(l *load) { l.jobs, l.merchants = 2, 8 })},
		{name: "workers", health: refused, load: with(func(l *load) { l.workers = 2 })},
		{name: "a rate", health: failing, load: with(func(l *load) { l.rate = 25 })},
		{name: "workers with a rate", health: hanging, load: with(func(l *load) { l.workers, l.rate = 2, 60 })},
		{
			name: "merchants, workers and a rate", health: refused,
			load: with(func(l *load) { l.jobs, l.merchants, l.workers, l.rate = 3, 4, 2, 10 }),
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, tt.load)
				w.pass(3 * time.Minute)
				recovered := w.outage(tt.health, time.Hour)
				w.noStorm(recovered, max(w.total(), tt.least))
				w.drains(recovered, 3*time.Minute)
			})
		})
	}
}

// TestAWorkerThatKnowsNothingOfTheTimeBefore starts the workers while the hosts are out: whatever its
// settings, a worker makes five calls a second then, or one for each merchant.
func TestAWorkerThatKnowsNothingOfTheTimeBefore(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		load load
		want float64
	}{
		{"one worker", load{jobs: 20, concurrency: 64, latency: 100 * time.Millisecond}, 5},
		{"many slots", load{jobs: 20, concurrency: 1000, latency: 10 * time.Millisecond}, 5},
		{"few slots", load{jobs: 20, concurrency: 8, latency: 100 * time.Millisecond}, 5},
		{"two workers", load{jobs: 20, concurrency: 64, latency: 100 * time.Millisecond, workers: 2}, 10},
		{"three merchants", load{jobs: 10, concurrency: 64, latency: 100 * time.Millisecond, merchants: 3}, 5},
		{"many merchants", load{jobs: 2, concurrency: 64, latency: 100 * time.Millisecond, merchants: 20}, 20},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, tt.load)
				recovered := w.outage(refused, 10*time.Minute)
				w.noStorm(recovered, tt.want)
				w.drains(recovered, 3*time.Minute)
			})
		})
	}
}

// TestAShortHistoryIsAHistory holds that a worker which has worked for some seconds before an outage
// knows its rate.
func TestAShortHistoryIsAHistory(t *testing.T) {
	t.Parallel()
	for _, before := range []time.Duration{2 * time.Second, 5 * time.Second, 20 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, load{jobs: 20, concurrency: 64, latency: 100 * time.Millisecond})
			w.pass(before)
			w.noStorm(w.outage(hanging, 5*time.Minute), w.total())
		})
	}
}

// TestOutageAfterOutage holds that hosts which come and go neither wear the pace down nor let it rise.
func TestOutageAfterOutage(t *testing.T) {
	t.Parallel()
	for _, pause := range []time.Duration{time.Second, 8 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, load{jobs: 20, concurrency: 64, latency: 100 * time.Millisecond})
			w.pass(3 * time.Minute)
			for range 5 {
				w.api.set(refused)
				w.pass(2 * time.Minute)
				w.api.set(well)
				back := time.Now()
				for w.api.recovered(back).IsZero() {
					w.pass(50 * time.Millisecond)
				}
				w.pass(pause)
			}
			w.noStorm(w.outage(refused, 5*time.Minute), w.total())
		})
	}
}

// TestAMerchantWhoseFirstJobsComeInTheCalm has no unlimited pace for being unknown.
func TestAMerchantWhoseFirstJobsComeInTheCalm(t *testing.T) {
	t.Parallel()
	c := newClock(t, gate.Config{Concurrency: 100})
	c.fail(3)
	c.after(5*time.Second).call("probe", gate.Succeeded)
	c.after(time.Second)
	n := c.callAll("2", 9*time.Second)
	require.InDelta(t, 9*2.5, n, 2, "calls of a second stranger, from 1 to 10 s after the recovery")
	c.after(20 * time.Second)
	require.Equal(t, 100, c.callAll("3", time.Second), "calls of a merchant that comes later")
}

// callAll lets a merchant make all the calls it may, a hundred at most, for a while.
func (c *clock) callAll(mchid string, d time.Duration) (n int) {
	for end := c.now.Add(d); c.now.Before(end); c.after(10 * time.Millisecond) {
		for n < 100 {
			grant, _ := c.g.Try(c.now, gate.Ask{MchID: mchid, Lane: "a"})
			if grant == nil {
				break
			}
			n++
			c.done(grant, gate.Succeeded)
		}
	}
	return n
}

// TestACalmHold holds that a merchant which was held because the API was at fault starts as after an
// outage, and others do not.
func TestACalmHold(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		known bool
		calm  bool
		want  int
	}{
		{"a rate of 10/s", true, true, 100},
		{"nothing known", false, true, 50},
		{"not the API's fault", true, false, 10_000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newClock(t, gate.Config{Concurrency: 2000})
			for range 600 {
				if tt.known {
					c.call("a", gate.Succeeded)
				}
				c.after(100 * time.Millisecond)
			}
			for range 100 { // refusals, as many as there are attempts
				c.call("a", gate.Answered)
				c.after(10 * time.Millisecond)
			}
			c.g.SetHold("1", gate.Hold{Since: c.now, ProbeAt: c.now.Add(10 * time.Second), Calm: tt.calm})
			c.after(time.Hour).call("b", gate.Succeeded)
			c.g.ClearHold("1")
			n := 0
			for end := c.now.Add(10 * time.Second); c.now.Before(end); c.after(time.Millisecond) {
				if grant, _ := c.try("c"); grant != nil {
					c.done(grant, gate.Succeeded)
					n++
				}
			}
			require.InEpsilon(t, tt.want, n, 0.05, "calls in the ten seconds after the hold")
		})
	}
}
