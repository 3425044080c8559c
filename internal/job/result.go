package job

import "time"

// Status is how a job record ended, the outcome's "status".
type Status string

// The statuses of contract section 3.
const (
	StatusSucceeded Status = "succeeded"
	StatusDuplicate Status = "duplicate"
	StatusExpired   Status = "expired"
	StatusFailed    Status = "failed"
)

// Statuses lists every status, for metrics that are to show zeros.
func Statuses() []Status {
	return []Status{StatusSucceeded, StatusDuplicate, StatusExpired, StatusFailed}
}

// Reason says why a job failed for good: the outcome's "reason" and the dead letter's "dlq-reason".
// It is empty where the job did not fail.
type Reason string

// The reasons of contract section 3.
const (
	ReasonNone       Reason = ""
	ReasonInvalidJob Reason = "invalid_job"
	ReasonConflict   Reason = "idempotency_conflict"
	ReasonRejected   Reason = "rejected"
	ReasonExhausted  Reason = "exhausted"
	ReasonInternal   Reason = "internal"
)

// Reasons lists every reason of a failed job.
func Reasons() []Reason {
	return []Reason{ReasonInvalidJob, ReasonConflict, ReasonRejected, ReasonExhausted, ReasonInternal}
}

// Answer is what is known of the last answer to a job's attempts. Fields are zero where nothing is
// known: no attempt was made, or the call ended without an HTTP answer.
type Answer struct {
	Host       string // "primary" or "backup"
	HTTPStatus int
	Code       string // the API's error code
	Message    string // the API's error message, or what went wrong with the call; bounded
	RequestID  string // the API's Request-ID header
}

// Result is the end of one job record: what its outcome, its dead letter and its claim say.
type Result struct {
	Status    Status
	Reason    Reason
	LogID     string
	Attempts  int
	MaybeSent bool
	Answer    Answer
	// Detail is the text for the dead letter's __dlq.errors.message. It has no reply text in it.
	Detail     string
	StartedAt  time.Time // when the job's first step began in this process
	FinishedAt time.Time
}
