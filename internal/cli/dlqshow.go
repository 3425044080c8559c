package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"replyworker/internal/config"
	"replyworker/internal/deadletter"
	"replyworker/internal/dedupe"
	"replyworker/internal/job"
	"replyworker/internal/replay"
)

const dlqShowLong = `Show all that is known of a dead letter: what went wrong, the job, what Redis knows of it now, what a replay
would do, and what else became of its idempotent id.

The text of the reply is masked, unless --reveal is given; so are the other strings of the message but ids and
enumerations. Where Redis or the outcomes cannot be read, the rest is shown all the same.

-o json prints one object: what ` + "`dlq list -o json`" + ` has, and message, request_id, headers, job, claim (as
` + "`job -o json`" + `), replay (verdict, meaning, sent, outcomes_from), history (the other letters of the id).`

func newDLQShowCommand(s *state) *cobra.Command {
	var reveal bool
	cmd := &cobra.Command{
		Use:               "show PARTITION/OFFSET [flags]",
		Short:             "show one dead letter, its job, its claim, and what a replay would do",
		Long:              dlqShowLong,
		Example:           "  worker dlq show 3/1041\n  worker dlq show 3/1041 --reveal -o json | jq .job",
		Args:              exactArgs("PARTITION/OFFSET"),
		ValidArgsFunction: completeLetters,
		RunE: func(cmd *cobra.Command, args []string) error {
			ids, err := parseIDs(args)
			if err != nil {
				return err
			}
			return s.withDesk(cmd, true, time.Time{}, func(d *letterDesk) error {
				letters, err := d.find(ids)
				if err != nil {
					return err
				}
				return d.show(cmd.Context(), letters[0], reveal)
			})
		},
	}
	cmd.Flags().BoolVar(&reveal, "reveal", false, "show the text of the reply")
	s.useLetterSettings(cmd, config.GroupRedis)
	showSettings(cmd, "topic-outcomes", "mchid", "merchants-file")
	return cmd
}

// shownLetter is what `dlq show -o json` prints.
type shownLetter struct {
	letterRow
	Message   string           `json:"message"`
	RequestID string           `json:"request_id"`
	Headers   []exportedHeader `json:"headers"`
	Job       json.RawMessage  `json:"job"` // null where the letter has no value
	Claim     jobRow           `json:"claim"`
	Replay    replayRow        `json:"replay"`
	History   []letterRow      `json:"history"`
}

// replayRow says what a replay of the letter would do.
type replayRow struct {
	Verdict string `json:"verdict"`
	Meaning string `json:"meaning"`
	Sent    bool   `json:"sent"`
	// OutcomesFrom is how far back later replies were looked for.
	OutcomesFrom string `json:"outcomes_from"`
}

func (d *letterDesk) show(ctx context.Context, l *deadletter.Letter, reveal bool) error {
	shown := shownLetter{letterRow: d.row(l), Job: json.RawMessage("null"), History: []letterRow{}}
	err := replay.EachLetter(ctx, d.kafka, d.cfg.TopicDeadLetters, d.cfg.StartTimeout, []*deadletter.Letter{l},
		func(_ *deadletter.Letter, record *job.Delivery) error {
			shown.addRecord(record, reveal)
			return nil
		})
	if err != nil {
		return kafkaError(ctx, err)
	}
	for _, other := range d.index.Letters {
		if other != l && other.IdempotentID == l.IdempotentID && other.MchID == l.MchID && l.IdempotentID != "" {
			shown.History = append(shown.History, d.row(other))
		}
	}
	if err := d.addPlan(ctx, &shown, l); err != nil {
		return err
	}
	if d.s.output == outputJSON {
		return printJSON(d.s, shown)
	}
	return shown.print(d.s.stdout)
}

func (r *shownLetter) addRecord(record *job.Delivery, reveal bool) {
	full := deadletter.Parse(record, job.Lenient)
	r.Message, r.RequestID = full.Message, full.RequestID
	r.Headers = headersOf(record)
	switch {
	case record.Value == nil:
	case reveal && json.Valid(record.Value):
		r.Job = bytes.Clone(record.Value)
	case reveal:
		r.Job, _ = json.Marshal(string(record.Value)) //nolint:errchkjson // a string always can be
	default:
		r.Job = maskMessage(record.Value)
	}
}

// addPlan adds what Redis knows and what a replay would do. What cannot be asked is said, and left out.
func (d *letterDesk) addPlan(ctx context.Context, shown *shownLetter, l *deadletter.Letter) error {
	limited, cancel := context.WithTimeout(ctx, d.cfg.StartTimeout)
	defer cancel()
	letters := []*deadletter.Letter{l}
	var plan *replay.Plan
	cfg, err := d.planConfig(letters, replay.DefaultMaxReplays)
	if err == nil {
		plan, err = replay.Make(limited, cfg, letters)
	}
	switch {
	case errors.Is(context.Cause(ctx), ErrInterrupted):
		return context.Cause(ctx)
	case err != nil:
		_, _ = fmt.Fprintf(d.s.stderr, "worker: warning: what a replay would do is not known: %s\n", oneLine(err.Error()))
		shown.Claim = newJobRow(dedupe.Key{IdempotentID: l.IdempotentID}, dedupe.Record{}, false)
		return nil
	}
	item := plan.Items[0]
	if !item.Claimed && !l.Invalid { // a letter that is not judged by its claim was not looked up
		d.lookUp(limited, &item)
	}
	shown.Claim = newJobRow(dedupe.Key{MchID: item.MchID, IdempotentID: l.IdempotentID}, item.Claim, item.Claimed)
	shown.Replay = replayRow{Verdict: string(item.Verdict), Meaning: item.Verdict.Meaning(), Sent: plan.Sent(item.Verdict)}
	if !plan.OutcomesFrom.IsZero() {
		shown.Replay.OutcomesFrom = formatTime(plan.OutcomesFrom)
	}
	return nil
}

func (d *letterDesk) lookUp(ctx context.Context, i *replay.Item) {
	record, found, err := d.store.Lookup(ctx, dedupe.Key{MchID: i.MchID, IdempotentID: i.Letter.IdempotentID})
	if err == nil {
		i.Claim, i.Claimed = record, found
	}
}

// print writes the letter for people.
func (r *shownLetter) print(w io.Writer) error {
	rows := [][]string{
		{"letter", r.ID},
		{"status", r.statusText()},
		{"reason", orDash(r.Reason)},
		{"error", orDash(r.errorText())},
		{"message", orDash(r.Message)},
		{"attempts", r.attemptsText()},
		{"failed at", r.FailedAt},
	}
	if r.FirstFailedAt != r.FailedAt {
		rows = append(rows, []string{"first failed at", r.FirstFailedAt})
	}
	if r.ReplayCount > 0 {
		rows = append(rows, []string{"replayed before", fmt.Sprintf("%d times, last by %s", r.ReplayCount, orDash(r.ReplayID))})
	}
	rows = append(rows, [][]string{
		{"complaint_id", orDash(r.ComplaintID)},
		{"idempotent_id", orDash(r.IdempotentID)},
		{"mchid", orDash(r.Claim.MchID)},
		{"source", r.sourceText()},
		{"claim", r.claimText()},
		{"a replay", orDash(r.Replay.Meaning)},
	}...)
	if err := writeTable(w, rows); err != nil {
		return err
	}
	if err := r.printHistory(w); err != nil {
		return err
	}
	return r.printJob(w)
}

func (r *shownLetter) statusText() string {
	if r.Resolution.At == "" {
		return r.Status
	}
	text := fmt.Sprintf("%s by %s at %s", r.Status, orDash(r.Resolution.By), r.Resolution.At)
	if r.Resolution.Note != "" {
		text += ": " + r.Resolution.Note
	}
	return text
}

func (r *shownLetter) errorText() string {
	text := r.ErrorCode
	if r.HTTPStatus != 0 {
		text = fmt.Sprintf("HTTP %d %s", r.HTTPStatus, r.ErrorCode)
	}
	if r.RequestID != "" {
		text += " (request " + r.RequestID + ")"
	}
	return text
}

func (r *shownLetter) attemptsText() string {
	if r.MaybeSent {
		return strconv.Itoa(r.Attempts) + ", one of them without a clear answer: it may have been sent"
	}
	return strconv.Itoa(r.Attempts)
}

func (r *shownLetter) sourceText() string {
	if r.Source.Topic == "" {
		return "not known"
	}
	return fmt.Sprintf("%s partition %d offset %d", r.Source.Topic, r.Source.Partition, r.Source.Offset)
}

func (r *shownLetter) claimText() string {
	c := &r.Claim
	switch {
	case c.State == stateUnknown:
		return "none"
	case c.LogID != "":
		return fmt.Sprintf("%s since %s, log_id %s", c.State, c.UpdatedAt, c.LogID)
	}
	return fmt.Sprintf("%s since %s, %d attempts", c.State, c.UpdatedAt, c.Attempts)
}

func (r *shownLetter) printHistory(w io.Writer) error {
	if len(r.History) == 0 {
		return nil
	}
	rows := [][]string{{"OTHER LETTERS", "STATUS", "FAILED AT", "REASON", "CODE", "ATTEMPTS", "REPLAYS"}}
	for _, h := range r.History {
		rows = append(rows, []string{
			h.ID, h.Status, h.FailedAt, orDash(h.Reason), orDash(h.ErrorCode), strconv.Itoa(h.Attempts), strconv.Itoa(h.ReplayCount),
		})
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return fmt.Errorf("write to stdout: %w", err)
	}
	return writeTable(w, rows)
}

func (r *shownLetter) printJob(w io.Writer) error {
	var text bytes.Buffer
	if err := json.Indent(&text, r.Job, "", "  "); err != nil {
		return fmt.Errorf("job of letter %s: %w", r.ID, err)
	}
	lines := bytes.Split(text.Bytes(), []byte("\n"))
	for i := range lines {
		lines[i] = []byte(clean(string(lines[i])))
	}
	if _, err := fmt.Fprintf(w, "\n%s\n", bytes.Join(lines, []byte("\n"))); err != nil {
		return fmt.Errorf("write to stdout: %w", err)
	}
	return nil
}
