package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"replyworker/internal/config"
	"replyworker/internal/outcome"
	"replyworker/internal/outcome/stats"
)

const outcomesStatsLong = `Count outcomes by group, with percentiles of how long they took: in the queue (from the job's
time in Kafka to its first step), in processing (from there to its end) and end to end. Outcomes that
lack one of the two times are counted, and are in no percentile. Percentiles are off by 1 % of themselves
at most; the longest time is exact.

--by says what the groups are, one or several: status, reason, host, error_code, merchant, hour, day (of
finished_at, in UTC) and label:NAME. Beyond 1,000 groups outcomes are counted together, as "others".

` + outcomeFilterHelp + `
It remembers the last 1,000,000 outcomes for that; a repeat that comes after more than these is counted.

The table's times are short for people. -o json prints a line for each group: the dimensions, each under
its name, others, count, maybe_sent (how many), attempts (all together), and queue_ms, processing_ms and
end_to_end_ms with p50, p90, p99 and max. The exit status is 3 where a record is no outcome.`

func newOutcomesStatsCommand(s *state) *cobra.Command {
	var f outcomeFlags
	var by []string
	cmd := &cobra.Command{
		Use:   "stats [flags]",
		Short: "count them by group, with percentiles of their times",
		Long:  outcomesStatsLong,
		Example: "  worker outcomes stats --since 24h\n" +
			"  worker outcomes stats --by error_code --status failed --since 24h\n" +
			"  worker outcomes stats --by hour,host -o json\n" +
			"  worker outcomes stats --by label:team,status",
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			dimensions, err := dimensionsOf(by)
			if err != nil {
				return err
			}
			return s.readOutcomes(cmd, &f, seenIDs, func(ctx context.Context, r *outcomeReading) error {
				return r.stats(ctx, dimensions)
			})
		},
	}
	cmd.Flags().StringSliceVar(&by, "by", []string{"status", "reason", "host"}, "what the groups are, `DIMENSION,...`")
	_ = cmd.RegisterFlagCompletionFunc("by", cobra.FixedCompletions(stats.Names(), cobra.ShellCompDirectiveNoFileComp))
	f.add(s, cmd)
	s.useSettings(cmd, config.GroupKafka)
	showSettings(cmd, "topic-outcomes", "start-timeout")
	return cmd
}

func dimensionsOf(names []string) ([]stats.Dimension, error) {
	var all []stats.Dimension
	seen := map[string]bool{}
	for _, name := range names {
		d, found := stats.DimensionOf(name)
		switch {
		case !found:
			return nil, unknownArg("--by", name, stats.Names())
		case seen[name]:
			return nil, usagef("--by has %q twice", name)
		}
		seen[name] = true
		all = append(all, d)
	}
	if len(all) == 0 {
		return nil, unknownArg("--by", "", stats.Names())
	}
	return all, nil
}

func (r *outcomeReading) stats(ctx context.Context, by []stats.Dimension) error {
	table := stats.NewTable(by...)
	err := r.all(ctx, "outcomes stats", table.Add)
	counts := r.picker.Counts()
	r.warnAll(counts)
	if err != nil {
		return r.stopped(ctx, err, "they are not shown, since they are not all")
	}
	rows, err := table.Rows()
	if err != nil {
		return err
	}
	if err := r.printStats(rows, by); err != nil {
		return err
	}
	if n := len(rows); n > 0 && rows[n-1].Others {
		_, _ = fmt.Fprintf(r.s.stderr, "worker: warning: there are more than %d groups; %d outcomes are counted as others\n",
			stats.MaxGroups, rows[n-1].Count)
	}
	r.summary(counts)
	return unreadable(counts)
}

// summary says how many outcomes there were, for people.
func (r *outcomeReading) summary(c outcome.Counts) {
	_, _ = fmt.Fprintf(r.s.stderr, "worker: %d outcomes of %d read; %d repeats dropped\n", c.Picked, c.Read, c.Repeats)
}

func (r *outcomeReading) printStats(rows []stats.Row, by []stats.Dimension) error {
	var all []statsRow
	for _, row := range rows {
		all = append(all, statsRow{row, by})
	}
	var columns []column[statsRow]
	add := func(title string, text func(statsRow) string) {
		columns = append(columns, column[statsRow]{title, text})
	}
	for i, d := range by {
		add(d.Name, func(row statsRow) string {
			if row.Others {
				return "(others)"
			}
			return orDash(row.Key[i])
		})
	}
	add("count", func(row statsRow) string { return number64(row.Count) })
	add("maybe sent", func(row statsRow) string { return number64(row.MaybeSent) })
	add("attempts", func(row statsRow) string { return number64(row.Attempts) })
	for _, l := range []struct {
		name string
		of   func(statsRow) stats.Latency
	}{
		{"queue", func(row statsRow) stats.Latency { return row.Queue }},
		{"processing", func(row statsRow) stats.Latency { return row.Processing }},
		{"end to end", func(row statsRow) stats.Latency { return row.EndToEnd }},
	} {
		add(l.name+" p50", func(row statsRow) string { return shortTime(l.of(row).P50) })
		add("p90", func(row statsRow) string { return shortTime(l.of(row).P90) })
		add("p99", func(row statsRow) string { return shortTime(l.of(row).P99) })
		add("max", func(row statsRow) string { return shortTime(l.of(row).Max) })
	}
	return printRecords(r.s, all, columns...)
}

// statsRow is a line of `outcomes stats -o json`.
type statsRow struct {
	stats.Row

	by []stats.Dimension
}

// MarshalJSON writes the dimensions under their names, then the figures.
func (row statsRow) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	member := func(begin, name string, value any) {
		b.WriteString(begin)
		_ = encoder.Encode(name) //nolint:errchkjson // into memory: strings, numbers and structs of them
		b.WriteByte(':')
		_ = encoder.Encode(value) //nolint:errchkjson // likewise
	}
	begin := "{"
	for i, d := range row.by {
		member(begin, d.Name, row.Key[i])
		begin = ","
	}
	for _, m := range []struct {
		name  string
		value any
	}{
		{"others", row.Others},
		{"count", row.Count},
		{"maybe_sent", row.MaybeSent},
		{"attempts", row.Attempts},
		{"queue_ms", row.Queue},
		{"processing_ms", row.Processing},
		{"end_to_end_ms", row.EndToEnd},
	} {
		member(begin, m.name, m.value)
		begin = ","
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}
