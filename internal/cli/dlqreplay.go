package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"replyworker/internal/config"
	"replyworker/internal/deadletter"
	"replyworker/internal/dedupe"
	"replyworker/internal/replay"
)

const (
	// replayRate is how many jobs a second are sent where --rate does not say: replays share the
	// partitions with the jobs of today.
	replayRate    = 100
	maxReplayRate = 1_000_000
	// maxFaults is how many letters that failed are told one by one.
	maxFaults = 20
)

const dlqReplayLong = `Send the jobs of dead letters again, byte for byte, to the partitions that they came from and in the order in
which they stood. First a plan is printed: how many letters there are of each kind, and what becomes of them.

  sent      will be sent; already succeeded (a worker answers with the first log_id, and calls nobody); may
            have been sent before (the API takes each idempotent id once); claim forgotten, where nothing
            tells that the job was sent
  left out  superseded, since a later reply to the complaint succeeded, as far back as outcomes are kept
            (--include-superseded sends them); claim forgotten although the job may have been sent
            (--include-forgotten); expired; not a valid job; an id that belongs to other content; replayed
            --max-replays times already; under way; one whose key in Redis holds no claim

It asks before it goes on, unless --yes is given; --dry-run prints the plan alone. One replay or discard runs
at a time. Where one is interrupted, give the same command again: letters that were sent are resolved, and a
job that is sent twice is answered as a duplicate.

A merchant that is held (see ` + "`worker holds list`" + `) would keep its jobs waiting: it refuses, unless --while-held
is given. The exit status is 3 where some could not be sent; their letters stay open.

--edit opens the job of one letter in $VISUAL or $EDITOR, checks it, and sends what you have made of it:
under a new idempotent_id where the old one may have been sent or belongs to other content.

-o json prints the plan, a line for each kind: verdict, letters, sent, meaning; and at the end of a
replay one line: replay_id, sent, failed, left_out.`

type replayFlags struct {
	all, dryRun, yes, whileHeld, edit   bool
	includeSuperseded, includeForgotten bool
	rate                                float64
	maxReplays                          int
	note                                string
}

func newDLQReplayCommand(s *state) *cobra.Command {
	var filter letterFilter
	var f replayFlags
	statuses := []deadletter.Status{deadletter.StatusOpen, deadletter.StatusReplaying, deadletter.StatusDiscarded}
	cmd := &cobra.Command{
		Use:   "replay [PARTITION/OFFSET...] [flags]",
		Short: "plan, and send the jobs of dead letters again",
		Long:  dlqReplayLong,
		Example: "  worker dlq replay --all --dry-run\n" +
			"  worker dlq replay --error-code NO_AUTH --note 'permission granted'\n" +
			"  worker dlq replay 3/1041 --edit",
		ValidArgsFunction: completeLetters,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(args); err != nil {
				return err
			}
			selection, err := s.selection(args, &filter, f.all, statuses...)
			if err != nil {
				return err
			}
			return s.locked(cmd, "replay", f.dryRun, func(ctx context.Context, d *letterDesk) error {
				letters, err := selection.letters(d)
				if err != nil {
					return err
				}
				return (&replaying{letterDesk: d, flags: f}).run(ctx, letters)
			})
		},
	}
	filter.addTo(s, cmd, string(deadletter.StatusOpen), statuses...)
	flags := cmd.Flags()
	flags.BoolVar(&f.all, "all", false, "every letter that is open")
	flags.BoolVar(&f.dryRun, "dry-run", false, "only print the plan")
	flags.BoolVarP(&f.yes, "yes", "y", false, "do not ask")
	flags.Float64Var(&f.rate, "rate", replayRate, "jobs a `second`; 0 for no limit")
	flags.StringVar(&f.note, "note", "", "why, for those who look at the letters later")
	flags.IntVar(&f.maxReplays, "max-replays", replay.DefaultMaxReplays, "how `often` a job is replayed in all")
	flags.BoolVar(&f.includeSuperseded, "include-superseded", false, "send also what a later reply has overtaken")
	flags.BoolVar(&f.includeForgotten, "include-forgotten", false, "send also what may have been sent and has no claim any more")
	flags.BoolVar(&f.whileHeld, "while-held", false, "also while a merchant is held")
	flags.BoolVar(&f.edit, "edit", false, "change the job of one letter in $EDITOR first")
	for _, flag := range []string{"rate", "note", "max-replays"} {
		_ = cmd.RegisterFlagCompletionFunc(flag, cobra.NoFileCompletions)
	}
	s.useLetterSettings(cmd, config.GroupRedis)
	showSettings(cmd, "topic-jobs", "topic-outcomes", "mchid", "merchants-file")
	return cmd
}

func (f *replayFlags) check(args []string) error {
	switch {
	case f.rate != 0 && !(f.rate >= 0.01 && f.rate <= maxReplayRate): // so written, NaN is refused too
		return usagef("--rate %g: must be 0, for no limit, or from 0.01 to %d", f.rate, maxReplayRate)
	case f.maxReplays < 1:
		return usagef("--max-replays %d: must be at least 1", f.maxReplays)
	case f.edit && len(args) != 1:
		return usagef("--edit needs the PARTITION/OFFSET of one letter")
	}
	return nil
}

// letterSelection is which letters a command was told to deal with.
type letterSelection struct {
	ids    []deadletter.ID
	filter deadletter.Filter
}

// selection reads which letters are meant. To give neither IDs nor filters nor --all is wrong usage.
func (s *state) selection(
	args []string, filter *letterFilter, all bool, statuses ...deadletter.Status,
) (*letterSelection, error) {
	ids, err := parseIDs(args)
	if err != nil {
		return nil, err
	}
	wanted, err := filter.read(s.now(), statuses...)
	switch {
	case err != nil:
		return nil, err
	case len(ids) > 0 && (!wanted.IsZero() || all):
		return nil, errIDsAndFilters()
	case len(ids) == 0 && wanted.IsZero() && !all:
		return nil, &usageError{"which letters?", "give their PARTITION/OFFSET, filters such as --reason, or --all"}
	}
	if slices.Contains(filter.statuses, statusAll) {
		wanted.Statuses = statuses
	}
	return &letterSelection{ids, wanted}, nil
}

func (l *letterSelection) letters(d *letterDesk) ([]*deadletter.Letter, error) {
	if len(l.ids) > 0 {
		return d.find(l.ids)
	}
	return d.index.Select(&l.filter), nil
}

// locked calls do with all letters, while nobody else replays or discards; a dry run needs no lock.
// All letters are read, since what came of a job before matters.
func (s *state) locked(cmd *cobra.Command, what string, dryRun bool, do func(context.Context, *letterDesk) error) error {
	d, err := s.openDesk(cmd, true)
	if err != nil {
		return err
	}
	defer d.close()
	ctx := cmd.Context()
	work := func(ctx context.Context) error {
		if err := d.loadIndex(ctx, time.Time{}); err != nil {
			return err
		}
		return do(ctx, d)
	}
	if dryRun {
		return work(ctx)
	}
	err = replay.Exclusively(ctx, d.store, "replay:"+d.cfg.TopicDeadLetters, what+" by "+s.operator(), work)
	if _, known := errors.AsType[*dedupe.Error](err); known {
		return redisError(ctx, err)
	}
	if _, busy := errors.AsType[*replay.BusyError](err); busy {
		return withHint(err, "wait for it; --dry-run does not")
	}
	return err
}

// operator names who runs the command: user@host.
func (s *state) operator() string {
	user := s.getenv("SUDO_USER")
	for _, name := range []string{"USER", "LOGNAME", "USERNAME"} {
		if user == "" {
			user = s.getenv(name)
		}
	}
	if user == "" {
		user = "uid-" + strconv.Itoa(os.Getuid())
	}
	if host, err := os.Hostname(); err == nil {
		user += "@" + host
	}
	return user
}

// planConfig is how letters are planned. It fails where a job of them needs a default merchant and none is
// configured.
func (d *letterDesk) planConfig(letters []*deadletter.Letter, maxReplays int) (replay.PlanConfig, error) {
	byDefault, _ := d.cfg.DefaultMerchant()
	for _, l := range letters {
		if byDefault.MchID == "" && l.MchID == "" && !l.Invalid && d.index.Resolution(l).Status != deadletter.StatusReplayed {
			return replay.PlanConfig{}, &usageError{
				fmt.Sprintf("letter %s leaves its merchant to the default, and none is configured", l.ID),
				"set mchid (and the keys that go with it), as the workers do",
			}
		}
	}
	bar := &loadBar{s: d.s, label: "outcomes"}
	return replay.PlanConfig{
		Claims: d.store, Index: d.index, JobsTopics: d.cfg.JobsTopics(), Now: d.s.now(), MaxReplays: maxReplays,
		Merchant: func(mchID string) (string, bool) {
			if mchID == "" {
				return byDefault.MchID, byDefault.MchID != ""
			}
			_, known := d.cfg.Merchant(mchID)
			return mchID, known || len(d.cfg.Merchants) == 0
		},
		Outcomes: replay.Outcomes{
			Kafka: d.kafka, Topic: d.cfg.TopicOutcomes, Patience: d.cfg.StartTimeout, Start: bar.start, Progress: bar.add,
			Done: bar.finish,
		},
	}, nil
}

// replaying is one call of `dlq replay`.
type replaying struct {
	*letterDesk

	flags  replayFlags
	plan   *replay.Plan
	faults int
}

func (r *replaying) run(ctx context.Context, letters []*deadletter.Letter) error {
	if err := r.makePlan(ctx, letters); err != nil {
		return err
	}
	if r.flags.edit {
		return r.edit(ctx)
	}
	if err := r.printPlan(); err != nil {
		return err
	}
	items := r.plan.ToSend()
	if r.flags.dryRun {
		_, _ = fmt.Fprintln(r.s.stderr, "worker: nothing was sent")
		return nil
	}
	if len(items) == 0 {
		_, _ = fmt.Fprintln(r.s.stderr, "worker: there is nothing to send")
		return nil
	}
	return r.send(ctx, items)
}

// makePlan plans letters, as the flags say.
func (r *replaying) makePlan(ctx context.Context, letters []*deadletter.Letter) error {
	cfg, err := r.planConfig(letters, r.flags.maxReplays)
	if err != nil {
		return err
	}
	cfg.IncludeSuperseded, cfg.IncludeForgotten = r.flags.includeSuperseded, r.flags.includeForgotten
	if r.plan, err = replay.Make(ctx, cfg, letters); err != nil {
		return planError(ctx, err)
	}
	return nil
}

func planError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if _, ok := errors.AsType[*dedupe.Error](err); ok {
		return redisError(ctx, err)
	}
	return kafkaError(ctx, err)
}

// planRow is a line of the plan.
type planRow struct {
	Verdict string `json:"verdict"`
	Letters int    `json:"letters"`
	Sent    bool   `json:"sent"`
	Meaning string `json:"meaning"`
}

// forPlan is where a plan is printed: on stdout where it is what was asked for, or is for a program, else on
// stderr.
func (s *state) forPlan(dryRun bool) *state {
	out := *s
	if !dryRun && s.output == outputTable {
		out.stdout = s.stderr
	}
	return &out
}

// printPlan prints how many letters there are of each verdict, and how far back later replies were looked for.
func (r *replaying) printPlan() error {
	counts := r.plan.Counts()
	var rows []planRow
	for _, v := range replay.Verdicts() {
		if counts[v] > 0 {
			rows = append(rows, planRow{string(v), counts[v], r.plan.Sent(v), v.Meaning()})
		}
	}
	err := printRecords(r.s.forPlan(r.flags.dryRun), rows,
		column[planRow]{"letters", func(p planRow) string { return strconv.Itoa(p.Letters) }},
		column[planRow]{"sent", func(p planRow) string { return yesNo(p.Sent) }},
		column[planRow]{"what becomes of them", func(p planRow) string { return p.Meaning }},
	)
	if from := r.plan.OutcomesFrom; err == nil && !from.IsZero() {
		_, _ = fmt.Fprintf(r.s.stderr, "worker: later replies were looked for among the outcomes since %s\n", formatTime(from))
	}
	return err
}

// send asks, and sends the items.
func (r *replaying) send(ctx context.Context, items []replay.Item) error {
	if err := r.checkHolds(ctx); err != nil {
		return err
	}
	if err := r.ask(ctx, len(items)); err != nil {
		return err
	}
	id := replay.NewID(r.s.now(), dedupe.NewToken())
	bar := newProgress(r.s, "dlq replay", int64(len(items)))
	report, err := replay.Run(ctx, replay.RunConfig{
		Kafka: r.kafka, Index: r.index, Letters: r.cfg.TopicDeadLetters, Resolutions: r.cfg.TopicResolutions,
		Signature: replay.Signature{ReplayID: id, By: r.s.operator(), Note: r.flags.note, Now: r.s.now},
		Rate:      r.flags.rate, Patience: r.cfg.StartTimeout, Progress: bar.add, Fault: r.fault,
	}, items)
	bar.finish()
	return r.finish(ctx, id, report, len(items), err)
}

func (r *replaying) ask(ctx context.Context, n int) error {
	if r.flags.yes {
		return nil
	}
	question := fmt.Sprintf("Send %d jobs again", n)
	if r.flags.rate > 0 && float64(n) > r.flags.rate {
		question += fmt.Sprintf(", in about %s", time.Duration(float64(n)/r.flags.rate*float64(time.Second)).Round(time.Second))
	}
	return r.s.confirm(ctx, question+"?")
}

// checkHolds refuses while a merchant of the plan is held.
func (r *replaying) checkHolds(ctx context.Context) error {
	if r.flags.whileHeld {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, r.cfg.StartTimeout)
	defer cancel()
	holds, err := r.store.RenewHolds(limited, r.plan.Merchants(), 0) // with no time it only reads
	if err != nil {
		return redisError(ctx, err)
	}
	var held []string
	for id, h := range holds {
		held = append(held, strings.TrimSpace(fmt.Sprintf("%s (%s %s", id, h.Kind, h.Code))+")")
	}
	if len(held) == 0 {
		return nil
	}
	slices.Sort(held)
	return withHint(fmt.Errorf("held: %s; nothing was sent", strings.Join(held, ", ")),
		"the jobs would wait until the hold ends: see `worker holds list`, or give --while-held")
}

// fault tells of a job that was not sent, of the first few.
func (r *replaying) fault(i *replay.Item, err error) {
	r.faults++
	switch {
	case r.faults > maxFaults:
	case errors.Is(err, replay.ErrNotNoted):
		_, _ = fmt.Fprintf(r.s.stderr, "worker: letter %s stays open: %s\n", i.Letter.ID, oneLine(err.Error()))
	default:
		_, _ = fmt.Fprintf(r.s.stderr, "worker: letter %s was not sent: %s\n", i.Letter.ID, oneLine(err.Error()))
	}
}

// replayReport is what `dlq replay -o json` prints at its end.
type replayReport struct {
	ReplayID string `json:"replay_id"`
	Sent     int    `json:"sent"`
	Failed   int    `json:"failed"`
	LeftOut  int    `json:"left_out"`
}

func (r *replaying) finish(ctx context.Context, id string, report replay.Report, total int, err error) error {
	row := replayReport{ReplayID: id, Sent: report.Sent, Failed: report.Failed, LeftOut: len(r.plan.Items) - total}
	printed := printRecords(r.s, []replayReport{row},
		column[replayReport]{"replay_id", func(r replayReport) string { return r.ReplayID }},
		column[replayReport]{"sent", func(r replayReport) string { return strconv.Itoa(r.Sent) }},
		column[replayReport]{"failed", func(r replayReport) string { return strconv.Itoa(r.Failed) }},
		column[replayReport]{"left out", func(r replayReport) string { return strconv.Itoa(r.LeftOut) }},
	)
	const again = "give the same command again; a job that was sent twice is answered as a duplicate"
	switch open := total - report.Sent; {
	case ctx.Err() != nil && open > 0:
		_, _ = fmt.Fprintf(r.s.stderr, "worker: %d of %d jobs were sent\nhint: %s\n", report.Sent, total, again)
		return context.Cause(ctx)
	case err != nil && report.Sent == 0:
		return withHint(err, kafkaHint)
	case err != nil:
		return withHint(fmt.Errorf("%w: %w", &partialError{open, total, "jobs"}, err), again)
	case open > 0:
		return withHint(&partialError{open, total, "jobs"}, "their letters stay open; see above why")
	}
	return printed
}
