package pace

import (
	"sync"
	"time"
)

const (
	// permitLife is how long after its moment a permit may be used. Not used, it is gone: the pace is
	// slower for that moment, never faster.
	permitLife = time.Second
	// askAgain is when to come again where nobody knows better; a wake comes sooner.
	askAgain = 200 * time.Millisecond
)

// Pacer is one merchant's pace in this worker. It is safe for concurrent use.
type Pacer struct {
	mchid   string
	ceiling float64
	news    func(*Pacer) // called when Ask has something to ask

	mu      sync.Mutex
	known   bool // whether the Store has ever answered
	limit   float64
	epoch   uint64
	asking  bool      // an Ask is out, or the lesson that came of it
	unclear bool      // whether the API has closed: refusals in a row were told, and nothing came of it yet
	asked   time.Time // when the last one went
	notYet  time.Time // before it, asking for permits is of no use
	retryAt time.Time // after a failure

	batches []batch   // of permits in hand, the oldest first
	want    int       // permits to ask for next
	sized   time.Time // when that was chosen
	got     int       // granted last
	empty   int       // times in a row that none was granted
	lost    int       // permits in hand that were not used in time
	wanted  bool      // somebody waits for a permit, and none was asked for on that account

	counts Counts
	recent recent
	pause  pause
}

// batch is permits: the next one is for a moment, and each other every so long after.
type batch struct {
	next  time.Time
	every time.Duration
	left  int
	epoch uint64
}

// NewPacer makes the pace of a merchant, with a ceiling in calls/s or 0 for none. It calls news, with
// its lock held, when there is something to ask the Store; nil calls nobody.
func NewPacer(mchid string, ceiling float64, news func(*Pacer)) *Pacer {
	return &Pacer{mchid: mchid, ceiling: ceiling, news: news, want: 1}
}

// Limit returns the limit that holds at present, in calls/s; 0 is none.
func (p *Pacer) Limit() float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.limit
}

// Take takes account of a call that is to start now, and wait is zero. Or it may not start, and wait is
// when to come again. The epoch goes back with the call's answer.
func (p *Pacer) Take(now time.Time) (epoch uint64, wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.tell(now)
	switch {
	case now.Before(p.pause.until):
		p.counts.Held = true
		return 0, p.pause.until.Sub(now)
	case p.inRow(): // what follows from that is not known yet
		p.wanted = true
		return 0, askAgain
	case p.known && p.limit == 0:
		return p.epoch, 0
	}
	p.expire(now)
	if len(p.batches) > 0 && !now.Before(p.batches[0].next) {
		p.wanted = false
		return p.use(), 0
	}
	p.wanted = true
	switch {
	case len(p.batches) > 0:
		p.counts.Held = true
		return 0, min(p.batches[0].next.Sub(now), lookWaiting)
	case now.Before(p.notYet):
		return 0, min(p.notYet.Sub(now), lookWaiting)
	}
	return 0, askAgain
}

// use takes the first permit away.
func (p *Pacer) use() (epoch uint64) {
	b := &p.batches[0]
	epoch = b.epoch
	b.left--
	b.next = b.next.Add(b.every)
	if b.left == 0 {
		p.batches = p.batches[1:]
	}
	return epoch
}

func (p *Pacer) expire(now time.Time) {
	for len(p.batches) > 0 && now.Sub(p.batches[0].next) > permitLife {
		p.use()
		p.lost++
	}
}

func (p *Pacer) left() (n int) {
	for i := range p.batches {
		n += p.batches[i].left
	}
	return n
}

// GiveBack gives back what Take took for a call that was not made.
func (p *Pacer) GiveBack(now time.Time, epoch uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.limit > 0 && epoch == p.epoch {
		p.batches = append([]batch{{next: now, left: 1, epoch: epoch}}, p.batches...)
	}
}

// Answer takes note of the answer to a call that Take let through at a time. Any answer but 429 is
// accepted. retryAfter is what a 429 asked to wait: no call of the merchant goes so long, a minute at
// most, unless one that was let through later is accepted.
func (p *Pacer) Answer(now, taken time.Time, epoch uint64, refused bool, retryAfter time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.tell(now)
	if refused {
		p.pause.ask(now, taken, retryAfter)
	} else {
		p.pause.accepted(taken)
		p.recent.add(now)
		p.counts.Through++
	}
	switch {
	case epoch != p.epoch:
	case refused:
		p.counts.Refused++
		p.counts.Row++
	default:
		p.counts.Accepted++
		p.counts.Row = 0
	}
}
