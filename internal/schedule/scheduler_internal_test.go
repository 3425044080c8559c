package schedule

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"replyworker/internal/gate"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newGate(concurrency int) *gate.Gate {
	return gate.New(gate.Config{
		Concurrency: concurrency, HasBackup: true, BreakerFailures: 5, BreakerCooldown: time.Second,
		Jitter: func() float64 { return 0 },
	})
}

// openGate lets everybody through.
type openGate struct{}

func (openGate) Try(time.Time, gate.Ask) (*gate.Grant, *gate.Denial) { return &gate.Grant{}, nil }
func (openGate) Changed() <-chan struct{}                            { return nil }

// run starts a scheduler that ends with the test.
func run(t *testing.T, cfg Config) *Scheduler {
	t.Helper()
	if cfg.MaxRunning == 0 {
		cfg.MaxRunning = 100
	}
	s := New(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return s
}

// notes is a list that several steps write to.
type notes struct {
	mu   sync.Mutex
	list []string
}

func (n *notes) add(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.list = append(n.list, fmt.Sprintf(format, args...))
}

func (n *notes) get() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.list)
}

func drain(t *testing.T, ss *Session) {
	t.Helper()
	require.True(t, ss.Drain(context.Background()), "Drain without a deadline says that something was cut off")
	requireEmpty(t, ss)
}

// requireEmpty checks that a drained session, the only one, has left nothing behind.
func requireEmpty(t *testing.T, ss *Session) {
	t.Helper()
	s := ss.s
	s.mu.Lock()
	defer s.mu.Unlock()
	left := map[string]int{
		"lanes": len(ss.lanes), "tasks": len(ss.tasks), "parked": len(s.parked.tasks),
		"expiring": len(s.expiring.tasks), "free": s.free.n,
	}
	for id, q := range s.queues.byID {
		left["ready of merchant "+id], left["calls of merchant "+id] = q.n, q.calls
	}
	left["merchants that are asked"], left["and put off"] = len(s.queues.asked.list), len(s.queues.later.list)
	for what, n := range left {
		require.Zero(t, n, "%s left behind after Drain", what)
	}
	require.Equal(t, Counts{}, s.counts, "counts after Drain")
}

func TestLaneKeepsItsOrderAndOthersDoNotWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := run(t, Config{Gate: newGate(10)})
		ss := s.NewSession()
		var done notes
		g := s.gate.(*gate.Gate)
		for i := range 3 {
			parks := 2 - i
			for _, lane := range []string{"a", "b"} {
				ss.Add(&Task{
					MchID: "1", Lane: lane, Finished: func() { done.add("%s%d", lane, i) },
					Step: func(_ context.Context, _ *Task, grant *gate.Grant) Next {
						g.Done(time.Now(), grant, gate.Succeeded)
						if lane == "a" && parks > 0 {
							parks--
							return ParkUntil(time.Now().Add(time.Second))
						}
						return Finish()
					},
				})
			}
		}
		synctest.Wait()
		require.Equal(t, []string{"b0", "b1", "b2"}, done.get(), "finished while lane a waits for its first task")
		require.Equal(t, Counts{Waiting: 2, Parked: 1}, s.Counts())
		time.Sleep(3 * time.Second)
		synctest.Wait()
		require.Equal(t, []string{"b0", "b1", "b2", "a0", "a1", "a2"}, done.get())
		drain(t, ss)
	})
}

func TestAdvanceLetsTheNextTaskGoOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := run(t, Config{Gate: openGate{}})
		ss := s.NewSession()
		var events notes
		ss.Add(&Task{
			MchID: "1", Lane: "a", Finished: func() { events.add("first finished") },
			Step: func(_ context.Context, task *Task, _ *gate.Grant) Next {
				time.Sleep(time.Second)
				task.Advance()
				task.Advance()
				time.Sleep(time.Second)
				return Finish()
			},
		})
		ss.Add(&Task{
			MchID: "1", Lane: "a", Finished: func() { events.add("second finished") },
			Step: func(context.Context, *Task, *gate.Grant) Next {
				events.add("second began")
				return Finish()
			},
		})
		time.Sleep(500 * time.Millisecond)
		require.Empty(t, events.get(), "while the first task is at work")
		time.Sleep(3 * time.Second)
		require.Equal(t, []string{"second began", "second finished", "first finished"}, events.get())
		drain(t, ss)
	})
}

func TestExpiryOfWaitingTasksRunsThemWithoutLeave(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate(10)
		g.SetHold("1", gate.Hold{ProbeAt: time.Now().Add(time.Hour)})
		s := run(t, Config{Gate: g})
		ss := s.NewSession()
		var events notes
		start := time.Now()
		add := func(name, lane string, expires time.Duration) {
			task := &Task{MchID: "1", Lane: lane, Finished: func() {}}
			task.Step = func(_ context.Context, task *Task, grant *gate.Grant) Next {
				events.add("%s at %s, expired %t, leave %t", name, time.Since(start), task.Expired(), grant != nil)
				return Finish()
			}
			if expires != 0 {
				task.ExpiresAt = start.Add(expires)
			}
			ss.Add(task)
		}
		add("head", "a", 0)
		add("middle", "a", 2*time.Second)
		add("last", "a", time.Second)
		add("ready", "b", 3*time.Second)
		add("past", "c", -time.Second)
		time.Sleep(10 * time.Second)
		require.Equal(t, []string{
			"past at 0s, expired true, leave false",
			"last at 1s, expired true, leave false",
			"middle at 2s, expired true, leave false",
			"ready at 3s, expired true, leave false",
		}, events.get())
		require.Equal(t, Counts{Waiting: 1}, s.Counts(), "the head of lane a, which never expires")
		drain(t, ss)
	})
}

// TestExpiryDuringAStepEndsTheWaitThatFollows: the expiry passes while a call is out; the call fails
// and the task waits, for its next try or for a held merchant. It must not wait past its expiry. Its
// lane goes on when it is settled, not before: another worker may still be calling for it.
func TestExpiryDuringAStepEndsTheWaitThatFollows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate(10)
		s := run(t, Config{Gate: g})
		ss := s.NewSession()
		start := time.Now()
		var events, next notes
		ss.Add(&Task{
			MchID: "1", Lane: "a", ExpiresAt: start.Add(time.Second), Finished: func() { events.add("finished") },
			Step: func(_ context.Context, task *Task, grant *gate.Grant) Next {
				events.add("step at %s, expired %t", time.Since(start).Truncate(10*time.Millisecond), task.Expired())
				if grant != nil {
					time.Sleep(2 * time.Second)
					g.Done(time.Now(), grant, gate.Answered)
					return ParkUntil(time.Now().Add(time.Hour))
				}
				if time.Since(start) < 10*time.Second {
					return ParkUntil(start.Add(10 * time.Second)) // its end cannot be recorded now
				}
				return Finish()
			},
		})
		ss.Add(&Task{
			MchID: "1", Lane: "a", Finished: func() { next.add("finished") },
			Step: func(_ context.Context, _ *Task, grant *gate.Grant) Next {
				g.Done(time.Now(), grant, gate.Answered)
				return Finish()
			},
		})
		time.Sleep(5 * time.Second)
		require.Empty(t, next.get(), "the next task of the lane has not begun: the end of the first is not recorded")
		time.Sleep(time.Minute)
		require.Len(t, next.get(), 1, "the next task of the lane has finished")
		require.Equal(t, []string{
			"step at 0s, expired false", "step at 2s, expired true", "step at 10s, expired true", "finished",
		}, events.get())
		drain(t, ss)
	})
}

func TestMerchantsShareSlotsThatComeBackOneAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate(2)
		s := run(t, Config{Gate: g})
		ss := s.NewSession()
		var mu sync.Mutex
		calls := map[string]int{}
		for i := range 300 {
			for _, id := range []string{"1", "2", "3"} {
				ss.Add(&Task{
					MchID: id, Lane: fmt.Sprint(id, i), Finished: func() {},
					Step: func(_ context.Context, _ *Task, grant *gate.Grant) Next {
						time.Sleep(time.Duration(90+rand.IntN(20)) * time.Millisecond)
						g.Done(time.Now(), grant, gate.Succeeded)
						mu.Lock()
						calls[id]++
						mu.Unlock()
						return Finish()
					},
				})
			}
		}
		time.Sleep(10 * time.Second)
		mu.Lock()
		got := maps.Clone(calls)
		mu.Unlock()
		drain(t, ss)
		for _, id := range []string{"1", "2", "3"} {
			require.GreaterOrEqual(t, got[id], 50, "calls of merchant %s in 10 s; all three had jobs all the time: %v", id, got)
		}
	})
}

func TestMerchantThatIsHeldKeepsNobodyElse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate(5)
		g.SetHold("1", gate.Hold{ProbeAt: time.Now().Add(time.Hour)})
		s := run(t, Config{Gate: g})
		ss := s.NewSession()
		var done notes
		for _, id := range []string{"1", "2"} {
			for i := range 100 {
				ss.Add(&Task{
					MchID: id, Lane: fmt.Sprint(id, i), Finished: func() { done.add("%s", id) },
					Step: func(_ context.Context, _ *Task, grant *gate.Grant) Next {
						time.Sleep(time.Millisecond)
						g.Done(time.Now(), grant, gate.Succeeded)
						return Finish()
					},
				})
			}
		}
		time.Sleep(time.Second)
		require.Len(t, done.get(), 100, "finished jobs of the merchant that is not held")
		g.ClearHold("1")
		time.Sleep(time.Second)
		require.Len(t, done.get(), 200, "finished jobs once the hold had ended")
		drain(t, ss)
	})
}

func TestMaxRunningIsRespectedAndUngatedTasksNeedNoLeave(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate(3)
		s := run(t, Config{Gate: g, MaxRunning: 8})
		ss := s.NewSession()
		for range 50 {
			ss.Add(&Task{Ungated: true, Finished: func() {}, Step: func(_ context.Context, _ *Task, grant *gate.Grant) Next {
				if grant != nil {
					return Drop()
				}
				time.Sleep(time.Second)
				return Finish()
			}})
		}
		for i := range 8 {
			synctest.Wait()
			require.Equal(t, Counts{Waiting: max(0, 44-6*i), Running: min(6, 50-6*i)}, s.Counts(), "%d s after the start", i)
			if i == 3 { // a flood of what needs no leave leaves room for calls
				for _, lane := range []string{"a", "b", "c"} {
					ss.Add(&Task{MchID: "1", Lane: lane, Finished: func() {}, Step: func(_ context.Context, _ *Task, grant *gate.Grant) Next {
						g.Done(time.Now(), grant, gate.Succeeded)
						return Finish()
					}})
				}
				synctest.Wait()
				require.Equal(t, Counts{Waiting: 44 - 6*i, Running: 6}, s.Counts(), "once three calls were made beside them")
			}
			time.Sleep(time.Second + time.Microsecond)
		}
		drain(t, ss)
	})
}

func TestDispatcherShowsThatItIsNotStuck(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := run(t, Config{Gate: openGate{}})
		time.Sleep(time.Hour)
		require.LessOrEqual(t, time.Since(s.LastBeat()), 5*time.Second, "since the last beat, with nothing to do for an hour")
	})
}

func TestDrain(t *testing.T) {
	t.Parallel()
	waiting := func(step func(context.Context) Next, finished *notes) *Task {
		return &Task{
			MchID: "1", Lane: "a", Finished: func() { finished.add("finished") },
			Step: func(ctx context.Context, _ *Task, _ *gate.Grant) Next { return step(ctx) },
		}
	}
	t.Run("drops what waits and waits for what is at work", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			ss := run(t, Config{Gate: openGate{}}).NewSession()
			var finished notes
			step := func(context.Context) Next {
				time.Sleep(time.Second)
				return Finish()
			}
			for range 3 {
				ss.Add(waiting(step, &finished))
			}
			synctest.Wait()
			begin := time.Now()
			drain(t, ss)
			require.Equal(t, time.Second, time.Since(begin), "how long Drain took, with a step of 1 s at work")
			require.Len(t, finished.get(), 1, "finished tasks, one of three was at work")
			ss.Add(waiting(step, &finished))
			time.Sleep(time.Minute)
			require.Len(t, finished.get(), 1, "a task came after Drain")
		})
	})
	t.Run("cuts off with the cause", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			ss := run(t, Config{Gate: openGate{}}).NewSession()
			var finished notes
			var cause error
			ss.Add(waiting(func(ctx context.Context) Next {
				<-ctx.Done()
				cause = context.Cause(ctx)
				return Drop()
			}, &finished))
			synctest.Wait()
			want := errors.New("no time left")
			ctx, cancel := context.WithTimeoutCause(context.Background(), time.Second, want)
			defer cancel()
			require.False(t, ss.Drain(ctx), "a step was cut off")
			require.Equal(t, want, cause, "the cause that the step was cut off with")
			require.Empty(t, finished.get(), "a dropped task was finished")
			requireEmpty(t, ss)
		})
	})
	t.Run("without time and with nothing at work cuts nothing off", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			for range 50 {
				ss := run(t, Config{Gate: openGate{}}).NewSession()
				ctx, cancel := context.WithCancel(context.Background())
				cancel()
				require.True(t, ss.Drain(ctx), "nothing was at work")
			}
		})
	})
	t.Run("drops a step's task that wants another step", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			ss := run(t, Config{Gate: openGate{}}).NewSession()
			var finished notes
			ss.Add(waiting(func(context.Context) Next {
				time.Sleep(time.Second)
				return ParkUntil(time.Now())
			}, &finished))
			synctest.Wait()
			drain(t, ss)
			require.Empty(t, finished.get())
		})
	})
	t.Run("leaves other sessions alone", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			g := newGate(10)
			g.SetHold("1", gate.Hold{ProbeAt: time.Now().Add(time.Hour)})
			s := run(t, Config{Gate: g})
			old, next := s.NewSession(), s.NewSession()
			var finished notes
			step := func(context.Context) Next { return Finish() }
			for range 5 {
				old.Add(waiting(step, &finished))
				next.Add(waiting(step, &finished))
			}
			require.True(t, old.Drain(context.Background()))
			require.Equal(t, Counts{Waiting: 5}, s.Counts())
			g.ClearHold("1")
			time.Sleep(time.Second)
			require.Len(t, finished.get(), 5, "finished tasks of the session that goes on")
			drain(t, next)
		})
	})
}

// TestParkedAndQueuedTasksCostNoGoroutineAndLittleMemory: 10,000 tasks wait in 10,000 lanes.
//
// Not parallel: it measures the process.
func TestParkedAndQueuedTasksCostNoGoroutineAndLittleMemory(t *testing.T) {
	const tasks = 10_000
	s := run(t, Config{Gate: openGate{}})
	ss := s.NewSession()
	goroutines := runtime.NumGoroutine()
	before := heapInUse()
	for i := range tasks {
		ss.Add(&Task{
			MchID: "1", Lane: fmt.Sprint(i), ExpiresAt: time.Now().Add(time.Hour), Finished: func() {},
			Step: func(context.Context, *Task, *gate.Grant) Next { return ParkUntil(time.Now().Add(time.Hour)) },
		})
	}
	require.Eventually(t, func() bool { return s.Counts() == Counts{Parked: tasks} }, 10*time.Second, time.Millisecond,
		"all tasks are to be parked")
	used := heapInUse() - before
	t.Logf("%d bytes for each waiting task", used/tasks)
	require.Less(t, used, int64(10<<20), "bytes that %d waiting tasks use", tasks)
	require.LessOrEqual(t, runtime.NumGoroutine(), goroutines+1, "goroutines with %d parked tasks, %d before", tasks, goroutines)
	drain(t, ss)
}

func heapInUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestManyTasksOfOneLaneOrMerchantAreNotQuadratic: each of these takes long where a task is searched
// for or its neighbours are moved.
func TestManyTasksOfOneLaneOrMerchantAreNotQuadratic(t *testing.T) {
	t.Parallel()
	const tasks = 100_000
	shut := gate.New(gate.Config{Concurrency: 0, BreakerFailures: 1})
	for _, tt := range []struct {
		name string
		lane func(i int) string
	}{
		{"one lane", func(int) string { return "a" }},
		{"a lane each", func(i int) string { return fmt.Sprint(i) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := New(Config{Gate: shut, MaxRunning: 10})
			ss := s.NewSession()
			now := time.Now()
			for i := range tasks {
				task := &Task{MchID: "1", Lane: tt.lane(i)}
				if i%2 == 0 {
					task.ExpiresAt = now.Add(time.Duration(tasks-i) * time.Millisecond) // the last first
				}
				ss.Add(task)
			}
			begin := time.Now()
			s.mu.Lock()
			s.expire(now.Add(time.Hour))
			s.mu.Unlock()
			require.Equal(t, tasks/2, s.free.n, "tasks that expired")
			drain(t, ss)
			require.Less(t, time.Since(begin), 10*time.Second, "time to expire one half of %d tasks and to drain the rest", tasks)
		})
	}
}

func BenchmarkThroughput(b *testing.B) {
	for _, lanes := range []int{1, 100_000} {
		b.Run(fmt.Sprintf("100k tasks in %d lanes", lanes), func(b *testing.B) {
			for b.Loop() {
				g := newGate(64)
				s := New(Config{Gate: g, MaxRunning: 320})
				ctx, cancel := context.WithCancel(b.Context())
				var running, left sync.WaitGroup
				running.Go(func() { s.Run(ctx) })
				ss := s.NewSession()
				for i := range 100_000 {
					left.Add(1)
					ss.Add(&Task{
						MchID: "1", Lane: fmt.Sprint(i % lanes), Finished: left.Done,
						Step: func(_ context.Context, _ *Task, grant *gate.Grant) Next {
							g.Done(time.Now(), grant, gate.Succeeded)
							return Finish()
						},
					})
				}
				left.Wait()
				ss.Drain(ctx)
				cancel()
				running.Wait()
			}
		})
	}
}
