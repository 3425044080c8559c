//go:build linux

package process_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/bench/internal/process"
)

const patience = 30 * time.Second

func newLog(t *testing.T) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "log"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func TestChild(t *testing.T) {
	t.Parallel()
	log := newLog(t)
	c, err := process.Start("child", []string{"A=b"}, log, "sh", "-c", "printf '%s\\nmore\\n' $A; exec sleep 600")
	require.NoError(t, err)
	for range 2 {
		line, err := c.FirstLine(patience)
		require.NoError(t, err)
		require.Equal(t, "b", line)
	}
	require.True(t, c.Running())
	require.NoError(t, c.Crashed())
	spent, err := process.CPU(c.PID())
	require.NoError(t, err)
	require.Less(t, spent, patience)
	require.NoError(t, c.Stop(patience))
	require.False(t, c.Running())
	said, err := os.ReadFile(log.Name())
	require.NoError(t, err)
	require.Equal(t, "b\nmore\n", string(said))
}

func TestChildThatEnds(t *testing.T) {
	t.Parallel()
	c, err := process.Start("child", nil, newLog(t), "sh", "-c", "exit 3")
	require.NoError(t, err)
	_, err = c.FirstLine(patience)
	require.ErrorContains(t, err, "child ended by itself: exit status 3")
	require.Error(t, c.Crashed())
}

func TestChildThatWillNotStop(t *testing.T) {
	t.Parallel()
	c, err := process.Start("child", nil, newLog(t), "sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.1; done")
	require.NoError(t, err)
	_, err = c.FirstLine(patience)
	require.NoError(t, err)
	require.ErrorContains(t, c.Stop(100*time.Millisecond), "SIGTERM")
	require.False(t, c.Running())
	c.Signal(syscall.SIGTERM) // Nobody is there, and nothing happens.
}
