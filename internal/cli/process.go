package cli

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

// garbagePercent is how much garbage there may be for what is in use. Go's own 100 makes a worker a fifth
// larger than it must be, and saves about a hundredth of its CPU time, most of which is signatures.
const garbagePercent = 50

// Main is Run for this process: with its own arguments, environment and streams, until SIGINT or
// SIGTERM. It returns the exit status; exit ends the process at once, for a second interrupt. It changes
// the standard logger, what signals do and, unless GOGC says otherwise, how much garbage there may be: a
// process calls it once.
func Main(exit func(status int)) int {
	// net/http's client tells the standard logger, which is not ours, of connections that misbehave, and
	// quotes bytes of the answers. They may hold what no log should; what matters comes as an error too.
	log.SetOutput(io.Discard)
	// Without this, a write to a pipe that nobody reads ends the process where it stands. So it is an
	// error of that write, and a command can say what it leaves half done. Nobody needs to receive it.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbagePercent)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		watch(signals, cancel, exit)
	}()
	status := Run(ctx, os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr)
	signal.Stop(signals)
	close(signals)
	<-watched
	return status
}

// watch cancels the command at the first signal, and ends the process at an interrupt after that:
// who presses Ctrl-C again does not want to wait. It returns when signals is closed.
func watch(signals <-chan os.Signal, cancel context.CancelCauseFunc, exit func(status int)) {
	stopping := false
	for sig := range signals {
		if stopping && sig == os.Interrupt {
			exit(StatusInterrupted)
		}
		if !stopping {
			stopping = true
			cancel(fmt.Errorf("%w by %s", ErrInterrupted, sig))
		}
	}
}
