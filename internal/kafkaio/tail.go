package kafkaio

import (
	"context"
	"errors"
	"sync"
	"time"

	"replyworker/internal/job"
)

const (
	tailBytes   = 1 << 20
	tailRecords = 10_000
	tailRetry   = 200 * time.Millisecond
)

// Tail reads every partition of a topic from its beginning and goes on with what comes, until ctx
// ends or each returns an error, which it returns. each is called by one goroutine at a time, with
// the records of a partition in their order.
func (c *Client) Tail(ctx context.Context, topic string, each func(job.Delivery) error) error {
	partitions, err := c.Partitions(ctx, topic)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for id := range partitions[topic] {
		wg.Go(func() {
			f := &Fetcher{Client: c, Topic: topic, Partition: id, MaxBytes: tailBytes}
			f.tail(ctx, func(d job.Delivery) {
				mu.Lock()
				defer mu.Unlock()
				if ctx.Err() == nil {
					if err := each(d); err != nil {
						cancel(err)
					}
				}
			})
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// tail reads one partition until ctx ends. Errors of a broker are waited out.
func (f *Fetcher) tail(ctx context.Context, each func(job.Delivery)) {
	for offset := int64(0); ctx.Err() == nil; {
		page, err := f.Fetch(ctx, offset, tailRecords)
		if errors.Is(err, ErrOffsetOutOfRange) {
			if first, _, boundsErr := f.Bounds(ctx); boundsErr == nil {
				offset = first
				continue
			}
		}
		if err != nil {
			select {
			case <-ctx.Done():
			case <-time.After(tailRetry):
			}
			continue
		}
		for _, d := range page.Records {
			each(d)
		}
		offset = page.Next
	}
}
