//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"unsafe"
)

// command runs the command to its end, passes signals on to it, and returns its exit status. What it
// has left running in its process group is killed.
func command(args []string, file string, signals <-chan os.Signal) (int, error) {
	// Pdeathsig comes when the thread that forked ends; see servers.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(context.Background(), args[0], args[1:]...) //nolint:gosec // it is what we are for
	cmd.Env = append(os.Environ(), "TEST_SERVERS="+file)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	// In a group of its own it gets each signal once: from us, whether ours came from a terminal, from
	// timeout, which signals the whole group, or from somebody's kill.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if terminal(os.Stdin) {
		// The terminal goes to the group, or reading from it would stop the command.
		cmd.SysProcAttr.Foreground, cmd.SysProcAttr.Ctty = true, int(os.Stdin.Fd())
		defer takeBack(os.Stdin)
	}
	if err := cmd.Start(); err != nil {
		return exitFailed, fmt.Errorf("command: %w", err)
	}
	group := -cmd.Process.Pid
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case s := <-signals:
			if number, ok := s.(syscall.Signal); ok {
				syscall.Kill(group, number) //nolint:errcheck // it has ended just now
			}
		case err := <-ended:
			syscall.Kill(group, syscall.SIGKILL) //nolint:errcheck // nothing is left, as it should be
			return exitStatus(cmd, err)
		}
	}
}

func exitStatus(cmd *exec.Cmd, err error) (int, error) {
	if exit := (&exec.ExitError{}); err != nil && !errors.As(err, &exit) {
		return exitFailed, fmt.Errorf("command: %w", err)
	}
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return exitSignal + int(status.Signal()), nil
	}
	return cmd.ProcessState.ExitCode(), nil
}

func terminal(f *os.File) bool {
	var group int32
	return ioctl(f, syscall.TIOCGPGRP, &group) == nil
}

// takeBack makes our own group the terminal's again, for who comes after us.
func takeBack(f *os.File) {
	signal.Ignore(syscall.SIGTTOU)      // it stops who does so from the background
	group := int32(syscall.Getpgrp())   //nolint:gosec // pids are small
	ioctl(f, syscall.TIOCSPGRP, &group) //nolint:errcheck // then the shell does it
}

func ioctl(f *os.File, request uintptr, value *int32) error {
	//nolint:gosec // the pointer is to what the request asks for
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), request, uintptr(unsafe.Pointer(value))); errno != 0 {
		return errno //nolint:wrapcheck // nobody reads it
	}
	return nil
}

// endWithGoRun makes `go run` take this process along when it is killed: it passes no signal on.
func endWithGoRun() {
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", os.Getppid()))
	if err == nil && strings.TrimSpace(string(name)) == "go" {
		syscall.RawSyscall(syscall.SYS_PRCTL, syscall.PR_SET_PDEATHSIG, uintptr(syscall.SIGTERM), 0) //nolint:errcheck // as before then
	}
}
