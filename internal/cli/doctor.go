package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/rivo/uniseg"
	"github.com/spf13/cobra"

	"replyworker/internal/app"
	"replyworker/internal/config"
	"replyworker/internal/doctor"
)

const doctorLong = `Check everything that a worker depends on, and say what to do about each fault: the configuration; Kafka's
brokers, topics and group; Redis, by a write; the keys and certificates of every merchant; both hosts of the
API, with their certificates and clocks.

It changes nothing, but for a key of its own in Redis that lasts 30 seconds. It signs no call, and sends the
hosts no credentials: it asks for their front page. It may be run beside running workers, at any time.

  passed   as it should be
  warned   works, and may not always
  failed   a worker could not do its work here, or jobs are lost
  skipped  could not be checked, with the reason: what it depends on is away, or does not tell

Each dependency gets start-timeout. The exit status is 1 where a check failed, and 0 where some only warned; 2
where the configuration has faults, which are listed as for every command.

-o json prints a line for each check: group, name, status, detail, hint.`

func newDoctorCommand(s *state) *cobra.Command {
	var problems bool
	cmd := &cobra.Command{
		Use:     "doctor [flags]",
		Short:   "check every dependency and setting, and say what to do about each fault",
		GroupID: groupSetup,
		Long:    doctorLong,
		Example: "  worker doctor --config worker.yaml\n" +
			"  worker doctor --problems\n" +
			"  worker doctor -o json | jq -r 'select(.status == \"failed\") | .hint'",
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := s.load(cmd)
			if err != nil {
				return err
			}
			p := &doctorPrinter{s: s, problems: problems, counts: map[doctor.Status]int{}}
			return p.run(cmd.Context(), cfg)
		},
	}
	cmd.Flags().BoolVar(&problems, "problems", false, "only print what warned or failed")
	s.useSettings(cmd)
	return cmd
}

// doctorConfig makes the clients as a worker does.
func doctorConfig(s *state, cfg *config.Config) doctor.Config {
	return doctor.Config{
		Settings: cfg,
		Kafka: func(brokers []string) (doctor.Kafka, error) {
			some := *cfg
			some.KafkaBrokers = brokers
			return app.Kafka(&some)
		},
		Redis: func() (doctor.Redis, error) { return app.Redis(cfg) },
		API:   func() (doctor.API, error) { return app.API(cfg, readVersion(s).Version) },
		Now:   s.now,
	}
}

// doctorRow is a line of `doctor -o json`.
type doctorRow struct {
	Group  string `json:"group"`
	Name   string `json:"name"`
	Status string `json:"status"`
	Detail string `json:"detail"`
	Hint   string `json:"hint"`
}

// doctorPrinter prints results as they come, and counts them.
type doctorPrinter struct {
	s        *state
	problems bool // only those
	counts   map[doctor.Status]int
	total    int
	printed  bool
	err      error // the first of writing
}

func (p *doctorPrinter) run(ctx context.Context, cfg *config.Config) error {
	doctor.Run(ctx, doctorConfig(p.s, cfg), func(g doctor.Group) {
		if ctx.Err() == nil && p.err == nil {
			p.err = p.group(g)
		}
	})
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case p.err != nil:
		return p.err
	}
	if err := p.sum(); err != nil {
		return err
	}
	if failed := p.counts[doctor.Failed]; failed > 0 {
		return fmt.Errorf("%d of %d checks failed", failed, p.total)
	}
	return nil
}

// group prints the results of one dependency.
func (p *doctorPrinter) group(g doctor.Group) error {
	var shown []doctor.Result
	for _, r := range g.Results {
		p.counts[r.Status]++
		p.total++
		if !p.problems || r.Status == doctor.Warned || r.Status == doctor.Failed {
			shown = append(shown, r)
		}
	}
	if p.s.output == outputJSON {
		for _, r := range shown {
			if err := printJSON(p.s, doctorRow{g.Title, r.Name, string(r.Status), oneLine(r.Detail), oneLine(r.Hint)}); err != nil {
				return err
			}
		}
		return nil
	}
	if len(shown) == 0 {
		return nil
	}
	var b strings.Builder
	if p.printed {
		b.WriteByte('\n')
	}
	p.printed = true
	fmt.Fprintf(&b, "%s\n", g.Title)
	p.table(&b, shown)
	return p.write(b.String())
}

// table writes a line for each result, and one for what to do about it.
func (p *doctorPrinter) table(b *strings.Builder, results []doctor.Result) {
	const statusWidth = len("skipped")
	width := 0
	for _, r := range results {
		width = max(width, uniseg.StringWidth(oneLine(r.Name)))
	}
	for _, r := range results {
		name := oneLine(r.Name)
		fmt.Fprintf(b, "  %s%s  %s%s  %s\n", p.colored(r.Status), strings.Repeat(" ", statusWidth-len(r.Status)),
			name, strings.Repeat(" ", width-uniseg.StringWidth(name)), oneLine(r.Detail))
		if r.Hint != "" {
			fmt.Fprintf(b, "%s-> %s\n", strings.Repeat(" ", 2+statusWidth+2+width+2), oneLine(r.Hint))
		}
	}
}

// colored is a status' word, in its colour on a terminal.
func (p *doctorPrinter) colored(status doctor.Status) string {
	if !p.s.useColor(p.s.stdout) {
		return string(status)
	}
	color := map[doctor.Status]string{doctor.Passed: "32", doctor.Warned: "33", doctor.Failed: "1;31", doctor.Skipped: "2"}[status]
	return "\x1b[" + color + "m" + string(status) + "\x1b[0m"
}

// sum prints the counts: after the table, and where that is for a program, on stderr.
func (p *doctorPrinter) sum() error {
	var parts []string
	for _, status := range doctor.Statuses() {
		parts = append(parts, fmt.Sprintf("%d %s", p.counts[status], status))
	}
	line := fmt.Sprintf("%d checks: %s\n", p.total, strings.Join(parts, ", "))
	if p.s.output == outputJSON {
		_, _ = io.WriteString(p.s.stderr, "worker: "+line)
		return nil
	}
	if p.printed {
		line = "\n" + line
	}
	return p.write(line)
}

func (p *doctorPrinter) write(text string) error {
	if _, err := io.WriteString(p.s.stdout, text); err != nil {
		return fmt.Errorf("write to stdout: %w", err)
	}
	return nil
}
