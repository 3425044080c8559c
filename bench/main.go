//go:build linux

// Command bench measures replyworker on the machine that it runs on, against a bare client and beside what else
// there is: docs/performance.md says what and why. From the top of the repository:
//
//	go -C bench run . -runs 5 -docs         everything, for docs/performance.md; about an hour and a half
//	go -C bench run . -only cpu,throughput  some of it
//	go -C bench run . -unless-newer 12h     goes on where an earlier run was broken off
//	go -C bench run . -quick                large regressions of the ratios; three minutes, exit status 1 where one is found
//	go -C bench run . -draw -docs           tables and charts again, of what was measured before
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"replyworker/bench/internal/api"
	"replyworker/bench/internal/bare"
	"replyworker/bench/internal/jobs"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop has been called.
	}
}

// run is this program as what its first argument says: one of the processes of a measurement, or, without a
// word, the measurement.
func run(ctx context.Context, args []string) error {
	if len(args) > 0 {
		switch args[0] {
		case "api":
			return runAPI(ctx, args[1:])
		case "bare":
			return runBare(ctx, args[1:])
		}
	}
	return measureAll(ctx, args)
}

func runAPI(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("api", flag.ExitOnError)
	dir := f.String("dir", "", "the keys")
	_ = f.Parse(args) // It ends the process.
	return api.Serve(ctx, *dir, os.Stdout)
}

func runBare(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("bare", flag.ExitOnError)
	var (
		c bare.Config
		b jobs.Batch
	)
	f.StringVar(&c.Dir, "dir", "", "the keys")
	f.StringVar(&c.URL, "url", "", "the API")
	f.IntVar(&c.Concurrency, "concurrency", 1, "calls at once")
	f.IntVar(&b.Run, "run", 0, "of the batch")
	f.IntVar(&b.Jobs, "jobs", 0, "of the batch")
	f.IntVar(&b.Complaints, "complaints", 0, "of the batch")
	_ = f.Parse(args) // It ends the process.
	c.Batch = b
	return bare.Run(ctx, c)
}
