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
func writeHelp(w io.Writer, cmd *cobra.Command) {
	var b strings.Builder
	about := cmd.Long
	if about == "" {
		about = cmd.Short
	}
	fmt.Fprintf(&b, "%s\n", strings.TrimSpace(about))
	if cmd.IsAdditionalHelpTopicCommand() {
		_, _ = io.WriteString(w, b.String())
		return
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
	_, _ = io.WriteString(w, b.String())
}

// helpCommands lists the commands under cmd, group by group where they are grouped.
func helpCommands(b *strings.Builder, cmd *cobra.Command) {
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
			fmt.Fprintf(b, "  %-*s  %s\n", cmd.NamePadding(), c.Name(), c.Short)
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
			fmt.Fprintf(b, "  worker help %-13s %s\n", c.Name(), c.Short)
		}
	}
}

// newHelpCommand is `worker help [COMMAND...]`.
func newHelpCommand(s *state) *cobra.Command {
	return &cobra.Command{
		Use:     "help [COMMAND or topic]",
		Short:   "help on a command or a topic",
		GroupID: groupSetup,
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
			writeHelp(s.stdout, at)
			return nil
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

// helpTopics are pages of help that are no commands.
func helpTopics() []*cobra.Command {
	return []*cobra.Command{
		{Use: "settings", Short: "every setting, its default and its environment variable", Long: settingsHelp()},
		{Use: "exit-status", Short: "what the exit statuses mean", Long: exitStatusHelp},
	}
}

const exitStatusHelp = `Exit status of every command:

  0    done
  1    failed
  2    wrong usage or configuration, or a question that could not be asked
  3    part of a batch failed
  130  interrupted`

// settingsHelp lists the settings as plain text.
func settingsHelp() string {
	var b strings.Builder
	fmt.Fprintf(&b, `A setting is given as a flag (--kafka-group NAME), in the environment (%s=NAME), or in
the YAML file that --config or %s names (kafka-group: NAME). A flag wins over the environment, the
environment over the file, the file over the default. An empty value means "none" for the settings
whose default is none, and for backup-url; for the others it is refused. A list has commas between
its items, and may be a YAML list in the file. Paths are relative to the working directory.
`, config.EnvName("kafka-group"), config.EnvName(config.FileFlag))
	group := config.Group("")
	for _, setting := range config.Settings() {
		if setting.Group != group {
			group = setting.Group
			fmt.Fprintf(&b, "\n%s:\n", group)
		}
		def := setting.Default
		if def == "" {
			def = "none"
		}
		fmt.Fprintf(&b, "  %s (%s)\n      %s\n", setting.Name, def, setting.Help)
		if len(setting.Choices()) > 0 {
			fmt.Fprintf(&b, "      one of %s\n", strings.Join(setting.Choices(), ", "))
		}
	}
	return b.String()
}
