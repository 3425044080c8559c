package pace_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"replyworker/internal/pace"
)

// hanging is a Memory that does not answer for some merchants until they are let go.
type hanging struct {
	*pace.Memory

	hangs []string // merchants
	goOn  chan struct{}

	mu  sync.Mutex
	out int
}

func (h *hanging) SharePaces(ctx context.Context, asks []pace.Ask) ([]pace.Share, []error) {
	if slices.ContainsFunc(asks, func(a pace.Ask) bool { return slices.Contains(h.hangs, a.MchID) }) {
		h.add(1)
		<-h.goOn
		h.add(-1)
	}
	return h.Memory.SharePaces(ctx, asks)
}

func (h *hanging) add(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.out += n
}

func (h *hanging) hanging() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.out
}

// let says whether a merchant's call may go at last.
func let(p *pace.Pacer) bool {
	for range 10 {
		if _, wait := p.Take(time.Now()); wait == 0 {
			return true
		}
		time.Sleep(50 * time.Millisecond)
	}
	return false
}

// TestASlowAnswerHoldsUpNobodyElse, as long as few are slow; and Run waits for all of them.
func TestASlowAnswerHoldsUpNobodyElse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &hanging{
			Memory: pace.NewMemory(nil), goOn: make(chan struct{}), hangs: []string{"a", "b", "c", "d", "e", "f"},
		}
		paces := pace.NewPacers(store, 0, func() {}, zerolog.Nop())
		ctx, cancel := context.WithCancel(t.Context())
		var ended bool
		var running sync.WaitGroup
		running.Go(func() {
			paces.Run(ctx)
			ended = true
		})
		for i, mchid := range store.hangs[:3] {
			require.False(t, let(paces.New(mchid)))
			require.Equal(t, i+1, store.hanging())
			require.True(t, let(paces.New("after "+mchid)), "with %d that hang", i+1)
		}
		for _, mchid := range store.hangs[3:] {
			require.False(t, let(paces.New(mchid)))
		}
		require.Equal(t, 4, store.hanging(), "questions at one time")
		cancel()
		synctest.Wait()
		require.False(t, ended, "Run has ended before what it has begun")
		close(store.goOn)
		running.Wait()
		require.Zero(t, store.hanging())
	})
}
