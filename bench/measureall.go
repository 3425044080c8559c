//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"replyworker/bench/internal/measure"
	"replyworker/bench/internal/process"
	"replyworker/bench/internal/result"
	"replyworker/bench/internal/stage"
)

// options are the flags.
type options struct {
	only    string
	runs    int
	quick   bool
	newer   time.Duration
	out     string
	docs    bool
	draw    bool
	worker  string
	keep    string
	profile string
	args    []string
}

const (
	resultsDir = "docs/performance"
	document   = "docs/performance.md"
)

func parse(args []string) (options, error) {
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	o := options{args: args}
	f.StringVar(&o.only, "only", "", "measurements, comma-separated: "+strings.Join(names(), ", ")+"; all where empty")
	f.IntVar(&o.runs, "runs", 5, "how often each is measured")
	f.BoolVar(&o.quick, "quick", false, "short runs, and exit status 1 where a ratio is far from its aim")
	f.DurationVar(&o.newer, "unless-newer", 0, "leave out what was measured within this time")
	f.StringVar(&o.out, "out", "", "folder of the results; "+resultsDir+" where empty, and none with -quick")
	f.BoolVar(&o.docs, "docs", false, "write the tables into "+document)
	f.BoolVar(&o.draw, "draw", false, "measure nothing: tables and charts of the results that are there")
	f.StringVar(&o.worker, "worker", "", "the worker's program; built from cmd/worker where empty")
	f.StringVar(&o.keep, "keep", "", "a folder for logs and data, kept; a temporary one where empty")
	f.StringVar(&o.profile, "profiles", "", "a folder for profiles of the worker, of cpu and throughput")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 || o.runs < 1 {
		return o, fmt.Errorf("what is to be measured? -only NAMES, and at least one run; -help lists the flags")
	}
	return o, nil
}

func names() []string {
	var all []string
	for _, m := range measure.All() {
		all = append(all, m.Name)
	}
	return all
}

// top is the folder of the product's module, the one that this module stands in.
func top() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("working directory: %w", err)
	}
	for _, up := range []string{dir, filepath.Dir(dir)} {
		if _, err := os.Stat(filepath.Join(up, "cmd", "worker")); err == nil {
			return up, nil
		}
	}
	return "", errors.New("run it at the top of the repository: go -C bench run .")
}

// measureAll does what the flags say.
func measureAll(ctx context.Context, args []string) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	root, err := top()
	if err != nil {
		return err
	}
	if o.out == "" && !o.quick {
		o.out = filepath.Join(root, resultsDir)
	}
	if !o.draw {
		if err := o.measure(ctx, root); err != nil {
			return err
		}
	}
	if o.out == "" {
		return nil
	}
	if err := draw(o.out); err != nil {
		return err
	}
	if o.docs {
		return result.Insert(filepath.Join(root, document), o.out)
	}
	return nil
}

// measure makes the stage and measures what is asked for. Each result is kept as soon as it is there.
func (o options) measure(ctx context.Context, root string) (err error) {
	wanted, err := measure.Named(o.only)
	if o.quick && o.only == "" {
		wanted, err = measure.Named("cpu,throughput,memory,redelivery")
	}
	if err != nil {
		return err
	}
	dir := o.keep
	if dir == "" {
		if dir, err = os.MkdirTemp("", "bench-"); err != nil {
			return fmt.Errorf("temporary folder: %w", err)
		}
		defer func() { _ = os.RemoveAll(dir) }() // It is in the system's folder for temporary files.
	}
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("own program: %w", err)
	}
	s, err := stage.New(ctx, stage.Config{Dir: dir, Top: root, Program: program, Worker: o.worker, Say: os.Stderr})
	if err != nil {
		return err
	}
	defer s.Close()
	how := measure.Settings{Runs: o.runs, Quick: o.quick, Profiles: o.profile}
	if o.quick {
		how.Runs = min(o.runs, 3)
	}
	var faults []error
	for _, m := range wanted {
		if o.fresh(m.Name) {
			s.Say("%s: measured less than %s ago", m.Name, o.newer)
			continue
		}
		if err := o.one(ctx, s, m, how, root); err != nil {
			faults = append(faults, err)
		}
		if ctx.Err() != nil {
			return errors.Join(append(faults, context.Cause(ctx))...)
		}
	}
	return errors.Join(faults...)
}

func (o options) fresh(name string) bool {
	if o.newer == 0 || o.out == "" {
		return false
	}
	r, err := result.Read(o.out, name)
	return err == nil && r != nil && time.Since(r.At) < o.newer
}

// one measures one thing. What others of the list find does not depend on it.
func (o options) one(ctx context.Context, s *stage.Stage, m measure.Measure, how measure.Settings, root string) error {
	r, err := m.Run(ctx, s, how)
	if err != nil {
		return err
	}
	r.Command = fmt.Sprintf("go -C bench run . -only %s -runs %d", m.Name, how.Runs)
	r.Machine, r.Commit = process.Describe(), commit(ctx, root)
	fmt.Printf("\n## %s\n\n", r.Title)
	r.Table(os.Stdout)
	if o.out != "" {
		if err := r.Write(o.out); err != nil {
			return err
		}
	}
	if o.quick {
		return guard(r, os.Stderr)
	}
	return nil
}

// guard is an error where a ratio is so far from its aim that no busy machine explains it.
func guard(r *result.Result, say io.Writer) error {
	const slack = 1.6
	var faults []error
	for _, f := range r.Figures {
		if f.Aim.Misses(f.Median(), slack) {
			faults = append(faults, fmt.Errorf("%s: %s is %.3g, and should be %s", r.Name, f.Name, f.Median(), f.Aim.String(f.Unit)))
		}
	}
	if len(faults) == 0 {
		fmt.Fprintf(say, "%s: nothing is more than %.1f times worse than its aim\n", r.Name, slack) //nolint:errcheck // For people.
	}
	return errors.Join(faults...)
}

// commit is what is measured, as git names it, "-dirty" where something beside the results differs from it.
func commit(ctx context.Context, root string) string {
	git := func(args ...string) (string, error) {
		out, err := exec.CommandContext(ctx, "git", append([]string{"-C", root}, args...)...).Output() //nolint:gosec // Our own.
		return strings.TrimSpace(string(out)), err
	}
	name, err := git("rev-parse", "--short=10", "HEAD")
	if err != nil {
		return "no commit"
	}
	changes, err := git("status", "--porcelain", "--", ".", ":!"+resultsDir, ":!"+document)
	if err != nil || changes != "" {
		name += "-dirty"
	}
	return name
}
