package pace_test

import (
	"container/heap"
	"math/rand/v2"
	"time"

	"replyworker/internal/pace"
)

// A constant in all but name. It is no whole minute, so that a quota's window does not begin with it.
var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).Add(17 * time.Second)

// limiter is what a worker asks: a pace.Pacer, or one of those that it is compared with.
type limiter interface {
	Take(now time.Time) (epoch uint64, wait time.Duration)
	Answer(now, taken time.Time, epoch uint64, refused bool, retryAfter time.Duration)
}

// simulation is workers of one merchant and an API with a quota, in virtual time.
type simulation struct {
	now    time.Time
	events events
	random *rand.Rand
	quota  quota
	// noise is the share of calls that is refused at random, whatever the quota says.
	noise float64
	// retryAfter is what a refusal asks to wait.
	retryAfter time.Duration
	// untilReset makes a refusal ask to wait until the quota's next window begins, in whole seconds.
	untilReset bool
	store      *pace.Memory
	workers    []*worker
	answers    tally
	calls      []time.Time // where they are kept
	keep       bool
	questions  int // to the store
}

// worker makes calls as its limiter lets it.
type worker struct {
	*simulation

	limiter limiter
	free    int       // slots
	next    time.Time // when it looks again
	demand  float64   // jobs/s, at random moments; 0 is a backlog that never ends
	jobs    int       // that wait
	nextJob time.Time // when one more comes
}

type tally struct{ accepted, refused int }

func (t tally) share() float64 { return float64(t.refused) / float64(max(1, t.accepted+t.refused)) }

// used returns what part of a rate was used in a time.
func (t tally) used(rate float64, d time.Duration) float64 {
	return float64(t.accepted) / rate / d.Seconds()
}

const slots = 64

// simulate makes workers that begin within a second of each other.
func simulate(seed uint64, q quota, workers int, limit func(s *simulation) limiter) *simulation {
	s := &simulation{now: start, random: rand.New(rand.NewPCG(seed, 2)), quota: q}
	s.store = pace.NewMemory(func() time.Time { return s.now })
	for range workers {
		s.start(limit)
	}
	return s
}

func (s *simulation) start(limit func(s *simulation) limiter) *worker {
	w := &worker{simulation: s, free: slots, limiter: limit(s)}
	s.workers = append(s.workers, w)
	s.after(time.Duration(s.random.Float64()*float64(time.Second)), w.work)
	return w
}

// ours is the limiter of this package.
func ours(*simulation) limiter { return pace.NewPacer("1", 0, nil) }

// count runs for d and counts the answers.
func (s *simulation) count(d time.Duration) tally {
	before, end := s.answers, s.now.Add(d)
	for len(s.events) > 0 && !s.events[0].at.After(end) {
		e := heap.Pop(&s.events).(event)
		s.now = e.at
		e.do()
	}
	s.now = end
	return tally{s.answers.accepted - before.accepted, s.answers.refused - before.refused}
}

func (s *simulation) after(d time.Duration, do func()) {
	heap.Push(&s.events, event{s.now.Add(d), s.random.Uint32(), do})
}

// about is a time that is least, and most often not much more.
func (s *simulation) about(least, more time.Duration) time.Duration {
	return least + time.Duration(s.random.ExpFloat64()*float64(more))
}

// work makes as many calls as it may now.
func (w *worker) work() {
	for w.free > 0 && w.hasJob() {
		epoch, wait := w.limiter.Take(w.now)
		if wait > 0 {
			w.again(wait)
			break
		}
		w.jobs--
		w.free--
		w.call(epoch)
	}
	w.sync()
}

func (w *worker) hasJob() bool {
	if w.demand == 0 {
		return true
	}
	for !w.nextJob.After(w.now) {
		if w.nextJob.IsZero() {
			w.nextJob = w.now
		} else {
			w.jobs++
		}
		w.nextJob = w.nextJob.Add(w.about(time.Nanosecond, time.Duration(float64(time.Second)/w.demand)))
	}
	if w.jobs == 0 {
		w.again(w.nextJob.Sub(w.now))
	}
	return w.jobs > 0
}

// call reaches the API soon, and is answered later.
func (w *worker) call(epoch uint64) {
	taken := w.now
	if w.keep {
		w.calls = append(w.calls, taken)
	}
	w.after(w.about(2*time.Millisecond, 3*time.Millisecond), func() {
		refused := w.random.Float64() < w.noise || !w.quota.take(w.now)
		retryAfter := w.retryAfter
		if q, ok := w.quota.(*fixedWindow); ok && w.untilReset {
			left := w.now.Truncate(q.length).Add(q.length).Sub(w.now)
			retryAfter = (left + time.Second - 1).Truncate(time.Second)
		}
		w.after(w.about(40*time.Millisecond, 30*time.Millisecond), func() {
			w.free++
			if refused {
				w.answers.refused++
			} else {
				w.answers.accepted++
			}
			w.limiter.Answer(w.now, taken, epoch, refused, retryAfter)
			w.work()
		})
	})
}

// again looks again after d, or sooner where that was planned.
func (w *worker) again(d time.Duration) {
	d = max(d, 100*time.Microsecond)
	if at := w.now.Add(d); !w.next.After(w.now) || at.Before(w.next) {
		w.next = at
		w.after(d, func() {
			if w.next.Equal(w.now) {
				w.work()
			}
		})
	}
}

// sync asks the store as Pacers does. An answer takes a millisecond or so each way.
func (w *worker) sync() {
	p, ok := w.limiter.(*pace.Pacer)
	if !ok {
		return
	}
	a, ok := p.Ask(w.now)
	if !ok {
		return
	}
	w.questions++
	w.after(w.about(0, time.Millisecond), func() {
		shares, _ := w.store.SharePaces(nil, []pace.Ask{a}) //nolint:staticcheck // the memory asks nobody
		w.after(w.about(0, time.Millisecond), func() {
			p.Told(w.now, a, shares[0], nil)
			if d := shares[0].Due; d != nil {
				w.questions++
				l := d.Lesson(a.MchID)
				p.Learned(w.now, &l, w.store.LearnPaces(nil, []pace.Lesson{l})[0]) //nolint:staticcheck // the memory asks nobody
			}
			w.work()
		})
	})
}

type event struct {
	at    time.Time
	order uint32
	do    func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at.Before(e[j].at) || e[i].at.Equal(e[j].at) && e[i].order < e[j].order
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) } //nolint:forcetypeassert // only events are pushed
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}
