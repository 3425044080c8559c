package api

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/bench/internal/jobs"
)

// TestDisorder: a success after that of a later job of its complaint is out of order, and a repeat is not.
func TestDisorder(t *testing.T) {
	t.Parallel()
	var l ledger
	b := jobs.Batch{Run: 1, Jobs: 10, Complaints: 2}
	l.begin(b)
	for _, n := range []int{0, 4, 2, 2, 1, 3, 4} { // 2 is of the complaint of 4.
		_, got, known, _ := l.ask([]byte(b.ID(n)), time.Now())
		require.True(t, known)
		require.Equal(t, n, got)
		l.end(b, n, true, false, time.Now())
	}
	require.Equal(t, 1, l.count().Disorder)
	require.Equal(t, 2, l.count().Doubled)
	require.Equal(t, 5, l.count().Done)
}

// TestCallsOfTheRunBefore count no more.
func TestCallsOfTheRunBefore(t *testing.T) {
	t.Parallel()
	var l ledger
	old, next := jobs.Batch{Run: 1, Jobs: 5}, jobs.Batch{Run: 2, Jobs: 1}
	l.begin(old)
	_, n, known, _ := l.ask([]byte(old.ID(4)), time.Now())
	l.begin(next)
	l.end(old, n, known, false, time.Now())
	require.Equal(t, Counts{}, l.count())
}

func TestIDOf(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"idempotent_id":"a"}`: "a", `{"idempotent_id" : "a b" }`: "a b", `{"idempotent_id":1}`: "", `{"x":1}`: "",
		`{"idempotent_id"`: "", `{"idempotent_id":"a`: "",
	} {
		require.Equal(t, want, string(idOf([]byte(body))), body)
	}
}
