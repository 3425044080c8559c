//go:build linux

package measure

import (
	"context"
	"fmt"
	"time"

	"replyworker/bench/internal/api"
	"replyworker/bench/internal/result"
	"replyworker/bench/internal/stage"
	"replyworker/test/fleet"
)

// memory measures what a worker's process has resident at the most, and how much garbage it makes, while a
// backlog waits that is far larger than its buffers, and 64 calls are under way.
func memory(ctx context.Context, m *session) (err error) {
	const concurrency = 64
	order := api.Order{Latency: 100 * time.Millisecond}
	count := pick(m, 100_000, 1_000_000)
	m.result.Note = fmt.Sprintf("%d jobs waiting", count)
	r, err := m.NewRun(ctx, stage.Params{Partitions: 4, Jobs: count})
	if err != nil {
		return err
	}
	defer func() { err = closed(ctx, r, err) }()
	if _, err := r.Produce(ctx); err != nil {
		return err
	}
	order.Batch = r.Batch
	for i := range m.Runs {
		if err := m.FlushRedis(ctx); err != nil {
			return err
		}
		if err := r.API.Begin(ctx, order); err != nil {
			return err
		}
		w, err := r.Worker(concurrency, r.NextGroup(i)...)
		if err != nil {
			return err
		}
		if err := m.backlog(ctx, r, w, pick(m, 10*time.Second, 40*time.Second)); err != nil {
			return err
		}
		if err := w.Stop(); err != nil {
			return err
		}
	}
	return nil
}

// backlog looks at a worker for a while, from its first finished jobs on.
func (m *session) backlog(ctx context.Context, r *stage.Run, w *fleet.Worker, while time.Duration) error {
	const some = 500 // Its connections are made, and its buffers full.
	if _, err := r.API.Wait(ctx, time.Minute, "first jobs", func(c api.Counts) bool { return c.Done >= some }); err != nil {
		return err
	}
	before, from, err := m.look(ctx, r, w)
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(while):
	}
	after, to, err := m.look(ctx, r, w)
	if err != nil {
		return err
	}
	peak, err := w.Memory()
	if err != nil {
		return err
	}
	per := func(name string, of float64) float64 { return (after[name] - before[name]) / of }
	done, seconds := float64(to.done-from.done), to.at.Sub(from.at).Seconds()
	m.set(figure("most memory resident (VmHWM)", "MiB", &result.Aim{AtMost: 64}), float64(peak)/(1<<20))
	m.set(figure("jobs a second meanwhile", "", nil), done/seconds)
	m.set(figure("garbage", "KiB/job", nil), per("go_memstats_alloc_bytes_total", done)/(1<<10))
	m.set(figure("allocations", "/job", nil), per("go_memstats_mallocs_total", done))
	m.set(figure("garbage collections", "/s", nil), per("go_gc_duration_seconds_count", seconds))
	m.set(figure("pauses of the garbage collector", "ms/s", nil), 1000*per("go_gc_duration_seconds_sum", seconds))
	return nil
}

func (m *session) look(ctx context.Context, r *stage.Run, w *fleet.Worker) (stage.Metrics, sample, error) {
	metrics, err := stage.MetricsOf(ctx, w)
	if err != nil {
		return nil, sample{}, err
	}
	s, err := m.take(ctx, r.API.Client, nil)
	return metrics, s, err
}
