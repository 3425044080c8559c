package deadletter

import (
	"slices"
	"time"

	"replyworker/internal/job"
)

// Filter says which letters are meant. Its zero value means every one; of a list, any is enough.
type Filter struct {
	Reasons      []job.Reason
	ErrorCodes   []string
	Complaints   []string
	Idempotent   []string // idempotent ids
	Merchants    []string // as the job names them: none where it leaves it to the default
	Replays      []string // the replay that the job came from
	Since, Until time.Time
	Statuses     []Status // StatusOpen means those that are being replayed as well
}

// IsZero says that the filter leaves nothing out, its Statuses aside.
func (f *Filter) IsZero() bool {
	return len(f.Reasons)+len(f.ErrorCodes)+len(f.Complaints)+len(f.Idempotent)+len(f.Merchants)+len(f.Replays) == 0 &&
		f.Since.IsZero() && f.Until.IsZero()
}

// Match says whether a letter with that status is meant.
func (f *Filter) Match(l *Letter, status Status) bool {
	return among(f.Reasons, l.Reason) && among(f.ErrorCodes, l.ErrorCode) && among(f.Complaints, l.ComplaintID) &&
		among(f.Idempotent, l.IdempotentID) && among(f.Merchants, l.MchID) && among(f.Replays, l.ReplayID) &&
		!l.FailedAt.Before(f.Since) && (f.Until.IsZero() || l.FailedAt.Before(f.Until)) && f.matchStatus(status)
}

func (f *Filter) matchStatus(status Status) bool {
	return among(f.Statuses, status) || status == StatusReplaying && slices.Contains(f.Statuses, StatusOpen)
}

func among[T comparable](wanted []T, have T) bool {
	return len(wanted) == 0 || slices.Contains(wanted, have)
}

// Select returns the letters that a filter means, by ID.
func (x *Index) Select(f *Filter) []*Letter {
	var found []*Letter
	for _, l := range x.Letters {
		if f.Match(l, x.Resolution(l).Status) {
			found = append(found, l)
		}
	}
	return found
}
