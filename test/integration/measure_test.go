//go:build linux

package integration_test

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/test/fleet"
)

// Measures print what they find. What they hold is only that it is not far beyond what is promised: a
// machine that has other things to do makes everything late.
const generous = 3

// measure prints a figure, for people and for documents.
func measure(name string, value any, unit string) {
	fmt.Printf("MEASURE %s %v %s\n", name, value, unit)
}

// milliseconds prints a duration.
func milliseconds(name string, d time.Duration) { measure(name, d.Milliseconds(), "ms") }

// delay is how long after its production a job's reply reached the API.
type delay struct {
	born time.Time
	took time.Duration
}

// delays returns the delays of a load's jobs that were born between two times.
func (s *stage) delays(l *load, from, to time.Time) []delay {
	all := l.all()
	var found []delay
	for _, e := range s.api.Sim.Effects() {
		if of, ok := all[e.IdempotentID]; ok && !of.born.Before(from) && of.born.Before(to) {
			found = append(found, delay{of.born, e.Time.Sub(of.born)})
		}
	}
	return ascending(found)
}

func ascending(all []delay) []delay {
	slices.SortFunc(all, func(a, b delay) int { return cmp.Compare(a.took, b.took) })
	return all
}

// worst returns the longest delay.
func worst(all []delay) time.Duration { return quantile(all, 1) }

// quantile returns a quantile of delays in ascending order.
func quantile(all []delay, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	return all[int(q*float64(len(all)-1))].took
}

// longer counts the delays over a limit.
func longer(all []delay, limit time.Duration) int {
	n := 0
	for _, d := range all {
		if d.took > limit {
			n++
		}
	}
	return n
}

// said waits until a worker has logged a message, and returns when it first did after a time.
func (s *stage) said(w *fleet.Worker, message string, after time.Time) time.Time {
	s.t.Helper()
	var at time.Time
	s.await(message, func() bool {
		f, err := os.Open(w.Log())
		require.NoError(s.t, err)
		defer f.Close()
		for lines := bufio.NewScanner(f); lines.Scan(); {
			var line struct {
				Time    time.Time
				Message string
			}
			if json.Unmarshal(lines.Bytes(), &line) == nil && line.Message == message && !line.Time.Before(after) {
				at = line.Time
				return true
			}
		}
		return false
	})
	return at
}

// gaps returns the longest time without an outcome between two times, over all partitions and in the
// worst of them.
func (s *stage) gaps(from, to time.Time, partitions int32) (all, one time.Duration) {
	longest := func(of func(outcome) bool) time.Duration {
		last, gap := from, time.Duration(0)
		for _, e := range s.tail.where(of) {
			if e.Seen.Before(from) || e.Seen.After(to) {
				continue
			}
			gap, last = max(gap, e.Seen.Sub(last)), e.Seen
		}
		return max(gap, to.Sub(last))
	}
	all = longest(func(outcome) bool { return true })
	for p := range partitions {
		one = max(one, longest(func(e outcome) bool { return e.Source.Partition == p }))
	}
	return all, one
}

// steady waits until nine in ten jobs of a load reach the API within a time of their birth: until the
// workers have their connections, and have caught up with what came before.
func (s *stage) steady(l *load, rate int, within time.Duration) {
	s.t.Helper()
	const recent = 2 * time.Second
	s.await("a steady state: is the machine too busy for it?", func() bool {
		now := time.Now()
		last := s.delays(l, now.Add(-recent-within), now.Add(-within))
		return len(last) >= rate && quantile(last, 0.9) < within
	})
}
