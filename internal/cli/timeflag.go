package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

// timeRange is --since and --until: a time or later, and before another; either may be left out.
type timeRange struct{ since, until string }

// add defines the flags. what says what they choose, as in "only failed".
func (r *timeRange) add(cmd *cobra.Command, what string) {
	cmd.Flags().StringVar(&r.since, "since", "", what+" at this `time` or later: RFC 3339, or how long ago it was (24h)")
	cmd.Flags().StringVar(&r.until, "until", "", what+" before this `time`, given as --since is")
	for _, flag := range []string{"since", "until"} {
		_ = cmd.RegisterFlagCompletionFunc(flag, cobra.NoFileCompletions)
	}
}

// read returns both times; each is zero where it is not given. A range that holds no time is wrong usage.
func (r *timeRange) read(now time.Time) (since, until time.Time, err error) {
	if since, err = timeFlag("--since", r.since, now); err != nil {
		return since, until, err
	}
	if until, err = timeFlag("--until", r.until, now); err != nil {
		return since, until, err
	}
	if !until.IsZero() && !since.Before(until) {
		return since, until, usagef("--since %s is not before --until %s: no time is between them", r.since, r.until)
	}
	return since, until, nil
}

// refuseEmpty makes a command refuse flags that are given and empty: a script's variable that is not set,
// often, where a filter that lets everything through is not what is meant.
func refuseEmpty(cmd *cobra.Command, names ...string) {
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error {
		for _, name := range names {
			f := cmd.Flags().Lookup(name)
			if text := f.Value.String(); f.Changed && (text == "" || text == "[]") {
				return &usageError{fmt.Sprintf("--%s is empty", name), "give it a value, or leave the flag out"}
			}
		}
		return nil
	}
}

// timeFlag reads the time that a flag names: RFC 3339, or how long ago it was; the zero time where it
// is not given.
func timeFlag(flag, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(text); err == nil && ago > 0 {
		return now.Add(-ago), nil
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at, nil
	}
	return time.Time{}, &usageError{
		fmt.Sprintf("%s %q is neither a time nor how long ago it was", flag, text),
		"give it as 2026-11-23T08:00:00+08:00, or as 36h or 90m",
	}
}
