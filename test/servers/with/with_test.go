//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/test/servers"
)

func TestUsage(t *testing.T) {
	t.Parallel()
	tests := []struct {
		args   string
		status int
		says   string
	}{
		{"-h", 0, "usage: with [flags] -- COMMAND"},
		{"", exitUsage, "no COMMAND"},
		{"-kafka 2 -- true", exitUsage, "-kafka is 1 or 3, not 2"},
		{"-redis two -- true", exitUsage, `-redis is alone, cluster or sentinel, not "two"`},
		{"-kafka-secure -- true", exitUsage, "-kafka-secure goes with -kafka"},
		{"-redis-secure -- true", exitUsage, "-redis-secure goes with -redis"},
		{"-x -- true", exitUsage, "-x"},
	}
	for _, test := range tests {
		var said bytes.Buffer
		require.Equal(t, test.status, run(t.Context(), strings.Fields(test.args), &said, nil), "with %s", test.args)
		require.Contains(t, said.String(), test.says)
	}
}

func TestStatusIsTheCommands(t *testing.T) {
	t.Parallel()
	tests := []struct {
		script string
		want   int
	}{
		{"exit 0", 0},
		{"exit 7", 7},
		{"kill -9 $$", exitSignal + 9},
		{`test -f "$TEST_SERVERS"`, 0},
	}
	for _, test := range tests {
		var said bytes.Buffer
		require.Equal(t, test.want, run(t.Context(), []string{"--", "sh", "-c", test.script}, &said, nil), test.script)
		require.Empty(t, said.String())
	}
	var said bytes.Buffer
	require.Equal(t, exitFailed, run(t.Context(), []string{"--", "/not/there"}, &said, nil))
	require.Contains(t, said.String(), "/not/there")
}

// TestNothingIsLeft holds that the folder goes, and what the command has left running.
func TestNothingIsLeft(t *testing.T) {
	t.Parallel()
	notes := filepath.Join(t.TempDir(), "notes")
	script := fmt.Sprintf(`sleep 600 & echo $! "$TEST_SERVERS" >%s`, notes)
	require.Zero(t, run(t.Context(), []string{"--", "sh", "-c", script}, os.Stderr, nil))
	pid, file := read(t, notes)
	require.NoDirExists(t, filepath.Dir(file))
	ended(t, pid)
}

// read returns a pid and a path that a script has noted.
func read(t *testing.T, notes string) (pid int, path string) {
	t.Helper()
	text, err := os.ReadFile(notes)
	require.NoError(t, err)
	fields := strings.Fields(string(text))
	require.Len(t, fields, 2)
	pid, err = strconv.Atoi(fields[0])
	require.NoError(t, err)
	return pid, fields[1]
}

// ended waits until a process is gone, or dead and not waited for yet by who inherited it.
func ended(t *testing.T, pid int) {
	t.Helper()
	require.Eventually(t, func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return err != nil || strings.Contains(string(stat), ") Z ")
	}, 20*time.Second, 10*time.Millisecond, "process %d is left behind", pid)
}

// noted waits until a script has written its notes.
func noted(t *testing.T, notes string) {
	t.Helper()
	require.Eventually(t, func() bool {
		_, err := os.Stat(notes)
		return err == nil
	}, 2*time.Minute, 10*time.Millisecond)
}

func TestSignalsArePassedOnOnce(t *testing.T) {
	t.Parallel()
	notes := filepath.Join(t.TempDir(), "notes")
	script := fmt.Sprintf(`
		n=0
		trap 'n=$((n+1)); [ $n = 1 ] || exit 9; echo again >%s.again' TERM
		trap 'exit 5' INT
		echo up >%s
		while :; do sleep 0.05; done`, notes, notes)
	signals := make(chan os.Signal, 1)
	status := make(chan int, 1)
	go func() { status <- run(t.Context(), []string{"--", "sh", "-c", script}, os.Stderr, signals) }()
	noted(t, notes)
	signals <- syscall.SIGTERM
	noted(t, notes+".again")
	signals <- os.Interrupt
	require.Equal(t, 5, <-status)
}

// needReal skips a test where the real servers are not asked for, and returns the built program.
func needReal(t *testing.T) string {
	t.Helper()
	if os.Getenv("TEST_REAL") != "1" {
		t.Skip("it starts real servers: TEST_REAL=1 runs it")
	}
	program := filepath.Join(t.TempDir(), "with")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput()
	require.NoError(t, err, "%s", out)
	return program
}

// TestServersGoInAnyCase ends the program in several ways while its command runs.
func TestServersGoInAnyCase(t *testing.T) {
	program := needReal(t)
	tests := []struct {
		name   string
		signal syscall.Signal
		want   int
		tidy   bool // the folder goes too
	}{
		{"SIGINT", syscall.SIGINT, exitSignal + 2, true},
		{"SIGTERM", syscall.SIGTERM, exitSignal + 15, true},
		{"SIGKILL", syscall.SIGKILL, -1, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			notes := filepath.Join(t.TempDir(), "notes")
			script := fmt.Sprintf(`echo $$ "$TEST_SERVERS" >%s.1; cp "$TEST_SERVERS" %s.env; mv %s.1 %s; exec sleep 600`,
				notes, notes, notes, notes)
			cmd := exec.CommandContext(t.Context(), program, "-redis", "alone", "-kafka", "1", "--", "sh", "-c", script)
			cmd.Stderr = os.Stderr
			cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
			require.NoError(t, cmd.Start())
			noted(t, notes)
			pid, file := read(t, notes)
			lines, err := servers.ReadSettings(notes + ".env")
			require.NoError(t, err)
			require.Len(t, lines, 2)
			pids := children(t, cmd.Process.Pid)
			require.Len(t, pids, 3, "redis, kafka and the command")
			require.Contains(t, pids, pid)

			require.NoError(t, cmd.Process.Signal(test.signal))
			cmd.Wait()
			require.Equal(t, test.want, cmd.ProcessState.ExitCode())
			for _, pid := range pids {
				ended(t, pid)
			}
			if test.tidy {
				require.NoDirExists(t, filepath.Dir(file))
			}
		})
	}
}

// children returns the processes that a process has started.
func children(t *testing.T, parent int) []int {
	t.Helper()
	var pids []int
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", parent))
	require.NoError(t, err)
	for _, list := range lists {
		text, err := os.ReadFile(list)
		require.NoError(t, err)
		for field := range strings.FieldsSeq(string(text)) {
			pid, err := strconv.Atoi(field)
			require.NoError(t, err)
			pids = append(pids, pid)
		}
	}
	return pids
}

// TestInterruptedStart ends the program while the servers start.
func TestInterruptedStart(t *testing.T) {
	program := needReal(t)
	tmp := t.TempDir()
	cmd := exec.CommandContext(t.Context(), program, "-kafka", "1", "--", "true")
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	require.NoError(t, cmd.Start())
	var pids []int
	require.Eventually(t, func() bool { pids = children(t, cmd.Process.Pid); return len(pids) > 0 },
		time.Minute, time.Millisecond, "something is started")
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	cmd.Wait()
	require.Equal(t, exitSignal+15, cmd.ProcessState.ExitCode())
	for _, pid := range pids {
		ended(t, pid)
	}
	left, err := os.ReadDir(tmp)
	require.NoError(t, err)
	require.Empty(t, left)
}
