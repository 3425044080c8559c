package pace

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

const (
	// warnEvery is how often it is told at the most that the Store does not answer.
	warnEvery = time.Minute
	// stalled is how long the Store may take until it is asked for others beside that: it answers in a
	// millisecond or two, and what becomes ready meanwhile is asked at once afterwards.
	stalled = 10 * time.Millisecond
	// maxAsking is how many times it is asked at one time at the most.
	maxAsking = 4
)

// Pacers asks the Store for the paces of all merchants in this worker. It is safe for concurrent use.
type Pacers struct {
	store   Store
	ceiling float64
	wake    func()
	signal  chan struct{}
	log     zerolog.Logger // of which a few lines are written

	mu    sync.Mutex
	ready map[*Pacer]struct{} // have something to ask
}

// NewPacers makes the paces of merchants, each with a ceiling in calls/s or 0 for none. wake is called
// when calls may go that had to wait. log gets a warning a minute at the most while the store does not
// answer. Run must be running while they are in use.
func NewPacers(store Store, ceiling float64, wake func(), log zerolog.Logger) *Pacers {
	return &Pacers{
		store: store, ceiling: ceiling, wake: wake, signal: make(chan struct{}, 1),
		log:   log.Sample(&zerolog.BurstSampler{Burst: 1, Period: warnEvery}),
		ready: map[*Pacer]struct{}{},
	}
}

// New makes the pace of a merchant. Whoever calls with it is to have one of each merchant, and drops it when
// the merchant is gone: nothing here keeps it, and the Store forgets it after ForgetAfter.
func (ps *Pacers) New(mchid string) *Pacer { return NewPacer(mchid, ps.ceiling, ps.news) }

func (ps *Pacers) news(p *Pacer) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.ready[p] = struct{}{}
	select {
	case ps.signal <- struct{}{}:
	default:
	}
}

// Run asks the Store, for all merchants that have something to ask at once, until ctx ends. A slow answer
// holds up those that it is for, and nobody else. It returns when nothing is asked any more.
func (ps *Pacers) Run(ctx context.Context) {
	var asking sync.WaitGroup
	defer asking.Wait()
	free := make(chan struct{}, maxAsking)
	for range maxAsking {
		free <- struct{}{}
	}
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
			return
		case <-free:
		}
		select {
		case <-ctx.Done():
			return
		case <-ps.signal:
		}
		done := make(chan struct{})
		asking.Go(func() {
			defer close(done)
			ps.ask(ctx)
			free <- struct{}{}
		})
		select {
		case <-done:
		case <-time.After(stalled):
		}
	}
}

// ask asks once for all that are ready.
func (ps *Pacers) ask(ctx context.Context) {
	pacers, asks := ps.gather(time.Now())
	if len(asks) == 0 {
		return
	}
	shares, errs := ps.store.SharePaces(ctx, asks)
	ps.warn(ctx, errs)
	now := time.Now()
	for i, p := range pacers {
		p.Told(now, asks[i], shares[i], errs[i])
	}
	ps.wake()
	ps.learn(ctx, pacers, shares)
}

// learn works out what is due.
func (ps *Pacers) learn(ctx context.Context, pacers []*Pacer, shares []Share) {
	var due []*Pacer
	var lessons []Lesson
	for i, p := range pacers {
		if d := shares[i].Due; d != nil {
			due, lessons = append(due, p), append(lessons, d.Lesson(p.mchid))
		}
	}
	if len(due) == 0 {
		return
	}
	errs := ps.store.LearnPaces(ctx, lessons)
	ps.warn(ctx, errs)
	now := time.Now()
	for i, p := range due {
		p.Learned(now, &lessons[i], errs[i])
	}
	ps.wake()
}

// warn tells whoever runs the worker that merchants' paces could not be shared.
func (ps *Pacers) warn(ctx context.Context, errs []error) {
	var first error
	failed := 0
	for _, err := range errs {
		if err != nil && !errors.Is(err, ErrOutdated) {
			failed++
			if first == nil {
				first = err
			}
		}
	}
	if failed > 0 && ctx.Err() == nil {
		ps.log.Warn().Err(first).Int("merchants", failed).
			Msg("the pace is not shared at the moment: merchants with a limit wait for Redis, others go on with what this worker knows")
	}
}

func (ps *Pacers) gather(now time.Time) ([]*Pacer, []Ask) {
	ps.mu.Lock()
	ready := ps.ready
	ps.ready = map[*Pacer]struct{}{}
	ps.mu.Unlock()
	var pacers []*Pacer
	var asks []Ask
	for p := range ready {
		if a, ok := p.Ask(now); ok {
			pacers, asks = append(pacers, p), append(asks, a)
		}
	}
	return pacers, asks
}
