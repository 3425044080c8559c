//go:build linux

// Command chaos runs workers against real servers, makes every trouble it can, and judges what became
// of the jobs.
//
//	go run ./test/chaos -seed 7 -jobs 20000 -for 3m
//
// It prints the schedule that the seed gives, then the report in Markdown, and ends with status 1
// where a rule was broken. The same seed makes the same schedule and the same jobs.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"replyworker/test/fleet"
	"replyworker/test/judge"
)

// settings are the flags.
type settings struct {
	seed    uint64
	jobs    int
	length  time.Duration
	workers int
	claims  bool
	binary  string
	keep    string
	report  string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var s settings
	flag.Uint64Var(&s.seed, "seed", rand.Uint64N(1_000_000), "of the schedule and the jobs") //nolint:gosec // No secret.
	flag.IntVar(&s.jobs, "jobs", 20_000, "how many")
	flag.DurationVar(&s.length, "for", 3*time.Minute, "how long the load and the trouble last")
	flag.IntVar(&s.workers, "workers", 3, "worker processes, at least 2")
	flag.BoolVar(&s.claims, "keep-claims", false, "leave Redis itself alone: no claim is lost, and nothing is explained by it")
	flag.StringVar(&s.binary, "binary", "", "the worker to run; built from cmd/worker where empty")
	flag.StringVar(&s.keep, "keep", "", "a folder for logs and data, kept; a temporary one where empty")
	flag.StringVar(&s.report, "report", "", "a file for the report, besides standard output")
	flag.Parse()
	good, err := do(ctx, s)
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
	}
	if err != nil || !good {
		stop()
		os.Exit(1) //nolint:gocritic // stop has been called.
	}
}

// do makes the folder and the binary, runs, and writes the report.
func do(ctx context.Context, s settings) (good bool, err error) {
	if s.workers < 2 || s.jobs < 1 {
		return false, errors.New("at least 2 workers and 1 job are needed")
	}
	dir := s.keep
	if dir == "" {
		if dir, err = os.MkdirTemp("", "chaos-"); err != nil {
			return false, fmt.Errorf("temporary folder: %w", err)
		}
		defer func() { _ = os.RemoveAll(dir) }() // It is in the system's folder for temporary files.
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return false, fmt.Errorf("folder: %w", err)
	}
	if s.binary == "" {
		if s.binary, err = fleet.Build(ctx, dir); err != nil {
			return false, err
		}
	}
	r := &result{
		seed: s.seed, jobs: s.jobs, workers: s.workers, length: s.length, steps: map[Kind]int{},
		machine:  fmt.Sprintf("%d cores, %s/%s", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH),
		versions: "3 brokers, Redis with Sentinel and TLS",
	}
	if s.claims {
		r.versions += ", which keeps every claim"
	}
	err = chaos(ctx, s, dir, r)
	if err != nil {
		r.failures = append(r.failures, err.Error())
	}
	out := io.Writer(os.Stdout)
	if s.report != "" {
		f, err := os.Create(s.report)
		if err != nil {
			return false, fmt.Errorf("report: %w", err)
		}
		defer func() { _ = f.Close() }() // What is missing in it stands on standard output.
		out = io.MultiWriter(out, f)
	}
	r.write(out)
	return r.good(), nil
}

// command runs it again.
func (s settings) command() string {
	c := fmt.Sprintf("go run ./test/chaos -seed %d -jobs %d -for %s -workers %d", s.seed, s.jobs, s.length, s.workers)
	if s.claims {
		c += " -keep-claims"
	}
	return c
}

// chaos is one run: start, load and trouble, heal, wait, judge.
func chaos(ctx context.Context, s settings, dir string, r *result) error {
	plan := MakePlan(s.seed, s.length)
	if s.claims {
		plan = slices.DeleteFunc(plan, func(step Step) bool { return step.Lane == Redis })
	}
	fmt.Printf("seed %d: %s\n", s.seed, s.command())
	for _, step := range plan {
		fmt.Println(step)
	}
	a, err := newArena(ctx, dir)
	if err != nil {
		return err
	}
	defer a.close()
	if err := a.startWorkers(ctx, s.binary, s.workers, s.seed); err != nil {
		return err
	}
	note("servers and workers are up")
	watching, stop := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() { r.memory = a.memory(watching) })
	defer watch.Wait()
	defer stop()
	if err := a.load(ctx, s, plan, r); err != nil {
		return err
	}
	if err := a.heal(ctx); err != nil {
		return err
	}
	healed := time.Now()
	if err := a.topics.Drained(ctx, s.length/2+3*time.Minute); err != nil {
		r.failures = append(r.failures, err.Error())
	}
	r.drain = time.Since(healed)
	note("all finished after %s", r.drain.Round(time.Second))
	stop()
	watch.Wait()
	return a.judge(ctx, r)
}

// load produces the jobs and makes the trouble, both from now until the length is over.
func (a *arena) load(ctx context.Context, s settings, plan []Step, r *result) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	start := time.Now()
	var (
		all  sync.WaitGroup
		made sync.Mutex
	)
	all.Go(func() {
		if err := produce(ctx, a.kafka.Addrs(), s.seed, s.jobs, s.length); err != nil {
			cancel(err)
		}
	})
	for _, lane := range []Lane{Workers, Brokers, Redis, Network, API} {
		all.Go(func() {
			for _, step := range plan {
				if step.Lane != lane {
					continue
				}
				if err := wait(ctx, time.Until(start.Add(step.At))); err != nil {
					return
				}
				note("%s", step)
				made.Lock()
				r.steps[step.Kind]++
				made.Unlock()
				if err := a.run(ctx, step); err != nil {
					cancel(fmt.Errorf("%s: %w", step.Kind, err))
					return
				}
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}

func (a *arena) judge(ctx context.Context, r *result) error {
	if err := a.crashed(); err != nil {
		r.failures = append(r.failures, err.Error())
	}
	e, err := a.evidence(ctx)
	if err != nil {
		return err
	}
	r.verdict, r.calls = judge.Judge(e), a.sim.Stats()
	if r.calls.InFlight > 0 {
		r.failures = append(r.failures, fmt.Sprintf("%d calls are still under way", r.calls.InFlight))
	}
	if r.old, r.fresh, err = a.leaks(ctx); err != nil {
		return err
	}
	r.leaked, r.logLines, err = a.told(ctx, e)
	return err
}

// note tells a person what is going on.
func note(format string, args ...any) {
	fmt.Fprintf(os.Stderr, time.Now().Format("15:04:05 ")+format+"\n", args...)
}
