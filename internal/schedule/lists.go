package schedule

import (
	"container/heap"
	"time"
)

// list is a first-in, first-out list of tasks that may leave from anywhere. Each task has its own
// place in it, so that nothing is searched for or moved, however many expire or are drained at once.
type list struct {
	place       func(*Task) *place
	first, last *Task
	n           int
}

// place is a task's place in a list.
type place struct {
	in         *list // nil where it is in none
	prev, next *Task
}

func readyPlace(t *Task) *place { return &t.readyPlace }
func lanePlace(t *Task) *place  { return &t.lanePlace }

func (l *list) push(t *Task) {
	*l.place(t) = place{in: l, prev: l.last}
	if l.last == nil {
		l.first = t
	} else {
		l.place(l.last).next = t
	}
	l.last = t
	l.n++
}

func (l *list) remove(t *Task) {
	p := *l.place(t)
	if p.in != l {
		return
	}
	if p.prev == nil {
		l.first = p.next
	} else {
		l.place(p.prev).next = p.next
	}
	if p.next == nil {
		l.last = p.prev
	} else {
		l.place(p.next).prev = p.prev
	}
	*l.place(t) = place{}
	l.n--
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
