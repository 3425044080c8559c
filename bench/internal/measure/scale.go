//go:build linux

package measure

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"replyworker/bench/internal/result"
	"replyworker/bench/internal/stage"
)

// scale measures what workers and partitions add, with an API that is slow enough for the machine to have time
// for several workers; the second series ends where it has none any more.
func scale(ctx context.Context, m *session) error {
	const latency = 500 * time.Millisecond
	m.result.Note = "API of 500 ms; as many partitions as workers"
	for range m.Runs {
		for _, concurrency := range pick(m, []int{32}, []int{32, 128}) {
			for _, workers := range pick(m, []int{1, 2}, []int{1, 2, 4, 8}) {
				ideal := float64(workers*concurrency) / latency.Seconds()
				w, err := together(ctx, m, workers, concurrency, latency)
				if err != nil {
					return fmt.Errorf("%d workers, %d at once: %w", workers, concurrency, err)
				}
				series, at := fmt.Sprintf("%d at once each", concurrency), strconv.Itoa(workers)
				m.set(result.Figure{Name: "jobs a second", Series: series, At: at}, w.rate())
				m.set(result.Figure{Name: "of the ideal", Unit: "%", Series: series, At: at}, 100*w.rate()/ideal)
				m.set(result.Figure{Name: "CPU of the machine", Unit: "%", Series: series, At: at}, 100*w.share(w.machine, cores()))
			}
		}
	}
	return nil
}

// together has workers do jobs that come once all are there.
func together(ctx context.Context, m *session, workers, concurrency int, latency time.Duration) (w window, err error) {
	const seconds = 12
	count := int(min(1_500, float64(workers*concurrency)/latency.Seconds()) * seconds)
	r, err := m.NewRun(ctx, stage.Params{Partitions: workers, Jobs: count, Latency: latency})
	if err != nil {
		return w, err
	}
	defer func() { err = closed(ctx, r, err) }()
	pids := m.ServerPIDs()
	pids[nameAPI] = r.API.PID()
	for i := range workers {
		worker, err := r.Worker(concurrency)
		if err != nil {
			return w, err
		}
		if err := worker.Ready(ctx); err != nil {
			return w, err
		}
		pids[fmt.Sprintf("worker %d", i)] = worker.PID()
	}
	if err := r.Shared(ctx, workers, time.Minute); err != nil {
		return w, err
	}
	if _, err := r.Produce(ctx); err != nil {
		return w, err
	}
	// The partitions have not all as many jobs: before the first is empty, at two thirds, it is over.
	w, err = m.watch(ctx, r.API.Client, pids, count/5, count*2/3, 3*time.Minute)
	if err != nil {
		return w, err
	}
	counts, err := r.API.Counts(ctx)
	if err != nil {
		return w, err
	}
	m.others(w)
	return w, sound(counts)
}
