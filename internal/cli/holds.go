package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"replyworker/internal/app"
	"replyworker/internal/config"
	"replyworker/internal/dedupe"
)

func newHoldsCommand(s *state) *cobra.Command {
	cmd := asParent(&cobra.Command{
		Use:   "holds",
		Short: "merchants whose jobs wait",
		Long: "Merchants whose jobs wait: because the API refuses their credentials, because its answers are signed with\n" +
			"a key that is not configured, or because too many of their jobs in a row were refused alike. A worker\n" +
			"sends one job now and then, and ends the hold when that succeeds.",
		GroupID: groupLetters,
	})
	cmd.AddCommand(newHoldsListCommand(s), newHoldsReleaseCommand(s))
	return cmd
}

func newHoldsListCommand(s *state) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list [flags]",
		Short: "list the merchants that are held, why, and since when",
		Long: "List the merchants that are held, by their ids. It looks through all keys of the Redis server.\n\n" +
			"-o json prints a line for each: mchid, kind (credentials, answer_key, brake), code, message, since, probes,\n" +
			"next_probe_ms, last_probe (the complaint whose job probed last).",
		Example: "  worker holds list\n  worker holds list -o json | jq -r .mchid",
		Args:    exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return s.withStore(cmd, func(ctx context.Context, store *dedupe.Store, _ *config.Config) error {
				holds, err := store.ListHolds(ctx)
				if err != nil && len(holds) == 0 {
					return err
				}
				return errors.Join(err, printHolds(s, holds)) // after a failure, those that could be read
			})
		},
	}
	s.useSettings(cmd, config.GroupRedis)
	return cmd
}

func newHoldsReleaseCommand(s *state) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "release MCHID [flags]",
		Short: "let a held merchant go on",
		Long: "Let a held merchant go on: its jobs are sent again within seconds. Do it when the cause is gone; it is\n" +
			"held again where it is not. Asks before it does so, unless --yes is given. The exit status is 1 where the\n" +
			"merchant is not held.",
		Example:           "  worker holds release 1900000001\n  worker holds release 1900000001 --yes",
		Args:              exactArgs("MCHID"),
		ValidArgsFunction: s.completeMerchants,
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.withStore(cmd, func(ctx context.Context, store *dedupe.Store, cfg *config.Config) error {
				return s.releaseHold(ctx, store, cfg.StartTimeout, args[0], yes)
			})
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	s.useSettings(cmd, config.GroupRedis)
	showSettings(cmd, "start-timeout")
	return cmd
}

// withStore calls do with the claim store of the configuration.
func (s *state) withStore(
	cmd *cobra.Command, do func(ctx context.Context, store *dedupe.Store, cfg *config.Config) error,
) error {
	cfg, err := s.load(cmd)
	if err != nil {
		return err
	}
	store, err := app.Redis(cfg)
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }() // nothing is lost by it
	if err := do(cmd.Context(), store, cfg); err != nil {
		return redisError(cmd.Context(), err)
	}
	return nil
}

// holdRow is a line of `holds list -o json`.
type holdRow struct {
	MchID       string `json:"mchid"`
	Kind        string `json:"kind"`
	Code        string `json:"code"`
	Message     string `json:"message"`
	Since       string `json:"since"`
	Probes      int    `json:"probes"`
	NextProbeMS int64  `json:"next_probe_ms"`
	LastProbe   string `json:"last_probe"`
}

func newHoldRow(h dedupe.Hold) holdRow {
	return holdRow{
		MchID: h.MchID, Kind: string(h.Kind), Code: h.Code, Message: h.Message, Since: h.Since.Format(timeLayout),
		Probes: h.Probes, NextProbeMS: h.NextProbe.Milliseconds(), LastProbe: h.LastProbe,
	}
}

func printHolds(s *state, holds []dedupe.Hold) error {
	var rows []holdRow
	for _, h := range holds {
		rows = append(rows, newHoldRow(h))
	}
	return printRecords(s, rows,
		column[holdRow]{"mchid", func(r holdRow) string { return r.MchID }},
		column[holdRow]{"kind", func(r holdRow) string { return r.Kind }},
		column[holdRow]{"code", func(r holdRow) string { return orDash(r.Code) }},
		column[holdRow]{"since", func(r holdRow) string { return r.Since }},
		column[holdRow]{"probes", func(r holdRow) string { return strconv.Itoa(r.Probes) }},
		column[holdRow]{"next probe", func(r holdRow) string { return r.nextProbe() }},
		column[holdRow]{"message", func(r holdRow) string { return orDash(r.Message) }},
	)
}

func (r holdRow) nextProbe() string {
	if r.NextProbeMS <= 0 {
		return "due"
	}
	return "in " + (time.Duration(r.NextProbeMS) * time.Millisecond).Round(100*time.Millisecond).String()
}

func (s *state) releaseHold(
	ctx context.Context, store *dedupe.Store, timeout time.Duration, mchID string, yes bool,
) error {
	look, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	holds, err := store.RenewHolds(look, []string{mchID}, 0) // with no time it only reads
	if err != nil {
		return err
	}
	h, held := holds[mchID]
	if !held {
		return errNotHeld(mchID)
	}
	if !yes {
		why := string(h.Kind)
		if h.Code != "" {
			why += " " + h.Code
		}
		question := fmt.Sprintf("Merchant %s is held since %s (%s). Let it go on?", mchID, h.Since.Format(timeLayout), why)
		if err := s.confirm(ctx, question); err != nil {
			return err
		}
	}
	do, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	released, err := store.ReleaseHold(do, mchID)
	if err != nil {
		return err
	}
	if !released {
		return errNotHeld(mchID)
	}
	if s.output == outputJSON {
		return printJSON(s, newHoldRow(h))
	}
	_, _ = fmt.Fprintf(s.stderr, "worker: merchant %s goes on\n", mchID)
	return nil
}

func errNotHeld(mchID string) error {
	return withHint(fmt.Errorf("merchant %q is not held", mchID), "`worker holds list` lists those that are")
}
