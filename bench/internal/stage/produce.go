//go:build linux

package stage

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Record is where a job has been written.
type Record struct {
	Partition int32
	Offset    int64
	Timestamp time.Time
}

// Produce writes all jobs, as fast as the broker takes them, in their order.
func (r *Run) Produce(ctx context.Context) ([]Record, error) {
	all := make([]Record, r.Batch.Jobs)
	var (
		wait  sync.WaitGroup
		mu    sync.Mutex
		fault error
	)
	for n := range r.Batch.Jobs {
		wait.Add(1)
		r.client.Produce(ctx, r.record(n), func(at *kgo.Record, err error) {
			defer wait.Done()
			all[n] = Record{at.Partition, at.Offset, at.Timestamp}
			if err != nil {
				mu.Lock()
				defer mu.Unlock()
				fault = err
			}
		})
	}
	wait.Wait()
	if fault != nil {
		return nil, fmt.Errorf("produce: %w", fault)
	}
	return all, nil
}

// ProduceAt writes the jobs one after another at a rate, each as soon as it is due, and returns when each was
// given to the producer. It is for a producer that sends each job at once.
func (r *Run) ProduceAt(ctx context.Context, perSecond float64) ([]time.Time, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(r.kafka.Addrs()...), kgo.ProducerLinger(0))
	if err != nil {
		return nil, fmt.Errorf("produce: %w", err)
	}
	defer client.Close()
	born := make([]time.Time, r.Batch.Jobs)
	var (
		mu    sync.Mutex
		fault error
	)
	start := time.Now()
	for n := range r.Batch.Jobs {
		due := start.Add(time.Duration(float64(n) / perSecond * float64(time.Second)))
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(time.Until(due)):
		}
		born[n] = time.Now()
		client.Produce(ctx, r.record(n), func(_ *kgo.Record, err error) {
			if err != nil {
				mu.Lock()
				defer mu.Unlock()
				fault = err
			}
		})
	}
	if err := client.Flush(ctx); err != nil {
		return nil, fmt.Errorf("produce: %w", err)
	}
	mu.Lock()
	defer mu.Unlock()
	if fault != nil {
		return nil, fmt.Errorf("produce: %w", fault)
	}
	return born, nil
}

func (r *Run) record(n int) *kgo.Record {
	return &kgo.Record{Topic: r.topic(topicJobs), Key: []byte(r.Batch.Complaint(n)), Value: r.Batch.Value(n)}
}
