package replay

import (
	"context"
	"fmt"
	"slices"
	"time"

	"replyworker/internal/deadletter"
	"replyworker/internal/job"
	"replyworker/internal/kafkaio"
)

// pageOffsets is how many offsets are read at once where one letter is wanted: the next ones are
// often those behind it.
const pageOffsets = 500

// letters gives out the records of dead letters by their IDs. It keeps the last page of each
// partition. One goroutine uses it.
type letters struct {
	kafka    kafkaio.SpanReader
	topic    string
	patience time.Duration
	ends     map[int]int64 // of the partitions
	pages    map[int][]job.Delivery
}

func newLetters(kafka kafkaio.SpanReader, topic string, spans []kafkaio.Span, patience time.Duration) *letters {
	l := &letters{kafka: kafka, topic: topic, patience: patience, ends: map[int]int64{}, pages: map[int][]job.Delivery{}}
	for _, s := range spans {
		l.ends[s.Partition] = s.End
	}
	return l
}

// get returns the record of a letter.
func (l *letters) get(ctx context.Context, p deadletter.Place) (*job.Delivery, error) {
	if d := l.find(p); d != nil {
		return d, nil
	}
	span := kafkaio.Span{
		Topic: l.topic, Partition: p.ID.Partition, First: p.ID.Offset, End: min(p.ID.Offset+pageOffsets, l.ends[p.ID.Partition]),
	}
	errEnough := fmt.Errorf("enough of %s", l.topic)
	err := l.kafka.ReadSpan(ctx, span, l.patience, func(records []job.Delivery, _ int64) error {
		l.pages[p.ID.Partition] = records
		return errEnough // what one fetch yields bounds the memory
	})
	if err != nil && err != errEnough { //nolint:errorlint // our own, as it was returned
		return nil, fmt.Errorf("letter %s: %w", p.ID, err)
	}
	if d := l.find(p); d != nil {
		return d, nil
	}
	return nil, fmt.Errorf("letter %s is not there any more", p.ID)
}

func (l *letters) find(p deadletter.Place) *job.Delivery {
	page := l.pages[p.ID.Partition]
	i := slices.IndexFunc(page, func(d job.Delivery) bool {
		return d.Source.Offset == p.ID.Offset && d.Source.Timestamp.Equal(p.Timestamp)
	})
	if i < 0 {
		return nil
	}
	return &page[i]
}

// EachLetter calls do with the record of each of the letters, in the order in which their jobs stood.
// One that retention has removed meanwhile is an error.
func EachLetter(
	ctx context.Context, kafka deadletter.Kafka, topic string, patience time.Duration, wanted []*deadletter.Letter,
	do func(l *deadletter.Letter, record *job.Delivery) error,
) error {
	first, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	spans, err := kafka.Spans(first, topic, time.Time{})
	if err != nil {
		return err
	}
	from := newLetters(kafka, topic, spans, patience)
	for _, l := range slices.SortedFunc(slices.Values(wanted), compareSources) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		record, err := from.get(ctx, l.Place())
		if err != nil {
			return err
		}
		if err := do(l, record); err != nil {
			return err
		}
	}
	return nil
}
