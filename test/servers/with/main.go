//go:build linux

// Command with runs another command beside real servers, which it starts before and stops after it:
//
//	go run ./test/servers/with -kafka 3 -redis sentinel -- COMMAND ARGS...
//
// The servers' settings are lines NAME=value in a file that TEST_SERVERS names in COMMAND's environment.
// Its exit status is COMMAND's, 128 and the signal's number where a signal ended it, 1 where the servers
// did not start, 2 for wrong usage. Signals are passed on to COMMAND. Nothing is left behind.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2)
	os.Exit(run(context.Background(), os.Args[1:], os.Stderr, signals))
}
