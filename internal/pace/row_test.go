package pace_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/pace"
)

// inHand is workers' paces of one merchant, whose questions and answers are gone through one by one.
type inHand struct {
	t     *testing.T
	now   time.Time
	store *pace.Memory
}

func newInHand(t *testing.T) *inHand {
	t.Helper()
	h := &inHand{t: t, now: start}
	h.store = pace.NewMemory(func() time.Time { return h.now })
	return h
}

// worker is a pace of a worker that has asked once.
func (h *inHand) worker() *pace.Pacer {
	p := pace.NewPacer("1", 0, nil)
	p.Take(h.now)
	a := h.ask(p)
	s := h.share(a)
	require.Nil(h.t, s.Due)
	p.Told(h.now, a, s, nil)
	require.True(h.t, h.free(p), "no limit is known")
	return p
}

func (h *inHand) ask(p *pace.Pacer) pace.Ask {
	h.t.Helper()
	a, ok := p.Ask(h.now)
	require.True(h.t, ok, "there is something to ask")
	return a
}

func (h *inHand) share(a pace.Ask) pace.Share {
	shares, _ := h.store.SharePaces(h.t.Context(), []pace.Ask{a})
	return shares[0]
}

func (h *inHand) learn(l pace.Lesson) error {
	return h.store.LearnPaces(h.t.Context(), []pace.Lesson{l})[0]
}

func (h *inHand) free(p *pace.Pacer) bool {
	_, wait := p.Take(h.now)
	return wait == 0
}

func (h *inHand) refuse(p *pace.Pacer, calls int) {
	for range calls {
		p.Answer(h.now, h.now, 0, true, 0)
	}
}

// TestNobodyCallsWhileRefusalsInARowAreWorkedOut: the API has just refused all there was.
func TestNobodyCallsWhileRefusalsInARowAreWorkedOut(t *testing.T) {
	t.Parallel()
	h := newInHand(t)
	p := h.worker()
	h.refuse(p, pace.ClosedRow)
	require.False(t, h.free(p))
	a := h.ask(p)
	require.False(t, h.free(p), "the refusals are being told")
	s := h.share(a)
	require.NotNil(t, s.Due)
	p.Told(h.now, a, s, nil)
	require.False(t, h.free(p), "what follows is being worked out")
	_, ok := p.Ask(h.now)
	require.False(t, ok, "one question at a time")
	l := s.Due.Lesson("1")
	require.True(t, l.Next.Closed)
	p.Learned(h.now, &l, h.learn(l))
	require.False(t, h.free(p), "it has no permit yet")
	a = h.ask(p)
	p.Told(h.now, a, h.share(a), nil)
	require.True(t, h.free(p), "a probe")
	require.False(t, h.free(p), "and no more than that")
}

// TestRefusalsInARowOfSeveralWorkersAreWorkedOutByOne, and the others hear of it before they call.
func TestRefusalsInARowOfSeveralWorkersAreWorkedOutByOne(t *testing.T) {
	t.Parallel()
	h := newInHand(t)
	one, two := h.worker(), h.worker()
	h.refuse(one, pace.ClosedRow)
	h.refuse(two, pace.ClosedRow)
	a, b := h.ask(one), h.ask(two)
	s, r := h.share(a), h.share(b)
	one.Told(h.now, a, s, nil)
	two.Told(h.now, b, r, nil)
	l, m := s.Due.Lesson("1"), r.Due.Lesson("1")
	one.Learned(h.now, &l, h.learn(l))
	err := h.learn(m)
	require.ErrorIs(t, err, pace.ErrOutdated)
	two.Learned(h.now, &m, err)
	require.False(t, h.free(two), "it does not know what the other one has worked out")
	b = h.ask(two)
	r = h.share(b)
	require.Nil(t, r.Due)
	two.Told(h.now, b, r, nil)
	require.InDelta(t, l.Next.Limit, two.Limit(), 0.001)
}

// TestRefusalsInARowThatCannotBeToldAreToldAgain, or worked out again.
func TestRefusalsInARowThatCannotBeToldAreToldAgain(t *testing.T) {
	t.Parallel()
	h := newInHand(t)
	p := h.worker()
	h.refuse(p, pace.ClosedRow)
	away := errors.New("away")
	p.Told(h.now, h.ask(p), pace.Share{}, away)
	_, ok := p.Ask(h.now)
	require.False(t, ok, "it waits a little first")
	h.now = h.now.Add(time.Second)
	a := h.ask(p)
	require.Equal(t, pace.ClosedRow, a.Counts.Row)
	s := h.share(a)
	p.Told(h.now, a, s, nil)
	l := s.Due.Lesson("1")
	p.Learned(h.now, &l, away)
	require.False(t, h.free(p))
	_, ok = p.Ask(h.now)
	require.False(t, ok, "it waits a little first")
	h.now = h.now.Add(time.Second)
	a = h.ask(p)
	s = h.share(a)
	require.NotNil(t, s.Due)
	p.Told(h.now, a, s, nil)
	l = s.Due.Lesson("1")
	p.Learned(h.now, &l, h.learn(l))
	require.Positive(t, p.Limit())
}
