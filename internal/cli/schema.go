package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"replyworker/internal/job"
)

func newSchemaCommand(s *state) *cobra.Command {
	names := job.SchemaNames()
	validation := string(job.Strict)
	cmd := &cobra.Command{
		Use:     "schema NAME",
		Short:   "print the JSON Schema of the jobs, the outcomes or the resolutions",
		GroupID: groupSetup,
		Example: "  worker schema job > job.schema.json\n  worker schema job --validation lenient\n" +
			"  worker schema outcome",
		Args:      exactArgs("NAME (" + strings.Join(names, ", ") + ")"),
		ValidArgs: names,
		RunE: func(_ *cobra.Command, args []string) error {
			name := args[0]
			switch {
			case validation != string(job.Strict) && validation != string(job.Lenient):
				return usagef("--validation %s: must be strict or lenient", validation)
			case name == "job" && validation == string(job.Lenient):
				name = "job-lenient"
			}
			schema, found := job.Schema(name)
			if !found {
				return unknownArg("schema", args[0], names)
			}
			if _, err := s.stdout.Write(schema); err != nil {
				return fmt.Errorf("write to stdout: %w", err)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&validation, "validation", validation, "the schema of jobs as this validation takes them: strict, lenient")
	return cmd
}
