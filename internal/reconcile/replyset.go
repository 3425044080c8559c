package reconcile

import (
	"slices"
	"strings"
)

// indexFrom is how many replies of a complaint are looked through without an index. Nearly all
// complaints have a few, and an index of one reply takes four times its memory.
const indexFrom = 32

// replySet is the replies of one complaint that are ours, each log_id once.
type replySet struct {
	list  []Ours
	index map[string]int // by log_id; nil while they are few
}

// find returns the reply of a log_id, nil where there is none. It may be changed, and holds until the
// next add.
func (r *replySet) find(logID string) *Ours {
	if r.index != nil {
		if i, known := r.index[logID]; known {
			return &r.list[i]
		}
		return nil
	}
	for i := range r.list {
		if r.list[i].LogID == logID {
			return &r.list[i]
		}
	}
	return nil
}

// add enters a reply whose log_id is not there.
func (r *replySet) add(o Ours) {
	if r.list == nil {
		r.list = make([]Ours, 0, 1)
	}
	r.list = append(r.list, o)
	switch {
	case r.index != nil:
		r.index[o.LogID] = len(r.list) - 1
	case len(r.list) == indexFrom:
		r.index = make(map[string]int, 2*indexFrom)
		for i := range r.list {
			r.index[r.list[i].LogID] = i
		}
	}
}

// sorted returns them by log_id.
func (r *replySet) sorted() []Ours {
	return slices.SortedFunc(slices.Values(r.list), func(a, b Ours) int { return strings.Compare(a.LogID, b.LogID) })
}
