package cli

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"replyworker/internal/demo"
)

func newDemoCommand(s *state) *cobra.Command {
	var o demo.Options
	var input string
	cmd := &cobra.Command{
		Use:     "demo [flags]",
		Short:   "show all of it in one process: broker, Redis, API simulator, worker",
		GroupID: groupService,
		Long: "Show all of it in one process, with nothing installed: an embedded Kafka broker and Redis, the API\n" +
			"simulator, and a worker. Jobs flow, the primary host fails and comes home, and at the end the books\n" +
			"are balanced against the API's own ledger. Nothing is kept. Everything stays up until Ctrl-C unless\n" +
			"--exit is given; the exit status is 0 only if the books balance.\n\n" +
			"--input takes your own jobs and prints their outcomes on stdout, a JSON object a line.",
		Example: "  worker demo\n  worker demo --jobs 200 --exit\n  worker demo --input jobs.ndjson --exit > outcomes.ndjson",
		Args:    exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Jobs < 1 || o.Jobs > 1_000_000 {
				return usagef("--jobs %d: must be 1 to 1000000", o.Jobs)
			}
			closeInput, err := s.openDemoInput(input, &o)
			if err != nil {
				return err
			}
			defer closeInput()
			for _, entry := range s.env {
				if strings.HasPrefix(entry, "REPLYWORKER_") {
					_, _ = fmt.Fprintf(s.stderr, "worker: the demo takes no settings; %s is ignored\n", oneLine(strings.SplitN(entry, "=", 2)[0]))
				}
			}
			o.Stdout, o.Stderr, o.Terminal, o.Version = s.stdout, s.stderr, s.isTerminal(s.stderr), readVersion(s).Version
			return demo.Run(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.Jobs, "jobs", 300, "how many jobs to make")
	f.BoolVar(&o.Exit, "exit", false, "end when every job has its outcome")
	f.StringVar(&input, "input", "", "your own jobs instead of made ones: a file of NDJSON, - for stdin")
	f.Uint64Var(&o.Seed, "seed", 1, "makes the same jobs and the same faults again")
	f.IntVar(&o.KafkaPort, "kafka-port", 0, "port of the broker; 0 for a free one")
	f.IntVar(&o.RedisPort, "redis-port", 0, "port of Redis; 0 for a free one")
	f.StringVar(&o.PrimaryAddr, "primary-addr", "127.0.0.1:0", "address of the simulated primary host")
	f.StringVar(&o.BackupAddr, "backup-addr", "127.0.0.1:0", "address of the simulated backup host")
	f.StringVar(&o.AdminAddr, "admin-addr", "127.0.0.1:0", "address of the worker's health and metrics")
	return cmd
}

// openDemoInput opens a person's own jobs, where there are any.
func (s *state) openDemoInput(path string, o *demo.Options) (func(), error) {
	switch path {
	case "":
		return func() {}, nil
	case "-":
		o.Input = io.NopCloser(s.stdin)
		return func() {}, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, usagef("--input %s: %v", path, err)
	}
	o.Input = f
	return func() { _ = f.Close() }, nil
}
