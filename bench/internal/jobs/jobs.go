// Package jobs makes the jobs that are measured with. A job is known by its number: the ids, the complaint
// and the value follow from it, so that who sees an id knows which job it is without a table.
package jobs

import (
	"encoding/binary"
	"fmt"
	"strconv"
)

// Max is the most jobs of one batch.
const Max = 2_000_000

// Batch is the jobs of one run, numbered from 0. It is a value: two processes that have equal ones speak of
// the same jobs.
type Batch struct {
	// Run tells the batch from every other; 0 to 65535.
	Run int `json:"run"`
	// Jobs is how many there are, at most Max.
	Jobs int `json:"jobs"`
	// Complaints is how many complaints they belong to in turn; 0 is one for each job.
	Complaints int `json:"complaints"`
}

const (
	mchID     = "1900012181"
	idDigits  = 12
	idLength  = 36
	text      = "您好，已收到您的投诉，我们正在核实，会在一个工作日内给您答复。"
	message   = `{"blocks":[{"type":"TEXT","text":{"text":"` + text + `","color":"DEFAULT","is_bold":false}}],"sender_identity":"MACHINE"}`
	failParts = 10_000
)

// prefix begins every id of the batch.
func (b Batch) prefix() string { return fmt.Sprintf("00000000-%04x-4000-8000-", b.Run) }

// ID is the idempotent_id of a job, of the shape of a UUID.
func (b Batch) ID(n int) string { return fmt.Sprintf("%s%0*d", b.prefix(), idDigits, n) }

// Number is the job that an id is of; false where it is of none.
func (b Batch) Number(id []byte) (int, bool) {
	if len(id) != idLength || string(id[:idLength-idDigits]) != b.prefix() {
		return 0, false
	}
	n, err := strconv.Atoi(string(id[idLength-idDigits:]))
	return n, err == nil && n >= 0 && n < b.Jobs
}

// ComplaintNumber is which of the batch's complaints a job belongs to.
func (b Batch) ComplaintNumber(n int) int {
	if b.Complaints == 0 {
		return n
	}
	return n % b.Complaints
}

// ComplaintsInAll is how many complaints the batch has.
func (b Batch) ComplaintsInAll() int {
	if b.Complaints == 0 {
		return b.Jobs
	}
	return b.Complaints
}

// Complaint is the complaint_id of a job, and its key in Kafka.
func (b Batch) Complaint(n int) string {
	return fmt.Sprintf("2002018%04d%016d", b.Run, b.ComplaintNumber(n))
}

// Value is the job as producers write it.
func (b Batch) Value(n int) []byte {
	return fmt.Appendf(nil, `{"complaint_id":"%s","complainted_mchid":"%s","idempotent_id":"%s","message":%s}`,
		b.Complaint(n), mchID, b.ID(n), message)
}

// Body is what the API gets of a job.
func (b Batch) Body(n int) []byte {
	return fmt.Appendf(nil, `{"complainted_mchid":"%s","message":%s,"idempotent_id":"%s"}`, mchID, message, b.ID(n))
}

// Path is the path of a job's call.
func (b Batch) Path(n int) string {
	return "/v3/merchant-service/complaints-v2/" + b.Complaint(n) + "/response-immediate-service"
}

// Picked says whether a job is among a share of all, from 0 to 1: the same ones in each process and each
// run, spread over all complaints.
func Picked(n int, share float64) bool {
	var text [8]byte
	binary.LittleEndian.PutUint64(text[:], uint64(n)) //nolint:gosec // Numbers are not negative.
	const offset, prime = 14695981039346656037, 1099511628211
	hash := uint64(offset) // FNV-1a, as in hash/fnv, without an allocation for each call.
	for _, b := range text {
		hash = (hash ^ uint64(b)) * prime
	}
	return hash>>16%failParts < uint64(share*failParts)
}
