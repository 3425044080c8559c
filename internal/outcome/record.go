package outcome

import (
	"cmp"
	"fmt"
	"time"

	"replyworker/internal/job"
)

// Record is an outcome as it stands in the topic.
type Record struct {
	Event
	// ID is the ce_id: the job record's identity, the same for every outcome of it. Where the header is
	// missing it is made of the event.
	ID string
	// Value is the event's bytes, with the fields that this version does not know.
	Value []byte
	// Times are those of the event; each is zero where it is not known.
	Times Times
	// At is where the outcome itself stands, and when it was published.
	At job.Source
}

// Times are the times of an event.
type Times struct {
	Enqueued, Started, Finished time.Time
}

// Read reads an outcome record. Its error says what is wrong with one that is none.
func Read(d *job.Delivery) (Record, error) {
	e, err := Parse(d.Value)
	if err != nil {
		return Record{}, err
	}
	r := Record{Event: e, Value: d.Value, At: d.Source}
	err = cmp.Or(
		parseTime("enqueued_at", e.EnqueuedAt, &r.Times.Enqueued),
		parseTime("started_at", e.StartedAt, &r.Times.Started),
		parseTime("finished_at", e.FinishedAt, &r.Times.Finished),
	)
	if err != nil {
		return Record{}, err
	}
	if r.ID, _ = d.Header("ce_id"); r.ID == "" {
		source := job.Source{
			Topic: e.Source.Topic, Partition: e.Source.Partition, Offset: e.Source.Offset, Timestamp: r.Times.Enqueued,
		}
		if r.Times.Enqueued.IsZero() {
			source.Timestamp = time.UnixMilli(-1) // as Kafka has it of a record without a time
		}
		r.ID = source.ID()
	}
	return r, nil
}

func parseTime(field, text string, into *time.Time) error {
	if text == "" {
		return nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return fmt.Errorf("its %s is %q", field, text)
	}
	*into = t.UTC()
	return nil
}
