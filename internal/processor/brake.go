package processor

import (
	"context"
	"strconv"
	"sync"

	"replyworker/internal/dedupe"
	"replyworker/internal/job"
	"replyworker/internal/wxclient"
)

// brake counts, for each merchant, the jobs in a row that were refused or exhausted with one cause.
type brake struct {
	limit int // 0: never

	mu   sync.Mutex
	runs map[string]*run
}

// run is a row of failures without a success between. One complaint of which every job is bad says
// nothing about the others: it takes two.
type run struct {
	cause    string
	jobs     int
	first    string // the complaint of the first
	together bool   // another complaint is among them
}

func newBrake(limit int) *brake { return &brake{limit: limit, runs: map[string]*run{}} }

// failed takes note of a failure, and says whether the fault is the merchant's and not the jobs'.
func (b *brake) failed(mchid, complaint, cause string) bool {
	if b.limit == 0 {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.runs[mchid]
	if r == nil || r.cause != cause {
		r = &run{cause: cause, first: complaint}
		b.runs[mchid] = r
	}
	r.jobs++
	r.together = r.together || complaint != r.first
	return r.jobs >= b.limit && r.together
}

func (b *brake) reset(mchid string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.runs, mchid)
}

// cause names why a job fails, for comparing it with others': the error code where the API gave one,
// else what the call came to.
func cause(reason job.Reason, e *wxclient.Error) string {
	what := e.Code
	if what == "" {
		what = e.Class.String()
	}
	if e.Status != 0 {
		what = strconv.Itoa(e.Status) + " " + what
	}
	return string(reason) + " " + what
}

// mayFail says whether a job that was refused, or has no attempts left, may be settled as failed; or
// else must wait, because the merchant is held by the brake, now or already.
func (p *Processor) mayFail(ctx context.Context, mchid, complaint, cause string, probe bool) bool {
	held, isHeld := p.gate.Held(mchid)
	if !isHeld || held.Kind != string(dedupe.HoldBrake) {
		if !p.brake.failed(mchid, complaint, cause) {
			return true
		}
		p.holds.brake(ctx, mchid, cause)
		return false
	}
	if probe && held.Code != cause { // the API says something else by now
		p.brake.reset(mchid)
		p.holds.end(ctx, mchid)
	}
	return probe // a refused probe is buried, so that a batch of bad jobs drains by itself
}

// succeeded takes note of a success: nothing is wrong with the merchant.
func (p *Processor) succeeded(ctx context.Context, mchid string) {
	p.brake.reset(mchid)
	if _, held := p.gate.Held(mchid); held {
		p.holds.end(ctx, mchid)
	}
}
