package consumer

import "sync"

// tracker keeps a partition's unfinished offsets. The watermark is the highest offset below which
// every record is finished; it is what is committed. Offsets may have gaps (aborted transactions,
// control records, compaction). Memory is bounded by the number of unfinished records, however far
// the records after a stuck one have gone.
type tracker struct {
	mu         sync.Mutex
	head, tail *unfinished // in offset order
	next       int64       // one past the last offset that was taken note of
	count      int
	bytes      int
	epoch      int           // counts restarts
	freed      chan struct{} // has a value after something was finished
}

type unfinished struct {
	offset     int64
	size       int
	epoch      int
	prev, next *unfinished
}

func newTracker(next int64) *tracker { return &tracker{next: next, freed: make(chan struct{}, 1)} }

// add takes note of a record that is being worked on. Offsets come in rising order.
func (t *tracker) add(offset int64, size int) *unfinished {
	t.mu.Lock()
	defer t.mu.Unlock()
	u := &unfinished{offset: offset, size: size, epoch: t.epoch, prev: t.tail}
	if t.tail == nil {
		t.head = u
	} else {
		t.tail.next = u
	}
	t.tail = u
	t.next = offset + 1
	t.count++
	t.bytes += size
	return u
}

// skip takes note that there is nothing to do below next.
func (t *tracker) skip(next int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.next = max(t.next, next)
}

// finish marks a record as finished. It is called once for each add at the most.
func (t *tracker) finish(u *unfinished) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if u.epoch != t.epoch {
		return
	}
	if u.prev == nil {
		t.head = u.next
	} else {
		u.prev.next = u.next
	}
	if u.next == nil {
		t.tail = u.prev
	} else {
		u.next.prev = u.prev
	}
	t.count--
	t.bytes -= u.size
	select {
	case t.freed <- struct{}{}:
	default:
	}
}

// watermark returns the offset to commit.
func (t *tracker) watermark() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.head != nil {
		return t.head.offset
	}
	return t.next
}

// room says whether a record of size fits into the partition's share of the buffers. One record
// always fits into an empty share.
func (t *tracker) room(size, maxJobs, maxBytes int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.count == 0 || (t.count < maxJobs && t.bytes+size <= maxBytes)
}

// restart begins anew at next, for a log that is shorter than it was. What is still being worked on
// belonged to the log before and leaves the books.
func (t *tracker) restart(next int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.head, t.tail, t.count, t.bytes, t.next = nil, nil, 0, 0, next
	t.epoch++
}

// load returns how many records are being worked on, and their bytes.
func (t *tracker) load() (jobs, bytes int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.count, t.bytes
}

// pending returns how many records are being worked on.
func (t *tracker) pending() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.count
}
