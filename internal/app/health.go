package app

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"replyworker/internal/ops"
)

func (w *Worker) alive() error {
	if silent := time.Since(w.scheduler.LastBeat()); silent > stuckAfter {
		return fmt.Errorf("the dispatcher has been stuck for %s", silent.Round(time.Second))
	}
	return nil
}

// checks are the lines of /readyz. It is ready where a person need not act.
func (w *Worker) checks() []ops.Check {
	return []ops.Check{
		{Name: "worker", Run: w.checkWorker},
		{Name: "kafka", Run: w.checkKafka},
		{Name: "redis", Run: w.checkRedis},
		{Name: "merchants", Run: w.checkMerchants},
		{Name: "hosts", Run: w.checkHosts},
	}
}

func (w *Worker) checkWorker(context.Context) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.draining:
		return "", errors.New("draining")
	case w.consumer == nil:
		return "", errors.New("starting")
	case !w.consumer.Joined():
		return "", errors.New("has not joined the consumer group yet")
	}
	return fmt.Sprintf("reads %d partitions", len(w.consumer.Partitions())), nil
}

// checkKafka also says what a broker that answers has kept refusing: the right to read, write or commit
// may be missing, and a partition may have no leader.
func (w *Worker) checkKafka(ctx context.Context) (string, error) {
	if err := w.kafka.Ping(ctx); err != nil {
		return "", err
	}
	w.mu.Lock()
	parts := w.lasting
	w.mu.Unlock()
	for _, part := range parts {
		if err := part.Lasting(time.Now(), w.alarmAfter); err != nil {
			return "", err
		}
	}
	return "answers", nil
}

// checkRedis reports keys that something else has written as degraded: they keep their own jobs waiting,
// and those of their complaints, and nobody else.
func (w *Worker) checkRedis(ctx context.Context) (string, error) {
	if err := w.store.Ping(ctx); err != nil {
		return "", err
	}
	w.mu.Lock()
	p := w.processor
	w.mu.Unlock()
	if p != nil {
		if n, id := p.Odd(); n > 0 {
			return fmt.Sprintf("degraded; jobs whose claims cannot be used: %d, for one %s (worker job ID)", n, id), nil
		}
	}
	return "takes writes", nil
}

func (w *Worker) checkMerchants(context.Context) (string, error) {
	held, all := 0, *w.merchants.Load()
	var text strings.Builder
	for _, m := range w.gate.State().Merchants {
		if _, configured := all[m.MchID]; configured && m.Hold != nil {
			held++
			fmt.Fprintf(&text, "; %s held since %s: %s %s", m.MchID, m.Hold.Since.UTC().Format(time.RFC3339),
				m.Hold.Kind, m.Hold.Code)
		}
	}
	switch {
	case held == 0:
		return "none held", nil
	case held >= len(all):
		return "", fmt.Errorf("all held%s (worker holds list)", text.String())
	}
	return "degraded" + text.String(), nil
}

func (w *Worker) checkHosts(context.Context) (string, error) {
	var text strings.Builder
	for _, h := range w.gate.State().Hosts {
		if h.Open {
			fmt.Fprintf(&text, "; %s out since %s", h.Host, h.Since.UTC().Format(time.RFC3339))
		}
	}
	if text.Len() == 0 {
		return "all well", nil
	}
	return "degraded" + text.String(), nil
}
