//go:build linux

package measure

import (
	"context"
	"fmt"
	"time"

	"replyworker/bench/internal/api"
	"replyworker/bench/internal/result"
	"replyworker/bench/internal/stage"
)

// delay measures the time from a job's being given to its producer to the API's getting the call, of workers
// that have nothing else to do.
func delay(ctx context.Context, m *session) error {
	for range m.Runs {
		for _, load := range []struct {
			perSecond float64
			jobs      int
		}{{10, pick(m, 100, 300)}, {300, pick(m, 1_500, 6_000)}} {
			at := fmt.Sprintf("%.0f jobs/s", load.perSecond)
			took, err := delays(ctx, m, load.perSecond, load.jobs)
			if err != nil {
				return fmt.Errorf("%s: %w", at, err)
			}
			for name, q := range map[string]float64{"p50": 0.5, "p99": 0.99} {
				m.set(result.Figure{Name: "produce to call", Unit: "ms", Series: name, At: at}, result.Quantile(took, q))
			}
		}
	}
	return nil
}

// delays returns the delay of each job in ms, but for those of the first second, when connections are made.
func delays(ctx context.Context, m *session, perSecond float64, count int) (took []float64, err error) {
	r, err := m.NewRun(ctx, stage.Params{Partitions: 4, Jobs: count, Latency: 50 * time.Millisecond})
	if err != nil {
		return nil, err
	}
	defer func() { err = closed(ctx, r, err) }()
	worker, err := r.Worker(64)
	if err != nil {
		return nil, err
	}
	if err := worker.Ready(ctx); err != nil {
		return nil, err
	}
	born, err := r.ProduceAt(ctx, perSecond)
	if err != nil {
		return nil, err
	}
	_, err = r.API.Wait(ctx, time.Minute, "all jobs", func(c api.Counts) bool { return c.Done == count })
	if err != nil {
		return nil, err
	}
	times, err := r.API.Times(ctx)
	if err != nil {
		return nil, err
	}
	for n := min(count/2, int(perSecond)); n < count; n++ {
		took = append(took, milliseconds(time.Unix(0, times[n].Asked).Sub(born[n])))
	}
	return took, nil
}
