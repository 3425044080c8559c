package processor

import (
	"errors"
	"fmt"
	"runtime/debug"
	"strconv"

	"replyworker/internal/job"
)

// decode reads the job. One that is not valid, or that no configured merchant can sign, fails
// without a claim: it has no id that could be trusted.
func (w *work) decode() {
	defer func() {
		if r := recover(); r != nil {
			w.p.panicked(&w.d, r, debug.Stack())
			w.job = &job.Job{}
			w.failed = &job.Result{Status: job.StatusFailed, Reason: job.ReasonInternal, Detail: "a fault of the worker: see its log"}
		}
	}()
	j, err := job.Decode(w.d.Value, w.p.cfg.Validation)
	if err != nil {
		w.reject(partial(err), err.Error())
		return
	}
	now := w.p.roster.Load()
	if j.MchID == "" {
		j.MchID = now.defaultMchID
	}
	if now.merchants[j.MchID] == nil {
		unknown := notConfigured(j)
		w.reject(&unknown.Partial, unknown.Error())
		return
	}
	w.job = j
}

// notConfigured is what is wrong with a job that no configured merchant can sign.
func notConfigured(j *job.Job) *job.InvalidError {
	return j.Invalid(job.Problem{Pointer: "/mchid", Rule: fmt.Sprintf("%q is not a configured merchant", j.MchID)})
}

func partial(err error) *job.Job {
	if invalid, ok := errors.AsType[*job.InvalidError](err); ok {
		return &invalid.Partial
	}
	return &job.Job{}
}

func (w *work) reject(j *job.Job, detail string) {
	w.job = j
	w.failed = &job.Result{Status: job.StatusFailed, Reason: job.ReasonInvalidJob, Detail: detail}
}

// lane is where a job waits for its turn: its complaint, in its partition. The key of the record does
// not matter.
func lane(d *job.Delivery, j *job.Job) string {
	b := make([]byte, 0, len(d.Source.Topic)+len(j.ComplaintID)+8)
	b = append(b, d.Source.Topic...)
	b = append(b, '/')
	b = strconv.AppendInt(b, int64(d.Source.Partition), 10)
	b = append(b, '/')
	b = append(b, j.ComplaintID...)
	return string(b)
}
