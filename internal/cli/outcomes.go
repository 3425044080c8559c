package cli

import "github.com/spf13/cobra"

func newOutcomesCommand(s *state) *cobra.Command {
	cmd := asParent(&cobra.Command{
		Use:     "outcomes",
		Short:   "what became of the jobs",
		GroupID: groupJobs,
	})
	cmd.AddCommand(newOutcomesVerifyCommand(s))
	return cmd
}
