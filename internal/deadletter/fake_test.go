package deadletter_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/deadletter"
	"replyworker/internal/job"
	"replyworker/internal/kafkaio"
)

const (
	lettersTopic     = "letters"
	resolutionsTopic = "resolutions"
)

// topics is a Kafka in memory: the records of each topic and partition, by their offsets.
type topics struct {
	records map[string][][]job.Delivery
	// gate, where set, is called before a partition is read.
	gate func(s kafkaio.Span)
	// after, where set, is called when it has been read.
	after func(s kafkaio.Span)
}

func newTopics(partitions int) *topics {
	return &topics{records: map[string][][]job.Delivery{
		lettersTopic: make([][]job.Delivery, partitions), resolutionsTopic: make([][]job.Delivery, partitions),
	}}
}

// put appends a record, and returns where it stands.
func (k *topics) put(topic string, partition int, at time.Time, m kafkaio.Message) deadletter.Place {
	p := &k.records[topic][partition]
	source := job.Source{Topic: topic, Partition: partition, Offset: int64(len(*p)), Timestamp: at.Truncate(time.Millisecond)}
	*p = append(*p, job.Delivery{Source: source, Key: m.Key, Value: m.Value, Headers: m.Headers})
	return deadletter.Place{ID: deadletter.ID{Partition: partition, Offset: source.Offset}, Timestamp: source.Timestamp}
}

func (k *topics) Spans(_ context.Context, topic string, since time.Time) ([]kafkaio.Span, error) {
	var spans []kafkaio.Span
	for id, records := range k.records[topic] {
		first := slices.IndexFunc(records, func(d job.Delivery) bool { return !d.Source.Timestamp.Before(since) })
		if first < 0 {
			first = len(records)
		}
		spans = append(spans, kafkaio.Span{Topic: topic, Partition: id, First: int64(first), End: int64(len(records))})
	}
	return spans, nil
}

func (k *topics) ReadSpan(
	ctx context.Context, s kafkaio.Span, _ time.Duration, each func([]job.Delivery, int64) error,
) error {
	if k.gate != nil {
		k.gate(s)
	}
	if k.after != nil {
		defer k.after(s)
	}
	for page := range slices.Chunk(k.records[s.Topic][s.Partition][s.First:s.End], 3) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := each(page, int64(len(page))); err != nil {
			return err
		}
	}
	return nil
}

func (k *topics) load(t *testing.T, change ...func(*deadletter.LoadConfig)) *deadletter.Index {
	t.Helper()
	x, err := k.tryLoad(t, change...)
	require.NoError(t, err)
	return x
}

func (k *topics) tryLoad(t *testing.T, change ...func(*deadletter.LoadConfig)) (*deadletter.Index, error) {
	t.Helper()
	cfg := deadletter.LoadConfig{
		Kafka: k, Letters: lettersTopic, Resolutions: resolutionsTopic, Validation: job.Strict, Patience: time.Second,
	}
	for _, do := range change {
		do(&cfg)
	}
	return deadletter.Load(t.Context(), cfg)
}

// record is a job record: the n-th of partition 0 of the jobs topic.
func record(n int, headers ...job.Header) *job.Delivery {
	return &job.Delivery{
		Source: job.Source{Topic: "reply-jobs", Partition: 0, Offset: int64(n), Timestamp: failedAt.Add(-time.Hour)},
		Key:    fmt.Appendf(nil, "complaint-%d", n), Value: validJob(n), Headers: headers,
	}
}

func validJob(n int) []byte {
	return fmt.Appendf(nil, `{"complaint_id": "complaint-%d", "complainted_mchid": "1900012181", "idempotent_id": "id-%d",
		"message": {"blocks": [{"type": "TEXT", "text": {"text": "text %d"}}]}, "mchid": "1900000001",
		"expires_at": "2026-12-01T12:00:00+08:00"}`, n, n, n)
}

// putLetter writes the letter of a job record, as the worker does.
func (k *topics) putLetter(partition int, at time.Time, d *job.Delivery) deadletter.Place {
	return k.put(lettersTopic, partition, at, deadletter.Message(d, rejected(), "group"))
}

// resolve writes a resolution.
func (k *topics) resolve(t *testing.T, partition int, p deadletter.Place, status deadletter.Status, note string) {
	t.Helper()
	m, err := deadletter.ResolutionMessage(p, deadletter.Resolution{
		Status: status, Note: note, By: "someone", At: deadletter.FormatTime(failedAt.Add(time.Hour)),
	})
	require.NoError(t, err)
	require.Equal(t, p.ID.String(), string(m.Key))
	require.True(t, json.Valid(m.Value))
	k.put(resolutionsTopic, partition, failedAt, m)
}

func ids(letters []*deadletter.Letter) []string {
	all := []string{}
	for _, l := range letters {
		all = append(all, l.ID.String())
	}
	return all
}
