//go:build linux

package measure

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"replyworker/bench/internal/api"
	"replyworker/bench/internal/result"
	"replyworker/bench/internal/stage"
	"replyworker/test/fleet"
)

// cpu measures what the worker's process spends on a job, and then, with everything as it was, what a bare
// client does. Each run is such a pair, and the ratio is that of the pair: what the machine does meanwhile
// meets both. With an API of 100 ms there is time between the jobs, with one that answers at once there is none.
func cpu(ctx context.Context, m *session) error {
	for i := range m.Runs {
		for _, latency := range pick(m, []time.Duration{ordinary}, []time.Duration{ordinary, 0}) {
			if err := m.cpuPair(ctx, latency, i%2 == 1); err != nil {
				return err
			}
		}
	}
	return nil
}

// ordinary is a latency of the API as one may expect it.
const ordinary = 100 * time.Millisecond

// cpuPair is a worker and a bare client, each first in turn.
func (m *session) cpuPair(ctx context.Context, latency time.Duration, bareFirst bool) error {
	const concurrency = 64
	count, at := pick(m, 2_500, 6_000), "API of "+latency.String()
	parts := []struct {
		name string
		run  func(context.Context, *session, int, int, time.Duration) (window, error)
	}{{nameWorker, workerCPU}, {nameBare, bareCPU}}
	if bareFirst {
		slices.Reverse(parts)
	}
	spent := map[string]time.Duration{}
	for _, part := range parts {
		w, err := part.run(ctx, m, count, concurrency, latency)
		if err != nil {
			return err
		}
		spent[part.name] = w.perJob(part.name)
		m.curve("CPU of a job", "ms", at, nil, map[string]float64{part.name: milliseconds(spent[part.name])})
		if part.name == nameWorker {
			m.curve("asked of Redis, for each job", "", at, nil, map[string]float64{
				"scripts": w.redis.Scripts / float64(w.jobs), "round trips": w.redis.Reads / float64(w.jobs),
			})
		}
		m.others(w)
	}
	m.curve("CPU of a job, to that of a bare client's call", "", at, &result.Aim{AtMost: 1.25}, map[string]float64{
		nameWorker: float64(spent[nameWorker]) / float64(spent[nameBare]),
	})
	return nil
}

const (
	nameWorker = "worker"
	nameBare   = "bare client"
	nameAPI    = "api"
)

// others notes what processes of none of ours took of the machine.
func (m *session) others(w window) {
	rest := w.machine
	for _, spent := range w.cpu {
		rest -= spent
	}
	m.result.Others = append(m.result.Others, max(0, w.share(rest, cores())))
}

// pids are the processes of a run: the servers, the API, and one more.
func (m *session) pids(a *stage.API, name string, pid int) map[string]int {
	all := m.ServerPIDs()
	all[nameAPI], all[name] = a.PID(), pid
	return all
}

// workerCPU has a worker do jobs that are all there when it starts.
func workerCPU(ctx context.Context, m *session, count, concurrency int, latency time.Duration) (w window, err error) {
	r, err := m.NewRun(ctx, stage.Params{Jobs: count, Latency: latency})
	if err != nil {
		return w, err
	}
	defer func() { err = closed(ctx, r, err) }()
	if _, err := r.Produce(ctx); err != nil {
		return w, err
	}
	worker, err := r.Worker(concurrency)
	if err != nil {
		return w, err
	}
	profiled := make(chan error, 1)
	go func() { profiled <- m.profile(ctx, r, worker, fmt.Sprintf("%d-at-once-%s", concurrency, latency)) }()
	w, err = m.steady(ctx, r.API.Client, m.pids(r.API, nameWorker, worker.PID()), count)
	return w, errors.Join(err, <-profiled)
}

// profile profiles a worker once it is at work, where that is asked for.
func (m *session) profile(ctx context.Context, r *stage.Run, w *fleet.Worker, name string) error {
	if m.Profiles == "" {
		return nil
	}
	if _, err := r.API.Wait(ctx, time.Minute, "first jobs", func(c api.Counts) bool { return c.Done > 0 }); err != nil {
		return err
	}
	return stage.Profile(ctx, w, m.Profiles, name)
}

func bareCPU(ctx context.Context, m *session, count, concurrency int, latency time.Duration) (w window, err error) {
	r, err := m.NewRun(ctx, stage.Params{Jobs: count, Latency: latency})
	if err != nil {
		return w, err
	}
	defer func() { err = closed(ctx, r, err) }()
	client, err := m.Bare(r.API, r.Batch, concurrency)
	if err != nil {
		return w, err
	}
	defer client.Kill()
	return m.steady(ctx, r.API.Client, m.pids(r.API, nameBare, client.PID()), count)
}

// closed closes a run, and keeps the error that came first.
func closed(ctx context.Context, r *stage.Run, err error) error {
	if ctx.Err() != nil { // Interrupted: what is removed with the servers need not be removed before.
		ctx = context.WithoutCancel(ctx)
	}
	if closing := r.Close(ctx); err == nil {
		return closing
	}
	return err
}

// steady is the window from a fifth of the jobs to nine tenths: after the start, before the last stragglers.
func (m *session) steady(ctx context.Context, a api.Client, pids map[string]int, count int) (window, error) {
	const longest = 3 * time.Minute
	w, err := m.watch(ctx, a, pids, count/5, count*9/10, longest)
	if err != nil {
		return w, err
	}
	counts, err := a.Counts(ctx)
	if err != nil {
		return w, err
	}
	return w, sound(counts)
}
