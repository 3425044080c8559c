// Command worker is the replyworker: the service, and the tools to run it with.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"syscall"

	"replyworker/internal/cli"
)

func main() {
	os.Exit(run())
}

func run() int {
	// net/http's client tells the standard logger, which is not ours, of connections that misbehave, and
	// quotes bytes of the answers. They may hold what no log should; what matters comes as an error too.
	log.SetOutput(io.Discard)
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		watch(signals, cancel, os.Exit)
	}()
	status := cli.Run(ctx, os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr)
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
			exit(cli.StatusInterrupted)
		}
		if !stopping {
			stopping = true
			cancel(fmt.Errorf("%w by %s", cli.ErrInterrupted, sig))
		}
	}
}
