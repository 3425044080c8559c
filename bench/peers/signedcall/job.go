package signedcall

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Job is what a peer needs of a reply job.
type Job struct {
	ComplaintID      string          `json:"complaint_id"`
	ComplaintedMchID string          `json:"complainted_mchid"`
	IdempotentID     string          `json:"idempotent_id"`
	Message          json.RawMessage `json:"message"`
}

// ParseJob reads a job. It checks only what the call cannot do without; replyworker checks much more.
func ParseJob(value []byte) (Job, error) {
	var job Job
	if err := json.Unmarshal(value, &job); err != nil {
		return Job{}, &PermanentError{fmt.Errorf("job: %w", err)}
	}
	if job.ComplaintID == "" || job.ComplaintedMchID == "" || job.IdempotentID == "" || len(job.Message) == 0 {
		return Job{}, &PermanentError{errors.New("job: complaint_id, complainted_mchid, idempotent_id and message are needed")}
	}
	return job, nil
}

// body is what the API gets: the message's bytes exactly as the producer wrote them.
func (j Job) body() []byte {
	mchID, id := quote(j.ComplaintedMchID), quote(j.IdempotentID)
	const fixed = len(`{"complainted_mchid":,"message":,"idempotent_id":}`)
	b := make([]byte, 0, fixed+len(mchID)+len(j.Message)+len(id))
	b = append(b, `{"complainted_mchid":`...)
	b = append(b, mchID...)
	b = append(b, `,"message":`...)
	b = append(b, j.Message...)
	b = append(b, `,"idempotent_id":`...)
	b = append(b, id...)
	return append(b, '}')
}

func quote(s string) []byte {
	b, _ := json.Marshal(s) // A string always can.
	return b
}

// The statuses of an outcome that a peer publishes.
const (
	StatusSucceeded = "succeeded"
	StatusFailed    = "failed"
)

// Outcome is what a peer publishes of a job.
type Outcome struct {
	IdempotentID string `json:"idempotent_id"`
	ComplaintID  string `json:"complaint_id"`
	Status       string `json:"status"`
	LogID        string `json:"log_id"`
	ErrorMessage string `json:"error_message"`
}

// Succeeded is the outcome of a job that the API took.
func (j Job) Succeeded(logID string) []byte {
	return encode(Outcome{IdempotentID: j.IdempotentID, ComplaintID: j.ComplaintID, Status: StatusSucceeded, LogID: logID})
}

// maxMessageBytes bounds what an outcome says of an error.
const maxMessageBytes = 1024

// FailedOutcome is the outcome of a job value that became a dead letter for a reason. Of a value that cannot be
// read, the ids are empty.
func FailedOutcome(value []byte, reason string) []byte {
	var job Job
	_ = json.Unmarshal(value, &job) // What can be read is used.
	return encode(Outcome{
		IdempotentID: job.IdempotentID, ComplaintID: job.ComplaintID, Status: StatusFailed,
		ErrorMessage: reason[:min(len(reason), maxMessageBytes)],
	})
}

func encode(o Outcome) []byte {
	b, _ := json.Marshal(o) // Strings always can.
	return b
}

// PermanentError is a job that no further call can help.
type PermanentError struct{ err error }

func (e *PermanentError) Error() string { return e.err.Error() }
func (e *PermanentError) Unwrap() error { return e.err }

// IsPermanent reports whether trying again is of no use.
func IsPermanent(err error) bool {
	var permanent *PermanentError
	return errors.As(err, &permanent)
}
