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

// quota measures what two workers, who are told nothing of it nor of each other, make of a quota: how much of it
// they use once they have had time to find it, and how many of their calls are refused. It is cut to an eighth
// while they run, and given back.
func quota(ctx context.Context, m *session) error {
	steps := []quotaStep{{200, 10 * time.Second, "200/s"}, {25, 10 * time.Second, "then 25/s"}, {200, 40 * time.Second, "then 200/s"}}
	steps = steps[:pick(m, 1, len(steps))]
	m.result.Note = fmt.Sprintf("%d workers, %d calls at once each, windows of a second", quotaWorkers, calls)
	for range m.Runs {
		if err := m.quotaRun(ctx, steps); err != nil {
			return err
		}
	}
	return nil
}

const (
	quotaWorkers = 2
	quotaLook    = 20 * time.Second
)

// quotaStep is a quota in calls a second, and how long the workers have to find it: it is found from above at once,
// and from below by a pace that rises carefully.
type quotaStep struct {
	perSecond int
	find      time.Duration
	at        string
}

func (m *session) quotaRun(ctx context.Context, steps []quotaStep) (err error) {
	jobs := 0 // More than the quotas take.
	for _, step := range steps {
		jobs += 2 * step.perSecond * int((step.find + quotaLook).Seconds())
	}
	r, err := m.NewRun(ctx, stage.Params{Partitions: quotaWorkers, Jobs: jobs, Latency: ordinary})
	if err != nil {
		return err
	}
	defer func() { err = closed(ctx, r, err) }()
	if err := r.API.Quota(ctx, steps[0].perSecond); err != nil {
		return err
	}
	if _, err := r.Produce(ctx); err != nil {
		return err
	}
	for range quotaWorkers {
		if _, err := r.Worker(calls); err != nil {
			return err
		}
	}
	if _, err := r.API.Wait(ctx, time.Minute, "first jobs", func(c api.Counts) bool { return c.Done > 0 }); err != nil {
		return err
	}
	for _, step := range steps {
		if err := m.followQuota(ctx, r, step); err != nil {
			return err
		}
	}
	return r.Crashed()
}

// followQuota sets the quota and looks at what the workers make of it.
func (m *session) followQuota(ctx context.Context, r *stage.Run, step quotaStep) error {
	if err := r.API.Quota(ctx, step.perSecond); err != nil {
		return err
	}
	c, err := countsAfter(ctx, r, 0, step.find, quotaLook)
	if err != nil {
		return err
	}
	refused := func(i int) float64 {
		return 100 * float64(c[i].Refused-c[i-1].Refused) / float64(c[i].Calls-c[i-1].Calls)
	}
	used := float64(c[2].Done-c[1].Done) / (float64(step.perSecond) * quotaLook.Seconds())
	for _, f := range []struct {
		series string
		value  float64
		aim    *result.Aim
	}{
		{"refused, until it is found", refused(1), nil},
		{"refused, for 20 s from then on", refused(2), &result.Aim{AtMost: 3}},
		{"used, for 20 s from then on", 100 * used, &result.Aim{AtLeast: 95}},
	} {
		m.set(result.Figure{Name: "calls and quota", Unit: "%", Series: f.series, At: step.at, Aim: f.aim}, f.value)
	}
	return sound(c[2])
}

// countsAfter is the counts after each of the times, one behind the other.
func countsAfter(ctx context.Context, r *stage.Run, times ...time.Duration) ([]api.Counts, error) {
	var all []api.Counts
	for _, wait := range times {
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(wait):
		}
		c, err := r.API.Counts(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}
