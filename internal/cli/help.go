package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"replyworker/internal/config"
)

// helpWidth is where the lines of flags are broken.
const helpWidth = 110

// writeHelp writes what a command is, how it is called, its commands, its own flags, the settings
// group by group, and the global flags.
func writeHelp(w io.Writer, cmd *cobra.Command) error {
	var b strings.Builder
	about := cmd.Long
	if about == "" {
		about = cmd.Short
	}
	fmt.Fprintf(&b, "%s\n", strings.TrimSpace(about))
	if cmd.IsAdditionalHelpTopicCommand() {
		return writeText(w, b.String())
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "\nUsage:\n  %s COMMAND [flags]\n", cmd.CommandPath())
		helpCommands(&b, cmd)
	} else {
		fmt.Fprintf(&b, "\nUsage:\n  %s\n", cmd.UseLine())
	}
	if cmd.Example != "" {
		fmt.Fprintf(&b, "\nExamples:\n%s\n", strings.TrimRight(cmd.Example, "\n"))
	}
	helpFlags(&b, cmd)
	if !cmd.HasParent() {
		helpTopicList(&b, cmd)
	}
	return writeText(w, b.String())
}

func writeText(w io.Writer, text string) error {
	if _, err := io.WriteString(w, text); err != nil {
		return fmt.Errorf("write to stdout: %w", err)
	}
	return nil
}

// helpCommands lists the commands under cmd, group by group where they are grouped.
func helpCommands(b *strings.Builder, cmd *cobra.Command) {
	width := 11
	for _, name := range commandNames(cmd) {
		width = max(width, len(name))
	}
	list := func(title, group string) {
		first := true
		for _, c := range cmd.Commands() {
			if c.GroupID != group || !c.IsAvailableCommand() {
				continue
			}
			if first {
				fmt.Fprintf(b, "\n%s:\n", title)
				first = false
			}
			fmt.Fprintf(b, "  %-*s  %s\n", width, c.Name(), c.Short)
		}
	}
	for _, group := range cmd.Groups() {
		list(group.Title, group.ID)
	}
	list("Commands", "")
}

// helpFlags lists cmd's own flags, then the settings, then the global flags.
func helpFlags(b *strings.Builder, cmd *cobra.Command) {
	own := pflag.NewFlagSet("", pflag.ContinueOnError)
	own.SortFlags = false
	settings := map[string]*pflag.FlagSet{}
	hidden := false
	cmd.Flags().SortFlags = false
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		group := f.Annotations[config.GroupAnnotation]
		switch {
		case cmd.Root().PersistentFlags().Lookup(f.Name) == f:
		case len(group) == 0 && f.Name != "help":
			own.AddFlag(f)
		case len(group) == 0:
		case f.Hidden:
			hidden = true
		default:
			if settings[group[0]] == nil {
				settings[group[0]] = pflag.NewFlagSet("", pflag.ContinueOnError)
				settings[group[0]].SortFlags = false
			}
			settings[group[0]].AddFlag(f)
		}
	})
	flagBlock(b, "Flags", own)
	if len(settings) > 0 {
		fmt.Fprintf(b, "\nSettings, also from the environment (%s...) and the file of --config:\n", config.EnvPrefix)
		for _, group := range config.Groups() {
			if fs := settings[string(group)]; fs != nil {
				flagBlock(b, string(group), fs)
			}
		}
	}
	if hidden {
		b.WriteString("\nThe other settings are taken as well: `worker help settings` lists them all.\n")
	}
	global := pflag.NewFlagSet("", pflag.ContinueOnError)
	global.SortFlags = false
	cmd.Root().PersistentFlags().VisitAll(global.AddFlag)
	if help := cmd.Flags().Lookup("help"); help != nil {
		global.AddFlag(help)
	}
	flagBlock(b, "Global flags", global)
}

func flagBlock(b *strings.Builder, title string, flags *pflag.FlagSet) {
	if flags.HasAvailableFlags() {
		fmt.Fprintf(b, "\n%s:\n%s\n", title, strings.TrimRight(flags.FlagUsagesWrapped(helpWidth), "\n"))
	}
}

func helpTopicList(b *strings.Builder, cmd *cobra.Command) {
	b.WriteString("\nMore help:\n  worker COMMAND --help\n")
	for _, c := range cmd.Commands() {
		if c.IsAdditionalHelpTopicCommand() {
			fmt.Fprintf(b, "  worker help %-14s %s\n", c.Name(), c.Short)
		}
	}
}

// newHelpCommand is `worker help [COMMAND...]`.
func newHelpCommand(s *state) *cobra.Command {
	return &cobra.Command{
		Use:     "help [COMMAND or topic]",
		Short:   "help on a command or a topic",
		GroupID: groupSetup,
		Example: "  worker help topics create\n  worker help configuration",
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			at, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return helpNames(at), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			at, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				text := fmt.Sprintf("no help on %q", strings.Join(args, " "))
				if near := config.Nearest(strings.Join(args, " "), helpNames(cmd.Root())); near != "" {
					text += fmt.Sprintf("; did you mean %q?", near)
				}
				return &usageError{text, "`worker --help` lists the commands and topics"}
			}
			at.InitDefaultHelpFlag()
			return writeHelp(s.stdout, at)
		},
	}
}

func helpNames(cmd *cobra.Command) []string {
	names := commandNames(cmd)
	for _, c := range cmd.Commands() {
		if c.IsAdditionalHelpTopicCommand() {
			names = append(names, c.Name())
		}
	}
	return names
}
