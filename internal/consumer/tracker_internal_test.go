package consumer

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// naive keeps every offset that was ever added, and looks through all of them.
type naive struct {
	unfinished map[int64]int // sizes
	next       int64
}

func (n *naive) watermark() int64 {
	low := int64(math.MaxInt64)
	for offset := range n.unfinished {
		low = min(low, offset)
	}
	if low < math.MaxInt64 {
		return low
	}
	return n.next
}

func (n *naive) bytes() (sum int) {
	for _, size := range n.unfinished {
		sum += size
	}
	return sum
}

func TestTrackerAgreesWithANaiveOne(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		first := rapid.Int64Range(-1, 100).Draw(t, "first")
		tr, model := newTracker(first), &naive{unfinished: map[int64]int{}, next: first}
		open, stale := []*unfinished{}, []*unfinished{}
		last := first
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				offset := max(0, model.next) + rapid.Int64Range(0, 3).Draw(t, "gap")
				size := rapid.IntRange(0, 100).Draw(t, "size")
				open = append(open, tr.add(offset, size))
				model.unfinished[offset], model.next = size, offset+1
			},
			"skip": func(t *rapid.T) {
				next := model.next + rapid.Int64Range(-3, 5).Draw(t, "by")
				tr.skip(next)
				model.next = max(model.next, next)
			},
			"finish": func(t *rapid.T) {
				if len(open) == 0 {
					t.Skip("nothing is unfinished")
				}
				i := rapid.IntRange(0, len(open)-1).Draw(t, "which")
				tr.finish(open[i])
				delete(model.unfinished, open[i].offset)
				open = append(open[:i], open[i+1:]...)
			},
			"finish one from before a restart": func(t *rapid.T) {
				if len(stale) == 0 {
					t.Skip("nothing is stale")
				}
				tr.finish(stale[0])
				stale = stale[1:]
			},
			"restart": func(t *rapid.T) {
				if !rapid.Bool().Draw(t, "really") {
					t.Skip("restarts are rare")
				}
				next := rapid.Int64Range(0, 10).Draw(t, "next")
				tr.restart(next)
				stale, open = append(stale, open...), nil
				model.unfinished, model.next, last = map[int64]int{}, next, next
			},
			"": func(t *rapid.T) {
				got := tr.watermark()
				if want := model.watermark(); got != want {
					t.Fatalf("watermark is %d, want %d; unfinished: %v", got, want, model.unfinished)
				}
				if got < last {
					t.Fatalf("watermark went back from %d to %d without a restart", last, got)
				}
				last = got
				for offset := range model.unfinished {
					if got > offset {
						t.Fatalf("watermark %d is past offset %d, which is not finished", got, offset)
					}
				}
				if tr.pending() != len(model.unfinished) || tr.bytes != model.bytes() {
					t.Fatalf("%d records of %d bytes are pending, want %d of %d",
						tr.pending(), tr.bytes, len(model.unfinished), model.bytes())
				}
				reached := 0
				for u := tr.head; u != nil && reached <= len(open); u = u.next {
					reached++
				}
				if reached != len(open) {
					t.Fatalf("%d records are kept, want the %d unfinished ones", reached, len(open))
				}
			},
		})
	})
}

func TestTrackerRoom(t *testing.T) {
	t.Parallel()
	tr := newTracker(0)
	require.True(t, tr.room(1000, 2, 10), "one record fits into an empty share, however large it is")
	large := tr.add(0, 1000)
	require.False(t, tr.room(0, 2, 10), "1000 of 10 bytes are taken")
	tr.finish(large)
	select {
	case <-tr.freed:
	default:
		require.Fail(t, "a record was finished and nobody was told")
	}
	tr.add(1, 4)
	require.True(t, tr.room(6, 2, 10), "4 of 10 bytes are taken, and 6 wanted")
	require.False(t, tr.room(7, 2, 10), "4 of 10 bytes are taken, and 7 wanted")
	tr.add(2, 0)
	require.False(t, tr.room(0, 2, 10), "2 of 2 records are taken")
}

func TestTrackerFinishFromBeforeARestartDoesNothing(t *testing.T) {
	t.Parallel()
	tr := newTracker(100)
	old := tr.add(100, 7)
	tr.restart(0)
	tr.add(100, 5)
	tr.finish(old)
	require.Equal(t, int64(100), tr.watermark(), "offset 100 of the new log is not finished")
	require.Equal(t, 1, tr.pending())
}
