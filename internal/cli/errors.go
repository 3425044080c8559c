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
	return statusFailed
}

// printError writes an error for the operator: a line, or a line and a list, and a hint.
func printError(w io.Writer, status int, err error) {
	if status == StatusInterrupted {
		_, _ = fmt.Fprintln(w, "worker: interrupted")
		return
	}
	faults := config.Faults(err)
	switch len(faults) {
	case 0:
		_, _ = fmt.Fprintf(w, "worker: %s\n", oneLine(err.Error()))
	case 1:
		_, _ = fmt.Fprintf(w, "worker: configuration: %s\n", oneLine(faults[0].Error()))
	default:
		_, _ = fmt.Fprintf(w, "worker: configuration: %d faults\n", len(faults))
		for _, f := range faults {
			_, _ = fmt.Fprintf(w, "  - %s\n", oneLine(f.Error()))
		}
	}
	if hint := hintOf(err); hint != "" {
		_, _ = fmt.Fprintf(w, "hint: %s\n", hint)
	}
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
