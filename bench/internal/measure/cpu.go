//go:build linux

package measure

import (
	"context"
	"time"

	"replyworker/bench/internal/api"
	"replyworker/bench/internal/result"
	"replyworker/bench/internal/stage"
)

// cpu measures what the worker's process spends on a job, and then, with everything as it was, what a bare
// client does. Each run is such a pair, and the ratio is that of the pair: what the machine does meanwhile
// meets both.
func cpu(ctx context.Context, m *session) error {
	const concurrency, latency = 64, 100 * time.Millisecond
	count := pick(m, 2_500, 6_000)
	ratio := figure("CPU of the worker's process to that of the bare client", "", &result.Aim{AtMost: 1.25})
	for i := range m.Runs {
		parts := []func(context.Context, *session, int, int, time.Duration) (window, error){workerCPU, bareCPU}
		spent := map[string]time.Duration{}
		for p := range parts {
			p = (p + i) % len(parts) // Each goes first in turn.
			w, err := parts[p](ctx, m, count, concurrency, latency)
			if err != nil {
				return err
			}
			for _, name := range []string{nameWorker, nameBare} {
				if w.cpu[name] > 0 {
					spent[name] = w.perJob(name)
				}
			}
			m.others(w)
		}
		m.set(ratio, float64(spent[nameWorker])/float64(spent[nameBare]))
		m.set(figure("the worker's process", "ms/job", nil), milliseconds(spent[nameWorker]))
		m.set(figure("the bare client", "ms/job", nil), milliseconds(spent[nameBare]))
	}
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
	return steady(ctx, r.API.Client, m.pids(r.API, nameWorker, worker.PID()), count)
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
	return steady(ctx, r.API.Client, m.pids(r.API, nameBare, client.PID()), count)
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
func steady(ctx context.Context, a api.Client, pids map[string]int, count int) (window, error) {
	const longest = 3 * time.Minute
	w, err := watch(ctx, a, pids, count/5, count*9/10, longest)
	if err != nil {
		return w, err
	}
	counts, err := a.Counts(ctx)
	if err != nil {
		return w, err
	}
	return w, sound(counts)
}
