//go:build linux

package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"replyworker/internal/wxsim"
	"replyworker/test/fleet"
	"replyworker/test/judge"
)

// result is what a run comes to.
type result struct {
	seed       uint64
	jobs       int
	workers    int
	length     time.Duration // of the load
	drain      time.Duration // from its end until everything was finished
	steps      map[Kind]int
	verdict    *judge.Report
	calls      wxsim.Stats
	old, fresh fleet.Holdings
	memory     int64 // the most that a worker has had resident
	leaked     []string
	logLines   int
	failures   []string // of the run itself
	machine    string
	versions   string
}

// spareGoroutines is what a worker may have more after a run than one that was just started: those that
// read and write the connections it keeps.
const spareGoroutines = 30

// mostMemory is what a worker may have resident: its buffers of 32 MiB, what is read and written, and
// what the collector leaves.
const mostMemory = 256 << 20

// most is how many connections an idle worker may keep. To Redis they are a pool's, each kept for
// minutes after its last use; to the API none outlives its idle time.
func most() map[string]int { return map[string]int{"Kafka": 40, "Redis": 150, "API": 0} }

func (r *result) good() bool {
	return r.verdict != nil && r.verdict.Clean() && len(r.failures) == 0 && len(r.leaked) == 0 && r.leaks() == 0 &&
		r.memory <= mostMemory
}

// leaks counts what the worker that lived through the run has too many of.
func (r *result) leaks() int {
	n := max(0, r.old.Goroutines-r.fresh.Goroutines-spareGoroutines)
	for name, limit := range most() {
		n += max(0, r.old.Conns[name]-limit)
	}
	return n
}

// write writes the report in Markdown.
func (r *result) write(out io.Writer) {
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(out, format+"\n", args...) } // A full disk shows elsewhere.
	say("Seed %d; %d jobs in %s, %d workers; %s; %s.\n", r.seed, r.jobs, r.length.Round(time.Second), r.workers, r.versions, r.machine)
	if r.verdict == nil {
		say("No verdict.")
	} else {
		r.writeVerdict(say)
	}
	say("\n| trouble | times |\n| --- | ---: |")
	for _, t := range troubles() {
		say("| %s | %d |", t.kind, r.steps[t.kind])
	}
	for _, f := range r.failures {
		say("\nFAILED: %s", f)
	}
	for _, f := range r.leaked {
		say("\nLEAKED: %s", f)
	}
}

func (r *result) writeVerdict(say func(string, ...any)) {
	v := r.verdict
	say("| what must never happen | times | explained by a Redis that lost the claim |\n| --- | ---: | ---: |")
	for _, rule := range judge.Rules() {
		say("| %s | %d | %s |", rule, v.Violations[rule], dash(v.Explained[rule]))
	}
	say("| secrets or reply text in logs, metrics, headers, outcomes | %d | |", len(r.leaked))
	say("| goroutines and connections left behind | %d | |", r.leaks())
	say("\n| figure | |\n| --- | ---: |")
	say("| job records | %d |", v.Jobs)
	for _, name := range slices.Sorted(maps.Keys(v.Statuses)) {
		say("| ... %s | %d |", name, v.Statuses[name])
	}
	say("| outcomes published again | %d |", v.Repeated)
	say("| replies that the API took | %d |", v.Effects)
	say("| calls | %d |", r.calls.Calls)
	say("| ... that the API answered from its memory | %d |", r.calls.Repeats)
	say("| end to end, p50 / p99 / worst | %s / %s / %s |", at(v.EndToEnd, 0.5), at(v.EndToEnd, 0.99), at(v.EndToEnd, 1))
	say("| all finished after the last trouble | %s |", r.drain.Round(time.Second))
	say("| log lines of all workers | %d |", r.logLines)
	say("| most memory of a worker, %d MiB allowed | %d MiB |", mostMemory>>20, r.memory>>20)
	say("| goroutines of a worker after the run, and of a fresh one | %d, %d |", r.old.Goroutines, r.fresh.Goroutines)
	say("| its connections | %v, %v |", r.old.Conns, r.fresh.Conns)
	for _, rule := range judge.Rules() {
		for _, sample := range v.Samples[rule] {
			say("\n%s: %s", strings.ToUpper(string(rule)), sample)
		}
	}
}

func dash(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

// at is the quantile of ascending milliseconds.
func at(sorted []int64, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return time.Duration(sorted[int(q*float64(len(sorted)-1))]) * time.Millisecond
}
