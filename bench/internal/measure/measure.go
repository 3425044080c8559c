//go:build linux

// Package measure has a file for each thing that is measured.
package measure

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"replyworker/bench/internal/api"
	"replyworker/bench/internal/process"
	"replyworker/bench/internal/result"
	"replyworker/bench/internal/stage"
)

// Measure is one measurement.
type Measure struct {
	Name  string
	Title string
	run   func(ctx context.Context, m *session) error
}

// All is every measurement, in the order of docs/performance.md.
func All() []Measure {
	return []Measure{
		{"cpu", "CPU of a job, against a bare client that only signs, posts and verifies", cpu},
		{"throughput", "Jobs a second from one partition, with an API of 100 ms", throughput},
		{"quota", "Two workers and a quota that nobody tells", quota},
		{"delay", "From produce to the API's getting the call", delay},
		{"memory", "Memory, with a backlog waiting", memory},
		{"redelivery", "Finished jobs that come again", redelivery},
		{"failover", "The primary host is lost under 50 jobs a second", failover},
		{"start", "Start", start},
		{"scale", "Workers and partitions, with an API of 500 ms", scale},
		{"peers", "The same jobs through what else there is", peers},
		{"trouble", "Some jobs fail for a minute", troubles},
	}
}

// Named returns measurements by their names, comma-separated, in their order; all where names is empty.
func Named(names string) ([]Measure, error) {
	all := All()
	if names == "" {
		return all, nil
	}
	var known []string
	for _, m := range all {
		known = append(known, m.Name)
	}
	wanted := strings.Split(names, ",")
	for _, name := range wanted {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("no measurement %q; there are %s", name, strings.Join(known, ", "))
		}
	}
	return slices.DeleteFunc(all, func(m Measure) bool { return !slices.Contains(wanted, m.Name) }), nil
}

// Settings are how it is measured.
type Settings struct {
	// Runs is how often, at least 1.
	Runs int
	// Quick is a short measurement for machines that have other things to do: it tells large changes only.
	Quick bool
	// Profiles, where it is set, is a folder that gets profiles of the worker at work. It costs the worker some CPU.
	Profiles string
}

// session is a measurement under way.
type session struct {
	*stage.Stage
	Settings

	result *result.Result
}

// Run measures once, and returns the result with its name, title and figures.
func (m Measure) Run(ctx context.Context, s *stage.Stage, how Settings) (*result.Result, error) {
	r := &result.Result{Name: m.Name, Title: m.Title, At: time.Now().UTC().Truncate(time.Second)}
	s.Say("%s: %s", m.Name, m.Title)
	if err := m.run(ctx, &session{s, how, r}); err != nil {
		return nil, fmt.Errorf("%s: %w", m.Name, err)
	}
	return r, nil
}

// pick is the one for a quick measurement, or for a full one.
func pick[T any](m *session, quick, full T) T {
	if m.Quick {
		return quick
	}
	return full
}

// set keeps a value of a figure, and says it.
func (m *session) set(f result.Figure, value float64) {
	name := f.Name
	if f.Series != "" {
		name += ", " + f.Series + ", " + f.At
	}
	m.Say("  %s: %.4g %s", name, value, f.Unit)
	m.result.Set(f, value)
}

// figure is one without a curve.
func figure(name, unit string, aim *result.Aim) result.Figure {
	return result.Figure{Name: name, Unit: unit, Aim: aim}
}

// window is a while of steady work: what was done, how long it took, what it cost.
type window struct {
	jobs    int
	length  time.Duration
	cpu     map[string]time.Duration // By the names of the processes.
	machine time.Duration            // All cores together, whoever had them.
	redis   stage.RedisUse
}

// rate is the jobs a second.
func (w window) rate() float64 { return float64(w.jobs) / w.length.Seconds() }

// perJob is the CPU time that a process spent on each job.
func (w window) perJob(name string) time.Duration { return w.cpu[name] / time.Duration(max(1, w.jobs)) }

// share is the share of a time on all cores.
func (w window) share(t time.Duration, cores int) float64 {
	return t.Seconds() / w.length.Seconds() / float64(cores)
}

// sample is the state at a moment.
type sample struct {
	at      time.Time
	done    int
	cpu     map[string]time.Duration
	machine time.Duration
	redis   stage.RedisUse
}

func (m *session) take(ctx context.Context, a api.Client, pids map[string]int) (s sample, err error) {
	s.cpu = map[string]time.Duration{}
	for name, pid := range pids {
		if s.cpu[name], err = process.CPU(pid); err != nil {
			return s, err
		}
	}
	if s.machine, err = process.Machine(); err != nil {
		return s, err
	}
	if s.redis, err = m.RedisUse(ctx); err != nil {
		return s, err
	}
	counts, err := a.Counts(ctx)
	s.at, s.done = time.Now(), counts.Done
	return s, err
}

// watch waits until a share of the jobs is done, from, and until another is, to, and returns what was between.
func (m *session) watch(
	ctx context.Context, a api.Client, pids map[string]int, from, to int, longest time.Duration,
) (window, error) {
	var ends [2]sample
	for i, want := range []int{from, to} {
		_, err := a.Wait(ctx, longest, fmt.Sprintf("%d jobs", want), func(c api.Counts) bool { return c.Done >= want })
		if err != nil {
			return window{}, err
		}
		if ends[i], err = m.take(ctx, a, pids); err != nil {
			return window{}, err
		}
	}
	return between(ends[0], ends[1]), nil
}

func between(a, b sample) window {
	w := window{jobs: b.done - a.done, length: b.at.Sub(a.at), cpu: map[string]time.Duration{}, machine: b.machine - a.machine}
	w.redis = b.redis.Since(a.redis)
	for name, spent := range b.cpu {
		w.cpu[name] = spent - a.cpu[name]
	}
	return w
}

// sound is an error where the API has seen what it must not.
func sound(c api.Counts) error {
	switch {
	case c.Faulty > 0:
		return fmt.Errorf("the API got calls that break its rules: %s", c.FirstFlaw)
	case c.Checked == 0:
		return fmt.Errorf("the API has checked no call: %+v", c)
	case c.Strays > 0:
		return fmt.Errorf("the API got %d calls of no job of this run", c.Strays)
	}
	return nil
}

// milliseconds is a duration as a figure.
func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
