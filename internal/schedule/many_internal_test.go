package schedule

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/gate"
)

// countingGate counts how often it is asked.
type countingGate struct {
	*gate.Gate
	asked atomic.Int64
}

func (g *countingGate) Try(now time.Time, ask gate.Ask) (*gate.Grant, *gate.Denial) {
	g.asked.Add(1)
	return g.Gate.Try(now, ask)
}

// TestMerchantsThatMayNotCallCostOthersNothing: beside 1,000 that are held, one makes 1,000 calls, each of
// which changes something at the gate. The held ones are asked for now and then, not with every call; and
// one that is let go does not wait for the end of its hold.
func TestMerchantsThatMayNotCallCostOthersNothing(t *testing.T) {
	t.Parallel()
	const held, calls = 1000, 1000
	synctest.Test(t, func(t *testing.T) {
		g := &countingGate{Gate: newGate(64)}
		s := run(t, Config{Gate: g})
		ss := s.NewSession()
		c := &caller{g: g.Gate, n: map[string]int{}}
		for i := range held {
			id := fmt.Sprint("held ", i)
			g.SetHold(id, gate.Hold{ProbeAt: time.Now().Add(time.Hour)})
			ss.Add(c.lastingTask(id, 0, time.Millisecond))
		}
		time.Sleep(time.Second)
		before := g.asked.Load()
		for i := range calls {
			ss.Add(c.lastingTask("well", i, time.Millisecond))
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Second)
		require.Equal(t, calls, c.count("well"))
		sweeps := int(calls * time.Millisecond / (held * recallEvery)) // one each 10 ms
		require.LessOrEqual(t, g.asked.Load()-before, int64(3*calls+(sweeps+2)*held), "times that the gate was asked")

		g.ClearHold("held 7")
		time.Sleep(held*recallEvery + 2*time.Millisecond)
		require.Equal(t, 1, c.count("held 7"), "calls of one that was let go, a little later")
		drain(t, ss)
	})
}

// BenchmarkAWellMerchantBesideManyDenied measures a job's way through the dispatcher beside merchants with
// jobs that may not call.
func BenchmarkAWellMerchantBesideManyDenied(b *testing.B) {
	for _, denied := range []int{0, 100, 10_000} {
		b.Run(fmt.Sprint(denied, " denied"), func(b *testing.B) {
			g := newGate(64)
			s := New(Config{Gate: g, MaxRunning: 320})
			ctx, cancel := context.WithCancel(b.Context())
			done := make(chan struct{})
			ss := s.NewSession()
			for i := range denied {
				id := fmt.Sprint("denied ", i)
				g.SetHold(id, gate.Hold{ProbeAt: time.Now().Add(time.Hour)})
				ss.Add(&Task{MchID: id, Lane: id})
			}
			go func() {
				defer close(done)
				s.Run(ctx)
			}()
			finished := make(chan struct{})
			for b.Loop() {
				ss.Add(&Task{
					MchID: "well", Lane: "a", Finished: func() { finished <- struct{}{} },
					Step: func(_ context.Context, t *Task, grant *gate.Grant) Next {
						t.Returning()
						g.Done(time.Now(), grant, gate.Succeeded)
						return Finish()
					},
				})
				<-finished
			}
			ss.Drain(ctx)
			cancel()
			<-done
		})
	}
}
