// Package outcome makes the event in which every job record ends, and publishes it.
package outcome

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"replyworker/internal/job"
	"replyworker/internal/kafkaio"
)

const (
	schemaVersion = 1
	timeLayout    = "2006-01-02T15:04:05.000Z"
)

// Event is the value of an outcome record. Every field is always there.
type Event struct {
	SchemaVersion    int               `json:"schema_version"`
	Status           job.Status        `json:"status"`
	Reason           job.Reason        `json:"reason"`
	IdempotentID     string            `json:"idempotent_id"`
	ComplaintID      string            `json:"complaint_id"`
	ComplaintedMchID string            `json:"complainted_mchid"`
	MchID            string            `json:"mchid"`
	LogID            string            `json:"log_id"`
	ContentSHA256    string            `json:"content_sha256"`
	Attempts         int               `json:"attempts"`
	MaybeSent        bool              `json:"maybe_sent"`
	Host             string            `json:"host"`
	HTTPStatus       int               `json:"http_status"`
	ErrorCode        string            `json:"error_code"`
	ErrorMessage     string            `json:"error_message"`
	RequestID        string            `json:"request_id"`
	EnqueuedAt       string            `json:"enqueued_at"`
	StartedAt        string            `json:"started_at"`
	FinishedAt       string            `json:"finished_at"`
	QueueMS          int64             `json:"queue_ms"`
	ProcessingMS     int64             `json:"processing_ms"`
	EndToEndMS       int64             `json:"end_to_end_ms"`
	ReplayCount      int               `json:"replay_count"`
	Labels           map[string]string `json:"labels"`
	Source           Source            `json:"source"`
}

// Source is where the job record stood.
type Source struct {
	Topic     string `json:"topic"`
	Partition int    `json:"partition"`
	Offset    int64  `json:"offset"`
}

// New makes the event of a job record's end. j has the ids that are known; of an invalid job those
// that could be read.
func New(d *job.Delivery, j *job.Job, r job.Result) Event {
	e := Event{
		SchemaVersion: schemaVersion, Status: r.Status, Reason: r.Reason,
		IdempotentID: j.IdempotentID, ComplaintID: j.ComplaintID, ComplaintedMchID: j.ComplaintedMchID,
		MchID: j.MchID, LogID: r.LogID, ContentSHA256: j.ContentSHA256(), Attempts: r.Attempts,
		MaybeSent: r.MaybeSent, Host: r.Answer.Host, HTTPStatus: r.Answer.HTTPStatus,
		ErrorCode: r.Answer.Code, ErrorMessage: r.Answer.Message, RequestID: r.Answer.RequestID,
		EnqueuedAt: stamp(d.Source.Timestamp), StartedAt: stamp(r.StartedAt), FinishedAt: stamp(r.FinishedAt),
		QueueMS:      between(d.Source.Timestamp, r.StartedAt),
		ProcessingMS: between(r.StartedAt, r.FinishedAt),
		EndToEndMS:   between(d.Source.Timestamp, r.FinishedAt),
		Labels:       j.LabelPairs(),
		Source:       Source{Topic: d.Source.Topic, Partition: d.Source.Partition, Offset: d.Source.Offset},
	}
	if r.Reason == job.ReasonInvalidJob {
		e.ErrorMessage = r.Detail // no API was asked; what is wrong with the job is what there is to say
	}
	if e.Labels == nil {
		e.Labels = map[string]string{}
	}
	if n, err := replayCount(d); err == nil {
		e.ReplayCount = n
	}
	return e
}

func replayCount(d *job.Delivery) (int, error) {
	text, ok := d.Header("dlq-replay-count")
	if !ok {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, fmt.Errorf("dlq-replay-count: %w", err)
	}
	return max(n, 0), nil
}

// stamp is empty for a time that is not known: a record without a timestamp has -1 ms.
func stamp(t time.Time) string {
	if unknown(t) {
		return ""
	}
	return t.UTC().Format(timeLayout)
}

// between is never negative: clocks of producers differ from ours.
func between(from, to time.Time) int64 {
	if unknown(from) || unknown(to) {
		return 0
	}
	return max(0, to.Sub(from).Milliseconds())
}

func unknown(t time.Time) bool { return t.UnixMilli() <= 0 }

// Message makes the record of an event: CloudEvents 1.0 in Kafka's binary mode. group is the
// consumer group, which names the source of the event.
func Message(d *job.Delivery, e Event, group string, finishedAt time.Time) (kafkaio.Message, error) {
	value, err := json.Marshal(e)
	if err != nil {
		return kafkaio.Message{}, fmt.Errorf("outcome of %s: %w", d.Source.ID(), err)
	}
	m := kafkaio.Message{Partition: kafkaio.AnyPartition, Key: []byte(e.IdempotentID), Value: value}
	if e.IdempotentID == "" {
		m.Key = d.Key
	}
	header := func(key, value string) {
		m.Headers = append(m.Headers, job.Header{Key: key, Value: []byte(value)})
	}
	header("ce_specversion", "1.0")
	header("ce_id", d.Source.ID())
	header("ce_source", "/replyworker/"+url.PathEscape(group))
	header("ce_type", "replyworker.reply."+string(e.Status)+".v1")
	if e.ComplaintID != "" { // an attribute of CloudEvents is never empty
		header("ce_subject", e.ComplaintID)
	}
	header("ce_time", stamp(finishedAt))
	header("content-type", "application/json")
	for _, name := range []string{"traceparent", "tracestate"} {
		if v, ok := d.Header(name); ok {
			header(name, v)
		}
	}
	return m, nil
}

// Publisher publishes outcomes. It is safe for concurrent use.
type Publisher struct {
	topic *kafkaio.Publisher
	group string
}

// NewPublisher makes a Publisher on a topic, for the consumer group of that name.
func NewPublisher(topic *kafkaio.Publisher, group string) *Publisher {
	return &Publisher{topic: topic, group: group}
}

// Publish publishes the outcome of a job record. One that the topic does not take for its size is
// published without what the producer may have made large: labels, trace headers, and the record's
// key where there is no id. After an error the outcome may be there all the same; a repeat does no harm.
func (p *Publisher) Publish(ctx context.Context, d *job.Delivery, j *job.Job, r job.Result) error {
	e := New(d, j, r)
	m, err := Message(d, e, p.group, r.FinishedAt)
	if err != nil {
		return err
	}
	if err = p.topic.Publish(ctx, m); !errors.Is(err, kafkaio.ErrTooLarge) {
		return err
	}
	e.Labels = map[string]string{}
	bare := *d
	bare.Key, bare.Headers = nil, nil
	if m, err = Message(&bare, e, p.group, r.FinishedAt); err != nil {
		return err
	}
	return p.topic.Publish(ctx, m)
}
