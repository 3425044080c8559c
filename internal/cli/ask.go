package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// errDeclined says that the user was asked and did not say yes.
var errDeclined = errors.New("nothing was done: the answer was not yes")

// confirm asks a question on the terminal and returns nil where the answer is yes. Where there is no
// terminal to ask on it is wrong usage: every command that asks has --yes.
func (s *state) confirm(ctx context.Context, question string) error {
	if !s.isTerminal(s.stdin) || !s.isTerminal(s.stderr) {
		return &usageError{
			"this wants to be confirmed, and there is no terminal to ask on",
			"give --yes to go on without being asked",
		}
	}
	if _, err := fmt.Fprintf(s.stderr, "%s [y/N] ", clean(question)); err != nil {
		return fmt.Errorf("write to stderr: %w", err)
	}
	line, err := bufio.NewReader(&stoppableReader{ctx: ctx, from: s.stdin}).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		_, _ = fmt.Fprintln(s.stderr)
		return stopped(ctx, fmt.Errorf("read the answer: %w", err))
	}
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return nil
	}
	return errDeclined
}

// stoppableReader reads until ctx ends. A read of a terminal or a pipe cannot be called off: where
// ctx ends during one, that read goes on by itself, into a buffer that nobody looks at, until it
// returns or the process ends.
type stoppableReader struct {
	ctx  context.Context //nolint:containedctx // a reader's methods take none
	from io.Reader
	own  []byte // where reads go, so that one that goes on does not write into the caller's
	err  error
}

// Read reads, or returns the cause of the end of ctx.
func (r *stoppableReader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	type result struct {
		n   int
		err error
	}
	done := make(chan result, 1)
	if len(r.own) < len(p) {
		r.own = make([]byte, len(p))
	}
	own := r.own[:len(p)]
	go func() {
		n, err := r.from.Read(own)
		done <- result{n, err}
	}()
	select {
	case got := <-done:
		return copy(p, own[:got.n]), got.err
	case <-r.ctx.Done():
		r.err = context.Cause(r.ctx)
		return 0, r.err
	}
}
