//go:build linux

package fleet

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPeak(t *testing.T) {
	t.Parallel()
	require.EqualValues(t, 12345<<10, peak("Name:\tworker\nVmHWM:\t   12345 kB\nVmRSS:\t   1 kB\n"))
	require.Zero(t, peak("Name:\tworker\nState:\tZ (zombie)\n"))
	own, err := os.ReadFile("/proc/self/status")
	require.NoError(t, err)
	require.Greater(t, peak(string(own)), int64(1<<20))
}
