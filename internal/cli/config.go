package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"replyworker/internal/config"
)

func newConfigCommand(s *state) *cobra.Command {
	cmd := asParent(&cobra.Command{
		Use:     "config",
		Short:   "the configuration as it takes effect",
		GroupID: groupSetup,
	})
	cmd.AddCommand(newConfigPrintCommand(s))
	return cmd
}

func newConfigPrintCommand(s *state) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "print [flags]",
		Short: "print every setting, its value and where that comes from",
		Long: "Print every setting, its value and where that comes from: a flag, an environment variable, a line\n" +
			"of a file, or the default. Secrets are not shown. A configuration with faults is not printed;\n" +
			"the faults are.",
		Example: "  worker config print\n  worker config print --config worker.yaml -o json",
		Args:    exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := s.load(cmd)
			if err != nil {
				return err
			}
			for _, warning := range cfg.Warnings() {
				_, _ = fmt.Fprintf(s.stderr, "worker: warning: %s\n", oneLine(warning))
			}
			return printConfig(s, cfg)
		},
	}
	s.useSettings(cmd)
	return cmd
}

// configRow is a line of `config print -o json`.
type configRow struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Origin string `json:"origin"`
}

func printConfig(s *state, cfg *config.Config) error {
	var rows []configRow
	for _, r := range cfg.Effective() {
		rows = append(rows, configRow{r.Name, r.Value, r.Origin.String()})
	}
	return printRecords(s, rows,
		column[configRow]{"setting", func(r configRow) string { return r.Name }},
		column[configRow]{"value", func(r configRow) string { return orDash(r.Value) }},
		column[configRow]{"origin", func(r configRow) string { return r.Origin }},
	)
}

// orDash shows that a cell is empty and was not forgotten.
func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
