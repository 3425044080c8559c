package pace

import (
	"errors"
	"math"
	"time"
)

const (
	// A worker asks for the permits of so long at once.
	batchOf = 100 * time.Millisecond
	// refusedEvery is how often refusals are reported where there is no limit yet. It is a little longer than
	// a Tick, so that of two reports of a worker there is a lesson in between, and its rate counts once.
	refusedEvery = Tick + 10*time.Millisecond
	// A worker that is granted nothing, for many others want permits, too, waits for twice this, and for
	// twice as long each time up to maxEmpty times.
	emptyWait = 50 * time.Millisecond
	maxEmpty  = 4
	// reportEvery is how often answers are reported that no asking for permits takes along.
	reportEvery = 200 * time.Millisecond
	// lookEvery is how often a worker looks whether others have found a limit where it has none.
	lookEvery = 5 * time.Second
	// lookWaiting is how often it looks whether others have found the API open, while it waits for a permit:
	// that is up to two of the slowest probes away.
	lookWaiting = 2 * time.Second
)

// tell calls news where there is something to ask. The lock is held.
func (p *Pacer) tell(now time.Time) {
	if p.news != nil && !p.asking && p.needs(now) {
		p.news(p)
	}
}

func (p *Pacer) needs(now time.Time) bool {
	since := now.Sub(p.asked)
	answers := p.counts.Through + p.counts.Refused
	switch {
	case now.Before(p.retryAt):
		return false
	case p.inRow():
		return true
	case !p.known:
		return p.wanted
	case p.limit == 0:
		return p.counts.Refused > 0 && since >= refusedEvery || answers > 0 && since >= lookEvery
	}
	return p.short(now) || answers > 0 && since >= reportEvery || p.wanted && since >= lookWaiting
}

// inRow says that so many calls in a row were refused that no more may go until the workers have worked
// out what follows. Where the Store does not answer, it is asked again and again.
func (p *Pacer) inRow() bool { return p.unclear || p.counts.Row >= closedRow }

// short says that permits are to be asked for.
func (p *Pacer) short(now time.Time) bool {
	return p.wanted && p.left() <= p.got/2 && !now.Before(p.notYet)
}

// Ask returns what to ask the Store now; ok is false where that is nothing. Told must follow,
// and Learned where it was told a Due.
func (p *Pacer) Ask(now time.Time) (a Ask, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.asking || !p.needs(now) {
		return Ask{}, false
	}
	a = Ask{MchID: p.mchid, Counts: p.counts, Epoch: p.epoch, Ceiling: p.ceiling}
	a.Counts.Rate = p.recent.rate(now)
	if (!p.known || p.limit > 0) && p.short(now) {
		a.Want = p.want
		p.wanted = false
	}
	p.unclear = p.inRow()
	p.counts = Counts{}
	p.asking, p.asked = true, now
	return a, true
}

// Told takes the Store's answer to what Ask returned.
func (p *Pacer) Told(now time.Time, a Ask, s Share, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asking = err == nil && s.Due != nil
	if err != nil {
		p.retryAt = now.Add(askAgain)
		p.wanted = p.wanted || a.Want > 0
		p.counts.before(a.Counts)
		return
	}
	p.known = true
	p.unclear = s.Due != nil && (p.unclear || s.Due.Counts.Row >= closedRow)
	// Another worker has found the API open; permits that are far away are for the probes of before.
	opened := s.Epoch != p.epoch && s.Limit > 2*p.limit
	p.learn(s.Epoch, s.Limit, opened && len(p.batches) > 0 && p.batches[0].next.Sub(now) > lookWaiting)
	if a.Want == 0 || s.Limit == 0 {
		return
	}
	p.size(now, s.Limit)
	p.got = s.Permits
	if s.Permits == 0 {
		p.empty = min(p.empty+1, maxEmpty)
		s.Wait = max(s.Wait, emptyWait<<p.empty)
	} else {
		p.empty = 0
		// The Store answered at some time since; where that took long, the permits are not lost by it.
		from := p.asked
		if late := now.Add(-permitLife / 2); from.Before(late) {
			from = late
		}
		p.batches = append(p.batches, batch{next: from.Add(s.First), every: s.Every, left: s.Permits, epoch: s.Epoch})
	}
	if s.Wait > 0 {
		p.notYet = now.Add(s.Wait)
		p.counts.Held = true
	}
}

// size chooses how many permits to ask for next: more where the last ones were used up at once, and at
// most those of a batch's time.
func (p *Pacer) size(now time.Time, limit float64) {
	switch {
	case p.lost > 0:
		p.want = max(1, p.want-p.lost)
	case now.Sub(p.sized) <= batchOf:
		p.want *= 2
	default:
		p.want = max(1, p.want/2)
	}
	p.want = min(p.want, max(1, int(math.Ceil(limit*batchOf.Seconds()))))
	p.lost, p.sized = 0, now
}

// Learned takes what this worker itself has worked out of a Due, or why the Store does not keep it. Where
// it matters what another has worked out instead, Ask asks for that at once.
func (p *Pacer) Learned(now time.Time, l *Lesson, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asking = false
	switch {
	case err == nil:
		p.unclear = false
		p.learn(l.Next.Epoch, l.Next.Limit, l.Restart())
	case !errors.Is(err, ErrOutdated):
		p.retryAt = now.Add(askAgain)
	}
}

func (p *Pacer) learn(epoch uint64, limit float64, restart bool) {
	if p.ceiling > 0 && (limit == 0 || limit > p.ceiling) {
		limit = p.ceiling
	}
	if epoch != p.epoch {
		p.counts, p.notYet = Counts{Through: p.counts.Through}, time.Time{}
	}
	if restart || limit < p.limit/4 { // it has closed, or opened; permits of another pace are of no use
		p.batches = nil
	}
	p.epoch, p.limit = epoch, limit
}
