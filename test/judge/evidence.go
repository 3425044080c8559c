package judge

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"replyworker/internal/wxsim"
)

// Expect is the header with which a producer says what must become of a job, where that is certain.
const Expect = "judge-expect"

// The values of the header Expect.
const (
	ExpectInvalid = "invalid" // Not a job: failed, invalid_job.
	ExpectExpired = "expired" // Past its time before it is produced.
)

// Evidence is what is known after a run. Records are as a reader of committed records sees them.
type Evidence struct {
	Jobs, Outcomes, Letters []*kgo.Record
	Effects                 []wxsim.Effect
	// Committed and Ends are the group's offsets and the ends of the jobs topic, by partition.
	Committed, Ends map[int32]int64
	// Claims is the state of each claim that is left in Redis, by its key.
	Claims map[string]string
	// Losses is when Redis may have lost claims: flushed, or while it failed over to a copy that lagged.
	// What a lost claim explains is counted apart.
	Losses []Span
}

// Span is a time.
type Span struct{ From, To time.Time }

// at names a job record.
type at struct {
	partition int32
	offset    int64
}

func (a at) String() string { return fmt.Sprintf("%d/%d", a.partition, a.offset) }

// jobRecord is a job with all that was said of it.
type jobRecord struct {
	at
	record     *kgo.Record
	expect     string
	readable   bool
	id         string
	complaint  string
	bodySHA256 string
	outcomes   []saying
	letters    []*kgo.Record
}

// saying is one outcome.
type saying struct {
	CEID      string
	Time      time.Time // When it was published.
	Status    string    `json:"status"`
	Reason    string    `json:"reason"`
	ID        string    `json:"idempotent_id"`
	Complaint string    `json:"complaint_id"`
	LogID     string    `json:"log_id"`
	MaybeSent bool      `json:"maybe_sent"`
	Finished  time.Time `json:"finished_at"` // When it was known; it may have been published much later.
	EndToEnd  int64     `json:"end_to_end_ms"`
	Source    struct {
		Topic     string `json:"topic"`
		Partition int32  `json:"partition"`
		Offset    int64  `json:"offset"`
	} `json:"source"`
}

// verdict is what repeats of an outcome have in common.
func (s saying) verdict() [4]string { return [4]string{s.CEID, s.Status, s.Reason, s.LogID} }

func header(r *kgo.Record, name string) string {
	for _, h := range r.Headers {
		if h.Key == name {
			return string(h.Value)
		}
	}
	return ""
}

// readJob reads a job leniently: the judge asks only what it was, not whether it is right.
func readJob(r *kgo.Record) *jobRecord {
	j := &jobRecord{at: at{r.Partition, r.Offset}, record: r, expect: header(r, Expect)}
	var v struct {
		Complaint   string          `json:"complaint_id"`
		Complainted string          `json:"complainted_mchid"`
		ID          string          `json:"idempotent_id"`
		Message     json.RawMessage `json:"message"`
	}
	if j.expect == ExpectInvalid || json.Unmarshal(r.Value, &v) != nil {
		return j
	}
	j.readable, j.id, j.complaint = true, v.ID, v.Complaint
	j.bodySHA256 = body(v.Complainted, v.Message, v.ID)
	return j
}

// body is the hash of what the API must get: the message's bytes as the producer wrote them.
func body(complainted string, message []byte, id string) string {
	text := fmt.Appendf(nil, `{"complainted_mchid":%q,"message":%s,"idempotent_id":%q}`, complainted, message, id)
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

func readOutcome(r *kgo.Record) (saying, error) {
	s := saying{CEID: header(r, "ce_id"), Time: r.Timestamp}
	if err := json.Unmarshal(r.Value, &s); err != nil {
		return s, fmt.Errorf("outcome %d/%d: %w", r.Partition, r.Offset, err)
	}
	if s.Finished.IsZero() {
		s.Finished = s.Time
	}
	return s, nil
}

func (s saying) String() string {
	const clock = "15:04:05.000"
	return fmt.Sprintf("%s %s %s (known %s, published %s)", s.Status, s.Reason, s.LogID, s.Finished.UTC().Format(clock),
		s.Time.UTC().Format(clock))
}
