package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"replyworker/internal/config"
)

// Run runs the command that args name, without the program's own name, and returns the exit status.
// It reads no other environment than env, and starts nothing that outlives it. A ctx that is
// cancelled with ErrInterrupted as its cause stops the command.
func Run(ctx context.Context, args, env []string, stdin io.Reader, stdout, stderr io.Writer) int {
	return newState(env, stdin, stdout, stderr).run(ctx, args)
}

func (s *state) run(ctx context.Context, args []string) int {
	root := newRootCommand(s)
	var helpErr error // what cobra's own way to ask for help returns nobody
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) { helpErr = writeHelp(s.stdout, cmd) })
	root.SetArgs(append([]string{}, args...)) // cobra takes nil for "as the process was called"
	err := root.ExecuteContext(ctx)
	if err == nil {
		err = helpErr
	}
	status := exitStatus(ctx, err)
	if err != nil {
		printError(s.stderr, status, err, s.output == outputJSON || status == statusUsage && asksForJSON(args))
	}
	return status
}

// The groups of the commands in help.
const (
	groupService = "service"
	groupJobs    = "jobs"
	groupLetters = "letters"
	groupSetup   = "setup"
)

func newRootCommand(s *state) *cobra.Command {
	root := &cobra.Command{
		Use:   "worker",
		Short: "replyworker sends replies to WeChat Pay complaints, each once, from Kafka",
		Long: "replyworker takes replies to complaints from a Kafka topic and sends each to the WeChat Pay API,\n" +
			"with retries, a backup host, and one effect for each idempotent id.",
		SilenceUsage:      true,
		SilenceErrors:     true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.SetIn(s.stdin)
	root.SetOut(s.stdout)
	root.SetErr(s.stderr)
	root.AddGroup(
		&cobra.Group{ID: groupService, Title: "Service"},
		&cobra.Group{ID: groupJobs, Title: "Jobs and outcomes"},
		&cobra.Group{ID: groupLetters, Title: "Dead letters and holds"},
		&cobra.Group{ID: groupSetup, Title: "Setup"},
	)
	root.PersistentFlags().String(config.FileFlag, "",
		"YAML `file` of settings (also "+config.EnvName(config.FileFlag)+")")
	root.PersistentFlags().VarP(newChoice(&s.output, outputTable, outputJSON), "output", "o",
		"form of the data on stdout: table, or json, one object a line")
	_ = root.RegisterFlagCompletionFunc("output",
		cobra.FixedCompletions([]string{outputTable, outputJSON}, cobra.ShellCompDirectiveNoFileComp))
	root.SetFlagErrorFunc(flagError)
	root.SetHelpCommand(newHelpCommand(s))
	asParent(root)
	withVersionFlag(s, root)
	root.AddCommand(
		newRunCommand(s),
		newDemoCommand(s),
		newSimulateCommand(s),
		newEnqueueCommand(s),
		newJobCommand(s),
		newOutcomesCommand(s),
		newHistoryCommand(s),
		newUploadImageCommand(s),
		newDedupeCommand(s),
		newDLQCommand(s),
		newHoldsCommand(s),
		newTopicsCommand(s),
		newDoctorCommand(s),
		newConfigCommand(s),
		newSchemaCommand(s),
		newAsyncAPICommand(s),
		newVersionCommand(s),
		newCompletionCommand(s),
	)
	root.AddCommand(helpTopics()...)
	return root
}

// withVersionFlag gives root a flag that prints the version. cobra's own one needs text/template, by which
// the linker keeps every method of every type: a third of the program.
func withVersionFlag(s *state, root *cobra.Command) {
	asked := root.Flags().BoolP("version", "v", false, "print the version")
	otherwise := root.RunE
	root.RunE = func(cmd *cobra.Command, args []string) error {
		if !*asked {
			return otherwise(cmd, args)
		}
		if _, err := fmt.Fprintln(s.stdout, readVersion(s).Version); err != nil {
			return fmt.Errorf("print the version: %w", err)
		}
		return nil
	}
}

// asParent makes cmd a command that only has others under it: to call it alone, or with a word
// that is none of them, is wrong usage.
func asParent(cmd *cobra.Command) *cobra.Command {
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		hint := "`" + cmd.CommandPath() + " --help` lists the commands"
		if len(args) == 0 {
			return &usageError{cmd.CommandPath() + " needs a command: " + strings.Join(commandNames(cmd), ", "), hint}
		}
		text := fmt.Sprintf("unknown command %q for %s", args[0], cmd.CommandPath())
		if near := config.Nearest(args[0], commandNames(cmd)); near != "" {
			text += fmt.Sprintf("; did you mean %q?", near)
		}
		return &usageError{text, hint}
	}
	return cmd
}

func commandNames(cmd *cobra.Command) []string {
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	return names
}

// exactArgs demands one argument for each of the names.
func exactArgs(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		hint := "usage: " + cmd.UseLine()
		if len(args) < len(names) {
			return &usageError{cmd.CommandPath() + " needs " + strings.Join(names[len(args):], " and "), hint}
		}
		if len(args) > len(names) {
			return &usageError{fmt.Sprintf("%s takes no argument %q", cmd.CommandPath(), args[len(names)]), hint}
		}
		return nil
	}
}

// flagError words what pflag found wrong with the command line.
func flagError(cmd *cobra.Command, err error) error {
	text := err.Error()
	if e, ok := errors.AsType[*pflag.NotExistError](err); ok && e.GetSpecifiedShortnames() == "" {
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		if near := config.Nearest(e.GetSpecifiedName(), names); near != "" {
			text += "; did you mean --" + near + "?"
		}
	}
	return &usageError{text, "`" + cmd.CommandPath() + " --help` lists the flags"}
}

// choice is a flag with few values, the first of which is the default.
type choice struct {
	target  *string
	choices []string
}

func newChoice(target *string, choices ...string) *choice {
	*target = choices[0]
	return &choice{target, choices}
}

func (c *choice) String() string { return *c.target }
func (c *choice) Type() string   { return strings.Join(c.choices, "|") }

func (c *choice) Set(text string) error {
	if !slices.Contains(c.choices, text) {
		return errors.New("must be " + strings.Join(c.choices, " or "))
	}
	*c.target = text
	return nil
}
