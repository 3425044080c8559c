package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"replyworker/internal/config"
	"replyworker/internal/deadletter"
	"replyworker/internal/replay"
)

const dlqDiscardLong = `Put dead letters away that will not be replayed. Their records stay where they are, until Kafka removes
them after the topic's retention; only that, when and why they were discarded is written.
` + "`dlq replay --status discarded`" + ` takes it back.

It says how many letters there are of each reason and asks, unless --yes is given. -o json prints a line
for each reason: reason, letters; and with what was done one line: discarded, failed.`

func newDLQDiscardCommand(s *state) *cobra.Command {
	var filter letterFilter
	var d discarding
	statuses := []deadletter.Status{deadletter.StatusOpen, deadletter.StatusReplaying}
	cmd := &cobra.Command{
		Use:   "discard [PARTITION/OFFSET...] [flags]",
		Short: "put dead letters away",
		Long:  dlqDiscardLong,
		Example: "  worker dlq discard --reason invalid_job --until 2026-11-24T00:00:00+08:00 --note 'a test run'\n" +
			"  worker dlq discard 3/1041 3/1042 --yes --note 'answered by telephone'",
		ValidArgsFunction: completeLetters,
		RunE: func(cmd *cobra.Command, args []string) error {
			selection, err := s.selection(args, &filter, d.all, statuses...)
			if err != nil {
				return err
			}
			return s.locked(cmd, "discard", d.dryRun, func(ctx context.Context, desk *letterDesk) error {
				letters, err := selection.letters(desk)
				if err != nil {
					return err
				}
				d.letterDesk = desk
				return d.run(ctx, letters)
			})
		},
	}
	filter.addTo(s, cmd, string(deadletter.StatusOpen), statuses...)
	cmd.Flags().BoolVar(&d.all, "all", false, "every letter that is open")
	cmd.Flags().BoolVar(&d.dryRun, "dry-run", false, "only say how many letters there are")
	cmd.Flags().BoolVarP(&d.yes, "yes", "y", false, "do not ask")
	cmd.Flags().StringVar(&d.note, "note", "", "why, for those who look at the letters later")
	_ = cmd.RegisterFlagCompletionFunc("note", cobra.NoFileCompletions)
	s.useLetterSettings(cmd, config.GroupRedis)
	return cmd
}

// discarding is one call of `dlq discard`.
type discarding struct {
	*letterDesk

	all, dryRun, yes bool
	note             string
}

// reasonRow is a line of what is to be discarded.
type reasonRow struct {
	Reason  string `json:"reason"`
	Letters int    `json:"letters"`
}

func (d *discarding) run(ctx context.Context, letters []*deadletter.Letter) error {
	open := slices.DeleteFunc(slices.Clone(letters), func(l *deadletter.Letter) bool {
		status := d.index.Resolution(l).Status
		return status == deadletter.StatusReplayed || status == deadletter.StatusDiscarded
	})
	if resolved := len(letters) - len(open); resolved > 0 {
		_, _ = fmt.Fprintf(d.s.stderr, "worker: %d of the letters are replayed or discarded already\n", resolved)
	}
	if err := d.printReasons(open); err != nil {
		return err
	}
	switch {
	case d.dryRun:
		_, _ = fmt.Fprintln(d.s.stderr, "worker: nothing was discarded")
		return nil
	case len(open) == 0:
		_, _ = fmt.Fprintln(d.s.stderr, "worker: there is nothing to discard")
		return nil
	case !d.yes:
		if err := d.s.confirm(ctx, fmt.Sprintf("Discard %d dead letters?", len(open))); err != nil {
			return err
		}
	}
	return d.discard(ctx, open)
}

// countReasons counts letters by their reason, the largest number first, and of equal ones by the reason's
// name, with none at the end.
func countReasons(letters []*deadletter.Letter) []reasonRow {
	counts := map[string]int{}
	for _, l := range letters {
		counts[string(l.Reason)]++
	}
	var rows []reasonRow
	for reason, n := range counts {
		rows = append(rows, reasonRow{reason, n})
	}
	slices.SortFunc(rows, func(a, b reasonRow) int {
		switch {
		case a.Letters != b.Letters:
			return b.Letters - a.Letters
		case a.Reason == "" || b.Reason == "":
			return -cmp.Compare(a.Reason, b.Reason)
		}
		return cmp.Compare(a.Reason, b.Reason)
	})
	return rows
}

func (d *discarding) printReasons(letters []*deadletter.Letter) error {
	rows := countReasons(letters)
	return printRecords(d.s.forPlan(d.dryRun), rows,
		column[reasonRow]{"letters", func(r reasonRow) string { return strconv.Itoa(r.Letters) }},
		column[reasonRow]{"reason", func(r reasonRow) string { return orDash(r.Reason) }},
	)
}

// discardReport is what `dlq discard -o json` prints at its end.
type discardReport struct {
	Discarded int `json:"discarded"`
	Failed    int `json:"failed"`
}

func (d *discarding) discard(ctx context.Context, letters []*deadletter.Letter) error {
	signature := replay.Signature{By: d.s.operator(), Note: d.note, Now: d.s.now}
	bar := newProgress(d.s, "dlq discard", int64(len(letters)))
	done, err := replay.Discard(ctx, d.kafka, d.index, d.cfg.TopicResolutions, letters, signature, bar.add)
	bar.finish()
	row := discardReport{done, len(letters) - done}
	printed := printRecords(d.s, []discardReport{row},
		column[discardReport]{"discarded", func(r discardReport) string { return strconv.Itoa(r.Discarded) }},
		column[discardReport]{"failed", func(r discardReport) string { return strconv.Itoa(r.Failed) }},
	)
	const again = "give the same command again"
	switch {
	case ctx.Err() != nil && done < len(letters):
		_, _ = fmt.Fprintf(d.s.stderr, "worker: %d of %d letters were discarded\nhint: %s\n", done, len(letters), again)
		return context.Cause(ctx)
	case err != nil && done == 0:
		return withHint(err, kafkaHint)
	case err != nil:
		return withHint(fmt.Errorf("%w: %w", &partialError{len(letters) - done, len(letters), "letters"}, err), again)
	}
	return printed
}
