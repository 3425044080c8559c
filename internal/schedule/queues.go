package schedule

import "container/heap"

// queue is a merchant's ready tasks that need leave, and how much of the worker the merchant has.
type queue struct {
	list
	calls int    // its steps that have the gate's leave
	turn  uint64 // when one of its tasks was started last
	idx   int    // in queues.heap, -1 where it is not there
}

// queues are the merchants' queues. The first is the one whose task is to be started next: of those
// that have a task, the one with the fewest steps at work, and of those the one that waits longest. So
// free slots go where they make the shares equal: a merchant with a few jobs does not wait behind the
// backlog of another, and one whose calls are slow does not gather the slots.
type queues struct {
	byID map[string]*queue
	heap []*queue // of those that have tasks, but for the ones that are set aside
	turn uint64
}

func newQueues() queues { return queues{byID: map[string]*queue{}} }

// of returns the queue of a merchant.
func (qs *queues) of(mchID string) *queue {
	q := qs.byID[mchID]
	if q == nil {
		q = &queue{list: list{place: readyPlace}, idx: -1}
		qs.byID[mchID] = q
	}
	return q
}

func (qs *queues) first() *queue {
	if len(qs.heap) == 0 {
		return nil
	}
	return qs.heap[0]
}

// push adds a ready task.
func (qs *queues) push(t *Task) {
	t.queue = qs.of(t.MchID)
	t.queue.list.push(t)
	qs.put(t.queue)
}

// remove takes a ready task out.
func (qs *queues) remove(t *Task) {
	t.queue.list.remove(t)
	if t.queue.n == 0 {
		qs.aside(t.queue)
	}
}

// started takes note that a step of the merchant has leave.
func (qs *queues) started(q *queue) {
	qs.turn++
	q.calls++
	q.turn = qs.turn
	qs.moved(q)
}

// ended takes note that a step of the merchant has given its leave back.
func (qs *queues) ended(q *queue) {
	q.calls--
	qs.moved(q)
}

// put makes a queue one that is asked, where it has tasks.
func (qs *queues) put(q *queue) {
	if q.idx < 0 && q.n > 0 {
		heap.Push(queueHeap{qs}, q)
	}
}

// aside makes a queue one that is not asked, until put.
func (qs *queues) aside(q *queue) {
	if q.idx >= 0 {
		heap.Remove(queueHeap{qs}, q.idx)
	}
}

func (qs *queues) moved(q *queue) {
	if q.idx >= 0 {
		heap.Fix(queueHeap{qs}, q.idx)
	}
}

// queueHeap are the container/heap methods of queues, kept off its own method set.
type queueHeap struct{ *queues }

func (h queueHeap) Len() int { return len(h.heap) }

func (h queueHeap) Less(i, j int) bool {
	a, b := h.heap[i], h.heap[j]
	if a.calls != b.calls {
		return a.calls < b.calls
	}
	return a.turn < b.turn
}

func (h queueHeap) Swap(i, j int) {
	h.heap[i], h.heap[j] = h.heap[j], h.heap[i]
	h.heap[i].idx, h.heap[j].idx = i, j
}

func (h queueHeap) Push(x any) {
	q := x.(*queue)
	q.idx = len(h.heap)
	h.heap = append(h.heap, q)
}

func (h queueHeap) Pop() any {
	n := len(h.heap) - 1
	q := h.heap[n]
	h.heap[n] = nil
	h.heap = h.heap[:n]
	q.idx = -1
	return q
}
