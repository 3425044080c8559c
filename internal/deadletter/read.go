package deadletter

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"replyworker/internal/job"
)

// Letter is what a dead letter tells, without the bytes of its job. Fields are zero where it does not
// tell them, as those that other programs write.
type Letter struct {
	ID ID
	// Timestamp is the letter's own, as Kafka keeps it.
	Timestamp time.Time
	// Source is where the job came from. Its Partition and Offset are -1 where they are not known; its
	// Timestamp is when the job was enqueued.
	Source job.Source

	Reason      job.Reason
	ErrorCode   string // the API's, or the exception's class of another program
	HTTPStatus  int
	Message     string // what was wrong; an Index does not keep it
	RequestID   string // an Index does not keep it
	Attempts    int
	MaybeSent   bool
	FailedAt    time.Time // the letter's own time where it does not tell
	FirstFailed time.Time
	ReplayCount int
	ReplayID    string // the replay that the job came from; empty for none

	// The job's, as far as they can be read.
	ComplaintID, IdempotentID, MchID string
	ExpiresAt                        time.Time
	// Content is the job's, zero where it is not valid.
	Content [32]byte
	// Invalid says that the job is none, or that the letter was written without it.
	Invalid bool
}

// Parse reads a record of the topic of dead letters.
func Parse(d *job.Delivery, v job.Validation) Letter {
	o := originOf(d)
	l := Letter{
		ID:        ID{Partition: d.Source.Partition, Offset: d.Source.Offset},
		Timestamp: d.Source.Timestamp,
		Source:    job.Source{Topic: o.topic, Partition: o.partition, Offset: o.offset, Timestamp: timeOf(d, HeaderEnqueuedAt)},
		Message:   o.message, ErrorCode: o.class,
		HTTPStatus: intOf(d, HeaderHTTPStatus), Attempts: intOf(d, HeaderAttempts), ReplayCount: intOf(d, HeaderReplayCount),
		FailedAt: timeOf(d, HeaderFailedAt), FirstFailed: timeOf(d, HeaderFirstFailedAt),
	}
	reason, _ := d.Header(HeaderReason)
	l.Reason = job.Reason(reason)
	if code, found := d.Header(HeaderErrorCode); found {
		l.ErrorCode = code
	}
	l.RequestID, _ = d.Header(HeaderRequestID)
	l.ReplayID, _ = d.Header(HeaderReplayID)
	maybeSent, _ := d.Header(HeaderMaybeSent)
	l.MaybeSent = maybeSent == "true"
	if l.FailedAt.IsZero() {
		l.FailedAt = l.Timestamp
	}
	if l.FirstFailed.IsZero() {
		l.FirstFailed = l.FailedAt
	}
	l.readJob(d.Value, v)
	return l
}

// Place returns where the letter stands.
func (l *Letter) Place() Place { return Place{ID: l.ID, Timestamp: l.Timestamp} }

func (l *Letter) readJob(value []byte, v job.Validation) {
	j, err := job.Decode(value, v)
	if invalid, ok := errors.AsType[*job.InvalidError](err); ok {
		j, l.Invalid = &invalid.Partial, true
	}
	// The ids refer to the value, which is not to be kept for them.
	l.ComplaintID, l.IdempotentID, l.MchID =
		strings.Clone(j.ComplaintID), strings.Clone(j.IdempotentID), strings.Clone(j.MchID)
	l.ExpiresAt, l.Content = j.ExpiresAt, j.Content
}

func intOf(d *job.Delivery, name string) int {
	text, _ := d.Header(name)
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0
	}
	return max(n, 0)
}

func timeOf(d *job.Delivery, name string) time.Time {
	text, _ := d.Header(name)
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}
