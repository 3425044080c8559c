package gate_test

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/gate"
)

// quota is a limit that the API keeps and does not tell.
type quota interface{ take(now time.Time) bool }

// fixedWindow lets n calls through in each window of its length.
type fixedWindow struct {
	n      int
	length time.Duration
	window time.Time
	taken  int
}

func (q *fixedWindow) take(now time.Time) bool {
	if w := now.Truncate(q.length); !w.Equal(q.window) {
		q.window, q.taken = w, 0
	}
	q.taken++
	return q.taken <= q.n
}

// tokenBucket refills at rate, and holds burst at the most.
type tokenBucket struct {
	rate, burst, tokens float64
	filled              time.Time
}

func (q *tokenBucket) take(now time.Time) bool {
	q.tokens = min(q.burst, q.tokens+now.Sub(q.filled).Seconds()*q.rate)
	q.filled = now
	if q.tokens < 1 {
		return false
	}
	q.tokens--
	return true
}

// simulation drives gates as the dispatcher does, with a backlog that never ends: whoever is let
// through calls, and each gate is asked when a call has ended and when it said that it is worth it.
type simulation struct {
	now    time.Time
	random *rand.Rand
	quota  quota
	gates  []*gate.Gate
	asked  []time.Time // when each gate is asked next
	calls  calls
	lanes  int
	// noise is the share of calls that is refused at random, whatever the quota says.
	noise   float64
	answers tally
}

type call struct {
	end     time.Time
	gate    int
	grant   *gate.Grant
	refused bool
}

type calls []call

func (c calls) Len() int           { return len(c) }
func (c calls) Less(i, j int) bool { return c[i].end.Before(c[j].end) }
func (c calls) Swap(i, j int)      { c[i], c[j] = c[j], c[i] }
func (c *calls) Push(x any)        { *c = append(*c, x.(call)) }
func (c *calls) Pop() any {
	last := (*c)[len(*c)-1]
	*c = (*c)[:len(*c)-1]
	return last
}

func newSimulation(q quota, workers, concurrency int) *simulation {
	s := &simulation{now: start, random: rand.New(rand.NewPCG(1, 2)), quota: q}
	for range workers {
		s.gates = append(s.gates, newGate(gate.Config{Concurrency: concurrency}))
		s.asked = append(s.asked, start)
	}
	return s
}

func (s *simulation) run(d time.Duration) {
	for end := s.now.Add(d); s.now.Before(end); {
		next := end
		for i, at := range s.asked {
			if !at.After(s.now) {
				s.asked[i] = s.ask(i)
			}
			if s.asked[i].Before(next) {
				next = s.asked[i]
			}
		}
		if len(s.calls) > 0 && !s.calls[0].end.After(next) {
			c := heap.Pop(&s.calls).(call)
			s.now = c.end
			s.end(c)
			continue
		}
		s.now = next
	}
}

func (s *simulation) ask(i int) time.Time {
	for {
		s.lanes++
		grant, denial := s.gates[i].Try(s.now, gate.Ask{MchID: "1", Lane: fmt.Sprint(s.lanes)})
		if denial != nil {
			wait := 5 * time.Second
			if denial.Wait > 0 {
				wait = min(wait, max(denial.Wait, 100*time.Microsecond))
			}
			return s.now.Add(wait)
		}
		// The server decides when the request arrives, which is soon.
		latency := 50*time.Millisecond + time.Duration(s.random.ExpFloat64()*float64(30*time.Millisecond))
		arrives := s.now.Add(5 * time.Millisecond)
		refused := !s.quota.take(arrives) || s.random.Float64() < s.noise
		heap.Push(&s.calls, call{end: s.now.Add(latency), gate: i, grant: grant, refused: refused})
	}
}

func (s *simulation) end(c call) {
	end := gate.Succeeded
	if c.refused {
		end = gate.SlowDown
		s.answers.refused++
	} else {
		s.answers.accepted++
	}
	s.gates[c.gate].Done(s.now, c.grant, end)
	s.asked[c.gate] = s.now
}

// TestPaceUsesAnUnknownQuotaWithFewRefusals: a backlog that never ends, 64 calls at once, some minutes
// after a first one for learning. What share of the quota is used, and what share of calls is refused?
// One worker uses 96 % or more of a quota that is counted by the second, and 3 to 10 % of its calls
// are refused. The bounds are generous: they are there to catch a collapse.
func TestPaceUsesAnUnknownQuotaWithFewRefusals(t *testing.T) {
	t.Parallel()
	type bounds struct{ used, refused float64 }
	good := bounds{used: 0.8, refused: 0.2}
	for _, rate := range []int{1, 5, 25, 200} {
		r := float64(rate)
		window := func(seconds int) func() quota {
			return func() quota { return &fixedWindow{n: seconds * rate, length: time.Duration(seconds) * time.Second} }
		}
		bucket := func(burst float64) func() quota {
			return func() quota { return &tokenBucket{rate: r, burst: burst, tokens: burst, filled: start} }
		}
		for _, tt := range []struct {
			name    string
			quota   func() quota
			workers int
			want    bounds
		}{
			{"window of a second", window(1), 1, good},
			{"window of a second, 3 workers", window(1), 3, bounds{used: 0.5, refused: 0.35}},
			{"window of ten seconds", window(10), 1, bounds{used: 0.7, refused: 0.3}},
			{"bucket of two seconds", bucket(2 * r), 1, good},
			{"bucket of two seconds, 3 workers", bucket(2 * r), 3, bounds{used: 0.6, refused: 0.35}},
			// Calls that come a little too fast for it are refused every second time.
			{"bucket of one call", bucket(1), 1, bounds{used: 0.6, refused: 0.2}},
		} {
			t.Run(fmt.Sprintf("%d calls per second, %s", rate, tt.name), func(t *testing.T) {
				t.Parallel()
				s := newSimulation(tt.quota(), tt.workers, 64)
				first := s.count(time.Minute)
				length := 5 * time.Minute
				if rate > 100 {
					length = time.Minute // it has as many calls to learn from
				}
				later := s.count(length)
				used := float64(later.accepted) / (r * length.Seconds())
				t.Logf("used %.1f %% of the quota, %.1f %% of calls refused; in the first minute %.1f %% and %.1f %%",
					100*used, 100*later.share(), 100*float64(first.accepted)/(r*60), 100*first.share())
				require.GreaterOrEqual(t, used, tt.want.used, "share of the quota that was used after the first minute")
				require.LessOrEqual(t, later.share(), tt.want.refused, "share of calls refused after the first minute")
			})
		}
	}
}

// TestPaceIsNotBroughtDownByRefusalsThatItDoesNotCause: an API without a quota refuses calls at random.
func TestPaceIsNotBroughtDownByRefusalsThatItDoesNotCause(t *testing.T) {
	t.Parallel()
	for _, percent := range []int{1, 5, 10, 20, 30} {
		t.Run(fmt.Sprintf("%d percent refused", percent), func(t *testing.T) {
			t.Parallel()
			s := newSimulation(unlimited{}, 1, 16)
			free := s.count(30 * time.Second)
			s.noise = float64(percent) / 100
			noisy := s.count(2 * time.Minute)
			share := float64(noisy.accepted+noisy.refused) / float64(4*(free.accepted+free.refused))
			t.Logf("%.1f %% of the calls that were made before", 100*share)
			require.GreaterOrEqual(t, share, 0.4, "calls with %d %% refused at random, as a share of those with none", percent)
		})
	}
}

// TestPaceComesBackAfterAStormOfRefusals: for half a minute the API refuses everything.
func TestPaceComesBackAfterAStormOfRefusals(t *testing.T) {
	t.Parallel()
	s := newSimulation(&fixedWindow{n: 200, length: time.Second}, 1, 64)
	s.run(time.Minute)
	s.noise = 1
	storm := s.count(30 * time.Second)
	require.LessOrEqual(t, storm.refused, 30*200/4, "calls in the 30 s in which all were refused, 200/s before")
	s.noise = 0
	s.run(30 * time.Second)
	after := s.count(30 * time.Second)
	require.GreaterOrEqual(t, after.accepted, 30*200*7/10, "calls from 30 to 60 s after the storm, quota 200/s")
}

// TestPaceFollowsAQuotaThatIsLowered and comes back when it is raised again.
func TestPaceFollowsAQuotaThatIsLowered(t *testing.T) {
	t.Parallel()
	q := &fixedWindow{n: 200, length: time.Second}
	s := newSimulation(q, 1, 64)
	s.run(time.Minute)
	q.n = 20
	s.run(10 * time.Second)
	lowered := s.count(time.Minute)
	require.GreaterOrEqual(t, lowered.accepted, 60*20*8/10, "accepted in a minute, quota 20/s")
	require.LessOrEqual(t, lowered.share(), 0.2, "share of calls refused once the quota had gone from 200/s to 20/s")
	q.n = 200
	s.run(30 * time.Second)
	raised := s.count(30 * time.Second)
	require.GreaterOrEqual(t, raised.accepted, 30*200*8/10, "accepted in 30 s, quota back at 200/s for 30 s")
}

// TestPaceRisesThoughItIsAskedSeldom: at a low pace the dispatcher comes only when it was told to.
func TestPaceRisesThoughItIsAskedSeldom(t *testing.T) {
	t.Parallel()
	q := &fixedWindow{n: 1, length: time.Second}
	s := newSimulation(q, 1, 1)
	s.run(5 * time.Minute)
	q.n = 1000
	s.run(time.Minute)
	after := s.count(time.Minute)
	require.GreaterOrEqual(t, after.accepted, 300, "calls in the second minute after a quota of 1/s was lifted")
}

// TestPaceOneRefusalMakesNobodyElseWait: with a quota for all others, one call now and then is refused.
func TestPaceOneRefusalMakesNobodyElseWait(t *testing.T) {
	t.Parallel()
	c := newClock(t, gate.Config{Concurrency: 100})
	for i := range 200 {
		end := gate.Succeeded
		if i%20 == 7 {
			end = gate.SlowDown
		}
		c.call(fmt.Sprint(i), end)
		c.after(5 * time.Millisecond)
	}
	require.Zero(t, c.g.State().Merchants[0].Pace, "learned pace after 200 calls in a second, 10 of them refused")
}

type tally struct{ accepted, refused int }

func (n tally) share() float64 { return float64(n.refused) / float64(max(1, n.accepted+n.refused)) }

// count runs the simulation for d and counts the answers.
func (s *simulation) count(d time.Duration) tally {
	before := s.answers
	s.run(d)
	return tally{s.answers.accepted - before.accepted, s.answers.refused - before.refused}
}

// unlimited is the quota of an API that has none.
type unlimited struct{}

func (unlimited) take(time.Time) bool { return true }
