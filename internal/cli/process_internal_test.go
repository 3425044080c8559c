package cli

import (
	"context"
	"errors"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWatch(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		signals []os.Signal
		stopped bool
		exits   []int
	}{
		{"no signal", nil, false, nil},
		{"one interrupt stops", []os.Signal{os.Interrupt}, true, nil},
		{"termination stops", []os.Signal{syscall.SIGTERM}, true, nil},
		{"a second interrupt ends at once", []os.Signal{os.Interrupt, os.Interrupt}, true, []int{130}},
		{"an interrupt after termination too", []os.Signal{syscall.SIGTERM, os.Interrupt}, true, []int{130}},
		{"termination twice waits", []os.Signal{syscall.SIGTERM, syscall.SIGTERM}, true, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			signals := make(chan os.Signal, 2)
			for _, sig := range tt.signals {
				signals <- sig
			}
			close(signals)
			var exits []int
			watch(signals, cancel, func(status int) { exits = append(exits, status) })
			require.Equal(t, tt.stopped, errors.Is(context.Cause(ctx), ErrInterrupted))
			require.Equal(t, tt.exits, exits)
		})
	}
}
