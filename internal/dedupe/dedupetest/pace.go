package dedupetest

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/dedupe"
	"replyworker/internal/pace"
)

// slow is a ceiling, in calls/s, at which a test's own time does not count: a permit in a hundred seconds.
const slow = 0.01

// share asks for one merchant.
func share(t testing.TB, s *dedupe.Store, a pace.Ask) pace.Share {
	t.Helper()
	if a.MchID == "" {
		a.MchID = "1"
	}
	shares, errs := s.SharePaces(t.Context(), []pace.Ask{a})
	require.NoError(t, errs[0])
	return shares[0]
}

func testPace(t *testing.T, e env) {
	take := func(want, granted int, first, wait time.Duration) {
		t.Helper()
		s := share(t, e.Store, pace.Ask{Want: want, Ceiling: slow})
		require.Equal(t, granted, s.Permits, "%+v", s)
		if granted > 0 {
			near(t, first, s.First)
			require.Equal(t, 100*time.Second, s.Every)
		}
		near(t, wait, s.Wait)
	}
	take(5, 2, 0, 100*time.Second) // what is granted ahead
	e.advance(t, 50*time.Second)
	take(2, 1, 150*time.Second, 100*time.Second)
	take(1, 0, 0, 100*time.Second)
	e.advance(t, 24*time.Hour)
	take(1, 1, 0, 0)
	take(1, 1, 100*time.Second, 0)

	require.Equal(t, 1, share(t, e.Store, pace.Ask{MchID: "2", Want: 1, Ceiling: slow}).Permits, "each merchant has its own pace")
	free := share(t, e.Store, pace.Ask{MchID: "3", Want: 7})
	require.Zero(t, free, "no limit needs no permits")
}

func testPaceShared(t *testing.T, e env) {
	second := Store(t, e.srv, nil)
	total := 0
	for i := range 20 {
		s := e.Store
		if i%2 == 1 {
			s = second
		}
		total += share(t, s, pace.Ask{Want: 1, Ceiling: slow}).Permits
		switch i {
		case 0:
			e.advance(t, 50*time.Second)
		case 9:
			require.Equal(t, 3, total, "two stores share one pace")
			e.advance(t, 200*time.Second)
		}
	}
	require.Equal(t, 5, total)
}

func testPaceLearned(t *testing.T, e env) {
	second := Store(t, e.srv, nil)
	first := share(t, e.Store, pace.Ask{Counts: pace.Counts{Accepted: 30, Refused: 3, Row: 3, Through: 30, Rate: 10}})
	require.NotNil(t, first.Due)
	require.Zero(t, first.Due.Version)
	require.Equal(t, pace.Learned{}, first.Due.Learned)
	e.advance(t, 30*time.Second)
	again := share(t, second, pace.Ask{Counts: pace.Counts{Refused: 2, Row: 2, Rate: 5}})
	require.NotNil(t, again.Due, "the first has not learned for long, or is gone")
	counts := again.Due.Counts
	near(t, 30*time.Second, 60*time.Second-counts.Elapsed)
	counts.Elapsed = 0
	require.Equal(t, pace.Counts{Accepted: 30, Refused: 5, Row: 5, Through: 30, Rate: 15}, counts)

	lesson := again.Due.Lesson("1")
	require.True(t, lesson.Next.Closed)
	require.NoError(t, second.LearnPaces(t.Context(), []pace.Lesson{lesson})[0])
	require.ErrorIs(t, e.LearnPaces(t.Context(), []pace.Lesson{first.Due.Lesson("1")})[0], pace.ErrOutdated)
	late := share(t, e.Store, pace.Ask{Epoch: 0, Counts: pace.Counts{Accepted: 4, Refused: 9, Through: 4, Held: true}, Want: 1})
	require.Equal(t, lesson.Next.Epoch, late.Epoch)
	require.InDelta(t, lesson.Next.Limit, late.Limit, 1e-6)
	require.Equal(t, 1, late.Permits)
	e.advance(t, time.Second)
	news := share(t, e.Store, pace.Ask{Epoch: late.Epoch, Counts: pace.Counts{Refused: 1, Row: 1}, Want: 1}).Due
	require.NotNil(t, news)
	require.Equal(t, lesson.Next, news.Learned)
	news.Counts.Elapsed = 0
	require.Equal(t, pace.Counts{Refused: 1, Row: 1, Through: 4}, news.Counts, "answers to calls of another epoch tell only what went through")

	other := share(t, e.Store, pace.Ask{Epoch: late.Epoch, Counts: pace.Counts{Accepted: 1, Through: 1}, Want: 1})
	require.NoError(t, e.LearnPaces(t.Context(), []pace.Lesson{news.Lesson("1")})[0])
	e.advance(t, time.Second)
	rest := share(t, e.Store, pace.Ask{Epoch: other.Epoch, Counts: pace.Counts{Held: true}}).Due
	require.NotNil(t, rest)
	rest.Counts.Elapsed = 0
	require.Equal(t, pace.Counts{Accepted: 1, Through: 1, Held: true}, rest.Counts, "what came after the counts of a lesson stays")
}

func testPaceForgotten(t *testing.T, e env) {
	due := share(t, e.Store, pace.Ask{Counts: pace.Counts{Refused: 5, Row: 5}}).Due
	require.NoError(t, e.LearnPaces(t.Context(), []pace.Lesson{due.Lesson("1")})[0])
	e.advance(t, pace.ForgetAfter-time.Minute)
	require.NotZero(t, share(t, e.Store, pace.Ask{}).Limit)
	e.advance(t, pace.ForgetAfter-time.Minute)
	require.NotZero(t, share(t, e.Store, pace.Ask{}).Limit, "asking counts as use")
	e.advance(t, pace.ForgetAfter+time.Minute)
	require.Zero(t, share(t, e.Store, pace.Ask{}).Limit)
	require.ErrorIs(t, e.LearnPaces(t.Context(), []pace.Lesson{{MchID: "1", Due: pace.Due{Version: 1}}})[0], pace.ErrOutdated)
}

// testPaceOdd has fields that nobody could have written, and asks that are refused.
func testPaceOdd(t *testing.T, e env) {
	key := e.srv.Prefix() + ":quota:{1}"
	for _, f := range []string{"v", "e", "m", "s", "a", "r", "w", "t", "h", "q", "f", "c", "d"} {
		e.srv.Do(t, "HSET", key, f, "odd")
	}
	s := share(t, e.Store, pace.Ask{Counts: pace.Counts{Refused: 5, Row: 5}, Want: 1})
	require.NotNil(t, s.Due)
	require.Equal(t, pace.Learned{Epoch: 1}, s.Due.Learned, "what cannot be read is nothing learned")
	require.NoError(t, e.LearnPaces(t.Context(), []pace.Lesson{s.Due.Lesson("1")})[0])
	require.NotZero(t, share(t, e.Store, pace.Ask{}).Limit)

	far := e.srv.Prefix() + ":quota:{2}"
	e.srv.Do(t, "HSET", far, "f", "9000000000000000", "c", "9000000000000000", "d", "9000000000000000")
	s = share(t, e.Store, pace.Ask{MchID: "2", Counts: pace.Counts{Through: 1}, Want: 1, Ceiling: slow})
	require.NotNil(t, s.Due, "a clock that was set back")
	require.LessOrEqual(t, s.Wait, 200*time.Second)

	for _, a := range []pace.Ask{
		{MchID: ""},
		{MchID: "1", Want: -1},
		{MchID: "1", Ceiling: -1},
		{MchID: "1", Ceiling: math.NaN()},
		{MchID: "1", Ceiling: math.Inf(1)},
		{MchID: "1", Ceiling: 2e6},
	} {
		_, errs := e.SharePaces(t.Context(), []pace.Ask{{MchID: "3"}, a})
		require.NoError(t, errs[0])
		requireReason(t, dedupe.ReasonInvalid, errs[1])
	}
}

// testPaceLikeMemory does the same to Redis and to the store in memory that simulations run on.
func testPaceLikeMemory(t *testing.T, e env) {
	now := time.Unix(1_800_000_000, 0)
	memory := pace.NewMemory(func() time.Time { return now })
	random := rand.New(rand.NewPCG(6, 7))
	var due *pace.Due
	for step := range 150 {
		// Time passes at each step, by none that a permit's is a multiple of: what a real server takes for
		// a step must not decide.
		d := 1037*time.Millisecond + time.Duration(random.IntN(3))*47013*time.Millisecond
		now = now.Add(d)
		e.advance(t, d)
		if due != nil && random.IntN(2) == 0 {
			l := due.Lesson("1")
			l.Next.Limit = max(l.Next.Limit/1000, slow/4) // slow, and so not a matter of milliseconds
			want, got := memory.LearnPaces(t.Context(), []pace.Lesson{l})[0], e.LearnPaces(t.Context(), []pace.Lesson{l})[0]
			require.Equal(t, want == nil, got == nil, "step %d: %v, in memory %v", step, got, want)
		}
		a := pace.Ask{MchID: "1", Want: random.IntN(4), Ceiling: float64(random.IntN(2)) * slow, Counts: pace.Counts{
			Accepted: random.IntN(5), Refused: random.IntN(3), Row: random.IntN(2), Through: random.IntN(6), Held: random.IntN(2) == 0,
		}}
		if due != nil {
			a.Epoch = due.Learned.Epoch + uint64(random.IntN(2))
		}
		shares, _ := memory.SharePaces(t.Context(), []pace.Ask{a})
		want, got := shares[0], share(t, e.Store, a)
		require.Equal(t, want.Due == nil, got.Due == nil, "step %d", step)
		if got.Due != nil {
			want.Due.Counts.Elapsed, got.Due.Counts.Elapsed = 0, 0
			require.Equal(t, want.Due, got.Due, "step %d", step)
			due = got.Due
		}
		require.Equal(t, want.Epoch, got.Epoch, "step %d", step)
		require.InDelta(t, want.Limit, got.Limit, 1e-6, "step %d", step)
		require.Equal(t, want.Permits, got.Permits, "step %d: %+v, in memory %+v", step, got, want)
		require.InDelta(t, want.First, got.First, float64(20*time.Second), "step %d", step)
		require.InDelta(t, want.Wait, got.Wait, float64(20*time.Second), "step %d", step)
	}
}

func testPing(t *testing.T, e env) {
	require.NoError(t, e.Ping(t.Context()))
	require.NoError(t, e.Ping(t.Context()))
	require.Equal(t, ":1\r\n", e.srv.Do(t, "EXISTS", e.srv.Prefix()+":ping"))
	e.advance(t, time.Minute)
	require.Equal(t, ":0\r\n", e.srv.Do(t, "EXISTS", e.srv.Prefix()+":ping"), "the key should not stay for good")
	_, err := e.EvictionPolicy(t.Context())
	require.NoError(t, err)
}
