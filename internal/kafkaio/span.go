package kafkaio

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"

	"replyworker/internal/job"
)

const (
	spanBytes   = 1 << 20
	spanRecords = 5000
	spanRetry   = 200 * time.Millisecond
)

// Span is the part of a partition that a command reads: from First, up to where the partition ended
// when the command began.
type Span struct {
	Topic      string
	Partition  int
	First, End int64 // End is one past the last offset
}

// Len returns the number of offsets in the span. Not each has to have a record.
func (s Span) Len() int64 { return max(0, s.End-s.First) }

// Spans returns a span for each partition of a topic, by partition: of what is committed there now,
// from the records of the time since on, or from the beginning where since is zero. A transaction that
// is open ends a span, so that reading one never waits. Where a broker does not answer it asks again
// until ctx ends.
func (c *Client) Spans(ctx context.Context, topic string, since time.Time) ([]Span, error) {
	for {
		spans, err := c.spans(ctx, topic, since)
		var missing *MissingTopicsError
		if err == nil || errors.As(err, &missing) {
			return spans, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("kafka at %s: %w", strings.Join(c.brokers, ","), err)
		case <-time.After(spanRetry):
		}
	}
}

func (c *Client) spans(ctx context.Context, topic string, since time.Time) ([]Span, error) {
	partitions, err := c.Partitions(ctx, topic)
	if err != nil {
		return nil, err
	}
	var wanted []kafka.OffsetRequest
	for id := range partitions[topic] {
		wanted = append(wanted, kafka.FirstOffsetOf(id), kafka.LastOffsetOf(id))
		if !since.IsZero() {
			wanted = append(wanted, kafka.TimeOffsetOf(id, since))
		}
	}
	res, err := c.client.ListOffsets(ctx, &kafka.ListOffsetsRequest{
		Topics: map[string][]kafka.OffsetRequest{topic: wanted}, IsolationLevel: kafka.ReadCommitted,
	})
	if err != nil {
		return nil, fmt.Errorf("offsets of %s: %w", topic, terse(err))
	}
	var spans []Span
	for _, p := range res.Topics[topic] {
		if p.Error != nil {
			return nil, fmt.Errorf("offsets of %s/%d: %w", topic, p.Partition, p.Error)
		}
		s := Span{Topic: topic, Partition: p.Partition, First: p.FirstOffset, End: p.LastOffset}
		if !since.IsZero() {
			s.First = s.End // where no record is of that time or later
			for offset := range p.Offsets {
				if offset >= 0 {
					s.First = min(offset, s.End)
				}
			}
		}
		spans = append(spans, s)
	}
	slices.SortFunc(spans, func(a, b Span) int { return a.Partition - b.Partition })
	return spans, nil
}

// ReadSpan reads the committed records of a span in their order, and calls each with some of them at a
// time and the number of offsets that it has come on, until the span is read or each returns an error,
// which it returns. What a broker does not send it asks for again, until patience is over without
// anything new, or ctx ends. Records that the topic's retention has taken meanwhile are passed over.
func (c *Client) ReadSpan(
	ctx context.Context, s Span, patience time.Duration, each func(records []job.Delivery, passed int64) error,
) error {
	f := &Fetcher{Client: c, Topic: s.Topic, Partition: s.Partition, MaxBytes: spanBytes}
	moved := time.Now()
	for at := s.First; at < s.End; {
		page, err := f.page(ctx, at)
		next := min(page.Next, s.End)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil && next > at:
			after := slices.IndexFunc(page.Records, func(d job.Delivery) bool { return d.Source.Offset >= s.End })
			if after >= 0 {
				page.Records = page.Records[:after]
			}
			if err := each(page.Records, next-at); err != nil {
				return err
			}
			at, moved = next, time.Now()
			continue
		case err == nil && page.HighWatermark < s.End:
			err = fmt.Errorf("%s/%d ended at %d and now ends at %d: it has lost records", s.Topic, s.Partition, s.End, page.HighWatermark)
		case err == nil:
			err = fmt.Errorf("%s/%d ends at %d, and nothing comes from %d on", s.Topic, s.Partition, s.End, at)
		}
		if time.Since(moved) >= patience {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(spanRetry):
		}
	}
	return nil
}

// page fetches from an offset on, from the first that is left where retention has taken it.
func (f *Fetcher) page(ctx context.Context, at int64) (Page, error) {
	page, err := f.Fetch(ctx, at, spanRecords)
	if !errors.Is(err, ErrOffsetOutOfRange) {
		return page, err
	}
	first, end, boundsErr := f.Bounds(ctx)
	switch {
	case boundsErr != nil:
		return Page{}, boundsErr
	case first > at:
		return Page{Next: first, HighWatermark: end}, nil
	default: // at is past the end
		return Page{Next: at, HighWatermark: end}, nil
	}
}
