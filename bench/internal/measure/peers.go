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

// subject is a program that does the jobs: the worker, or a peer.
type subject struct {
	series     string // As it stands in tables and charts.
	peer       string // As the package peers names it; empty for the worker.
	partitions int    // Of its jobs topic.
}

// usual is how many partitions a topic has that nobody has made for one program.
const usual = 16

// calls is the calls at once that every subject is told to make.
const calls = 64

// subjects are all that are compared. Watermill does one job of a partition at a time, so that it has as many
// partitions as there are calls at once, too.
func subjects() []subject {
	return []subject{
		{"replyworker", "", usual},
		{"parallel consumer", "parallelconsumer", usual},
		{"Bento", "bento", usual},
		{"Watermill", "watermill", usual},
		{fmt.Sprintf("Watermill, %d partitions", calls), "watermill", calls},
	}
}

// start starts the subject on a run's jobs and returns its process' number.
func (s subject) start(r *stage.Run) (pid int, err error) {
	if s.peer == "" {
		w, err := r.Worker(calls)
		if err != nil {
			return 0, err
		}
		return w.PID(), nil
	}
	p, err := r.Peer(s.peer, calls)
	if err != nil {
		return 0, err
	}
	return p.Pid(), nil
}

// peers measures jobs a second of each subject at several latencies of the API.
func peers(ctx context.Context, m *session) error {
	if err := m.BuildPeers(ctx); err != nil {
		return err
	}
	m.result.Note = fmt.Sprintf("%d partitions, %d calls at once", usual, calls)
	for range m.Runs {
		for _, latency := range pick(m, []int{20}, []int{0, 20, 100}) {
			at := fmt.Sprintf("%d ms", latency)
			for _, s := range subjects() {
				w, err := s.measure(ctx, m, time.Duration(latency)*time.Millisecond)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", s.series, at, err)
				}
				m.others(w)
				m.set(result.Figure{Name: "jobs a second", Series: s.series, At: at}, w.rate())
				m.set(result.Figure{Name: "CPU of the process", Unit: "ms/job", Series: s.series, At: at},
					milliseconds(w.perJob(s.series)))
			}
		}
	}
	return nil
}

// measure has a subject do jobs that are all there when it starts, and looks at a while of it.
func (s subject) measure(ctx context.Context, m *session, latency time.Duration) (w window, err error) {
	count := pick(m, 10_000, 40_000)
	r, err := m.NewRun(ctx, stage.Params{Partitions: s.partitions, Jobs: count, Latency: latency})
	if err != nil {
		return w, err
	}
	defer func() { err = closed(ctx, r, err) }()
	if _, err := r.Produce(ctx); err != nil {
		return w, err
	}
	pid, err := s.start(r)
	if err != nil {
		return w, err
	}
	const warm = 7 * time.Second // Connections, and Java's compiler.
	return m.during(ctx, r.API.Client, m.pids(r.API, s.series, pid), warm, pick(m, 4*time.Second, 8*time.Second), count*9/10)
}

// during is the window of a length that begins some time after the first job is done. It ends early where
// there is no more work.
func (m *session) during(
	ctx context.Context, a api.Client, pids map[string]int, warm, length time.Duration, most int,
) (window, error) {
	const longest = 2 * time.Minute
	var ends [2]sample
	if _, err := a.Wait(ctx, longest, "a first job", func(c api.Counts) bool { return c.Done > 0 }); err != nil {
		return window{}, err
	}
	for i, while := range []time.Duration{warm, length} {
		limit := most
		if i == 0 {
			limit /= 4
		}
		end := time.Now().Add(while)
		_, err := a.Wait(ctx, longest, "a while to pass", func(c api.Counts) bool { return c.Done >= limit || time.Now().After(end) })
		if err != nil {
			return window{}, err
		}
		if ends[i], err = m.take(ctx, a, pids); err != nil {
			return window{}, err
		}
	}
	w := between(ends[0], ends[1])
	if w.jobs == 0 {
		return w, fmt.Errorf("no job was done within %s", w.length)
	}
	counts, err := a.Counts(ctx)
	if err != nil {
		return w, err
	}
	return w, sound(counts)
}
