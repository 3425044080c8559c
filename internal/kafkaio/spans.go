package kafkaio

import (
	"context"
	"sync"
	"time"

	"replyworker/internal/job"
)

// spanReaders is the most spans read at once; with spanBytes it bounds the memory.
const spanReaders = 8

// SpanReader reads one span: a *Client.
type SpanReader interface {
	ReadSpan(
		ctx context.Context, s Span, patience time.Duration, each func(records []job.Delivery, passed int64) error,
	) error
}

// ReadSpans reads many spans, some of them at once, each as ReadSpan does. It calls each from several
// goroutines at once, for one span from one at a time. It returns the first failure, which ends the
// others.
func ReadSpans(
	ctx context.Context, from SpanReader, spans []Span, patience time.Duration,
	each func(s Span, records []job.Delivery, passed int64) error,
) error {
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	queue := make(chan Span, len(spans))
	for _, s := range spans {
		queue <- s
	}
	close(queue)
	var all sync.WaitGroup
	var once sync.Once
	var first error
	for range min(spanReaders, len(spans)) {
		all.Go(func() {
			for s := range queue {
				err := from.ReadSpan(inner, s, patience, func(records []job.Delivery, passed int64) error {
					return each(s, records, passed)
				})
				if err != nil {
					once.Do(func() { first = err })
					cancel(err)
					return
				}
			}
		})
	}
	all.Wait()
	return first
}

// Offsets returns the number of offsets in all of the spans, for a progress bar.
func Offsets(spans []Span) int64 {
	var total int64
	for _, s := range spans {
		total += s.Len()
	}
	return total
}
