//go:build linux

package stage

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"replyworker/internal/dedupe"
	"replyworker/internal/job"
)

// Finish makes all jobs of the run finished ones, as their records stand in Kafka: each has a claim that it is
// done and its outcome published, as a worker leaves it. It is what `dedupe rebuild` does of outcomes.
func (r *Run) Finish(ctx context.Context, records []Record) error {
	u, err := url.Parse(r.redisURL())
	if err != nil {
		return fmt.Errorf("finish jobs: %w", err)
	}
	store, err := dedupe.New(dedupe.Config{Server: dedupe.Server{Addrs: []string{u.Host}}, Prefix: r.name})
	if err != nil {
		return fmt.Errorf("finish jobs: %w", err)
	}
	defer func() { _ = store.Close() }() // What it was asked has been answered.
	const batch = 5_000
	for from := 0; from < len(records); from += batch {
		var all []dedupe.Success
		for n := from; n < min(from+batch, len(records)); n++ {
			s, err := r.success(n, records[n])
			if err != nil {
				return err
			}
			all = append(all, s)
		}
		for _, result := range store.Restore(ctx, all, true) {
			if result.Err != nil || result.Restoration != dedupe.Restored {
				return fmt.Errorf("finish jobs: %s %w", result.Restoration, result.Err)
			}
		}
	}
	return nil
}

func (r *Run) success(n int, at Record) (dedupe.Success, error) {
	decoded, err := job.Decode(r.Batch.Value(n), job.Strict)
	if err != nil {
		return dedupe.Success{}, fmt.Errorf("finish jobs: %w", err)
	}
	source := job.Source{Topic: r.topic(topicJobs), Partition: int(at.Partition), Offset: at.Offset, Timestamp: at.Timestamp}
	return dedupe.Success{
		Key:    dedupe.Key{MchID: r.keys.MchID, IdempotentID: decoded.IdempotentID},
		Source: source.ID(), Content: decoded.ContentSHA256(), LogID: fmt.Sprintf("3002%023d", n), Attempts: 1,
		FinishedAt: time.Now(),
	}, nil
}
