//go:build linux

package measure

import (
	"context"
	"errors"
	"fmt"
	"time"

	"replyworker/bench/internal/api"
	"replyworker/bench/internal/process"
	"replyworker/bench/internal/result"
	"replyworker/bench/internal/stage"
	"replyworker/test/fleet"
)

// redelivery measures how fast a worker passes over jobs that are finished and come again, as all do that were
// not committed when a worker died. The ratio is to a bare client's call, which is what each would cost if it
// were sent again.
func redelivery(ctx context.Context, m *session) (err error) {
	count := pick(m, 50_000, 300_000)
	r, err := m.NewRun(ctx, stage.Params{Partitions: 4, Jobs: count})
	if err != nil {
		return err
	}
	defer func() { err = closed(ctx, r, err) }()
	records, err := r.Produce(ctx)
	if err != nil {
		return err
	}
	before, err := m.RedisUse(ctx)
	if err != nil {
		return err
	}
	if err := r.Finish(ctx, records); err != nil {
		return err
	}
	after, err := m.RedisUse(ctx)
	if err != nil {
		return err
	}
	m.set(figure("memory of a finished claim in Redis, with its place among the keys", "B", &result.Aim{AtMost: 420}),
		after.Since(before).Bytes/float64(count))
	for i := range m.Runs {
		if err := r.API.Begin(ctx, api.Order{Batch: r.Batch}); err != nil {
			return err
		}
		w, err := r.Worker(64, r.NextGroup(i)...)
		if err != nil {
			return err
		}
		skipped, err := skips(ctx, w, count)
		if err != nil {
			return err
		}
		if err := w.Stop(); err != nil {
			return err
		}
		counts, err := r.API.Counts(ctx)
		if err != nil {
			return err
		}
		if counts.Calls+counts.Strays > 0 {
			return fmt.Errorf("finished jobs were sent again: %+v", counts)
		}
		m.set(figure("passed over", "/s", absolute(m, &result.Aim{AtLeast: 20_000})), skipped.rate())
		m.set(figure("CPU of the worker's process", "us/job", nil), 1000*milliseconds(skipped.perJob(nameWorker)))
		bare, err := bareAlone(ctx, m)
		if err != nil {
			return err
		}
		m.set(figure("CPU of a job, to that of a bare client's call", "%", &result.Aim{AtMost: 5}),
			100*float64(skipped.perJob(nameWorker))/float64(bare))
	}
	return nil
}

// absolute is the aim of a figure that is no ratio, and so is none where the machine may have other things to do.
func absolute(m *session, a *result.Aim) *result.Aim {
	if m.Quick {
		return nil
	}
	return a
}

// bareAlone is the CPU of a bare client's call.
func bareAlone(ctx context.Context, m *session) (time.Duration, error) {
	w, err := bareCPU(ctx, m, 1_500, 64, 100*time.Millisecond)
	return w.perJob(nameBare), err
}

// finishedAgain is the series that counts them.
const finishedAgain = `replyworker_dedupe_decisions_total{decision="done"}`

// skips is the window from a tenth of the jobs to nine tenths.
func skips(ctx context.Context, w *fleet.Worker, count int) (window, error) {
	const pause, longest = 20 * time.Millisecond, 2 * time.Minute
	var ends []sample
	for deadline := time.Now().Add(longest); len(ends) < 2; {
		metrics, err := stage.MetricsOf(ctx, w)
		limit := float64(count) * []float64{0.1, 0.9}[len(ends)]
		switch done := metrics[finishedAgain]; {
		case !w.Running():
			return window{}, fmt.Errorf("the worker ended by itself: %w", w.Exit())
		case err == nil && done >= limit: // It answers once it has started.
			spent, err := process.CPU(w.PID())
			if err != nil {
				return window{}, err
			}
			ends = append(ends, sample{at: time.Now(), done: int(done), cpu: map[string]time.Duration{nameWorker: spent}})
		case time.Now().After(deadline):
			return window{}, errors.Join(fmt.Errorf("waited %s for %.0f jobs to be passed over; so far %.0f", longest, limit, done), err)
		}
		select {
		case <-ctx.Done():
			return window{}, context.Cause(ctx)
		case <-time.After(pause):
		}
	}
	return between(ends[0], ends[1]), nil
}
