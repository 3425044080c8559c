package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"replyworker/internal/app"
	"replyworker/internal/config"
	"replyworker/internal/dedupe"
	"replyworker/internal/kafkaio"
	"replyworker/internal/rebuild"
)

const dedupeRebuildLong = `Restore the claims of jobs that succeeded, from their outcomes, after Redis has lost them (FLUSHALL, a
failover that lost data). Duplicates of these jobs are then answered without a call again, and other content
under their ids is a conflict again. Without it no reply is sent twice either, since the API takes each
idempotent id once: it costs calls.

It reads every partition up to where it ends at the start. A claim that exists stays as it is, in whatever
state, so that workers may run meanwhile, and it may be run again. What is restored is forgotten when it would
have been: claim-retention, which must be that of the workers, after the job was finished. Only successes are
restored. A job that failed or expired is sent anew if its record is read again.

  read         outcomes read, the sum of the following
  restored     had no claim, and have one now (with --dry-run: would have; an outcome that is in the topic
               twice counts twice)
  present      have a claim
  too old      would be forgotten by now
  disagreeing  have a claim with another log_id or of other content, which stays; the first are shown
  unreadable   are no outcomes, or their claim cannot be read; the first are shown, and the exit status is 3
  other        are no successes

-o json prints one line: read, restored, present, too_old, disagreeing, unreadable, other, seconds, dry_run.`

type rebuildFlags struct {
	since  string
	dryRun bool
}

func newDedupeCommand(s *state) *cobra.Command {
	cmd := asParent(&cobra.Command{
		Use:     "dedupe",
		Short:   "what Redis remembers of finished jobs",
		GroupID: groupJobs,
	})
	cmd.AddCommand(newDedupeRebuildCommand(s))
	return cmd
}

func newDedupeRebuildCommand(s *state) *cobra.Command {
	var f rebuildFlags
	cmd := &cobra.Command{
		Use:   "rebuild [flags]",
		Short: "restore it from the outcomes, after Redis has lost it",
		Long:  dedupeRebuildLong,
		Example: "  worker dedupe rebuild\n" +
			"  worker dedupe rebuild --since 24h --dry-run\n" +
			"  worker dedupe rebuild --since 2026-11-23T08:00:00+08:00 -o json",
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			since, err := timeFlag("--since", f.since, s.now())
			if err != nil {
				return err
			}
			cfg, err := s.load(cmd)
			if err != nil {
				return err
			}
			store, err := app.Redis(cfg)
			if err != nil {
				return err
			}
			defer func() { _ = store.Close() }() // nothing is lost by it
			client, err := app.Kafka(cfg)
			if err != nil {
				return err
			}
			defer client.Close()
			r := &rebuilding{s: s, cfg: cfg, store: store, client: client, since: since, dryRun: f.dryRun}
			return r.run(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&f.since, "since", "",
		"read outcomes of this `time` or later: RFC 3339, or how long ago it was (24h); all where it is left out")
	refuseEmpty(cmd, "since")
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "only count what would be restored")
	_ = cmd.RegisterFlagCompletionFunc("since", cobra.NoFileCompletions)
	s.useSettings(cmd, config.GroupKafka, config.GroupRedis)
	showSettings(cmd, "topic-outcomes", "claim-retention", "start-timeout")
	return cmd
}

// rebuilding is one call of `dedupe rebuild`.
type rebuilding struct {
	s      *state
	cfg    *config.Config
	store  *dedupe.Store
	client *kafkaio.Client
	since  time.Time
	dryRun bool
}

// rebuildRow is the line of `dedupe rebuild -o json`.
type rebuildRow struct {
	Read        int64   `json:"read"`
	Restored    int64   `json:"restored"`
	Present     int64   `json:"present"`
	TooOld      int64   `json:"too_old"`
	Disagreeing int64   `json:"disagreeing"`
	Unreadable  int64   `json:"unreadable"`
	Other       int64   `json:"other"`
	Seconds     float64 `json:"seconds"`
	DryRun      bool    `json:"dry_run"`
}

func (r *rebuilding) run(ctx context.Context) error {
	began := r.s.now()
	spans, err := r.connect(ctx)
	if err != nil {
		return err
	}
	bar := newProgress(r.s, "dedupe rebuild", kafkaio.Offsets(spans))
	report, err := rebuild.Run(ctx, rebuild.Config{
		Outcomes: r.client, Spans: spans, Claims: r.store, DryRun: r.dryRun, Patience: r.cfg.StartTimeout,
		Progress: func(passed int64) { bar.add(int(passed)) },
	})
	bar.finish()
	r.warn("cannot be used", report.Unreadable, report.UnreadableNotes)
	r.warn("and a claim disagree", report.Disagreeing, report.DisagreeingNotes)
	if err != nil {
		return r.stopped(ctx, report, err)
	}
	return r.print(report, r.s.now().Sub(began))
}

// connect finds what there is to read, and makes sure of Redis before it is read.
func (r *rebuilding) connect(ctx context.Context) ([]kafkaio.Span, error) {
	first, cancel := context.WithTimeout(ctx, r.cfg.StartTimeout)
	defer cancel()
	if !r.dryRun { // it writes a key of its own
		if err := r.store.Ping(first); err != nil {
			return nil, redisError(ctx, err)
		}
	}
	spans, err := r.client.Spans(first, r.cfg.TopicOutcomes, r.since)
	return spans, kafkaError(ctx, err)
}

// stopped says how far a rebuild came that did not come to its end.
func (r *rebuilding) stopped(ctx context.Context, report rebuild.Report, err error) error {
	_, _ = fmt.Fprintf(r.s.stderr, "worker: not finished: %d outcomes were read; what was restored stays\n", report.Read)
	if ctx.Err() != nil {
		return err
	}
	again := "run it again when the cause is gone"
	known, ok := errors.AsType[*dedupe.Error](err)
	switch {
	case !ok:
		return withHint(err, kafkaHint+"; then run it again")
	case known.Hint() != "":
		again = known.Hint() + "; then run it again"
	}
	return withHint(err, again)
}

// warn tells the first few outcomes of a kind, of which there are total.
func (r *rebuilding) warn(what string, total int64, notes []rebuild.Note) {
	for _, n := range notes {
		_, _ = fmt.Fprintf(r.s.stderr, "worker: warning: %s partition %d offset %d %s: %s\n",
			r.cfg.TopicOutcomes, n.Partition, n.Offset, what, clean(n.Text))
	}
	if more := total - int64(len(notes)); more > 0 {
		_, _ = fmt.Fprintf(r.s.stderr, "worker: warning: so for %d more outcomes\n", more)
	}
}

// print prints the counts, and says what they mean for the exit status.
func (r *rebuilding) print(report rebuild.Report, took time.Duration) error {
	row := rebuildRow{
		Read: report.Read, Restored: report.Restored, Present: report.Present, TooOld: report.TooOld,
		Disagreeing: report.Disagreeing, Unreadable: report.Unreadable, Other: report.Other,
		Seconds: took.Round(time.Millisecond).Seconds(), DryRun: r.dryRun,
	}
	count := func(title string, n int64) column[rebuildRow] {
		return column[rebuildRow]{title, func(rebuildRow) string { return strconv.FormatInt(n, 10) }}
	}
	err := printRecords(r.s, []rebuildRow{row},
		count("read", row.Read), count("restored", row.Restored), count("present", row.Present), count("too old", row.TooOld),
		count("disagreeing", row.Disagreeing), count("unreadable", row.Unreadable), count("other", row.Other),
		column[rebuildRow]{"seconds", func(rebuildRow) string { return strconv.FormatFloat(row.Seconds, 'f', 3, 64) }},
	)
	if err != nil {
		return err
	}
	if r.dryRun {
		_, _ = fmt.Fprintln(r.s.stderr, "worker: nothing was written")
	}
	if report.Unreadable == 0 {
		return nil
	}
	return withHint(&partialError{int(report.Unreadable), int(report.Read), "outcomes"},
		"the others are dealt with; see the warnings for which could not be, and why")
}
