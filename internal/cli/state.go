package cli

import (
	"context"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"replyworker/internal/config"
)

// state is what every command of one Run shares: where it reads and writes, and the global flags.
type state struct {
	env    []string
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer

	output string // --output

	now        func() time.Time
	isTerminal func(stream any) bool
	buildInfo  func() (*debug.BuildInfo, bool)
}

func newState(env []string, stdin io.Reader, stdout, stderr io.Writer) *state {
	return &state{
		env: env, stdin: stdin, stdout: pipeAware{stdout}, stderr: stderr,
		now: time.Now, isTerminal: isTerminal, buildInfo: debug.ReadBuildInfo,
	}
}

// isTerminal says that a person sits at the other end of a stream.
func isTerminal(stream any) bool {
	if w, ok := stream.(pipeAware); ok {
		stream = w.to
	}
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// getenv returns a variable of the environment that Run was given.
func (s *state) getenv(name string) string {
	for _, entry := range slices.Backward(s.env) {
		if text, found := strings.CutPrefix(entry, name+"="); found {
			return text
		}
	}
	return ""
}

// useColor says that a stream may be coloured: a terminal, and neither NO_COLOR nor TERM=dumb.
func (s *state) useColor(stream any) bool {
	return s.isTerminal(stream) && s.getenv("NO_COLOR") == "" && s.getenv("TERM") != "dumb"
}

// useSettings offers every setting as a flag of cmd. Help shows those of the groups named, or all
// where none is. Call it after cmd's own flags are defined: where names are the same, they win.
func (s *state) useSettings(cmd *cobra.Command, shown ...config.Group) {
	config.AddFlags(cmd.Flags(), shown...)
	for _, setting := range config.Settings() {
		complete := cobra.FixedCompletions(setting.Choices(), cobra.ShellCompDirectiveNoFileComp)
		if setting.Kind() == "file" {
			complete = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
				return nil, cobra.ShellCompDirectiveDefault
			}
		}
		// It fails where cmd has said itself how this flag is completed, which is to hold.
		_ = cmd.RegisterFlagCompletionFunc(setting.Name, complete)
	}
}

// load reads the configuration of a command that useSettings was called for.
func (s *state) load(cmd *cobra.Command) (*config.Config, error) {
	return config.Load(config.Sources{Flags: cmd.Flags(), Env: s.env})
}

// stopped returns the cause where ctx was cancelled, in place of what a library made of it.
func stopped(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
