package api

import (
	"sync"
	"time"
)

// quota refuses what is more than so many calls in a second of the clock. It is safe for concurrent use.
type quota struct {
	mu        sync.Mutex
	perSecond int // 0 for any number.
	second    int64
	calls     int // Of that second.
}

func (q *quota) set(perSecond int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.perSecond = perSecond
}

func (q *quota) refuses(at time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if second := at.Unix(); second > q.second { // Of calls at once, the later may be here first.
		q.second, q.calls = second, 0
	}
	q.calls++
	return q.perSecond > 0 && q.calls > q.perSecond
}
