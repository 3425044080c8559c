package deadletter

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"replyworker/internal/job"
	"replyworker/internal/kafkaio"
)

// The headers of a dead letter. The first five are those of KIP-1191.
const (
	HeaderTopic          = "__dlq.errors.topic"
	HeaderPartition      = "__dlq.errors.partition"
	HeaderOffset         = "__dlq.errors.offset"
	HeaderGroup          = "__dlq.errors.group"
	HeaderMessage        = "__dlq.errors.message"
	HeaderReason         = "dlq-reason"
	HeaderAttempts       = "dlq-attempts"
	HeaderMaybeSent      = "dlq-maybe-sent"
	HeaderHTTPStatus     = "dlq-http-status"
	HeaderErrorCode      = "dlq-error-code"
	HeaderRequestID      = "dlq-request-id"
	HeaderFailedAt       = "dlq-failed-at"
	HeaderFirstFailedAt  = "dlq-first-failed-at"
	HeaderEnqueuedAt     = "dlq-enqueued-at"
	HeaderReplayCount    = "dlq-replay-count"
	HeaderReplayID       = "dlq-replay-id"
	HeaderValueOmitted   = "dlq-value-omitted"
	HeaderHeadersOmitted = "dlq-headers-omitted"
	HeaderKeyOmitted     = "dlq-key-omitted"
)

const (
	maxMessageBytes = 1024
	// timeLayout has the milliseconds of Kafka's own times.
	timeLayout = "2006-01-02T15:04:05.000Z"
)

// replaced says whether a job's own header gives way to the letter's. HeaderReplayID, which a replay
// has set, stays.
func replaced(name string) bool {
	switch name {
	case HeaderTopic, HeaderPartition, HeaderOffset, HeaderGroup, HeaderMessage, HeaderReason, HeaderAttempts,
		HeaderMaybeSent, HeaderHTTPStatus, HeaderErrorCode, HeaderRequestID, HeaderFailedAt, HeaderFirstFailedAt,
		HeaderEnqueuedAt, HeaderReplayCount, HeaderValueOmitted, HeaderHeadersOmitted, HeaderKeyOmitted:
		return true
	}
	return false
}

// Message makes the letter of a job record: its key, value and headers, and the headers of its
// failure.
func Message(d *job.Delivery, r job.Result, group string) kafkaio.Message {
	m := kafkaio.Message{Partition: kafkaio.AnyPartition, Key: d.Key, Value: d.Value}
	for _, h := range d.Headers {
		if !replaced(h.Key) {
			m.Headers = append(m.Headers, h)
		}
	}
	m.Headers = append(m.Headers, failure(d, r, group)...)
	return m
}

func failure(d *job.Delivery, r job.Result, group string) []job.Header {
	var headers []job.Header
	add := func(key, value string) { headers = append(headers, job.Header{Key: key, Value: []byte(value)}) }
	add(HeaderTopic, d.Source.Topic)
	add(HeaderPartition, strconv.Itoa(d.Source.Partition))
	add(HeaderOffset, strconv.FormatInt(d.Source.Offset, 10))
	add(HeaderGroup, group)
	add(HeaderMessage, cut(r.Detail, maxMessageBytes))
	add(HeaderReason, string(r.Reason))
	add(HeaderAttempts, strconv.Itoa(r.Attempts))
	add(HeaderMaybeSent, strconv.FormatBool(r.MaybeSent))
	if r.Answer.HTTPStatus != 0 {
		add(HeaderHTTPStatus, strconv.Itoa(r.Answer.HTTPStatus))
	}
	if r.Answer.Code != "" {
		add(HeaderErrorCode, r.Answer.Code)
	}
	if r.Answer.RequestID != "" {
		add(HeaderRequestID, r.Answer.RequestID)
	}
	failed := r.FinishedAt.UTC().Format(time.RFC3339Nano)
	add(HeaderFailedAt, failed)
	first, _ := d.Header(HeaderFirstFailedAt)
	if _, err := time.Parse(time.RFC3339, first); err != nil { // a producer may have written anything
		first = failed
	}
	add(HeaderFirstFailedAt, first)
	if d.Source.Timestamp.UnixMilli() > 0 { // else it is not known
		add(HeaderEnqueuedAt, d.Source.Timestamp.UTC().Format(timeLayout))
	}
	text, _ := d.Header(HeaderReplayCount)
	count, err := strconv.Atoi(text)
	if err != nil {
		count = 0
	}
	add(HeaderReplayCount, strconv.Itoa(max(count, 0)))
	return headers
}

// cut shortens text to at most n bytes, at a character's border.
func cut(text string, n int) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}

// Publisher publishes dead letters. It is safe for concurrent use.
type Publisher struct {
	topic *kafkaio.Publisher
	group string
}

// NewPublisher makes a Publisher on a topic, for the consumer group of that name.
func NewPublisher(topic *kafkaio.Publisher, group string) *Publisher {
	return &Publisher{topic: topic, group: group}
}

// Publish publishes the letter of a job record. A letter that the topic does not take for its size
// is written without its value, then without the job's headers, then without its key: an operator
// who finds a stub learns more than one who finds nothing. After an error the letter may be there
// all the same.
func (p *Publisher) Publish(ctx context.Context, d *job.Delivery, r job.Result) error {
	m := Message(d, r, p.group)
	err := p.topic.Publish(ctx, m)
	if !errors.Is(err, kafkaio.ErrTooLarge) {
		return err
	}
	m.Value = nil
	m.Headers = append(m.Headers, job.Header{Key: HeaderValueOmitted, Value: []byte(strconv.Itoa(len(d.Value)))})
	if err = p.topic.Publish(ctx, m); !errors.Is(err, kafkaio.ErrTooLarge) {
		return err
	}
	m.Headers = append(failure(d, r, p.group),
		job.Header{Key: HeaderValueOmitted, Value: []byte(strconv.Itoa(len(d.Value)))},
		job.Header{Key: HeaderHeadersOmitted, Value: []byte(strconv.Itoa(len(d.Headers)))})
	if err = p.topic.Publish(ctx, m); !errors.Is(err, kafkaio.ErrTooLarge) {
		return err
	}
	m.Key = nil
	m.Headers = append(m.Headers, job.Header{Key: HeaderKeyOmitted, Value: []byte(strconv.Itoa(len(d.Key)))})
	return p.topic.Publish(ctx, m)
}
