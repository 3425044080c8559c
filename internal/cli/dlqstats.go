package cli

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"replyworker/internal/deadletter"
)

const dlqStatsLong = `Count dead letters by reason and error code, the largest groups first. --by counts by other things, or
more of them: reason, error_code, http_status, merchant, complaint, topic, day (of the failure, in UTC).

Open letters are those that nobody has dealt with, with those of a replay that did not finish. Oldest and
latest are of when they failed, of the open ones where there are any.

-o json prints a line for each group: what it is grouped by, open, replayed, discarded, total, oldest,
latest.`

// letterKeys are what dead letters can be counted by.
var letterKeys = map[string]func(*deadletter.Letter) string{
	"reason":      func(l *deadletter.Letter) string { return string(l.Reason) },
	"error_code":  func(l *deadletter.Letter) string { return l.ErrorCode },
	"http_status": func(l *deadletter.Letter) string { return orNothing(l.HTTPStatus) },
	"merchant":    func(l *deadletter.Letter) string { return l.MchID },
	"complaint":   func(l *deadletter.Letter) string { return l.ComplaintID },
	"topic":       func(l *deadletter.Letter) string { return l.Source.Topic },
	"day":         func(l *deadletter.Letter) string { return l.FailedAt.UTC().Format(time.DateOnly) },
}

func newDLQStatsCommand(s *state) *cobra.Command {
	var filter letterFilter
	var by []string
	cmd := &cobra.Command{
		Use:   "stats [flags]",
		Short: "count dead letters by reason and code",
		Long:  dlqStatsLong,
		Example: "  worker dlq stats\n" +
			"  worker dlq stats --since 24h --by reason,day\n" +
			"  worker dlq stats --status open -o json",
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, key := range by {
				if letterKeys[key] == nil {
					return unknownArg("--by", key, slices.Sorted(maps.Keys(letterKeys)))
				}
			}
			wanted, err := filter.read(s.now(), deadletter.Statuses()...)
			if err != nil {
				return err
			}
			return s.withDesk(cmd, false, wanted.Since, func(d *letterDesk) error {
				return d.printStats(d.index.Select(&wanted), by)
			})
		},
	}
	filter.addTo(s, cmd, "", deadletter.Statuses()...)
	cmd.Flags().StringSliceVar(&by, "by", []string{"reason", "error_code"}, "what to count by, a comma-separated `list`")
	_ = cmd.RegisterFlagCompletionFunc("by",
		cobra.FixedCompletions(slices.Sorted(maps.Keys(letterKeys)), cobra.ShellCompDirectiveNoFileComp))
	s.useLetterSettings(cmd)
	return cmd
}

// letterGroup counts the letters that agree in what they are counted by.
type letterGroup struct {
	keys                      []string
	open, replayed, discarded int
	oldest, latest            time.Time // of all
	oldestOpen, latestOpen    time.Time
}

func (g *letterGroup) add(l *deadletter.Letter, status deadletter.Status) {
	within(&g.oldest, &g.latest, l.FailedAt)
	switch status {
	case deadletter.StatusReplayed:
		g.replayed++
	case deadletter.StatusDiscarded:
		g.discarded++
	case deadletter.StatusOpen, deadletter.StatusReplaying:
		g.open++
		within(&g.oldestOpen, &g.latestOpen, l.FailedAt)
	}
}

// within widens a range of times so that t is in it.
func within(oldest, latest *time.Time, t time.Time) {
	if oldest.IsZero() || t.Before(*oldest) {
		*oldest = t
	}
	if t.After(*latest) {
		*latest = t
	}
}

func (g *letterGroup) total() int { return g.open + g.replayed + g.discarded }

// times are those of the open letters where there are any.
func (g *letterGroup) times() (oldest, latest time.Time) {
	if g.open > 0 {
		return g.oldestOpen, g.latestOpen
	}
	return g.oldest, g.latest
}

func (d *letterDesk) printStats(letters []*deadletter.Letter, by []string) error {
	groups := map[string]*letterGroup{}
	for _, l := range letters {
		keys := make([]string, len(by))
		for i, key := range by {
			keys[i] = letterKeys[key](l)
		}
		name := strings.Join(keys, "\x00")
		if groups[name] == nil {
			groups[name] = &letterGroup{keys: keys}
		}
		groups[name].add(l, d.index.Resolution(l).Status)
	}
	sorted := slices.SortedFunc(maps.Values(groups), func(a, b *letterGroup) int {
		return cmp.Or(cmp.Compare(b.open, a.open), cmp.Compare(b.total(), a.total()), slices.Compare(a.keys, b.keys))
	})
	if d.s.output == outputJSON {
		return d.printStatsJSON(sorted, by)
	}
	return d.printStatsTable(sorted, by)
}

func (d *letterDesk) printStatsJSON(groups []*letterGroup, by []string) error {
	for _, g := range groups {
		row := map[string]any{}
		for i, key := range by {
			row[key] = g.keys[i]
		}
		oldest, latest := g.times()
		row["open"], row["replayed"], row["discarded"], row["total"] = g.open, g.replayed, g.discarded, g.total()
		row["oldest"], row["latest"] = formatTime(oldest), formatTime(latest)
		if err := printJSON(d.s, row); err != nil {
			return err
		}
	}
	return nil
}

func (d *letterDesk) printStatsTable(groups []*letterGroup, by []string) error {
	columns := make([]column[*letterGroup], 0, len(by)+6)
	for i, key := range by {
		columns = append(columns, column[*letterGroup]{
			strings.ReplaceAll(key, "_", " "), func(g *letterGroup) string { return orDash(g.keys[i]) },
		})
	}
	columns = append(columns,
		column[*letterGroup]{"open", func(g *letterGroup) string { return strconv.Itoa(g.open) }},
		column[*letterGroup]{"replayed", func(g *letterGroup) string { return strconv.Itoa(g.replayed) }},
		column[*letterGroup]{"discarded", func(g *letterGroup) string { return strconv.Itoa(g.discarded) }},
		column[*letterGroup]{"oldest", func(g *letterGroup) string { oldest, _ := g.times(); return formatTime(oldest) }},
		column[*letterGroup]{"latest", func(g *letterGroup) string { _, latest := g.times(); return formatTime(latest) }},
	)
	if err := printRecords(d.s, groups, columns...); err != nil {
		return err
	}
	var all letterGroup
	for _, g := range groups {
		all.open, all.replayed, all.discarded = all.open+g.open, all.replayed+g.replayed, all.discarded+g.discarded
	}
	_, _ = fmt.Fprintf(d.s.stderr, "worker: %d open, %d replayed, %d discarded\n", all.open, all.replayed, all.discarded)
	return nil
}
