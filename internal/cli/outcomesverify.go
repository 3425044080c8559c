package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"replyworker/internal/app"
	"replyworker/internal/config"
	"replyworker/internal/inquiry"
	"replyworker/internal/kafkaio"
	"replyworker/internal/outcome"
	"replyworker/internal/reconcile"
)

const (
	// verifyRate stays below the 200 calls a minute that the API publishes for histories.
	verifyRate = 3
	// verifySettle is how long an outcome may take to follow its reply.
	verifySettle = 5 * time.Minute
	// verifyPage is how many findings a table has before it is printed.
	verifyPage = 500
)

const verifyLong = `Hold the outcomes against the API: read them from their topic, ask for the negotiation history of each
of their complaints, and tell every difference.

  missing    the history does not have the log_id of an outcome that is succeeded or duplicate
  unknown    the history has a merchant's reply whose log_id no outcome has: of a job that may have been sent
             (those of the complaint are named), or of another tool, or of a person in the portal
  not_asked  the API did not tell the history of a complaint, and why

A reply is not called unknown where its outcome cannot be expected: it is outside --since and --until, older
than the outcomes that the topic still has, or younger than --settle. Such replies are counted as untold.

Complaints of jobs that failed or expired and may have been sent are asked about too. All outcomes are
read first; of up to 250,000 replies the log_ids are kept in memory, for more give bounds. It asks for
one history after another, in the order of complaint ids, at most --rate calls a second. It changes
nothing, so it may be ended and run again. After three complaints in a row for which no host answered,
it stops.

The exit status is 0 where everything agrees, 3 where there are findings, and 1 where it did not come to
its end or could not ask about a complaint for another reason than the API's refusal.

-o json prints a line for each finding as it is made: kind, mchid, complaint_id, log_id, idempotent_id,
status, finished_at, source, operate_time, maybe_of, error; and at last one of the kind books: outcomes,
unreadable, taken, maybe_sent, complaints, asked, not_asked, left, log_ids, found, missing, unchecked,
replies, unknown, untold, complete.`

type verifyFlags struct {
	timeRange

	complaint, merchant string
	rate                float64
	settle              time.Duration
}

func newOutcomesVerifyCommand(s *state) *cobra.Command {
	var f verifyFlags
	cmd := &cobra.Command{
		Use:   "verify [flags]",
		Short: "hold outcomes against what the API has",
		Long:  verifyLong,
		Example: "  worker outcomes verify --since 24h\n" +
			"  worker outcomes verify --complaint 200201820200101080076610000\n" +
			"  worker outcomes verify --since 2026-11-23T08:00:00+08:00 --until 2026-11-23T20:00:00+08:00 -o json",
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := &verifying{s: s, flags: f}
			if err := v.check(); err != nil {
				return err
			}
			var err error
			if v.cfg, err = s.load(cmd); err != nil {
				return err
			}
			return s.withAPI(cmd.Context(), v.cfg, f.rate, func(asker *inquiry.Asker) error { return v.run(cmd.Context(), asker) })
		},
	}
	flags := cmd.Flags()
	f.timeRange.add(cmd, "outcomes finished")
	refuseEmpty(cmd, "since", "until", "complaint", "merchant")
	flags.StringVar(&f.complaint, "complaint", "", "outcomes of this `complaint_id`")
	flags.StringVar(&f.merchant, "merchant", "", "outcomes of this `mchid`; of all merchants where it is left out")
	flags.Float64Var(&f.rate, "rate", verifyRate, "API `calls` a second; 0 for no limit")
	flags.DurationVar(&f.settle, "settle", verifySettle, "do not call replies unknown that are younger than this `duration`")
	for _, flag := range []string{"complaint", "rate", "settle"} {
		_ = cmd.RegisterFlagCompletionFunc(flag, cobra.NoFileCompletions)
	}
	_ = cmd.RegisterFlagCompletionFunc("merchant", s.completeMerchants)
	s.useSettings(cmd, config.GroupAPI, config.GroupKafka)
	showSettings(cmd, "mchid", "merchants-file", "topic-outcomes", "start-timeout")
	return cmd
}

// verifying is one call of `outcomes verify`.
type verifying struct {
	s            *state
	cfg          *config.Config
	flags        verifyFlags
	since, until time.Time
	bar          *progress
	waiting      []findingRow // of a table
}

func (v *verifying) check() error {
	var err error
	if v.since, v.until, err = v.flags.timeRange.read(v.s.now()); err != nil {
		return err
	}
	switch {
	case v.flags.rate != 0 && !(v.flags.rate >= 0.01): // NaN is neither
		return usagef("--rate %g: must be 0, for no limit, or at least 0.01", v.flags.rate)
	case v.flags.settle < 0:
		return usagef("--settle %s: must not be negative", v.flags.settle)
	}
	return nil
}

func (v *verifying) run(ctx context.Context, asker *inquiry.Asker) error {
	client, err := app.Kafka(v.cfg)
	if err != nil {
		return err
	}
	defer client.Close()
	spans, kept, err := v.spans(ctx, client)
	if err != nil {
		return kafkaError(ctx, err)
	}
	v.bar = newProgress(v.s, "outcomes", kafkaio.Offsets(spans))
	report, err := reconcile.Run(ctx, reconcile.Config{
		Outcomes: client, Spans: spans, Kept: kept, Histories: asker,
		ComplaintID: v.flags.complaint, MchID: v.flags.merchant, Since: v.since, Until: v.until,
		Settle: v.flags.settle, Patience: v.cfg.StartTimeout, Now: v.s.now,
		Reading: func(passed int64) { v.bar.add(int(passed)) },
		Asking: func(complaints int) {
			v.bar.finish()
			v.bar = newProgress(v.s, "complaints", int64(complaints))
		},
		Asked: func() { v.bar.add(1) },
		Find:  v.find,
	})
	v.bar.finish()
	if printed := errors.Join(v.flush(), v.printBooks(report, err == nil)); printed != nil {
		return printed
	}
	return v.verdict(ctx, report, err)
}

// spans returns what is to be read, and what the topic has.
func (v *verifying) spans(ctx context.Context, client *kafkaio.Client) (spans, kept []kafkaio.Span, err error) {
	first, cancel := context.WithTimeout(ctx, v.cfg.StartTimeout)
	defer cancel()
	if kept, err = client.Spans(first, v.cfg.TopicOutcomes, time.Time{}); err != nil || v.since.IsZero() {
		return kept, kept, err
	}
	spans, err = client.Spans(first, v.cfg.TopicOutcomes, v.since)
	return spans, kept, err
}

// verdict is what the books mean for the exit status.
func (v *verifying) verdict(ctx context.Context, r reconcile.Report, err error) error {
	if err != nil {
		_, _ = fmt.Fprintf(v.s.stderr, "worker: not finished: %d of %d complaints were asked about; what was told of them holds\n",
			r.Asked, r.Complaints)
		return v.unfinished(ctx, r, err)
	}
	differ := r.Missing + r.Unknown + r.NotAsked
	if differ == 0 {
		return nil
	}
	hint := "`worker history COMPLAINT_ID` shows what the API has of a complaint"
	if r.Missing > 0 {
		hint += "; a log_id that is missing is a matter for the API's support, who ask for its outcome's request_id"
	}
	return withHint(&differError{r.Missing, r.Unknown, r.NotAsked}, hint)
}

func (v *verifying) unfinished(ctx context.Context, r reconcile.Report, err error) error {
	_, ofMerchant := errors.AsType[*inquiry.UnknownMerchantError](err)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, reconcile.ErrTooMany):
		return withHint(err, "give bounds: --since, --until, --complaint or --merchant")
	case ofMerchant: // its outcomes are of a worker that is configured otherwise: no wrong usage
		err = fmt.Errorf("%v", err) //nolint:errorlint // hidden on purpose
		return withHint(err, "configure the merchant, or give --merchant for those that are")
	case r.Complaints == 0:
		return withHint(err, kafkaHint)
	}
	return err
}

// differError says that outcomes and the API do not agree: exit status 3.
type differError struct{ missing, unknown, notAsked int }

func (e *differError) Error() string {
	var parts []string
	add := func(n int, what string) {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, what))
		}
	}
	add(e.missing, "log_ids missing in the API")
	add(e.unknown, "replies that no outcome knows")
	add(e.notAsked, "complaints that the API did not tell of")
	return "outcomes and the API differ: " + strings.Join(parts, ", ")
}

// findingRow is a line of `outcomes verify -o json`. Every field is always there.
type findingRow struct {
	Kind         reconcile.Kind `json:"kind"`
	MchID        string         `json:"mchid"`
	ComplaintID  string         `json:"complaint_id"`
	LogID        string         `json:"log_id"`
	IdempotentID string         `json:"idempotent_id"`
	Status       string         `json:"status"`
	FinishedAt   string         `json:"finished_at"`
	Source       outcome.Source `json:"source"`
	OperateTime  string         `json:"operate_time"`
	MaybeOf      []string       `json:"maybe_of"`
	Error        string         `json:"error"`
}

func newFindingRow(f reconcile.Finding) findingRow {
	row := findingRow{
		Kind: f.Kind, MchID: f.MchID, ComplaintID: f.ComplaintID, LogID: f.LogID,
		IdempotentID: f.Ours.IdempotentID, Status: string(f.Ours.Status), FinishedAt: f.Ours.FinishedAt,
		Source: f.Ours.Source, OperateTime: f.OperateTime, MaybeOf: f.MaybeOf,
	}
	if row.MaybeOf == nil {
		row.MaybeOf = []string{}
	}
	if f.Err != nil {
		row.Error = oneLine(f.Err.Error())
	}
	return row
}

// find prints a finding: as JSON at once, in a table with others.
func (v *verifying) find(f reconcile.Finding) error {
	row := newFindingRow(f)
	if v.s.output == outputJSON {
		return printJSON(v.s, row)
	}
	if v.waiting = append(v.waiting, row); len(v.waiting) >= verifyPage {
		return v.flush()
	}
	return nil
}

func (v *verifying) flush() error {
	rows := v.waiting
	v.waiting = nil
	if len(rows) == 0 {
		return nil
	}
	return printRecords(v.s, rows,
		column[findingRow]{"finding", func(r findingRow) string { return string(r.Kind) }},
		column[findingRow]{"complaint_id", func(r findingRow) string { return r.ComplaintID }},
		column[findingRow]{"mchid", func(r findingRow) string { return r.MchID }},
		column[findingRow]{"log_id", func(r findingRow) string { return orDash(r.LogID) }},
		column[findingRow]{"idempotent_id", func(r findingRow) string { return orDash(r.IdempotentID) }},
		column[findingRow]{"time", func(r findingRow) string { return orDash(r.FinishedAt + r.OperateTime) }},
		column[findingRow]{"more", func(r findingRow) string { return r.more() }},
	)
}

func (r findingRow) more() string {
	switch {
	case r.Error != "":
		return r.Error
	case len(r.MaybeOf) > 0:
		return "may have been sent: " + strings.Join(r.MaybeOf, ", ")
	case r.Kind == reconcile.Missing:
		return fmt.Sprintf("%s, %s partition %d offset %d", r.Status, r.Source.Topic, r.Source.Partition, r.Source.Offset)
	}
	return "-"
}

// booksRow is the last line of `outcomes verify -o json`.
type booksRow struct {
	Kind       string `json:"kind"`
	Outcomes   int64  `json:"outcomes"`
	Unreadable int64  `json:"unreadable"`
	Taken      int64  `json:"taken"`
	MaybeSent  int64  `json:"maybe_sent"`
	Complaints int    `json:"complaints"`
	Asked      int    `json:"asked"`
	NotAsked   int    `json:"not_asked"`
	Left       int    `json:"left"`
	LogIDs     int    `json:"log_ids"`
	Found      int    `json:"found"`
	Missing    int    `json:"missing"`
	Unchecked  int    `json:"unchecked"`
	Replies    int    `json:"replies"`
	Unknown    int    `json:"unknown"`
	Untold     int    `json:"untold"`
	Complete   bool   `json:"complete"`
}

func (v *verifying) printBooks(r reconcile.Report, complete bool) error {
	row := booksRow{
		"books", r.Outcomes, r.Unreadable, r.Taken, r.MaybeSent, r.Complaints, r.Asked, r.NotAsked, r.Left,
		r.LogIDs, r.Found, r.Missing, r.Unchecked, r.Replies, r.Unknown, r.Untold, complete,
	}
	if v.s.output == outputJSON {
		return printJSON(v.s, row)
	}
	number := strconv.Itoa
	return writeTable(v.s.stdout, [][]string{
		{
			"outcomes read", number(int(r.Outcomes)),
			fmt.Sprintf("%d verified, %d maybe sent, %d unreadable", r.Taken, r.MaybeSent, r.Unreadable),
		},
		{"complaints", number(r.Complaints), fmt.Sprintf("%d asked, %d not asked, %d left", r.Asked, r.NotAsked, r.Left)},
		{"log_ids", number(r.LogIDs), fmt.Sprintf("%d found, %d missing, %d unchecked", r.Found, r.Missing, r.Unchecked)},
		{"replies in the API", number(r.Replies), fmt.Sprintf("%d unknown to us, %d untold", r.Unknown, r.Untold)},
	})
}
