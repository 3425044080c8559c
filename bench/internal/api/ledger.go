package api

import (
	"sync"
	"time"

	"replyworker/bench/internal/jobs"
)

// Times is when things first happened to a job, in nanoseconds of the wall clock; 0 is never.
type Times struct {
	Asked int64 // A call of it came in.
	Done  int64 // A success of it went out.
}

// Counts is what the API has seen of a batch.
type Counts struct {
	Calls     int64  `json:"calls"`
	Refused   int64  `json:"refused"`    // Calls answered with an error, as it was told to.
	Asked     int    `json:"asked"`      // Jobs with a call.
	Done      int    `json:"done"`       // Jobs with a success.
	Doubled   int    `json:"doubled"`    // Successes beyond the first of a job.
	Disorder  int    `json:"disorder"`   // First successes after that of a later job of the same complaint.
	Strays    int64  `json:"strays"`     // Calls of jobs of no such batch.
	Faulty    int64  `json:"faulty"`     // Calls that broke a rule, of those that were checked.
	Checked   int64  `json:"checked"`    // Calls that were checked.
	FirstFlaw string `json:"first_flaw"` // Of a faulty call.
	InFlight  int    `json:"in_flight"`
	// Busiest is the most calls at once.
	Busiest int `json:"busiest"`
}

// ledger counts. It is safe for concurrent use.
type ledger struct {
	mu     sync.Mutex
	batch  jobs.Batch
	times  []Times
	latest []int32 // By complaint, the latest job with a success, plus 1.
	counts Counts
}

// begin forgets everything and counts a batch from now on.
func (l *ledger) begin(b jobs.Batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.batch, l.times, l.latest = b, make([]Times, b.Jobs), make([]int32, b.ComplaintsInAll())
	l.counts = Counts{InFlight: l.counts.InFlight}
}

// ask notes a call. known is false where the id is of no job of the batch; check is true of each 100th.
func (l *ledger) ask(id []byte, at time.Time) (b jobs.Batch, n int, known, check bool) {
	const every = 100
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts.InFlight++
	l.counts.Busiest = max(l.counts.Busiest, l.counts.InFlight)
	n, known = l.batch.Number(id)
	if !known {
		l.counts.Strays++
		return l.batch, 0, false, false
	}
	l.counts.Calls++
	if l.times[n].Asked == 0 {
		l.times[n].Asked = at.UnixNano()
		l.counts.Asked++
	}
	return l.batch, n, true, l.counts.Calls%every == 1
}

func (l *ledger) checked(flaw error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts.Checked++
	if flaw == nil {
		return
	}
	if l.counts.Faulty++; l.counts.FirstFlaw == "" {
		l.counts.FirstFlaw = flaw.Error()
	}
}

// end notes the end of a call. b is the batch that it was begun in.
func (l *ledger) end(b jobs.Batch, n int, known, refused bool, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts.InFlight--
	switch {
	case !known || b != l.batch: // Another one has begun meanwhile.
	case refused:
		l.counts.Refused++
	case l.times[n].Done != 0:
		l.counts.Doubled++
	default:
		l.times[n].Done = at.UnixNano()
		l.counts.Done++
		last := &l.latest[b.ComplaintNumber(n)]
		if int32(n)+1 < *last { //nolint:gosec // At most jobs.Max.
			l.counts.Disorder++
		}
		*last = max(*last, int32(n)+1) //nolint:gosec // At most jobs.Max.
	}
}

func (l *ledger) count() Counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counts
}

// all is the times of all jobs of the batch.
func (l *ledger) all() []Times {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Times(nil), l.times...)
}
