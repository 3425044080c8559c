package job

import (
	"encoding/hex"
	"encoding/json"
	"time"
)

// Job is one reply to be sent: the decoded value of a record of the jobs topic. [Decode] makes it.
// It refers to the bytes that it was decoded from, so those must not be changed while it is in use;
// it is read-only once made, and then safe for concurrent use.
type Job struct {
	// ComplaintID is the complaint that is replied to, 1 to 64 characters, never "." or "..". It may
	// have any other character in it, control characters and slashes too: whoever puts it in a URL
	// escapes it as one path segment.
	ComplaintID string
	// ComplaintedMchID is the merchant that the complaint is about, 1 to 64 characters.
	ComplaintedMchID string
	// IdempotentID is the key by which the API processes a reply once, 1 to 128 characters.
	IdempotentID string
	// MchID is the merchant that signs. It is empty where the job names none; the default merchant
	// signs then.
	MchID string
	// Message is the reply, the producer's bytes exactly.
	Message json.RawMessage
	// ExpiresAt is when the job is not sent any more, in UTC. The zero time means never; a job
	// cannot name the zero time.
	ExpiresAt time.Time
	// Labels are echoed in the outcome: an object of strings, the producer's bytes exactly. It is nil
	// where the job has none. See [Job.LabelPairs].
	Labels json.RawMessage
	// Content identifies what is said to whom; two jobs with equal contents are the same reply. It is
	// SHA-256 over one canonical JSON array of complaint_id, complainted_mchid and message; see
	// [Job.ContentSHA256].
	Content [32]byte

	// The producer's literals of two ids, quotes and escapes as written; nil in a Job made by hand.
	rawComplaintedMchID, rawIdempotentID []byte
}

// Body returns the request body that the API gets: an object of complainted_mchid, message and
// idempotent_id, in this order and without white space around them. The three values are the producer's own
// bytes, so that every attempt of a job, also in another process, sends the same body. Each call
// allocates the body anew.
func (j *Job) Body() []byte {
	const mchid, message, id = `{"complainted_mchid":`, `,"message":`, `,"idempotent_id":`
	rawMchID := literal(j.rawComplaintedMchID, j.ComplaintedMchID)
	rawID := literal(j.rawIdempotentID, j.IdempotentID)
	size := len(mchid) + len(rawMchID) + len(message) + len(j.Message) + len(id) + len(rawID) + 1
	b := make([]byte, 0, size)
	b = append(append(b, mchid...), rawMchID...)
	b = append(append(b, message...), j.Message...)
	b = append(append(b, id...), rawID...)
	return append(b, '}')
}

// literal returns the raw literal, or makes one for a Job that was not decoded.
func literal(raw []byte, s string) []byte {
	if raw != nil {
		return raw
	}
	return appendCanonicalString(nil, s)
}

// ContentSHA256 returns Content in lower-case hex: the outcome's content_sha256. It is empty where
// Content is zero, as in the Partial of an [InvalidError].
//
// The value is part of the contract: claims and outcomes of earlier versions carry it. It is SHA-256
// over the JSON array [complaint_id, complainted_mchid, message] in a canonical form: no white
// space, members sorted by the bytes of their names, strings with the fewest and shortest escapes.
// For every job that strict validation takes this form is RFC 8785, so that any language can
// compute it; the example of the contract has
// 9fc242179b0c6ad3b7d3e7f2dac06c4befa88995c166b5b6fe12a21282019c8e.
// Numbers, which only lenient validation lets through, are decimals without trailing zeros (15e-1),
// so that 1, 1.0 and 10e-1 are equal and numbers beyond the reach of float64 are told apart.
func (j *Job) ContentSHA256() string {
	if j.Content == ([32]byte{}) {
		return ""
	}
	return hex.EncodeToString(j.Content[:])
}

// Invalid returns the error of a decoded job that a rule outside this package refuses, such as a
// mchid that is not configured. Its Partial has the job's ids and labels.
func (j *Job) Invalid(problems ...Problem) *InvalidError {
	return &InvalidError{
		Problems: problems,
		Partial: Job{
			ComplaintID:      j.ComplaintID,
			ComplaintedMchID: j.ComplaintedMchID,
			IdempotentID:     j.IdempotentID,
			MchID:            j.MchID,
			Labels:           j.Labels,
		},
	}
}
