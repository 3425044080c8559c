package schedule

import (
	"container/heap"
	"time"
)

// queue is a first-in, first-out list of ready tasks.
type queue struct {
	tasks []*Task
	head  int
}

func (q *queue) len() int       { return len(q.tasks) - q.head }
func (q *queue) at(i int) *Task { return q.tasks[q.head+i] }
func (q *queue) push(t *Task)   { q.tasks = append(q.tasks, t) }

func (q *queue) pop() *Task {
	if q.len() == 0 {
		return nil
	}
	t := q.at(0)
	q.removeAt(0)
	return t
}

// removeAt removes the i-th task; cheap near the front, where tasks usually leave.
func (q *queue) removeAt(i int) {
	copy(q.tasks[q.head+1:q.head+1+i], q.tasks[q.head:q.head+i])
	q.tasks[q.head] = nil
	q.head++
	if q.head == len(q.tasks) {
		q.tasks, q.head = q.tasks[:0], 0
	} else if q.head > 64 && q.head > len(q.tasks)/2 {
		n := copy(q.tasks, q.tasks[q.head:])
		clear(q.tasks[n:])
		q.tasks, q.head = q.tasks[:n], 0
	}
}

func (q *queue) remove(t *Task) {
	for i := range q.len() {
		if q.at(i) == t {
			q.removeAt(i)
			return
		}
	}
}

// taskHeap orders tasks by a time, each knowing its place.
type taskHeap struct {
	at    func(*Task) time.Time
	idx   func(*Task) *int
	tasks []*Task
}

func (h *taskHeap) first() *Task {
	if len(h.tasks) == 0 {
		return nil
	}
	return h.tasks[0]
}

func (h *taskHeap) push(t *Task) { heap.Push(heapOps{h}, t) }

func (h *taskHeap) remove(t *Task) {
	if i := *h.idx(t); i >= 0 && i < len(h.tasks) && h.tasks[i] == t {
		heap.Remove(heapOps{h}, i)
	}
}

// heapOps are the container/heap methods of a taskHeap, kept off its own method set.
type heapOps struct{ *taskHeap }

func (h heapOps) Len() int           { return len(h.tasks) }
func (h heapOps) Less(i, j int) bool { return h.at(h.tasks[i]).Before(h.at(h.tasks[j])) }

func (h heapOps) Swap(i, j int) {
	h.tasks[i], h.tasks[j] = h.tasks[j], h.tasks[i]
	*h.idx(h.tasks[i]), *h.idx(h.tasks[j]) = i, j
}

func (h heapOps) Push(x any) {
	t := x.(*Task)
	*h.idx(t) = len(h.tasks)
	h.tasks = append(h.tasks, t)
}

func (h heapOps) Pop() any {
	n := len(h.tasks) - 1
	t := h.tasks[n]
	h.tasks[n] = nil
	h.tasks = h.tasks[:n]
	*h.idx(t) = -1
	return t
}
