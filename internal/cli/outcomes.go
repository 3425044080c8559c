package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"replyworker/internal/app"
	"replyworker/internal/config"
	"replyworker/internal/job"
	"replyworker/internal/kafkaio"
	"replyworker/internal/outcome"
)

// seenIDs is how many outcomes `stats` and `export` remember to drop repeats: some 40 bytes for each.
const seenIDs = 1_000_000

const outcomesLong = `How jobs ended: what stands in the topic of the outcomes. docs/analytics.md says more of its fields, and
how to ask them questions with DuckDB, ClickHouse and Flink.`

const outcomeFilterHelp = `Filters: an outcome has to have one of the values of each that is given. A flag may be given
again, or have its values comma-separated (--id, --complaint and --label: one each time; every label has
to be there).
--since and --until go by the time when the outcome was published, to the topic's clock. Of outcomes with
the same ce_id, which the worker publishes where it cannot know whether it has, the first is taken
unless --repeats is set.`

func newOutcomesCommand(s *state) *cobra.Command {
	cmd := asParent(&cobra.Command{
		Use:     "outcomes",
		Short:   "how jobs ended",
		Long:    outcomesLong,
		GroupID: groupJobs,
	})
	cmd.AddCommand(newOutcomesTailCommand(s), newOutcomesStatsCommand(s), newOutcomesExportCommand(s), newOutcomesVerifyCommand(s))
	return cmd
}

// outcomeFlags are the flags that choose outcomes.
type outcomeFlags struct {
	timeRange

	statuses, reasons, codes, merchants, hosts []string
	complaints, ids, labels                    []string

	repeats bool
}

func (f *outcomeFlags) add(s *state, cmd *cobra.Command) {
	flags := cmd.Flags()
	f.timeRange.add(cmd, "only published")
	refuseEmpty(cmd, "since", "until", "status", "reason", "error-code", "merchant", "host")
	flags.StringSliceVar(&f.statuses, "status", nil, "only this `status`: "+strings.Join(texts(job.Statuses()), ", "))
	flags.StringSliceVar(&f.reasons, "reason", nil, "only this `reason`: "+strings.Join(texts(job.Reasons()), ", "))
	flags.StringSliceVar(&f.codes, "error-code", nil, "only this error `code` of the API")
	flags.StringSliceVar(&f.merchants, "merchant", nil, "only this merchant: the `mchid` that signs")
	flags.StringSliceVar(&f.hosts, "host", nil, "only this `host` of the last call: "+strings.Join(hosts(), ", "))
	flags.StringArrayVar(&f.complaints, "complaint", nil, "only this complaint: its `id`")
	flags.StringArrayVar(&f.ids, "id", nil, "only this `idempotent_id`")
	flags.StringArrayVar(&f.labels, "label", nil, "only with this label: `name=value`")
	flags.BoolVar(&f.repeats, "repeats", false, "also outcomes that were published again")
	for name, values := range map[string][]string{
		"status": texts(job.Statuses()), "reason": texts(job.Reasons()), "host": hosts(),
		"error-code": nil, "complaint": nil, "id": nil, "label": nil,
	} {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	}
	_ = cmd.RegisterFlagCompletionFunc("merchant", s.completeMerchants)
}

func hosts() []string { return []string{"primary", "backup"} }

// filter reads the flags.
func (f *outcomeFlags) filter(now time.Time) (filter outcome.Filter, err error) {
	if filter.Since, filter.Until, err = f.timeRange.read(now); err != nil {
		return filter, err
	}
	err = cmp.Or(
		knownValues("--status", f.statuses, texts(job.Statuses())),
		knownValues("--reason", f.reasons, texts(job.Reasons())),
		knownValues("--host", f.hosts, hosts()),
	)
	if err != nil {
		return filter, err
	}
	for _, s := range f.statuses {
		filter.Statuses = append(filter.Statuses, job.Status(s))
	}
	for _, r := range f.reasons {
		filter.Reasons = append(filter.Reasons, job.Reason(r))
	}
	filter.ErrorCodes, filter.MchIDs, filter.Hosts = f.codes, f.merchants, f.hosts
	filter.ComplaintIDs, filter.IdempotentIDs = f.complaints, f.ids
	for _, l := range f.labels {
		name, value, found := strings.Cut(l, "=")
		if !found {
			return filter, &usageError{fmt.Sprintf("--label %q has no =", l), "give it as --label name=value"}
		}
		if filter.Labels == nil {
			filter.Labels = map[string]string{}
		}
		if has, twice := filter.Labels[name]; twice && has != value {
			return filter, &usageError{fmt.Sprintf("--label %s is given with two values", name), "every label given has to be there"}
		}
		filter.Labels[name] = value
	}
	return filter, nil
}

// knownValues refuses a value of a flag that is none of the known ones.
func knownValues(flag string, values, known []string) error {
	for _, v := range values {
		if !slices.Contains(known, v) {
			return unknownArg(flag, v, known)
		}
	}
	return nil
}

// outcomeReading is one reading of the outcomes' topic by a command.
type outcomeReading struct {
	s      *state
	cfg    *config.Config
	client *kafkaio.Client
	filter outcome.Filter
	picker *outcome.Picker

	begun bool // it is known what there is to read
}

// readOutcomes loads the configuration and the filter of a command, and calls use with them.
func (s *state) readOutcomes(
	cmd *cobra.Command, f *outcomeFlags, seen int, use func(context.Context, *outcomeReading) error,
) error {
	filter, err := f.filter(s.now())
	if err != nil {
		return err
	}
	cfg, err := s.load(cmd)
	if err != nil {
		return err
	}
	client, err := app.Kafka(cfg)
	if err != nil {
		return err
	}
	defer client.Close()
	r := &outcomeReading{s: s, cfg: cfg, client: client, filter: filter}
	if f.repeats {
		r.picker = outcome.NewPicker(filter, nil)
	} else {
		r.picker = outcome.NewPicker(filter, outcome.NewSeen(seen))
	}
	return use(cmd.Context(), r)
}

// spans finds what there is to read.
func (r *outcomeReading) spans(ctx context.Context) ([]kafkaio.Span, error) {
	first, cancel := context.WithTimeout(ctx, r.cfg.StartTimeout)
	defer cancel()
	spans, err := outcome.Spans(first, r.client, r.cfg.TopicOutcomes, &r.filter)
	return spans, kafkaError(ctx, err)
}

// all calls take with every outcome that is wanted and there now, with a progress bar of that label where
// there is one.
func (r *outcomeReading) all(ctx context.Context, label string, take func(*outcome.Record) error) error {
	spans, err := r.spans(ctx)
	if err != nil {
		return err
	}
	r.begun = true
	add, finish := func(int64) {}, func() {}
	if label != "" {
		bar := newProgress(r.s, label, kafkaio.Offsets(spans))
		add, finish = func(n int64) { bar.add(int(n)) }, bar.finish
	}
	var refused error
	err = kafkaio.ReadSpans(ctx, r.client, spans, r.cfg.StartTimeout,
		func(_ kafkaio.Span, records []job.Delivery, passed int64) error {
			defer add(passed)
			return r.picker.Pick(records, func(o *outcome.Record) error {
				refused = take(o)
				return refused
			}, nil)
		})
	finish()
	if refused != nil || ctx.Err() != nil {
		return err
	}
	return withHint(err, kafkaHint+"; then run it again")
}

// warn tells one record that cannot be read.
func (r *outcomeReading) warn(n outcome.Note) {
	_, _ = fmt.Fprintf(r.s.stderr, "worker: warning: %s partition %d offset %d cannot be read: %s\n",
		r.cfg.TopicOutcomes, n.Partition, n.Offset, clean(n.Text))
}

// warnMore tells how many more there were than were told of.
func (r *outcomeReading) warnMore(c outcome.Counts) {
	if more := c.Unreadable - int64(len(c.Notes)); more > 0 {
		_, _ = fmt.Fprintf(r.s.stderr, "worker: warning: so for %d more records\n", more)
	}
}

// warnAll tells of those that could not be read, when all is read.
func (r *outcomeReading) warnAll(c outcome.Counts) {
	for _, n := range c.Notes {
		r.warn(n)
	}
	r.warnMore(c)
}

// stopped says how far a reading came that did not come to its end.
func (r *outcomeReading) stopped(ctx context.Context, err error, rest string) error {
	if !r.begun || errors.Is(err, errNobodyReads) {
		return err // nothing is missed
	}
	_, _ = fmt.Fprintf(r.s.stderr, "worker: not finished: %d outcomes were read; %s\n", r.picker.Counts().Read, rest)
	return stopped(ctx, err)
}

// unreadable is the error of a reading that came to its end or its limit, where not all could be read.
func unreadable(c outcome.Counts) error {
	if c.Unreadable == 0 {
		return nil
	}
	return withHint(&partialError{int(c.Unreadable), int(c.Read), "records"},
		"the others are dealt with; see the warnings for which could not be read, and why")
}

func number64(n int64) string { return strconv.FormatInt(n, 10) }
