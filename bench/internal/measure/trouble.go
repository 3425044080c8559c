//go:build linux

package measure

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"replyworker/bench/internal/api"
	"replyworker/bench/internal/jobs"
	"replyworker/bench/internal/result"
	"replyworker/bench/internal/stage"
)

const (
	troubleRate  = 100  // Jobs a second, each subject.
	troubleShare = 0.01 // Of the jobs.
	complaints   = 1_000
)

// troubles measures what each subject does with jobs that fail for a while, and what the others notice. All
// subjects run side by side, each with its own topics and its own API: it is no matter of speed.
func troubles(ctx context.Context, m *session) error {
	if err := m.BuildPeers(ctx); err != nil {
		return err
	}
	m.result.Note = fmt.Sprintf("%d jobs/s each, %d complaints, API of 20 ms, %d partitions, %d calls at once", troubleRate, complaints, usual, calls)
	before, during, after := pick(m, 5, 5), pick(m, 10, 60), pick(m, 5, 30)
	for range m.Runs {
		if err := m.troubled(ctx, before, during, after); err != nil {
			return err
		}
	}
	return nil
}

// troubled is one run; the times are in seconds.
func (m *session) troubled(ctx context.Context, before, during, after int) (err error) {
	all := subjects()[:4] // Watermill's second is about speed.
	runs := make([]*stage.Run, len(all))
	defer func() {
		for _, r := range runs {
			if r != nil {
				err = errors.Join(err, closed(ctx, r, nil))
			}
		}
	}()
	for i, s := range all {
		runs[i], err = m.NewRun(ctx, stage.Params{
			API: i, Partitions: s.partitions, Jobs: troubleRate * (before + during + after), Complaints: complaints, Latency: 20 * time.Millisecond,
		})
		if err != nil {
			return err
		}
		if _, err := s.start(runs[i]); err != nil {
			return err
		}
		if err := runs[i].Joined(ctx, time.Minute); err != nil {
			return fmt.Errorf("%s: %w", s.series, err)
		}
	}
	faults, found := make([]error, len(all)), make([]fate, len(all))
	var wait sync.WaitGroup
	for i := range all {
		wait.Go(func() {
			found[i], faults[i] = troubledRun(ctx, runs[i], time.Duration(before)*time.Second, time.Duration(during)*time.Second)
		})
	}
	wait.Wait()
	for i, s := range all {
		if faults[i] != nil {
			return fmt.Errorf("%s: %w", s.series, faults[i])
		}
		m.fate(s.series, found[i])
	}
	return nil
}

// fate is what became of the jobs of a run.
type fate struct {
	lost, doubled, disorder, letters float64
	waits                            []float64 // In seconds, of the jobs of complaints that no job fails of.
}

func (m *session) fate(series string, f fate) {
	for _, part := range []struct {
		at    string
		value float64
	}{
		{"lost", f.lost}, {"succeeded twice", f.doubled}, {"out of order", f.disorder}, {"dead letters", f.letters},
		{"other complaints' wait, p99 (s)", result.Quantile(f.waits, 0.99)}, {"longest (s)", result.Quantile(f.waits, 1)},
	} {
		m.set(result.Figure{Name: "1 % of the jobs fail for a minute", Series: series, At: part.at}, part.value)
	}
}

// troubledRun produces a run's jobs, makes the trouble, and waits until nothing comes any more.
func troubledRun(ctx context.Context, r *stage.Run, before, during time.Duration) (fate, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	trouble := make(chan error, 1)
	go func() {
		select {
		case <-ctx.Done():
			trouble <- context.Cause(ctx)
		case <-time.After(before):
			trouble <- r.API.Trouble(ctx, api.Trouble{Share: troubleShare, For: during})
		}
	}()
	born, err := r.ProduceAt(ctx, troubleRate)
	if err == nil {
		err = <-trouble
	}
	if err != nil {
		return fate{}, err
	}
	counts, letters, err := quiet(ctx, r)
	if err != nil {
		return fate{}, err
	}
	times, err := r.API.Times(ctx)
	if err != nil {
		return fate{}, err
	}
	f := fate{
		doubled: float64(counts.Doubled), disorder: float64(counts.Disorder), letters: float64(letters),
		lost: max(0, float64(len(times)-counts.Done)-float64(letters)),
	}
	failing := failingComplaints(r.Batch)
	for n, b := range born {
		if done := times[n].Done; done > 0 && !failing[r.Batch.ComplaintNumber(n)] {
			f.waits = append(f.waits, time.Unix(0, done).Sub(b).Seconds())
		}
	}
	return f, sound(counts)
}

// failingComplaints are those that have a job which fails while there is trouble. What their later jobs wait for,
// they wait for to keep the order.
func failingComplaints(b jobs.Batch) map[int]bool {
	found := map[int]bool{}
	for n := range b.Jobs {
		if jobs.Picked(n, troubleShare) {
			found[b.ComplaintNumber(n)] = true
		}
	}
	return found
}

// quiet waits until every job is done or has a dead letter, or nothing has happened for longer than anybody waits
// before another try.
func quiet(ctx context.Context, r *stage.Run) (api.Counts, int64, error) {
	const patience, longest, pause = 75 * time.Second, 6 * time.Minute, 500 * time.Millisecond
	var calls, letters int64
	changed := time.Now()
	for deadline := changed.Add(longest); ; {
		counts, err := r.API.Counts(ctx)
		if err != nil {
			return counts, 0, err
		}
		now, err := r.DeadLetters(ctx)
		if err != nil {
			return counts, 0, err
		}
		if counts.Calls != calls || now != letters {
			calls, letters, changed = counts.Calls, now, time.Now()
		}
		if int64(counts.Done)+letters >= int64(r.Batch.Jobs) || time.Since(changed) > patience || time.Now().After(deadline) {
			return counts, letters, nil
		}
		select {
		case <-ctx.Done():
			return counts, 0, context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}
