package outcome

import (
	"slices"
	"time"

	"replyworker/internal/job"
)

// Filter says which outcomes are wanted: those that have, of each field that is given, one of the
// values. The zero value wants all.
type Filter struct {
	// Since and Until bound when the outcome was published: at Since or later, before Until.
	Since, Until time.Time

	Statuses      []job.Status
	Reasons       []job.Reason
	ErrorCodes    []string
	ComplaintIDs  []string
	IdempotentIDs []string
	MchIDs        []string
	Hosts         []string
	// Labels must all be there with these values.
	Labels map[string]string
}

// InTime says that an outcome was published in the time that is wanted.
func (f *Filter) InTime(published time.Time) bool {
	return !published.Before(f.Since) && (f.Until.IsZero() || published.Before(f.Until))
}

// Wants says that an event is wanted, whenever it was published.
func (f *Filter) Wants(e *Event) bool {
	for name, value := range f.Labels {
		if got, found := e.Labels[name]; !found || got != value {
			return false
		}
	}
	return among(f.Statuses, e.Status) && among(f.Reasons, e.Reason) && among(f.ErrorCodes, e.ErrorCode) &&
		among(f.ComplaintIDs, e.ComplaintID) && among(f.IdempotentIDs, e.IdempotentID) &&
		among(f.MchIDs, e.MchID) && among(f.Hosts, e.Host)
}

func among[T comparable](wanted []T, got T) bool {
	return len(wanted) == 0 || slices.Contains(wanted, got)
}
