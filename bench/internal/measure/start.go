//go:build linux

package measure

import (
	"context"
	"slices"
	"time"

	"replyworker/bench/internal/api"
	"replyworker/bench/internal/stage"
)

// start measures the time from the start of a worker's process, with jobs waiting and a group of its own, to the
// API's getting its first call.
func start(ctx context.Context, m *session) error {
	for range m.Runs {
		if err := firstCall(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

func firstCall(ctx context.Context, m *session) (err error) {
	const count = 200
	r, err := m.NewRun(ctx, stage.Params{Partitions: 4, Jobs: count, Latency: 20 * time.Millisecond})
	if err != nil {
		return err
	}
	defer func() { err = closed(ctx, r, err) }()
	if _, err := r.Produce(ctx); err != nil {
		return err
	}
	began := time.Now()
	if _, err := r.Worker(64); err != nil {
		return err
	}
	if _, err := r.API.Wait(ctx, time.Minute, "all jobs", func(c api.Counts) bool { return c.Done == count }); err != nil {
		return err
	}
	times, err := r.API.Times(ctx)
	if err != nil {
		return err
	}
	first := slices.MinFunc(times, func(a, b api.Times) int { return int(a.Asked - b.Asked) })
	m.set(figure("start of the process to the first call", "ms", nil), milliseconds(time.Unix(0, first.Asked).Sub(began)))
	return nil
}
