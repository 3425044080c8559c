package processor

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"replyworker/internal/dedupe"
)

// leases is a claim store that knows until when each claim holds.
type leases struct {
	Claims
	lease time.Duration

	mu      sync.Mutex
	renewed map[string][]time.Time
	batches int
}

func (l *leases) Renew(_ context.Context, held []dedupe.Claimant) []error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.batches++
	for _, c := range held {
		l.renewed[c.Token] = append(l.renewed[c.Token], time.Now())
	}
	return make([]error, len(held))
}

func (l *leases) of(token string) []time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.renewed[token])
}

func TestRenewerKeepsEachClaimFromItsFirstMomentToItsLast(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const lease = 30 * time.Second
		store := &leases{lease: lease, renewed: map[string][]time.Time{}}
		r := newRenewer(store, lease, zerolog.Nop())
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { r.run(ctx) })
		held := map[string]time.Time{}
		var letGo []func()
		for _, token := range []string{"0 s", "3 s", "6 s", "9 s", "12 s", "15 s"} {
			held[token] = time.Now()
			letGo = append(letGo, r.hold(dedupe.Claimant{Token: token}))
			time.Sleep(3 * time.Second)
		}
		time.Sleep(2 * time.Minute)
		ended := time.Now()
		for _, f := range letGo {
			f()
			f() // it does no harm
		}
		for token, since := range held {
			last := since
			for i, at := range store.of(token) {
				require.LessOrEqual(t, at.Sub(last), lease/2, "renewal %d of the claim held at %s, since the one before", i, token)
				require.GreaterOrEqual(t, at.Sub(last), lease/6, "renewal %d of the claim held at %s, since the one before", i, token)
				last = at
			}
			require.LessOrEqual(t, ended.Sub(last), lease/2, "from the last renewal of the claim held at %s to its end", token)
		}
		batches := store.batches
		time.Sleep(time.Minute)
		require.Equal(t, batches, store.batches, "renewals when no claim is held")

		r.hold(dedupe.Claimant{Token: "never let go"})
		cancel()
		running.Wait()
		time.Sleep(time.Minute)
		require.Empty(t, store.of("never let go"), "renewals after the renewer has ended")
	})
}

func TestRenewerLeavesShortCallsAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &leases{renewed: map[string][]time.Time{}}
		r := newRenewer(store, 30*time.Second, zerolog.Nop())
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { r.run(ctx) })
		for range 1000 {
			end := r.hold(dedupe.Claimant{Token: dedupe.NewToken()})
			time.Sleep(100 * time.Millisecond)
			end()
		}
		require.Zero(t, store.batches, "renewals while 1,000 calls took 100 ms each, lease 30 s")
		cancel()
		running.Wait()
	})
}
