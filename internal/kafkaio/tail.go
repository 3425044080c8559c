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
	tailLook    = 10 * time.Second
)

// Follower is who follows a topic.
type Follower struct {
	// Each is called by one goroutine at a time, with the records of a partition in their order. Its
	// error ends the following.
	Each func(job.Delivery) error
	// Fetched, where it is not nil, is told how each fetch of a partition ended, by several goroutines at
	// once. What fails is tried again.
	Fetched func(partition int, err error)
	// Look is how often partitions that were added are looked for, which are then read from their
	// beginning. Zero is 10 s.
	Look time.Duration
}

// Tail reads every partition of a topic from its beginning and goes on with what comes, until ctx
// ends or each returns an error, which it returns. each is called by one goroutine at a time, with
// the records of a partition in their order.
func (c *Client) Tail(ctx context.Context, topic string, each func(job.Delivery) error) error {
	partitions, err := c.Partitions(ctx, topic)
	if err != nil {
		return err
	}
	var spans []Span
	for id := range partitions[topic] {
		spans = append(spans, Span{Topic: topic, Partition: id})
	}
	return c.Follow(ctx, spans, Follower{Each: each})
}

// Follow reads the partitions of the spans, which are those of one topic, from where each begins, and
// goes on behind their ends with what comes, until ctx ends or Each returns an error, which it returns.
// What the topic's retention has taken is passed over. A partition that has lost its end, or was made
// anew, is read again from its beginning.
func (c *Client) Follow(ctx context.Context, spans []Span, who Follower) error {
	if len(spans) == 0 {
		return errors.New("follow: there is no partition")
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	f := &following{client: c, topic: spans[0].Topic, who: who, cancel: cancel}
	for _, s := range spans {
		f.begin(ctx, s.Partition, s.First)
	}
	f.look(ctx, len(spans))
	f.all.Wait()
	return context.Cause(ctx)
}

// following is one call of Follow.
type following struct {
	client *Client
	topic  string
	who    Follower
	cancel context.CancelCauseFunc

	all sync.WaitGroup
	mu  sync.Mutex // Each's
}

func (f *following) begin(ctx context.Context, partition int, from int64) {
	f.all.Go(func() {
		fetcher := &Fetcher{Client: f.client, Topic: f.topic, Partition: partition, MaxBytes: tailBytes}
		fetcher.tail(ctx, from, f.each, f.who.Fetched)
	})
}

func (f *following) each(ctx context.Context, d job.Delivery) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if ctx.Err() == nil {
		if err := f.who.Each(d); err != nil {
			f.cancel(err)
		}
	}
}

// look begins partitions that are added, until ctx ends. Failures show where partitions are fetched.
func (f *following) look(ctx context.Context, known int) {
	every := f.who.Look
	if every == 0 {
		every = tailLook
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		partitions, err := f.client.Partitions(ctx, f.topic)
		if err != nil {
			continue
		}
		for ; known < partitions[f.topic]; known++ {
			f.begin(ctx, known, 0)
		}
	}
}

// tail reads one partition until ctx ends. Errors of a broker are waited out, and so is one that calls the
// offset out of range which it has just named as the first: it is asked again at once only the first time.
func (f *Fetcher) tail(
	ctx context.Context, from int64, each func(context.Context, job.Delivery), fetched func(partition int, err error),
) {
	moved := false
	for offset := from; ctx.Err() == nil; {
		page, err := f.Fetch(ctx, offset, tailRecords)
		if errors.Is(err, ErrOffsetOutOfRange) {
			if first, _, boundsErr := f.Bounds(ctx); boundsErr == nil {
				offset = first
				if !moved {
					moved = true
					continue
				}
			}
		}
		if fetched != nil && ctx.Err() == nil {
			fetched(f.Partition, err)
		}
		if err != nil {
			select {
			case <-ctx.Done():
			case <-time.After(tailRetry):
			}
			continue
		}
		moved = false
		for _, d := range page.Records {
			each(ctx, d)
		}
		offset = page.Next
	}
}
