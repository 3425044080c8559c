package schedule

import (
	"container/heap"
	"time"
)

// queue is a merchant's ready tasks that need leave, and how much of the worker the merchant has.
type queue struct {
	list
	calls  int       // its steps that have the gate's leave
	turn   uint64    // when one of its tasks was started last
	idx    int       // in queues.asked, -1 where it is not there
	askAt  time.Time // when to ask again, where it is put off
	later  int       // in queues.later, -1 where it is not there
	narrow bool      // it was put off for its tasks' own reasons: another one may go
}

// queues are the merchants' queues. The first is the one whose task is to be started next: of those
// that have a task, the one with the fewest calls, and of those the one that waits longest. So free
// slots go where they make the shares equal: a merchant with a few jobs does not wait behind the backlog
// of another, and one whose calls are slow does not gather the slots.
//
// A queue whose tasks may not go before a time is put off until then, or until recall: a job costs the
// same, however many merchants are held or have used their quotas up.
type queues struct {
	byID  map[string]*queue
	asked queueHeap
	later queueHeap
	turn  uint64
}

func newQueues() queues {
	return queues{
		byID: map[string]*queue{},
		asked: queueHeap{idx: func(q *queue) *int { return &q.idx }, less: func(a, b *queue) bool {
			return a.calls < b.calls || a.calls == b.calls && a.turn < b.turn
		}},
		later: queueHeap{idx: func(q *queue) *int { return &q.later }, less: func(a, b *queue) bool {
			return a.askAt.Before(b.askAt)
		}},
	}
}

// of returns the queue of a merchant.
func (qs *queues) of(mchID string) *queue {
	q := qs.byID[mchID]
	if q == nil {
		q = &queue{list: list{place: readyPlace}, idx: -1, later: -1}
		qs.byID[mchID] = q
	}
	return q
}

// first returns the queue to ask, nil where there is none.
func (qs *queues) first() *queue { return qs.asked.first() }

// push adds a ready task.
func (qs *queues) push(t *Task) {
	t.queue = qs.of(t.MchID)
	t.queue.list.push(t)
	if t.queue.narrow {
		qs.later.remove(t.queue)
	}
	qs.put(t.queue)
}

// remove takes a ready task out.
func (qs *queues) remove(t *Task) {
	t.queue.list.remove(t)
	if t.queue.n == 0 {
		qs.asked.remove(t.queue)
		qs.later.remove(t.queue)
	}
}

// started takes note that a step of the merchant has leave.
func (qs *queues) started(q *queue) {
	qs.turn++
	q.calls++
	q.turn = qs.turn
	qs.asked.moved(q)
}

// ended takes note that a step of the merchant has given its leave back.
func (qs *queues) ended(q *queue) {
	q.calls--
	qs.asked.moved(q)
}

// put makes a queue one that is asked, where it has tasks and is not put off.
func (qs *queues) put(q *queue) {
	if q.idx < 0 && q.later < 0 && q.n > 0 {
		qs.asked.push(q)
	}
}

// aside makes a queue one that is not asked, until put.
func (qs *queues) aside(q *queue) { qs.asked.remove(q) }

// putOff makes a queue one that is not asked before a time; narrow says that a new task may go sooner.
func (qs *queues) putOff(q *queue, until time.Time, narrow bool) {
	qs.asked.remove(q)
	q.askAt, q.narrow = until, narrow
	qs.later.push(q)
}

// due asks the queues again whose time has come, and returns how long until that of the next.
func (qs *queues) due(now time.Time) time.Duration {
	for {
		q := qs.later.first()
		if q == nil {
			return idle
		}
		if q.askAt.After(now) {
			return q.askAt.Sub(now)
		}
		qs.later.remove(q)
		qs.put(q)
	}
}

// recall asks all queues again.
func (qs *queues) recall() {
	for q := qs.later.first(); q != nil; q = qs.later.first() {
		qs.later.remove(q)
		qs.put(q)
	}
}

// queueHeap orders queues, each knowing its place.
type queueHeap struct {
	list []*queue
	less func(a, b *queue) bool
	idx  func(*queue) *int
}

func (h *queueHeap) first() *queue {
	if len(h.list) == 0 {
		return nil
	}
	return h.list[0]
}

func (h *queueHeap) push(q *queue) { heap.Push(queueHeapOps{h}, q) }

func (h *queueHeap) remove(q *queue) {
	if i := *h.idx(q); i >= 0 {
		heap.Remove(queueHeapOps{h}, i)
	}
}

func (h *queueHeap) moved(q *queue) {
	if i := *h.idx(q); i >= 0 {
		heap.Fix(queueHeapOps{h}, i)
	}
}

// queueHeapOps are the container/heap methods of a queueHeap, kept off its own method set.
type queueHeapOps struct{ *queueHeap }

func (h queueHeapOps) Len() int           { return len(h.list) }
func (h queueHeapOps) Less(i, j int) bool { return h.less(h.list[i], h.list[j]) }

func (h queueHeapOps) Swap(i, j int) {
	h.list[i], h.list[j] = h.list[j], h.list[i]
	*h.idx(h.list[i]), *h.idx(h.list[j]) = i, j
}

func (h queueHeapOps) Push(x any) {
	q := x.(*queue)
	*h.idx(q) = len(h.list)
	h.list = append(h.list, q)
}

func (h queueHeapOps) Pop() any {
	n := len(h.list) - 1
	q := h.list[n]
	h.list[n] = nil
	h.list = h.list[:n]
	*h.idx(q) = -1
	return q
}
