package outcome

import (
	"context"
	"time"

	"replyworker/internal/kafkaio"
)

// clockSlack is how far the times of the records of one partition may be out of order: the clocks of
// workers, and of brokers, differ by less.
const clockSlack = time.Hour

// SpanFinder finds what there is to read of a topic: a *kafkaio.Client.
type SpanFinder interface {
	Spans(ctx context.Context, topic string, since time.Time) ([]kafkaio.Span, error)
}

// Spans returns what has to be read of the topic to find every outcome that is published now and was so
// in the time that the filter wants. There may be others in it.
func Spans(ctx context.Context, from SpanFinder, topic string, f *Filter) ([]kafkaio.Span, error) {
	spans, err := from.Spans(ctx, topic, f.Since)
	if err != nil || f.Until.IsZero() {
		return spans, err
	}
	behind, err := from.Spans(ctx, topic, f.Until.Add(clockSlack))
	if err != nil {
		return nil, err
	}
	firsts := map[int]int64{}
	for _, b := range behind {
		firsts[b.Partition] = b.First
	}
	for i, s := range spans {
		if first, found := firsts[s.Partition]; found {
			spans[i].End = max(s.First, min(s.End, first))
		}
	}
	return spans, nil
}
