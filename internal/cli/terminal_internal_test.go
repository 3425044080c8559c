package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"replyworker/internal/outcome"
)

// newTerminal is a state with a person at stdin and stderr who types input.
func newTerminal(input io.Reader) (s *state, stdout, stderr *bytes.Buffer) {
	s, stdout, stderr = newTestState()
	s.stdin = input
	s.isTerminal = func(stream any) bool { return stream == any(input) || stream == any(stderr) }
	return s, stdout, stderr
}

func TestConfirm(t *testing.T) {
	t.Parallel()
	for input, want := range map[string]error{
		"y\n": nil, "Yes \n": nil, "yes": nil, "n\n": errDeclined, "\n": errDeclined, "": errDeclined, "yep\n": errDeclined,
	} {
		s, stdout, stderr := newTerminal(strings.NewReader(input))
		require.ErrorIs(t, s.confirm(t.Context(), "Really?"), want, "%q", input)
		require.Equal(t, "Really? [y/N] ", stderr.String())
		require.Empty(t, stdout.String())
	}
	s, _, stderr := newTerminal(strings.NewReader("y\n"))
	s.isTerminal = func(stream any) bool { return stream == any(s.stdin) }
	_, usage := errors.AsType[*usageError](s.confirm(t.Context(), "Really?"))
	require.True(t, usage, "a question that nobody sees is not asked")
	require.Empty(t, stderr.String())
}

func TestConfirmInterrupted(t *testing.T) {
	t.Parallel()
	r, w := io.Pipe()
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(ErrInterrupted)
	s, _, stderr := newTerminal(r)
	require.ErrorIs(t, s.confirm(ctx, "Really?"), ErrInterrupted)
	require.True(t, strings.HasSuffix(stderr.String(), "\n"), "the shell's prompt is to begin on its own line")
	require.NoError(t, w.Close()) // ends the read that was under way
}

func TestEnqueueAtATerminalSaysHowToUseIt(t *testing.T) {
	t.Parallel()
	s, stdout, stderr := newTerminal(strings.NewReader("{}"))
	require.Equal(t, statusUsage, s.run(t.Context(), []string{"enqueue"}))
	require.Empty(t, stdout.String())
	require.Equal(t, "worker: there are no jobs: standard input is a terminal, and no FILE is given\n"+
		"hint: give a file (worker enqueue jobs.ndjson), pipe jobs in, or give - to type them\n", stderr.String())
	stderr.Reset()
	require.Equal(t, statusFailed, s.run(t.Context(), []string{"enqueue", "-"}))
	require.Contains(t, stderr.String(), "line 1: /complaint_id: is missing")
}

func TestParseSource(t *testing.T) {
	t.Parallel()
	require.Equal(t, outcome.Source{Topic: "reply.jobs", Partition: 3, Offset: 1 << 40},
		parseSource("reply.jobs/3/1099511627776/1795000000000"))
	for _, other := range []string{"", "a", "a/b/c/d", "a/1/2", "a/1/b/2"} {
		require.Equal(t, outcome.Source{Topic: other}, parseSource(other), "what is not one is shown as it is")
	}
}

func TestOneDocument(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, input string
		line        int64
		value       string
	}{
		{"pretty-printed", " \n{\n \"a\": 1\n}\n", 2, "{\n \"a\": 1\n}"},
		{"in an unusual layout", "{\"a\":\n1}", 1, "{\"a\":\n1}"},
		{"pretty-printed and broken", "{\r\n \"a\": ,\n}", 1, "{\r\n \"a\": ,\n}"},
		{"an array", "[\n{}\n]", 1, "[\n{}\n]"},
		{"one line", "{\"a\":1}\n", 0, ""},
		{"lines", "{\"a\":1}\n{\"a\":2}\n", 0, ""},
		{"lines, the first broken", "{\"a\":\n{\"a\":2}\n", 0, ""},
		{"nothing", "\n", 0, ""},
	} {
		line, value := oneDocument([]byte(tt.input))
		require.Equal(t, tt.line, line, tt.name)
		require.Equal(t, tt.value, string(value), tt.name)
	}
}

func TestRepeatsAreWarnedOfSparingly(t *testing.T) {
	t.Parallel()
	s, stdout, stderr := newTestState()
	one := `{"complaint_id":"c","complainted_mchid":"m","idempotent_id":"i","message":{}}` + "\n"
	s.stdin = strings.NewReader(strings.Repeat(one, maxRepeatWarnings+11))
	require.Equal(t, statusDone, s.run(t.Context(), []string{"enqueue", "--dry-run", "-o=json"}), stderr.String())
	require.Equal(t, maxRepeatWarnings+11, strings.Count(stdout.String(), "\n"))
	require.Equal(t, maxRepeatWarnings+1, strings.Count(stderr.String(), "warning"))
	require.Contains(t, stderr.String(), "warning: line 2 repeats line 1;")
	require.Contains(t, stderr.String(), "warning: 30 lines repeat others in all\n")
}

func TestShellWord(t *testing.T) {
	t.Parallel()
	require.Equal(t, "/a/b-c_1.env", shellWord("/a/b-c_1.env"))
	require.Equal(t, `'/a b/it'\''s'`, shellWord("/a b/it's"))
}
