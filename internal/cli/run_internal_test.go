package cli

import (
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestHangupsReload holds that SIGHUP asks for a reload, each time, and ends nothing.
//
// Not parallel: signals are the process'.
func TestHangupsReload(t *testing.T) {
	reloads := make(chan struct{}, 10)
	stop := reloadOnHangup(func() { reloads <- struct{}{} })
	self, err := os.FindProcess(os.Getpid())
	require.NoError(t, err)
	for range 3 {
		require.NoError(t, self.Signal(syscall.SIGHUP))
		select {
		case <-reloads:
		case <-time.After(30 * time.Second):
			require.Fail(t, "SIGHUP has reloaded nothing")
		}
	}
	stop()
}
