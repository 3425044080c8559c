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
	var origin bool
	cmd := &cobra.Command{
		Use:   "print [flags]",
		Short: "print every setting, its value and, with --origin, where that comes from",
		Long: "Print every setting and its value, and with --origin where that comes from: a flag, an environment\n" +
			"variable, a line of a file, or the default. Secrets are not shown. A configuration with faults is not\n" +
			"printed; the faults are.\n\n" +
			"-o json prints a line for each: name, value, origin.",
		Example: "  worker config print\n  worker config print --origin --config worker.yaml\n" +
			"  worker config print -o json | jq -r 'select(.origin != \"default\") | .name'",
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := s.load(cmd)
			if err != nil {
				return err
			}
			for _, warning := range cfg.Warnings() {
				_, _ = fmt.Fprintf(s.stderr, "worker: warning: %s\n", oneLine(warning))
			}
			return printConfig(s, cfg, origin)
		},
	}
	cmd.Flags().BoolVar(&origin, "origin", false, "say where each value comes from")
	s.useSettings(cmd)
	return cmd
}

// configRow is a line of `config print -o json`.
type configRow struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Origin string `json:"origin"`
}

func printConfig(s *state, cfg *config.Config, origin bool) error {
	var rows []configRow
	for _, r := range cfg.Effective() {
		rows = append(rows, configRow{r.Name, r.Value, r.Origin.String()})
	}
	columns := []column[configRow]{
		{"setting", func(r configRow) string { return r.Name }},
		{"value", func(r configRow) string { return orDash(r.Value) }},
	}
	if origin {
		columns = append(columns, column[configRow]{"origin", func(r configRow) string { return r.Origin }})
	}
	return printRecords(s, rows, columns...)
}

// orDash shows that a cell is empty and was not forgotten.
func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
