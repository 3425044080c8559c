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
	"replyworker/internal/dedupe"
	"replyworker/internal/outcome"
)

// timeLayout is that of the outcomes.
const timeLayout = "2006-01-02T15:04:05.000Z"

const jobLong = `Tell what Redis knows of the job with this idempotent id, of the default merchant or of --merchant.

  unknown  no worker has read it, or it was never claimed, or claim-retention is over
  claimed  a worker is at it; wait_ms is how long its claim holds without renewal
  waiting  given back until the next attempt; wait_ms is how long that is
  done     the API took it; log_id is the API's
  dead     it will not be sent again by itself; reason says why, and its dead letter has the rest
  expired  its expires_at passed before it was sent

Source is the record that claimed the job last. Published says that the outcome is known to be published.
The exit status is 1 where nothing is known.`

func newJobCommand(s *state) *cobra.Command {
	var merchant string
	cmd := &cobra.Command{
		Use:               "job ID [flags]",
		Short:             "what is known of one idempotent id",
		Long:              jobLong,
		GroupID:           groupJobs,
		Example:           "  worker job 550e8400-e29b-41d4-a716-446655440000\n  worker job --merchant 1900000002 -o json refund-4711",
		Args:              exactArgs("ID"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := s.load(cmd)
			if err != nil {
				return err
			}
			mchID, err := merchantOf(cfg, merchant)
			if err != nil {
				return err
			}
			return s.showJob(cmd.Context(), cfg, dedupe.Key{MchID: mchID, IdempotentID: args[0]})
		},
	}
	cmd.Flags().StringVar(&merchant, "merchant", "", "`mchid` of the merchant; the default merchant where it is left out")
	s.useSettings(cmd, config.GroupRedis)
	showSettings(cmd, "mchid", "merchants-file", "start-timeout")
	_ = cmd.RegisterFlagCompletionFunc("merchant", s.completeMerchants)
	return cmd
}

// completeMerchants offers the merchants that are configured.
func (s *state) completeMerchants(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	var ids []string
	if cfg, err := s.load(cmd); err == nil {
		for _, m := range cfg.Merchants {
			ids = append(ids, m.MchID)
		}
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}

// jobRow is what `job -o json` prints. Every field is always there.
type jobRow struct {
	IdempotentID  string         `json:"idempotent_id"`
	MchID         string         `json:"mchid"`
	State         string         `json:"state"`
	Reason        string         `json:"reason"`
	Attempts      int            `json:"attempts"`
	MaybeSent     bool           `json:"maybe_sent"`
	LogID         string         `json:"log_id"`
	Published     bool           `json:"published"`
	WaitMS        int64          `json:"wait_ms"`
	ContentSHA256 string         `json:"content_sha256"`
	Source        outcome.Source `json:"source"`
	UpdatedAt     string         `json:"updated_at"`
}

const stateUnknown = "unknown"

func newJobRow(k dedupe.Key, r dedupe.Record, found bool) jobRow {
	row := jobRow{IdempotentID: k.IdempotentID, MchID: k.MchID, State: stateUnknown}
	if !found {
		return row
	}
	row.State, row.Reason, row.Attempts, row.MaybeSent = string(r.State), r.Reason, r.Attempts, r.MaybeSent
	row.LogID, row.Published, row.WaitMS, row.ContentSHA256 = r.LogID, r.Published, r.Wait.Milliseconds(), r.Content
	row.Source, row.UpdatedAt = parseSource(r.Source), r.UpdatedAt.UTC().Format(timeLayout)
	return row
}

// parseSource reads a record's identity, "topic/partition/offset/unix-milliseconds".
func parseSource(id string) outcome.Source {
	parts := strings.Split(id, "/")
	if len(parts) != 4 { // a topic's name has no slash
		return outcome.Source{Topic: id}
	}
	partition, errPartition := strconv.Atoi(parts[1])
	offset, errOffset := strconv.ParseInt(parts[2], 10, 64)
	if errPartition != nil || errOffset != nil {
		return outcome.Source{Topic: id}
	}
	return outcome.Source{Topic: parts[0], Partition: partition, Offset: offset}
}

func (s *state) showJob(ctx context.Context, cfg *config.Config, key dedupe.Key) error {
	store, err := app.Redis(cfg)
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }() // nothing is lost by it
	limited, cancel := context.WithTimeout(ctx, cfg.StartTimeout)
	defer cancel()
	record, found, err := store.Lookup(limited, key)
	if err != nil {
		return redisError(ctx, err)
	}
	row := newJobRow(key, record, found)
	if s.output == outputJSON {
		err = printJSON(s, row)
	} else {
		err = writeTable(s.stdout, row.table())
	}
	if err == nil && !found {
		err = withHint(fmt.Errorf("nothing is known of %q of merchant %s", key.IdempotentID, key.MchID),
			"it has not been read yet, was never claimed (an invalid job is not), or is another merchant's: see --merchant")
	}
	return err
}

func (r jobRow) table() [][]string {
	rows := [][]string{{"idempotent_id", r.IdempotentID}, {"mchid", r.MchID}, {"state", r.State}}
	if r.State == stateUnknown {
		return rows
	}
	state := dedupe.State(r.State)
	if state == dedupe.StateClaimed || state == dedupe.StateWaiting {
		rows = append(rows, []string{"wait", (time.Duration(r.WaitMS) * time.Millisecond).String()})
	} else {
		rows = append(rows, []string{"published", yesNo(r.Published)})
	}
	return append(rows, [][]string{
		{"reason", orDash(r.Reason)},
		{"attempts", strconv.Itoa(r.Attempts)},
		{"maybe_sent", yesNo(r.MaybeSent)},
		{"log_id", orDash(r.LogID)},
		{"content_sha256", r.ContentSHA256},
		{"source", fmt.Sprintf("%s partition %d offset %d", r.Source.Topic, r.Source.Partition, r.Source.Offset)},
		{"updated_at", r.UpdatedAt},
	}...)
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// redisError adds what to do to an error of the claim store; a key that cannot be is wrong usage.
func redisError(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), ErrInterrupted) {
		return context.Cause(ctx)
	}
	known, ok := errors.AsType[*dedupe.Error](err)
	switch {
	case !ok:
		return err
	case known.Reason == dedupe.ReasonInvalid:
		return usagef("%v", known.Err)
	default:
		return withHint(err, known.Hint())
	}
}
