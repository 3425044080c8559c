package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rivo/uniseg"
	"github.com/spf13/cobra"

	"replyworker/internal/config"
	"replyworker/internal/job"
	"replyworker/internal/kafkaio"
	"replyworker/internal/outcome"
)

const (
	// tailSeenIDs is how many outcomes `tail` remembers to drop repeats.
	tailSeenIDs = 100_000
	// tailTrouble is how long a partition may fail to be read before a person hears of it.
	tailTrouble = 5 * time.Second
)

const outcomesTailLong = `Show outcomes as they come, from now on; with --since those from then, and then as they come. It goes on
until Ctrl-C, or until --limit outcomes were shown. With --no-follow, or --until, it ends at the end of the
topic, and begins at its beginning where --since does not say otherwise.

` + outcomeFilterHelp + `
It remembers the last 100,000 outcomes for that.

Those of one partition are shown in their order. A record that is no outcome is warned of, and passed over;
with --no-follow the exit status is 3 then.

-o json prints each event as it stands in the topic, on a line, with fields of later versions.`

type outcomesTailFlags struct {
	outcomeFlags

	noFollow bool
	limit    int64
}

func newOutcomesTailCommand(s *state) *cobra.Command {
	var f outcomesTailFlags
	cmd := &cobra.Command{
		Use:   "tail [flags]",
		Short: "show outcomes as they come",
		Long:  outcomesTailLong,
		Example: "  worker outcomes tail\n" +
			"  worker outcomes tail --status failed --since 1h -o json | jq -r .error_code\n" +
			"  worker outcomes tail --id 550e8400-e29b-41d4-a716-446655440000 --since 24h --limit 1\n" +
			"  worker outcomes tail --since 2026-11-23T08:00:00+08:00 --no-follow --label team=refunds",
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.limit < 0 {
				return usagef("--limit must be at least 1, or 0 for none")
			}
			return s.readOutcomes(cmd, &f.outcomeFlags, tailSeenIDs, func(ctx context.Context, r *outcomeReading) error {
				t := &outcomesTail{outcomeReading: r, limit: f.limit}
				if f.noFollow || !r.filter.Until.IsZero() {
					return t.toTheEnd(ctx)
				}
				return t.follow(ctx)
			})
		},
	}
	cmd.Flags().BoolVar(&f.noFollow, "no-follow", false, "end at the end of the topic")
	cmd.Flags().Int64Var(&f.limit, "limit", 0, "end after so many outcomes; 0 for no limit")
	f.add(s, cmd)
	s.useSettings(cmd, config.GroupKafka)
	showSettings(cmd, "topic-outcomes", "start-timeout")
	return cmd
}

// outcomesTail is one call of `outcomes tail`.
type outcomesTail struct {
	*outcomeReading

	limit  int64
	shown  int64
	headed bool
}

var errTailLimit = errors.New("--limit is reached")

// follow shows outcomes until ctx ends, or the limit is reached.
func (t *outcomesTail) follow(ctx context.Context) error {
	spans, err := t.spans(ctx)
	if err != nil {
		return err
	}
	if t.filter.Since.IsZero() {
		for i := range spans {
			spans[i].First = spans[i].End
		}
	}
	if err := t.head(); err != nil {
		return err
	}
	trouble := &tailTroubles{r: t.outcomeReading, partitions: map[int]*troublePartition{}}
	err = t.client.Follow(ctx, spans, kafkaio.Follower{
		Each:    func(d job.Delivery) error { return t.picker.Pick([]job.Delivery{d}, t.show, t.warn) },
		Fetched: trouble.fetched,
	})
	t.warnMore(t.picker.Counts())
	if errors.Is(err, errTailLimit) {
		return nil
	}
	return stopped(ctx, err)
}

// toTheEnd shows the outcomes that are there now.
func (t *outcomesTail) toTheEnd(ctx context.Context) error {
	err := t.all(ctx, "", t.show)
	counts := t.picker.Counts()
	t.warnAll(counts)
	switch {
	case errors.Is(err, errTailLimit):
		return unreadable(counts)
	case err != nil:
		return t.stopped(ctx, err, strconv.FormatInt(t.shown, 10)+" were shown")
	}
	if err := t.head(); err != nil {
		return err
	}
	return unreadable(counts)
}

// tailColumns are the columns of the table. Its lines are written as they come, so a width is only what
// usual text needs.
var tailColumns = []struct {
	title string
	width int
	text  func(*outcome.Record) string
}{
	{"finished_at", 24, func(r *outcome.Record) string { return orDash(r.FinishedAt) }},
	{"status", 9, func(r *outcome.Record) string { return string(r.Status) }},
	{"reason", 20, func(r *outcome.Record) string { return orDash(string(r.Reason)) }},
	{"error code", 16, func(r *outcome.Record) string { return orDash(r.ErrorCode) }},
	{"host", 7, func(r *outcome.Record) string { return orDash(r.Host) }},
	{"attempts", 8, func(r *outcome.Record) string { return strconv.Itoa(r.Attempts) }},
	{"took", 8, func(r *outcome.Record) string { return shortTime(r.EndToEndMS) }},
	{"complaint_id", 27, func(r *outcome.Record) string { return orDash(r.ComplaintID) }},
	{"idempotent_id", 36, func(r *outcome.Record) string { return orDash(r.IdempotentID) }},
	{"log_id", 0, func(r *outcome.Record) string { return orDash(r.LogID) }},
}

// head writes the titles of the table, once.
func (t *outcomesTail) head() error {
	if t.s.output == outputJSON || t.headed {
		return nil
	}
	t.headed = true
	return t.row(func(i int) string { return strings.ToUpper(tailColumns[i].title) })
}

func (t *outcomesTail) show(r *outcome.Record) error {
	err := t.head()
	switch {
	case err != nil:
	case t.s.output == outputJSON:
		err = printJSON(t.s, json.RawMessage(r.Value))
	default:
		err = t.row(func(i int) string { return clean(tailColumns[i].text(r)) })
	}
	if err != nil {
		return err
	}
	if t.shown++; t.shown == t.limit {
		return errTailLimit
	}
	return nil
}

func (t *outcomesTail) row(cell func(i int) string) error {
	var line strings.Builder
	for i, c := range tailColumns {
		text := cell(i)
		line.WriteString(text)
		line.WriteString(strings.Repeat(" ", max(0, c.width-uniseg.StringWidth(text))+2))
	}
	if _, err := io.WriteString(t.s.stdout, strings.TrimRight(line.String(), " ")+"\n"); err != nil {
		return fmt.Errorf("write to stdout: %w", err)
	}
	return nil
}

// shortTime is a number of milliseconds for people: three digits are enough.
func shortTime(ms int64) string {
	d := time.Duration(ms) * time.Millisecond
	switch {
	case d >= 100*time.Second:
		d = d.Round(time.Second)
	case d >= 10*time.Second:
		d = d.Round(100 * time.Millisecond)
	case d >= time.Second:
		d = d.Round(10 * time.Millisecond)
	}
	return d.String()
}

// tailTroubles tells of partitions that cannot be read for long, once each, and when they can be again.
type tailTroubles struct {
	r *outcomeReading

	mu         sync.Mutex
	partitions map[int]*troublePartition
}

type troublePartition struct {
	kafkaio.Trouble

	told bool
}

func (t *tailTroubles) fetched(partition int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.partitions[partition]
	if p == nil {
		p = &troublePartition{}
		t.partitions[partition] = p
	}
	now := t.r.s.now()
	p.Note(now, err)
	switch lasting := p.Lasting(now, tailTrouble); {
	case err == nil && p.told:
		p.told = false
		_, _ = fmt.Fprintf(t.r.s.stderr, "worker: %s partition %d is read again\n", t.r.cfg.TopicOutcomes, partition)
	case lasting != nil && !p.told:
		p.told = true
		_, _ = fmt.Fprintf(t.r.s.stderr, "worker: warning: %s partition %d cannot be read; trying on: %s\n",
			t.r.cfg.TopicOutcomes, partition, oneLine(lasting.Error()))
	}
}
