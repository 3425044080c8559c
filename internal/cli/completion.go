package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"replyworker/internal/config"
)

func newCompletionCommand(s *state) *cobra.Command {
	shells := []string{"bash", "zsh", "fish", "powershell"}
	return &cobra.Command{
		Use:     "completion SHELL",
		Short:   "print a completion script for bash, zsh, fish or powershell",
		GroupID: groupSetup,
		Example: "  source <(worker completion bash)\n" +
			"  worker completion zsh > \"${fpath[1]}/_worker\"\n" +
			"  worker completion fish > ~/.config/fish/completions/worker.fish\n" +
			"  worker completion powershell | Out-String | Invoke-Expression",
		Args:      exactArgs("SHELL (" + strings.Join(shells, ", ") + ")"),
		ValidArgs: shells,
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			var err error
			switch args[0] {
			case "bash":
				err = root.GenBashCompletionV2(s.stdout, true)
			case "zsh":
				err = root.GenZshCompletion(s.stdout)
			case "fish":
				err = root.GenFishCompletion(s.stdout, true)
			case "powershell":
				err = root.GenPowerShellCompletionWithDesc(s.stdout)
			default:
				return unknownArg("shell", args[0], shells)
			}
			if err != nil {
				return fmt.Errorf("write to stdout: %w", err)
			}
			return nil
		},
	}
}

// unknownArg words an argument that is none of the known ones.
func unknownArg(what, arg string, known []string) error {
	text := fmt.Sprintf("unknown %s %q", what, arg)
	if near := config.Nearest(arg, known); near != "" {
		text += fmt.Sprintf("; did you mean %q?", near)
	}
	return &usageError{text, "there are " + strings.Join(known, ", ")}
}
