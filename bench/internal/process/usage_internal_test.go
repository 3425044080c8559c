//go:build linux

package process

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestCPU(t *testing.T) {
	t.Parallel()
	got, err := cpu("12 (a name) with ) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20")
	require.NoError(t, err)
	require.Equal(t, 2*time.Second, got)
	for _, bad := range []string{"", "12 name S 1", "12 (n) S 1 2 3 4 5 6 7 8 9 10 x 50 0 0"} {
		_, err := cpu(bad)
		require.Error(t, err, bad)
	}
	own, err := CPU(os.Getpid())
	require.NoError(t, err)
	require.GreaterOrEqual(t, own, time.Duration(0))
}

func TestMachine(t *testing.T) {
	t.Parallel()
	got, err := machine("cpu  100 10 50 99999 888 1 2 37 5 5\ncpu0 1\n")
	require.NoError(t, err)
	require.Equal(t, 2*time.Second, got)
	_, err = machine("intr 5\n")
	require.Error(t, err)
	all, err := Machine()
	require.NoError(t, err)
	require.Positive(t, all)
}
