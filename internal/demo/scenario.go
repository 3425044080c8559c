package demo

import (
	"fmt"
	"math/rand/v2"
	"time"

	"replyworker/internal/wxsim"
)

// A made batch is a mix of what a worker meets in life: mostly good jobs, some of them sent twice,
// and a few that cannot succeed.
const (
	duplicateEvery = 17
	invalidEvery   = 41
	expiredEvery   = 53
	refusedEvery   = 67

	// The complaint of which the simulated API says that it does not exist.
	unknownComplaint = "200201820200101080070000000"
)

// record is a job to be enqueued.
type record struct {
	key   string
	value []byte
}

// madeJobs returns n jobs, the same for the same seed.
func madeJobs(n int, seed uint64, now time.Time) []record {
	r := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // a demo that can be repeated, not a secret
	records := make([]record, 0, n)
	var last record
	for i := 1; len(records) < n; i++ {
		complaint := fmt.Sprintf("2002018202001010800%08d", r.IntN(max(n/3, 1)))
		switch {
		case i%duplicateEvery == 0:
			records = append(records, last)
			continue
		case i%invalidEvery == 0:
			records = append(records, record{complaint, []byte(`{"complaint_id": "` + complaint + `", "message": "not an object"}`)})
			continue
		case i%refusedEvery == 0:
			complaint = unknownComplaint
		}
		last = madeJob(i, seed, complaint, now)
		records = append(records, last)
	}
	return records
}

func madeJob(i int, seed uint64, complaint string, now time.Time) record {
	expires := ""
	if i%expiredEvery == 0 {
		expires = fmt.Sprintf(`, "expires_at": %q`, now.Add(-time.Minute).Format(time.RFC3339))
	}
	return record{complaint, []byte(fmt.Sprintf(`{"complaint_id": %q, "complainted_mchid": "1900012181",`+
		` "idempotent_id": "demo-%d-%06d", "message": {"blocks": [{"type": "TEXT", "text":`+
		` {"text": "您好，已收到您的投诉，我们会尽快处理。"}}], "sender_identity": "MACHINE"},`+
		` "labels": {"made_by": "demo"}%s}`, complaint, seed, i, expires))}
}

// The faults on show. Shares of the batch say when the primary host goes and comes back.
const (
	outageName  = "outage"
	outageBegin = 0.25
	outageEnd   = 0.55
)

// everydayFaults are those that the simulated API has all the time.
func everydayFaults() []wxsim.Fault {
	return []wxsim.Fault{
		{Kind: wxsim.KindLatency, Delay: 20 * time.Millisecond, Jitter: 40 * time.Millisecond},
		{Kind: wxsim.KindStatus, Status: 404, Code: "RESOURCE_NOT_EXISTS", Message: "投诉单不存在", ComplaintID: unknownComplaint},
		{Kind: wxsim.KindStatus, Status: 500, Probability: 0.02},
		{Kind: wxsim.KindStatus, Status: 429, Probability: 0.01},
		{Kind: wxsim.KindReset, AfterEffect: true, Probability: 0.01},
		{Kind: wxsim.KindHang, Probability: 0.003},
	}
}

func quietFaults() []wxsim.Fault {
	return []wxsim.Fault{{Kind: wxsim.KindLatency, Delay: 20 * time.Millisecond, Jitter: 40 * time.Millisecond}}
}

func outage() wxsim.Fault {
	return wxsim.Fault{Kind: wxsim.KindDown, Host: wxsim.Primary, Name: outageName}
}
