package pace_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/pace"
)

// quotas are those that nobody tells.
var quotas = []struct {
	name string
	make func(rate float64) quota
}{
	{"window of a second", func(r float64) quota { return &fixedWindow{rate: r, length: time.Second} }},
	{"window of ten seconds", func(r float64) quota { return &fixedWindow{rate: r, length: 10 * time.Second} }},
	{"window of a minute", func(r float64) quota { return &fixedWindow{rate: r, length: time.Minute} }},
	{"bucket of a second", func(r float64) quota { return newBucket(r, 1) }},
	{"bucket of two seconds", func(r float64) quota { return newBucket(r, 2) }},
}

// seeds are how often each case is simulated.
const seeds = 3

// mean is the mean over the seeds.
func mean(run func(seed uint64) (used, refused float64)) (used, refused float64) {
	for seed := range uint64(seeds) {
		u, r := run(seed)
		used, refused = used+u/seeds, refused+r/seeds
	}
	return used, refused
}

// warm is the time in which a quota is found: ten seconds, for a slow one a minute. Of one that is counted
// by the minute, two have to be seen.
func warm(rate float64, name string) time.Duration {
	switch {
	case name == "window of a minute":
		return 2 * time.Minute
	case rate < 20 || name == "window of ten seconds":
		return time.Minute
	}
	return 10 * time.Second
}

// TestAQuotaIsFoundAndUsed holds what is promised: of a quota that nobody has told, at least 95 % is used
// after the first minute (after ten seconds where it is a larger one), and at most 3 % of calls are
// refused, by one worker or several that do not know of each other. A bucket that holds a single call
// punishes each call that comes a moment early; of one call per second at least 90 % are used.
func TestAQuotaIsFoundAndUsed(t *testing.T) {
	t.Parallel()
	for _, q := range quotas {
		for _, rate := range rates {
			for _, workers := range []int{1, 2, 4} {
				t.Run(fmt.Sprintf("%s of %g per second, %d workers", q.name, rate, workers), func(t *testing.T) {
					t.Parallel()
					used, refused := mean(func(seed uint64) (float64, float64) {
						s := simulate(seed, q.make(rate), workers, ours)
						s.count(warm(rate, q.name))
						later := s.count(5 * time.Minute)
						return later.used(rate, 5*time.Minute), later.share()
					})
					t.Logf("%.1f %% of the quota used, %.1f %% of calls refused", 100*used, 100*refused)
					least := 0.95
					if rate == 1 && q.name == "bucket of a second" {
						least = 0.90
					}
					require.GreaterOrEqual(t, used, least, "share of the quota that was used")
					most := 0.03
					if q.name == "window of ten seconds" {
						most = 0.05 // a closing is noticed late, and there are six a minute
					}
					require.LessOrEqual(t, refused, most, "share of calls that were refused")
				})
			}
		}
	}
}

// TestAChangedQuotaIsFoundAgain: lowered, within ten seconds or, at one call per second, half a minute; raised,
// within half a minute or, from one call per second, five.
func TestAChangedQuotaIsFoundAgain(t *testing.T) {
	t.Parallel()
	for _, q := range quotas {
		if q.name == "window of ten seconds" || q.name == "window of a minute" {
			continue // a change shows only once a window
		}
		for _, step := range []struct {
			from, to float64
			within   time.Duration
		}{
			{200, 25, 10 * time.Second},
			{200, 1, 30 * time.Second},
			{25, 1, 30 * time.Second},
			{25, 200, time.Minute},
			{1, 25, 5 * time.Minute},
			{1, 200, 5 * time.Minute},
		} {
			if fastest := slices.Max(rates); step.from > fastest || step.to > fastest {
				continue
			}
			t.Run(fmt.Sprintf("%s from %g to %g", q.name, step.from, step.to), func(t *testing.T) {
				t.Parallel()
				used, refused := mean(func(seed uint64) (float64, float64) {
					limit := q.make(step.from)
					s := simulate(seed, limit, 2, ours)
					s.count(2 * time.Minute)
					limit.set(step.to)
					s.count(step.within)
					later := s.count(2 * time.Minute)
					return later.used(step.to, 2*time.Minute), later.share()
				})
				t.Logf("%.1f %% of the quota used, %.1f %% of calls refused", 100*used, 100*refused)
				require.GreaterOrEqual(t, used, 0.85, "share of the quota that was used from %s after the change", step.within)
				require.LessOrEqual(t, refused, 0.06, "share of calls that were refused")
			})
		}
	}
}

// TestRefusalsThatThePaceDoesNotCauseDoNotSlowItDown: the API refuses calls at random, with a quota and
// without one.
func TestRefusalsThatThePaceDoesNotCauseDoNotSlowItDown(t *testing.T) {
	t.Parallel()
	for _, percent := range noises {
		for _, limited := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d percent, limited %v", percent, limited), func(t *testing.T) {
				t.Parallel()
				calls, _ := mean(func(seed uint64) (float64, float64) {
					var q quota = unlimited{}
					if limited {
						q = &fixedWindow{rate: 200, length: time.Second}
					}
					s := simulate(seed, q, 1, ours)
					s.count(30 * time.Second)
					before := s.count(30 * time.Second)
					s.noise = float64(percent) / 100
					s.count(time.Minute)
					after := s.count(2 * time.Minute)
					could := 4 * float64(before.accepted) * (1 - s.noise)
					return float64(after.accepted) / could, 0
				})
				t.Logf("%.0f %% of what could be had", 100*calls)
				require.GreaterOrEqual(t, calls, 0.45, "accepted, as a share of what could be had")
			})
		}
	}
}

// TestTheFirstLimitIsWhatWentThrough in the second before, where refusals do not come in a row; each
// worker's calls count once.
func TestTheFirstLimitIsWhatWentThrough(t *testing.T) {
	t.Parallel()
	for _, workers := range []int{1, 3} {
		for seed := range uint64(10) {
			s := simulate(seed, unlimited{}, workers, ours)
			s.count(4 * time.Second)
			rate := s.count(2*time.Second).used(1, 2*time.Second)
			s.noise = 0.03
			first := 0.0
			for range 200 {
				s.count(10 * time.Millisecond)
				if first = s.workers[0].limiter.(*pace.Pacer).Limit(); first > 0 {
					break
				}
			}
			require.Positive(t, first)
			require.LessOrEqual(t, first, 1.05*rate, "%d workers, seed %d", workers, seed)
		}
	}
}

// TestAStormOfRefusalsIsWaitedOut: for half a minute the API refuses everything. Few calls are made
// meanwhile, and afterwards the pace is soon what it was.
func TestAStormOfRefusalsIsWaitedOut(t *testing.T) {
	t.Parallel()
	for _, rate := range rates {
		t.Run(fmt.Sprint(rate), func(t *testing.T) {
			t.Parallel()
			s := simulate(1, &fixedWindow{rate: rate, length: time.Second}, 2, ours)
			s.count(4 * time.Minute)
			s.noise = 1
			storm := s.count(30 * time.Second)
			require.LessOrEqual(t, storm.refused, 120, "calls in half a minute in which all were refused")
			s.noise = 0
			s.count(30 * time.Second)
			require.GreaterOrEqual(t, s.count(time.Minute).used(rate, time.Minute), 0.85, "of the quota, from half a minute after the storm on")
		})
	}
}

// TestWorkersWithFewJobsLeaveTheQuotaToOthers: nine workers have a job now and then, one has many.
func TestWorkersWithFewJobsLeaveTheQuotaToOthers(t *testing.T) {
	t.Parallel()
	for _, rate := range rates[1:] {
		s := simulate(1, &fixedWindow{rate: rate, length: time.Second}, 10, ours)
		for _, w := range s.workers[1:] {
			w.demand = rate / 40
		}
		s.count(time.Minute)
		used := s.count(5*time.Minute).used(rate, 5*time.Minute)
		t.Logf("%g calls/s: %.1f %% of the quota used", rate, 100*used)
		require.GreaterOrEqual(t, used, 0.85, "of a quota of %g", rate)
	}
}

// TestAWorkerThatComesLaterKnowsTheLimit: it asks before its first call.
func TestAWorkerThatComesLaterKnowsTheLimit(t *testing.T) {
	t.Parallel()
	s := simulate(1, &fixedWindow{rate: 25, length: time.Second}, 1, ours)
	s.count(time.Minute)
	s.start(ours)
	later := s.count(5 * time.Second)
	require.LessOrEqual(t, later.share(), 0.05, "share of calls refused in the first 5 s of a second worker")
}

// TestNobodyCallsBeforeARetryAfterIsOver.
func TestNobodyCallsBeforeARetryAfterIsOver(t *testing.T) {
	t.Parallel()
	s := simulate(1, &fixedWindow{rate: 25, length: time.Second}, 2, ours)
	s.count(time.Minute)
	s.noise, s.retryAfter, s.keep = 1, 20*time.Second, true
	s.count(time.Minute)
	require.NotEmpty(t, s.calls)
	last := s.calls[0]
	waves := 1
	for _, at := range s.calls {
		if at.Sub(last) > time.Second {
			require.GreaterOrEqual(t, at.Sub(last), 19*time.Second)
			waves++
		}
		last = at
	}
	require.LessOrEqual(t, waves, 3)
	require.LessOrEqual(t, len(s.calls), 30, "calls in a minute, each asked to wait 20 s")
	s.noise, s.retryAfter = 0, 0
	s.count(30 * time.Second)
	require.GreaterOrEqual(t, s.count(time.Minute).used(25, time.Minute), 0.8)
}

// TestAWindowThatTellsItsEndIsFound: refusals ask to wait until the window's end, so that most of its time
// goes by without an answer.
func TestAWindowThatTellsItsEndIsFound(t *testing.T) {
	t.Parallel()
	for _, rate := range rates[1:] {
		for _, workers := range []int{1, 4} {
			used, refused := mean(func(seed uint64) (float64, float64) {
				s := simulate(seed, &fixedWindow{rate: rate, length: time.Minute}, workers, ours)
				s.untilReset = true
				s.count(time.Minute)
				later := s.count(3 * time.Minute)
				return later.used(rate, 3*time.Minute), later.share()
			})
			t.Logf("%g calls/s, %d workers: %.1f %% of the quota used, %.1f %% of calls refused", rate, workers, 100*used, 100*refused)
			require.GreaterOrEqual(t, used, 0.93, "share of a quota of %g that %d workers used", rate, workers)
			require.LessOrEqual(t, refused, 0.01, "share of calls that were refused")
		}
	}
}

// TestACeilingIsKept whatever else there is to learn, by all workers together.
func TestACeilingIsKept(t *testing.T) {
	t.Parallel()
	ceiling := func(*simulation) limiter { return pace.NewPacer("1", 40, nil) }
	s := simulate(1, unlimited{}, 3, ceiling)
	s.count(10 * time.Second)
	require.InDelta(t, 40, s.count(time.Minute).used(1, time.Minute), 1, "calls/s with a ceiling of 40 and no quota")

	s = simulate(1, &fixedWindow{rate: 25, length: time.Second}, 3, ceiling)
	s.count(time.Minute)
	below := s.count(time.Minute)
	require.GreaterOrEqual(t, below.used(25, time.Minute), 0.95, "of a quota below the ceiling")
	require.LessOrEqual(t, below.share(), 0.03)
}

// TestOthersDoWorse compares with what others use, as in docs/adr/0013. It prints the table.
func TestOthersDoWorse(t *testing.T) {
	t.Parallel()
	if underRace {
		t.Skip("simulations of one goroutine, for which the race detector takes minutes and has nothing to find")
	}
	for _, q := range quotas {
		for _, rate := range rates {
			for _, workers := range []int{1, 4} {
				row := fmt.Sprintf("| %s | %g | %d |", q.name, rate, workers)
				score := map[string]float64{}
				for _, rival := range []struct {
					name  string
					limit func(*simulation) limiter
				}{{"ours", ours}, {"aws", newAWS}, {"aimd", newAIMD}} {
					used, refused := mean(func(seed uint64) (float64, float64) {
						s := simulate(seed, q.make(rate), workers, rival.limit)
						s.count(time.Minute)
						later := s.count(5 * time.Minute)
						return later.used(rate, 5*time.Minute), later.share()
					})
					row += fmt.Sprintf(" %.0f %% / %.1f %% |", 100*used, 100*refused)
					score[rival.name] = used - refused
				}
				t.Log(row)
				require.Greater(t, score["ours"], max(score["aws"], score["aimd"])-0.03, row)
			}
		}
	}
}
