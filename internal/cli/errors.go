package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"replyworker/internal/config"
)

// The exit statuses, the product's whole list.
const (
	statusDone    = 0
	statusFailed  = 1
	statusUsage   = 2
	statusPartial = 3
	// statusClosedPipe is what a shell shows of a tool that SIGPIPE has ended, 128 and 13.
	statusClosedPipe = 141
	// StatusInterrupted is that of a command that a signal has ended.
	StatusInterrupted = 130
)

// ErrInterrupted is the cause of a context that a signal has cancelled. A command that stops for it
// returns it, or context.Canceled.
var ErrInterrupted = errors.New("interrupted")

// usageError is a wrong command line: exit status 2.
type usageError struct {
	text string
	hint string
}

func (e *usageError) Error() string { return e.text }

// usagef returns a usageError without a hint of its own.
func usagef(format string, args ...any) error {
	return &usageError{text: fmt.Sprintf(format, args...)}
}

// partialError says that part of a batch failed: exit status 3.
type partialError struct {
	failed int
	total  int
	what   string // the plural of what the batch is made of
}

func (e *partialError) Error() string {
	return fmt.Sprintf("%d of %d %s failed", e.failed, e.total, e.what)
}

// hintError is an error with a word about what to do, for the operator.
type hintError struct {
	err  error
	hint string
}

func (e *hintError) Error() string { return e.err.Error() }
func (e *hintError) Unwrap() error { return e.err }

// withHint adds what to look at or run next.
func withHint(err error, hint string) error {
	if err == nil {
		return nil
	}
	return &hintError{err, hint}
}

// exitStatus is the one place that turns an error into an exit status.
func exitStatus(ctx context.Context, err error) int {
	interrupted := errors.Is(context.Cause(ctx), ErrInterrupted)
	if err == nil {
		return statusDone
	}
	if errors.Is(err, ErrInterrupted) || interrupted && errors.Is(err, context.Canceled) {
		return StatusInterrupted
	}
	if _, ok := errors.AsType[*usageError](err); ok || len(config.Faults(err)) > 0 {
		return statusUsage
	}
	if _, ok := errors.AsType[*partialError](err); ok {
		return statusPartial
	}
	if errors.Is(err, errNobodyReads) {
		return statusClosedPipe
	}
	return statusFailed
}

// errorRow is the line that -o json prints on stderr where a command fails. Every field is always
// there.
type errorRow struct {
	Error  string     `json:"error"`
	Hint   string     `json:"hint"`
	Status int        `json:"status"`
	Faults []faultRow `json:"faults"`
}

// faultRow is one fault of the configuration.
type faultRow struct {
	Setting string `json:"setting"`
	Value   string `json:"value"` // empty where it may not be shown too
	Origin  string `json:"origin"`
	Fault   string `json:"fault"` // all of it, on a line
}

func newErrorRow(status int, err error) errorRow {
	row := errorRow{Error: oneLine(err.Error()), Hint: hintOf(err), Status: status, Faults: []faultRow{}}
	for _, f := range config.Faults(err) {
		row.Faults = append(row.Faults, faultRow{clean(f.Name), clean(f.Value), clean(f.Origin.String()), oneLine(f.Error())})
	}
	switch {
	case status == StatusInterrupted:
		row.Error = "interrupted"
	case len(row.Faults) == 1:
		row.Error = "configuration: " + row.Faults[0].Fault
	case len(row.Faults) > 1:
		row.Error = fmt.Sprintf("configuration: %d faults", len(row.Faults))
	}
	return row
}

// printError writes an error for the operator: a line, or a line and a list, and a hint; or all of it as
// JSON on a line. Of a pipe that was closed there is nothing to say, unless something is left to do.
func printError(w io.Writer, status int, err error, asJSON bool) {
	row := newErrorRow(status, err)
	if status == statusClosedPipe && row.Hint == "" {
		return
	}
	if asJSON {
		_ = encodeJSON(w, row) // there is nowhere else to say it
		return
	}
	_, _ = fmt.Fprintf(w, "worker: %s\n", row.Error)
	if len(row.Faults) > 1 {
		for _, f := range row.Faults {
			_, _ = fmt.Fprintf(w, "  - %s\n", f.Fault)
		}
	}
	if row.Hint != "" {
		_, _ = fmt.Fprintf(w, "hint: %s\n", row.Hint)
	}
}

// asksForJSON says that a command line has -o json, even where it is wrong and was not read to its end.
func asksForJSON(args []string) bool {
	for i, arg := range args {
		switch arg {
		case "--":
			return false
		case "-ojson", "-o=json", "--output=json":
			return true
		case "-o", "--output":
			if i+1 < len(args) && args[i+1] == outputJSON {
				return true
			}
		}
	}
	return false
}

func hintOf(err error) string {
	if e, ok := errors.AsType[*hintError](err); ok {
		return e.hint
	}
	if e, ok := errors.AsType[*usageError](err); ok {
		return e.hint
	}
	if len(config.Faults(err)) > 0 {
		return "`worker help settings` lists every setting and its default"
	}
	return ""
}

// oneLine keeps a message on its line and the terminal safe from what is in it.
func oneLine(text string) string {
	return clean(strings.TrimSpace(text))
}
