package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"replyworker/internal/job"
)

func newSchemaCommand(s *state) *cobra.Command {
	names := job.SchemaNames()
	return &cobra.Command{
		Use:       "schema NAME",
		Short:     "print the JSON Schema of the jobs or the outcomes",
		GroupID:   groupSetup,
		Example:   "  worker schema job > job.schema.json\n  worker schema outcome",
		Args:      exactArgs("NAME (" + strings.Join(names, ", ") + ")"),
		ValidArgs: names,
		RunE: func(_ *cobra.Command, args []string) error {
			schema, found := job.Schema(args[0])
			if !found {
				return unknownArg("schema", args[0], names)
			}
			if _, err := s.stdout.Write(schema); err != nil {
				return fmt.Errorf("write to stdout: %w", err)
			}
			return nil
		},
	}
}
