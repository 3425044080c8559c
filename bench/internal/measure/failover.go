//go:build linux

package measure

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"replyworker/bench/internal/api"
	"replyworker/bench/internal/stage"
)

// failover measures what jobs notice when the primary host dies, or hangs, under load.
func failover(ctx context.Context, m *session) error {
	for range m.Runs {
		for _, death := range []struct {
			name   string
			signal syscall.Signal
		}{{"the primary dies (SIGKILL)", syscall.SIGKILL}, {"the primary hangs (SIGSTOP), request-timeout 2 s", syscall.SIGSTOP}} {
			if err := switchHosts(ctx, m, death.name, death.signal); err != nil {
				return fmt.Errorf("%s: %w", death.name, err)
			}
		}
	}
	return nil
}

func switchHosts(ctx context.Context, m *session, name string, signal syscall.Signal) (err error) {
	const perSecond, before, after = 50, 4 * time.Second, 6 * time.Second
	count := int(perSecond * (before + after).Seconds())
	backup, err := m.API(1)
	if err != nil {
		return err
	}
	r, err := m.NewRun(ctx, stage.Params{Partitions: 4, Jobs: count, Latency: 50 * time.Millisecond, Settings: []string{
		"REPLYWORKER_BACKUP_URL=" + backup.URL, "REPLYWORKER_REQUEST_TIMEOUT=2s",
	}})
	if err != nil {
		return err
	}
	defer func() { err = closed(ctx, r, err) }()
	defer r.API.Kill() // The next run has a new one.
	if err := backup.Begin(ctx, api.Order{Batch: r.Batch, Latency: 50 * time.Millisecond}); err != nil {
		return err
	}
	w, err := r.Worker(64)
	if err != nil {
		return err
	}
	if err := w.Ready(ctx); err != nil {
		return err
	}
	var born []time.Time
	produced := make(chan error, 1)
	go func() {
		var err error
		born, err = r.ProduceAt(ctx, perSecond)
		produced <- err
	}()
	select {
	case <-ctx.Done():
		<-produced
		return context.Cause(ctx)
	case <-time.After(before):
	}
	earlier, err := r.API.Times(ctx)
	died := time.Now()
	r.API.Signal(signal)
	if producing := <-produced; err == nil {
		err = producing
	}
	if err != nil {
		return err
	}
	// Those that the primary had finished when it died have their outcome; the rest end at the backup.
	if err := r.Finished(ctx, count, time.Minute); err != nil {
		return err
	}
	later, err := backup.Times(ctx)
	if err != nil {
		return err
	}
	m.noticed(name, died, born, earlier, later)
	return nil
}

// noticed keeps the time from the death to the first success on the backup, and the longest that a job has
// waited beyond what jobs usually do.
func (m *session) noticed(name string, died time.Time, born []time.Time, earlier, later []api.Times) {
	first, worst, usual := time.Duration(0), 0.0, []float64{}
	for n, b := range born {
		if earlier[n].Done > 0 {
			usual = append(usual, milliseconds(time.Unix(0, earlier[n].Done).Sub(b)))
			continue
		}
		if later[n].Done == 0 {
			continue // The primary had it at the last moment.
		}
		done := time.Unix(0, later[n].Done)
		worst = max(worst, milliseconds(done.Sub(b)))
		if since := done.Sub(died); since > 0 && (first == 0 || since < first) {
			first = since
		}
	}
	m.set(figure(name+": first success on the backup after", "ms", nil), milliseconds(first))
	m.set(figure(name+": longest wait of a job, beyond the usual", "ms", nil), max(0, worst-median(usual)))
}
