package schedule

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"replyworker/internal/gate"
)

// caller makes calls that last, and counts them.
type caller struct {
	g  *gate.Gate
	mu sync.Mutex
	n  map[string]int
}

func (c *caller) lastingTask(mchID string, i int, lasts time.Duration) *Task {
	return &Task{
		MchID: mchID, Lane: fmt.Sprint(mchID, "/", i), Finished: func() {},
		Step: func(_ context.Context, t *Task, grant *gate.Grant) Next {
			time.Sleep(lasts)
			t.Returning()
			c.g.Done(time.Now(), grant, gate.Succeeded)
			c.mu.Lock()
			defer c.mu.Unlock()
			c.n[mchID]++
			return Finish()
		},
	}
}

func (c *caller) count(mchID string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n[mchID]
}

// TestAMerchantWhoseCallsAreSlowDoesNotGatherTheSlots: calls of one take 10 s, of the other 0.1 s, and
// both have a backlog. Each has one half of the slots, whoever came first.
func TestAMerchantWhoseCallsAreSlowDoesNotGatherTheSlots(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const slots = 16
		c := &caller{g: newGate(slots), n: map[string]int{}}
		s := run(t, Config{Gate: c.g, MaxRunning: 4 * slots})
		ss := s.NewSession()
		for i := range 1000 {
			ss.Add(c.lastingTask("slow", i, 10*time.Second))
		}
		time.Sleep(time.Second) // it has all slots, until its calls end
		for i := range 12_000 {
			ss.Add(c.lastingTask("fast", i, 100*time.Millisecond))
		}
		time.Sleep(10 * time.Second)
		before := c.count("fast")
		time.Sleep(100 * time.Second)
		require.GreaterOrEqual(t, c.count("fast")-before, slots/2*10*99, "calls of the fast one in 100 s: half of the slots, 10 a second each")
		require.GreaterOrEqual(t, c.count("slow"), slots/2*9, "the slow one has its own half")
		drain(t, ss)
	})
}

// TestAMerchantWithFewJobsDoesNotWaitBehindABacklog: whatever others have waiting, its job goes next.
func TestAMerchantWithFewJobsDoesNotWaitBehindABacklog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const slots, others = 8, 5
		c := &caller{g: newGate(slots), n: map[string]int{}}
		s := run(t, Config{Gate: c.g, MaxRunning: 4 * slots})
		ss := s.NewSession()
		for i := range 20_000 {
			ss.Add(c.lastingTask(fmt.Sprint("other ", i%others), i, time.Duration(90+i%20)*time.Millisecond))
		}
		for i := range 20 {
			time.Sleep(time.Second)
			began := time.Now()
			ss.Add(c.lastingTask("few", i, time.Millisecond))
			for c.count("few") <= i {
				time.Sleep(time.Millisecond)
			}
			require.LessOrEqual(t, time.Since(began), 115*time.Millisecond, "until the next slot is free, and its own call")
		}
		drain(t, ss)
	})
}

// fairGate is a gate that sees to it that each start is the fair one. The scheduler asks it with its own
// lock held.
type fairGate struct {
	*gate.Gate
	s      *Scheduler
	faults *notes
}

func (f *fairGate) Try(now time.Time, ask gate.Ask) (*gate.Grant, *gate.Denial) {
	grant, denial := f.Gate.Try(now, ask)
	if grant == nil {
		return nil, denial
	}
	own := f.s.queues.byID[ask.MchID].calls
	for _, q := range f.s.queues.asked.list {
		if id := q.list.first.MchID; id != ask.MchID && q.calls < own {
			f.faults.add("merchant %s has %d calls and is started, %s has %d and a task", ask.MchID, own, id, q.calls)
		}
	}
	return grant, nil
}

// TestFreeSlotsGoToTheMerchantWithTheFewest draws merchants with backlogs and calls of any length. No
// start may go to a merchant that has more calls than another whose task could start, and in
// the end each has had at least an equal share of the time of the slots, as long as it had jobs.
func TestFreeSlotsGoToTheMerchantWithTheFewest(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		slots := rapid.IntRange(2, 12).Draw(rt, "slots")
		lasts := rapid.SliceOfN(rapid.IntRange(10, 500), 2, 8).Draw(rt, "ms that a call lasts, by merchant")
		seed := rapid.Uint64().Draw(rt, "seed")
		var faults notes
		used := make([]time.Duration, len(lasts))
		const long = 15 * time.Second
		synctest.Test(t, func(*testing.T) {
			g := &fairGate{Gate: newGate(slots), faults: &faults}
			g.s = New(Config{Gate: g, MaxRunning: 1000})
			ctx, cancel := context.WithCancel(context.Background())
			var running sync.WaitGroup
			running.Go(func() { g.s.Run(ctx) })
			ss := g.s.NewSession()
			var mu sync.Mutex
			random := rand.New(rand.NewPCG(seed, 1))
			for m := range lasts {
				var next func(i int)
				next = func(i int) { // a backlog that has no end, of as many lanes as there are slots
					mu.Lock()
					d := time.Duration(lasts[m])*time.Millisecond/2 + time.Duration(random.IntN(lasts[m]*1000))*time.Microsecond
					mu.Unlock()
					ss.Add(&Task{
						MchID: fmt.Sprint(m), Lane: fmt.Sprint(m, "/", i), Finished: func() {},
						Step: func(_ context.Context, t *Task, grant *gate.Grant) Next {
							time.Sleep(d)
							t.Returning()
							g.Done(time.Now(), grant, gate.Succeeded)
							mu.Lock()
							used[m] += d
							mu.Unlock()
							next(i)
							return Finish()
						},
					})
				}
				for i := range slots {
					next(i)
				}
			}
			time.Sleep(long)
			ss.Drain(context.Background())
			cancel()
			running.Wait()
		})
		require.Empty(rt, faults.get())
		share := time.Duration(int64(long) * int64(slots) / int64(len(lasts)))
		for m, d := range used {
			// It may lose the rest of the slots over the merchants, and what the last of their calls take.
			least := share - time.Duration(int64(long)*int64(slots%len(lasts))/int64(len(lasts))) - share/10
			require.GreaterOrEqual(rt, d, least, "merchant %d of %d with calls of %d ms had %s of the slots' time; an equal share is %s",
				m, len(lasts), lasts[m], d, share)
		}
	})
}

// TestTasksOfAMerchantThatIsGoneNeedNoLeave: those that wait, those that are parked, and those that come.
func TestTasksOfAMerchantThatIsGoneNeedNoLeave(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate(4)
		s := run(t, Config{Gate: g})
		ss := s.NewSession()
		var events notes
		task := func(name string, park bool) *Task {
			return &Task{
				MchID: "1", Lane: name, Finished: func() {},
				Step: func(_ context.Context, _ *Task, grant *gate.Grant) Next {
					events.add("%s: leave %t", name, grant != nil)
					if grant != nil {
						g.Done(time.Now(), grant, gate.Succeeded)
					}
					if park {
						park = false
						return ParkUntil(time.Now().Add(time.Minute))
					}
					return Finish()
				},
			}
		}
		ss.Add(task("parked", true))
		synctest.Wait()
		g.SetHold("1", gate.Hold{ProbeAt: time.Now().Add(time.Hour)})
		ss.Add(task("waiting", false))
		synctest.Wait()
		require.Equal(t, []string{"parked: leave true"}, events.get())
		s.SetGated("1", false)
		synctest.Wait()
		ss.Add(task("late", false))
		synctest.Wait()
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, []string{
			"parked: leave true", "waiting: leave false", "late: leave false", "parked: leave false",
		}, events.get())

		s.SetGated("1", true)
		g.ClearHold("1")
		ss.Add(task("back", false))
		synctest.Wait()
		require.Equal(t, "back: leave true", events.get()[4])
		drain(t, ss)
	})
}

// illGate lets one merchant make so many calls and no more, as a quota that is used up does.
type illGate struct {
	*gate.Gate
	mchID string
	left  int
}

func (g *illGate) Try(now time.Time, ask gate.Ask) (*gate.Grant, *gate.Denial) {
	if ask.MchID != g.mchID {
		return g.Gate.Try(now, ask)
	}
	if g.left <= 0 {
		return nil, &gate.Denial{Wait: time.Hour, Everyone: true}
	}
	g.left--
	return g.Gate.Try(now, ask)
}

// TestIllMerchantsDoNotHoldAWellOneUp: one is held because of its keys, one by the brake, one has used
// its quota up, one has calls that last 10 s; each has a backlog. Not one job of the well one waits for
// a slot, whenever it comes: its waits are the same as where it is alone, which is none.
func TestIllMerchantsDoNotHoldAWellOneUp(t *testing.T) {
	t.Parallel()
	for _, ill := range []bool{false, true} {
		t.Run(fmt.Sprint("ill merchants beside it: ", ill), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				const slots = 64
				g := &illGate{Gate: newGate(slots), mchID: "quota", left: 20}
				c := &caller{g: g.Gate, n: map[string]int{}}
				s := run(t, Config{Gate: g, MaxRunning: 4*slots + 64})
				ss := s.NewSession()
				ss.Add(c.lastingTask("well", 0, time.Millisecond))
				time.Sleep(time.Second)
				if ill {
					g.SetHold("credentials", gate.Hold{Kind: "credentials", ProbeAt: time.Now().Add(time.Hour)})
					g.SetHold("brake", gate.Hold{Kind: "brake", ProbeAt: time.Now().Add(time.Hour), Calm: true})
					for i := range 2000 {
						for _, id := range []string{"credentials", "brake", "quota", "slow"} {
							ss.Add(c.lastingTask(id, i, 10*time.Second))
						}
					}
				}
				var worst time.Duration
				for i := 1; i <= 300; i++ {
					time.Sleep(time.Duration(70+i%60) * time.Millisecond)
					added := time.Now()
					task := c.lastingTask("well", i, 100*time.Millisecond)
					step := task.Step
					task.Step = func(ctx context.Context, t *Task, grant *gate.Grant) Next {
						worst = max(worst, time.Since(added)) // one at a time: slots are there for them
						return step(ctx, t, grant)
					}
					ss.Add(task)
					synctest.Wait()
				}
				require.Zero(t, worst, "the longest wait of the well merchant's jobs")
				time.Sleep(time.Second)
				require.Equal(t, 301, c.count("well"))
				drain(t, ss)
			})
		})
	}
}
