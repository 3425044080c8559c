package pace_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"replyworker/internal/pace"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// remote is a Memory that answers after a while, or not at all.
type remote struct {
	*pace.Memory

	mu    sync.Mutex
	fail  error
	asked int
}

func (r *remote) SharePaces(ctx context.Context, asks []pace.Ask) ([]pace.Share, []error) {
	<-time.After(3 * time.Millisecond)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked++
	shares, errs := r.Memory.SharePaces(ctx, asks)
	if r.fail != nil {
		for i := range errs {
			shares[i], errs[i] = pace.Share{}, r.fail
		}
	}
	return shares, errs
}

func (r *remote) setFail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fail = err
}

func (r *remote) asks() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked
}

// lines are those that were logged.
type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, string(line))
	return len(line), nil
}

func (l *lines) written() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.all)
}

// node is a worker's paces, and those who wait to call.
type node struct {
	paces *pace.Pacers
	all   map[string]*pace.Pacer
	log   lines

	mu    sync.Mutex
	woken chan struct{} // closed by the next wake
}

func newNode(ctx context.Context, running *sync.WaitGroup, store pace.Store, ceiling float64) *node {
	n := &node{all: map[string]*pace.Pacer{}, woken: make(chan struct{})}
	n.paces = pace.NewPacers(store, ceiling, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		close(n.woken)
		n.woken = make(chan struct{})
	}, zerolog.New(&n.log))
	running.Go(func() { n.paces.Run(ctx) })
	return n
}

func (n *node) of(mchid string) *pace.Pacer {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.all[mchid] == nil {
		n.all[mchid] = n.paces.New(mchid)
	}
	return n.all[mchid]
}

func (n *node) wake() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.woken
}

// work makes calls of a merchant until ctx ends, each answered at once by the quota.
func (n *node) work(ctx context.Context, mchid string, take func() bool) {
	p := n.of(mchid)
	for ctx.Err() == nil {
		woken := n.wake()
		epoch, wait := p.Take(time.Now())
		if wait == 0 {
			p.Answer(time.Now(), time.Now(), epoch, !take(), 0)
			wait, woken = time.Millisecond, nil // what a call takes
		}
		select {
		case <-woken:
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

// fleet is workers that share a store, for as long as a bubble of fake time lasts.
type fleet struct {
	ctx     context.Context //nolint:containedctx // The bubble's: what is started lasts no longer.
	running sync.WaitGroup
	store   *remote
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	f := &fleet{ctx: ctx, store: &remote{Memory: pace.NewMemory(nil)}}
	t.Cleanup(func() {
		cancel()
		f.running.Wait()
	})
	return f
}

// start starts a worker that has jobs of these merchants without end.
func (f *fleet) start(ceiling float64, apis map[string]*counter) *node {
	n := newNode(f.ctx, &f.running, f.store, ceiling)
	for mchid, api := range apis {
		f.running.Go(func() { n.work(f.ctx, mchid, api.take) })
	}
	return n
}

// counter is a quota of calls that are counted.
type counter struct {
	mu       sync.Mutex
	quota    quota
	accepted int
	refused  int
}

func (c *counter) take() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.quota.take(time.Now()) {
		c.accepted++
		return true
	}
	c.refused++
	return false
}

func (c *counter) tally() tally {
	c.mu.Lock()
	defer c.mu.Unlock()
	return tally{c.accepted, c.refused}
}

// TestPacersShareAQuota with the real runner, each merchant's own: two workers, two merchants.
func TestPacersShareAQuota(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		apis := map[string]*counter{
			"fast": {quota: &fixedWindow{rate: 200, length: time.Second}},
			"slow": {quota: &fixedWindow{rate: 2, length: time.Second}},
		}
		nodes := []*node{f.start(0, apis), f.start(0, apis)}
		time.Sleep(time.Minute)
		before := map[string]tally{}
		for mchid, api := range apis {
			before[mchid] = api.tally()
		}
		asked := f.store.asks()
		time.Sleep(time.Minute)
		require.LessOrEqual(t, f.store.asks()-asked, 4*60*20, "questions in a minute")
		for mchid, api := range apis {
			after, rate := api.tally(), api.quota.(*fixedWindow).rate
			got := tally{after.accepted - before[mchid].accepted, after.refused - before[mchid].refused}
			t.Logf("%s: %.1f %% used, %.1f %% refused", mchid, 100*got.used(rate, time.Minute), 100*got.share())
			require.GreaterOrEqual(t, got.used(rate, time.Minute), 0.9, mchid)
			require.LessOrEqual(t, got.share(), 0.06, mchid)
		}
		for _, n := range nodes {
			require.Empty(t, n.log.written(), "that another worker was first is nothing to tell")
		}
	})
}

// TestPacersWithoutAStoreMakeNobodyCallWithoutAPermit, and go on when it is back.
func TestPacersWithoutAStoreMakeNobodyCallWithoutAPermit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		api := &counter{quota: unlimited{}}
		f.start(10, map[string]*counter{"1": api})
		time.Sleep(time.Minute)
		require.InDelta(t, 600, api.tally().accepted, 15, "a minute with a ceiling of 10 calls/s")

		f.store.setFail(errors.New("away"))
		time.Sleep(time.Second)
		before, asked := api.tally().accepted, f.store.asks()
		time.Sleep(time.Minute)
		require.Equal(t, before, api.tally().accepted, "calls without a store")
		require.LessOrEqual(t, f.store.asks()-asked, 5*60+1, "questions in a minute to a store that is away")
		f.store.setFail(nil)
		time.Sleep(time.Second)
		require.Greater(t, api.tally().accepted, before, "calls since the store is back")
	})
}

// TestPacersWithoutAStoreSaySo, once a minute, however many merchants there are.
func TestPacersWithoutAStoreSaySo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		n := f.start(10, map[string]*counter{"1": {quota: unlimited{}}, "2": {quota: unlimited{}}})
		time.Sleep(time.Minute)
		require.Empty(t, n.log.written())
		f.store.setFail(errors.New("away"))
		time.Sleep(150 * time.Second)
		require.Len(t, n.log.written(), 3, "in two minutes and a half")
		for _, line := range n.log.written() {
			require.Contains(t, line, `"level":"warn"`)
			require.Contains(t, line, `"error":"away"`)
			require.Contains(t, line, "wait for Redis")
		}
		f.store.setFail(nil)
		time.Sleep(5 * time.Minute)
		require.Len(t, n.log.written(), 3, "it answers again")
	})
}

// TestPacersAskNothingOfAQuotaThatNobodyMeets but, now and then, whether others have met it.
func TestPacersAskNothingOfAQuotaThatNobodyMeets(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		api := &counter{quota: unlimited{}}
		n := f.start(0, map[string]*counter{"1": api})
		time.Sleep(time.Minute)
		require.LessOrEqual(t, f.store.asks(), 14, "questions in a minute")
		require.Zero(t, n.of("1").Limit())
		require.Greater(t, api.tally().accepted, 50_000)
	})
}

func TestWhatIsGivenBackIsThereAgain(t *testing.T) {
	t.Parallel()
	now := start
	store := pace.NewMemory(func() time.Time { return now })
	p := pace.NewPacer("1", 1, nil)
	_, wait := p.Take(now)
	require.NotZero(t, wait)
	ask := func() {
		a, ok := p.Ask(now)
		require.True(t, ok)
		shares, _ := store.SharePaces(t.Context(), []pace.Ask{a})
		p.Told(now, a, shares[0], nil)
	}
	ask()
	epoch, wait := p.Take(now)
	require.Zero(t, wait)
	_, wait = p.Take(now)
	require.NotZero(t, wait)
	p.GiveBack(now, epoch)
	_, wait = p.Take(now)
	require.Zero(t, wait, "it was given back")
	p.GiveBack(now, epoch+1)
	_, wait = p.Take(now)
	require.NotZero(t, wait, "what was taken at another pace is not given back to this one")
}

// TestAnOpeningIsKnownToWorkersThatWait for permits which are far apart, because the API was closed.
func TestAnOpeningIsKnownToWorkersThatWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		begin := time.Now()
		var mu sync.Mutex
		var opened [4]time.Time
		for i := range opened {
			n := f.start(0, nil)
			f.running.Go(func() {
				n.work(f.ctx, "1", func() bool {
					at := time.Since(begin)
					mu.Lock()
					defer mu.Unlock()
					if at > time.Minute && opened[i].IsZero() {
						opened[i] = time.Now()
					}
					return at < 10*time.Second || at > time.Minute
				})
			})
		}
		time.Sleep(2 * time.Minute)
		mu.Lock()
		defer mu.Unlock()
		slices.SortFunc(opened[:], time.Time.Compare)
		require.Less(t, opened[3].Sub(opened[0]), 3*time.Second, "from the first worker's call to the last one's")
	})
}

// TestPermitsOfASlowStoreCanBeUsed although they were for moments that are past when it answers.
func TestPermitsOfASlowStoreCanBeUsed(t *testing.T) {
	t.Parallel()
	now := start
	store := pace.NewMemory(func() time.Time { return now })
	p := pace.NewPacer("1", 10, nil)
	_, wait := p.Take(now)
	require.NotZero(t, wait)
	a, ok := p.Ask(now)
	require.True(t, ok)
	shares, _ := store.SharePaces(t.Context(), []pace.Ask{a})
	now = now.Add(3 * time.Second)
	p.Told(now, a, shares[0], nil)
	_, wait = p.Take(now)
	require.Zero(t, wait, "a permit that was granted and has just come")
}

// TestAPaceThatNobodyHasIsForgotten, though it has been asked for.
func TestAPaceThatNobodyHasIsForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newFleet(t).start(0, nil)
		p := n.paces.New("1")
		require.True(t, let(p))
		gone := weak.Make(p)
		time.Sleep(time.Minute)
		runtime.KeepAlive(p)
		for range 2 {
			runtime.GC()
		}
		require.Nil(t, gone.Value())
	})
}
