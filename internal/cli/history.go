package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"replyworker/internal/app"
	"replyworker/internal/config"
	"replyworker/internal/inquiry"
	"replyworker/internal/kafkaio"
	"replyworker/internal/outcome"
	"replyworker/internal/reconcile"
	"replyworker/internal/wxclient"
)

const historyLong = `Print a complaint's negotiation history as the API has it, in the API's order, each reply with the job of
ours that made it: its log_id is looked for in the outcomes. Texts are masked, since a user's complaint is
personal data; --reveal shows them.

Outcomes are read back to the history's first entry, or to --since where that is later: the whole topic has
to be passed through, so a bound spares time. Where Kafka does not answer, the history is printed without
them, with a warning; --no-outcomes does not ask. A log_id that our outcomes have and the history does not is
warned of.

-o json prints a line for each entry: log_id, operate_time, operate_type, operator, operate_details,
images (how many), image_list, complaint_media_list, normal_message, click_message (null where there is
none), match (found, none, or not_read where outcomes were not read), and of the outcome idempotent_id,
status, finished_at, source. Without --reveal texts stand as their lengths, and lists of images are
empty.`

// outcomeSlack is how much earlier than the history's first entry an outcome may seem to be, by clocks
// that differ.
const outcomeSlack = 10 * time.Minute

// maxAbsent is how many log_ids that the history lacks are told one by one.
const maxAbsent = 5

type historyFlags struct {
	merchant   string
	since      string
	noOutcomes bool
	reveal     bool
}

func newHistoryCommand(s *state) *cobra.Command {
	var f historyFlags
	cmd := &cobra.Command{
		Use:     "history COMPLAINT_ID [flags]",
		Short:   "a complaint's negotiation history, with the jobs that made its replies",
		Long:    historyLong,
		GroupID: groupJobs,
		Example: "  worker history 200201820200101080076610000\n" +
			"  worker history 200201820200101080076610000 --since 48h --reveal\n" +
			"  worker history 200201820200101080076610000 -o json --no-outcomes | jq .operate_type",
		Args:              exactArgs("COMPLAINT_ID"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			since, err := timeFlag("--since", f.since, s.now())
			if err != nil {
				return err
			}
			cfg, err := s.load(cmd)
			if err != nil {
				return err
			}
			mchID, err := merchantOf(cfg, f.merchant)
			if err != nil {
				return err
			}
			h := &historyView{s: s, cfg: cfg, flags: f, since: since, mchID: mchID, complaintID: args[0]}
			return s.withAPI(cmd.Context(), cfg, 0, func(asker *inquiry.Asker) error { return h.run(cmd.Context(), asker) })
		},
	}
	s.addMerchantFlag(cmd, &f.merchant)
	cmd.Flags().StringVar(&f.since, "since", "", "read outcomes of this `time` or later: RFC 3339, or how long ago it was (24h)")
	refuseEmpty(cmd, "since")
	cmd.Flags().BoolVar(&f.noOutcomes, "no-outcomes", false, "do not read outcomes")
	cmd.Flags().BoolVar(&f.reveal, "reveal", false, "show what the user and the replies say")
	_ = cmd.RegisterFlagCompletionFunc("since", cobra.NoFileCompletions)
	s.useSettings(cmd, config.GroupAPI, config.GroupKafka)
	showSettings(cmd, "mchid", "merchants-file", "topic-outcomes", "start-timeout")
	return cmd
}

// historyView is one call of `history`.
type historyView struct {
	s           *state
	cfg         *config.Config
	flags       historyFlags
	since       time.Time
	mchID       string
	complaintID string
}

func (h *historyView) run(ctx context.Context, asker *inquiry.Asker) error {
	var entries []wxclient.HistoryEntry
	notWhole := asker.History(ctx, h.mchID, h.complaintID, func(more []wxclient.HistoryEntry) error {
		entries = append(entries, more...)
		return nil
	})
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case notWhole != nil && len(entries) == 0:
		return notWhole
	}
	ours, read, err := h.outcomes(ctx, entries)
	if err != nil {
		return err
	}
	if err := h.print(entries, ours, read); err != nil {
		return err
	}
	if notWhole != nil {
		return fmt.Errorf("the history is not complete: %w", notWhole)
	}
	h.warnAbsent(entries, ours)
	return nil
}

// outcomes reads what our outcomes know of the complaint. That Kafka is away is told, and is no failure.
func (h *historyView) outcomes(
	ctx context.Context, entries []wxclient.HistoryEntry,
) (ours map[string]reconcile.Ours, read bool, err error) {
	if h.flags.noOutcomes || len(entries) == 0 {
		return nil, false, nil
	}
	ours, err = h.lookup(ctx, entries)
	switch {
	case ctx.Err() != nil:
		return nil, false, context.Cause(ctx)
	case err != nil:
		_, _ = fmt.Fprintf(h.s.stderr, "worker: warning: outcomes could not be read, so replies are not matched: %s\n",
			oneLine(err.Error()))
		return nil, false, nil
	}
	return ours, true, nil
}

func (h *historyView) lookup(ctx context.Context, entries []wxclient.HistoryEntry) (map[string]reconcile.Ours, error) {
	client, err := app.Kafka(h.cfg)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	first, cancel := context.WithTimeout(ctx, h.cfg.StartTimeout)
	defer cancel()
	spans, err := client.Spans(first, h.cfg.TopicOutcomes, h.readFrom(entries))
	if err != nil {
		return nil, err
	}
	bar := newProgress(h.s, "outcomes", kafkaio.Offsets(spans))
	defer bar.finish()
	return reconcile.Lookup(ctx, reconcile.Config{
		Outcomes: client, Spans: spans, MchID: h.mchID, ComplaintID: h.complaintID, Patience: h.cfg.StartTimeout,
		Reading: func(passed int64) { bar.add(int(passed)) },
	})
}

// readFrom is the time from which on outcomes of the complaint can be.
func (h *historyView) readFrom(entries []wxclient.HistoryEntry) time.Time {
	var first time.Time
	for _, e := range entries {
		at, err := time.Parse(time.RFC3339, e.OperateTime)
		if err != nil {
			return h.since
		}
		if first.IsZero() || at.Before(first) {
			first = at
		}
	}
	if first = first.Add(-outcomeSlack); first.Before(h.since) {
		return h.since
	}
	return first
}

// warnAbsent tells the log_ids that our outcomes have and the history does not.
func (h *historyView) warnAbsent(entries []wxclient.HistoryEntry, ours map[string]reconcile.Ours) {
	absent := maps.Clone(ours)
	for _, e := range entries {
		delete(absent, e.LogID)
	}
	for i, logID := range slices.Sorted(maps.Keys(absent)) {
		if i == maxAbsent {
			_, _ = fmt.Fprintf(h.s.stderr, "worker: warning: so for %d more\n", len(absent)-maxAbsent)
			return
		}
		_, _ = fmt.Fprintf(h.s.stderr, "worker: warning: the history does not have log_id %s, which the outcome of %s has\n",
			clean(logID), clean(absent[logID].IdempotentID))
	}
}

// The values of historyRow.Match.
const (
	matchFound   = "found"
	matchNone    = "none"
	matchNotRead = "not_read"
)

// historyRow is a line of `history -o json`. Every field is always there.
type historyRow struct {
	LogID          string          `json:"log_id"`
	OperateTime    string          `json:"operate_time"`
	OperateType    string          `json:"operate_type"`
	Operator       string          `json:"operator"`
	OperateDetails string          `json:"operate_details"`
	Images         int             `json:"images"`
	ImageList      []string        `json:"image_list"`
	Media          json.RawMessage `json:"complaint_media_list"`
	NormalMessage  json.RawMessage `json:"normal_message"`
	ClickMessage   json.RawMessage `json:"click_message"`
	Match          string          `json:"match"`
	IdempotentID   string          `json:"idempotent_id"`
	Status         string          `json:"status"`
	FinishedAt     string          `json:"finished_at"`
	Source         outcome.Source  `json:"source"`
}

func (h *historyView) row(e *wxclient.HistoryEntry, ours map[string]reconcile.Ours, read bool) historyRow {
	row := historyRow{
		LogID: e.LogID, OperateTime: e.OperateTime, OperateType: e.OperateType, Operator: e.Operator,
		OperateDetails: e.OperateDetails, Images: len(e.Images), ImageList: e.Images,
		Media: e.Media, NormalMessage: e.NormalMessage, ClickMessage: e.ClickMessage, Match: matchNotRead,
	}
	if !h.flags.reveal {
		row.hide()
	}
	if row.ImageList == nil {
		row.ImageList = []string{}
	}
	if !read {
		return row
	}
	row.Match = matchNone
	if o, found := ours[e.LogID]; found {
		row.Match, row.IdempotentID, row.Status, row.FinishedAt, row.Source =
			matchFound, o.IdempotentID, string(o.Status), o.FinishedAt, o.Source
	}
	return row
}

// hide masks what people say.
func (r *historyRow) hide() {
	r.OperateDetails = maskText(r.OperateDetails)
	r.ImageList, r.Media = nil, nil
	for _, message := range []*json.RawMessage{&r.NormalMessage, &r.ClickMessage} {
		if *message != nil {
			*message = maskStrings(*message)
		}
	}
}

func maskText(text string) string {
	if text == "" {
		return ""
	}
	return fmt.Sprintf("(%d characters)", utf8.RuneCountInString(text))
}

func (h *historyView) print(entries []wxclient.HistoryEntry, ours map[string]reconcile.Ours, read bool) error {
	var rows []historyRow
	for i := range entries {
		rows = append(rows, h.row(&entries[i], ours, read))
	}
	return printRecords(h.s, rows,
		column[historyRow]{"time", func(r historyRow) string { return orDash(r.OperateTime) }},
		column[historyRow]{"type", func(r historyRow) string { return orDash(r.OperateType) }},
		column[historyRow]{"operator", func(r historyRow) string { return orDash(r.Operator) }},
		column[historyRow]{"log_id", func(r historyRow) string { return r.LogID }},
		column[historyRow]{"idempotent_id", historyRow.matched},
		column[historyRow]{"says", historyRow.says},
	)
}

// matched is the job that made an entry; "?" where outcomes were not read.
func (r historyRow) matched() string {
	if r.Match == matchNotRead && r.OperateType == wxclient.OperateMerchantResponse {
		return "?"
	}
	return orDash(r.IdempotentID)
}

// says is an entry's text in a table.
func (r historyRow) says() string {
	var parts []string
	add := func(label, text string) {
		if text != "" {
			parts = append(parts, label+text)
		}
	}
	add("", r.OperateDetails)
	add("message ", string(r.NormalMessage))
	add("clicked ", string(r.ClickMessage))
	if r.Images > 0 {
		add("images ", strings.Join(append([]string{fmt.Sprint(r.Images)}, r.ImageList...), " "))
	}
	return orDash(strings.Join(parts, "; "))
}
