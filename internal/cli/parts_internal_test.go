package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/config"
	"replyworker/internal/wxclient"
)

func newTestState() (s *state, stdout, stderr *bytes.Buffer) {
	stdout, stderr = new(bytes.Buffer), new(bytes.Buffer)
	return newState(nil, strings.NewReader(""), stdout, stderr), stdout, stderr
}

func TestExitStatus(t *testing.T) {
	t.Parallel()
	interrupted, cancel := context.WithCancelCause(context.Background())
	cancel(fmt.Errorf("%w by SIGINT", ErrInterrupted))
	fault := &config.Fault{Name: "rate", Rule: "must be 0"}
	plain := errors.New("broker away")
	for _, tt := range []struct {
		name  string
		ctx   context.Context //nolint:containedctx // a row of a table
		err   error
		want  int
		print string
	}{
		{"nil", t.Context(), nil, 0, ""},
		{"nil after a signal", interrupted, nil, 0, ""},
		{"any error", t.Context(), plain, 1, "worker: broker away\n"},
		{
			"with a hint", t.Context(), fmt.Errorf("enqueue: %w", withHint(plain, "run `worker doctor`")), 1,
			"worker: enqueue: broker away\nhint: run `worker doctor`\n",
		},
		{"of several lines", t.Context(), errors.New("a\nb\x1b[31m"), 1, "worker: a\\nb\\x1b[31m\n"},
		{"any error after a signal", interrupted, plain, 1, "worker: broker away\n"},
		{"usage", t.Context(), fmt.Errorf("x: %w", usagef("no %s", "file")), 2, "worker: x: no file\n"},
		{"fault", t.Context(), fmt.Errorf("start: %w", fault), 2, "worker: configuration: rate must be 0\n" +
			"hint: `worker help settings` lists every setting and its default\n"},
		{"partial", t.Context(), &partialError{2, 9, "letters"}, 3, "worker: 2 of 9 letters failed\n"},
		{"signal", interrupted, context.Cause(interrupted), 130, "worker: interrupted\n"},
		{"cancelled by a signal", interrupted, fmt.Errorf("read: %w", context.Canceled), 130, "worker: interrupted\n"},
		{"cancelled without one", t.Context(), context.Canceled, 1, "worker: context canceled\n"},
		{
			"part of a batch, then a signal", interrupted,
			errors.Join(&partialError{2, 9, "letters"}, ErrInterrupted), 130, "worker: interrupted\n",
		},
		{
			"a signal, and what to do then", interrupted, withHint(ErrInterrupted, "go on with 3"), 130,
			"worker: interrupted\nhint: go on with 3\n",
		},
		{"nobody reads", t.Context(), fmt.Errorf("write to stdout: %w", errNobodyReads), 141, ""},
		{
			"nobody reads, and something is left", t.Context(), withHint(errNobodyReads, "all were produced"), 141,
			"worker: nobody reads it any more\nhint: all were produced\n",
		},
		{
			"nobody reads, half way", t.Context(), fmt.Errorf("%w: %w", &partialError{2, 9, "jobs"}, errNobodyReads), 3,
			"worker: 2 of 9 jobs failed: nobody reads it any more\n",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			status := exitStatus(tt.ctx, tt.err)
			require.Equal(t, tt.want, status)
			if tt.err != nil {
				var b bytes.Buffer
				printError(&b, status, tt.err, false)
				require.Equal(t, tt.print, b.String())
			}
		})
	}
	require.NoError(t, withHint(nil, "x"))
	require.ErrorIs(t, stopped(interrupted, plain), ErrInterrupted)
	require.Equal(t, plain, stopped(t.Context(), plain))
	require.NoError(t, stopped(interrupted, nil))
}

func TestTableCountsColumnsAsTerminalsDo(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	require.NoError(t, writeTable(&b, [][]string{
		{"ID", "MESSAGE", "N"}, {"1", "系统繁忙", "2"}, {"10", "a\tb\n\x1b[2J\u202e", "3"}, {"100", "", ""},
	}))
	require.Equal(t, ""+
		"ID   MESSAGE              N\n"+
		"1    系统繁忙             2\n"+
		"10   a\\tb\\n\\x1b[2J\\u202e  3\n"+
		"100\n", b.String())
}

func TestRecords(t *testing.T) {
	t.Parallel()
	type record struct {
		Name string `json:"name"`
	}
	s, stdout, _ := newTestState()
	name := column[record]{"name", func(r record) string { return r.Name }}
	s.output = outputTable
	require.NoError(t, printRecords(s, []record{{"a<b"}, {"c"}}, name))
	require.Equal(t, "NAME\na<b\nc\n", stdout.String())
	stdout.Reset()
	s.output = outputJSON
	require.NoError(t, printRecords(s, []record{{"a<b"}, {"c"}}, name))
	require.Equal(t, "{\"name\":\"a<b\"}\n{\"name\":\"c\"}\n", stdout.String())
	stdout.Reset()
	require.NoError(t, printRecords(s, nil, name))
	require.Empty(t, stdout.String())
}

func TestProgressElsewhereIsALineNowAndThen(t *testing.T) {
	t.Parallel()
	s, stdout, stderr := newTestState()
	clock := time.Unix(0, 0)
	s.now = func() time.Time { return clock }
	p := newProgress(s, "enqueue", 100)
	for range 12 {
		clock = clock.Add(time.Second)
		p.add(5)
	}
	p.finish()
	require.Equal(t, "enqueue: 25 of 100\nenqueue: 50 of 100\nenqueue: 60 of 100, finished\n", stderr.String())
	require.Empty(t, stdout.String())

	stderr.Reset()
	p = newProgress(s, "read", -1)
	p.add(3)
	p.finish()
	require.Equal(t, "read: 3, finished\n", stderr.String())
}

func TestProgressOnATerminalIsABar(t *testing.T) {
	t.Parallel()
	for _, total := range []int64{10, -1} {
		s, stdout, stderr := newTestState()
		s.isTerminal = func(stream any) bool { return stream == any(stderr) }
		p := newProgress(s, "enqueue", total)
		p.add(10)
		p.finish()
		require.Contains(t, stderr.String(), "enqueue")
		require.True(t, strings.HasSuffix(stderr.String(), "\n"))
		require.Empty(t, stdout.String())
	}
}

func TestColor(t *testing.T) {
	t.Parallel()
	s, _, stderr := newTestState()
	require.False(t, s.useColor(stderr), "a buffer is no terminal")
	s.isTerminal = func(any) bool { return true }
	require.True(t, s.useColor(stderr))
	for _, env := range []string{"NO_COLOR=1", "TERM=dumb"} {
		s.env = []string{env}
		require.False(t, s.useColor(stderr), env)
	}
	s.env = []string{"NO_COLOR=1", "NO_COLOR="}
	require.True(t, s.useColor(stderr), "the last wins, and an empty one is none")
}

func TestVersionOfABinaryFromACheckout(t *testing.T) {
	t.Parallel()
	s, stdout, _ := newTestState()
	s.buildInfo = func() (*debug.BuildInfo, bool) {
		return &debug.BuildInfo{
			Main: debug.Module{Version: "v1.2.3"},
			Settings: []debug.BuildSetting{
				{Key: "vcs.revision", Value: "abc"},
				{Key: "vcs.time", Value: "2026-11-23T00:00:00Z"},
				{Key: "vcs.modified", Value: "true"},
			},
		}, true
	}
	require.Equal(t, 0, s.run(t.Context(), []string{"version"}))
	require.Contains(t, stdout.String(), "replyworker  v1.2.3\nrevision     abc\n"+
		"built from   commit of 2026-11-23T00:00:00Z, with changes that are not committed\n")
	require.Contains(t, stdout.String(), "signing      "+wxclient.SigningLibrary()+"\n")
	s.buildInfo = func() (*debug.BuildInfo, bool) { return nil, false }
	stdout.Reset()
	require.Equal(t, 0, s.run(t.Context(), []string{"version"}))
	require.Contains(t, stdout.String(), "replyworker  unknown\n")
}
