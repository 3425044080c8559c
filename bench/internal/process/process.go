//go:build linux

// Package process starts the programs that are measured and reads from /proc what they cost.
package process

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Child is a process that ends with this one. Its methods are safe for concurrent use.
type Child struct {
	name  string
	cmd   *exec.Cmd
	ended chan struct{}
	exit  error

	mu    sync.Mutex
	first chan string
}

// Start starts a program with so many lines more in its environment. What it says goes to log; the first
// line on its standard output is kept for FirstLine.
func Start(name string, env []string, log *os.File, program string, args ...string) (*Child, error) {
	c := &Child{name: name, ended: make(chan struct{}), first: make(chan string, 1)}
	c.cmd = exec.Command(program, args...) //nolint:gosec,noctx // Our own programs; ended by the methods.
	c.cmd.Env = append(os.Environ(), env...)
	c.cmd.Stderr = log
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	go func() {
		c.read(out, log)
		c.exit = c.cmd.Wait()
		close(c.ended)
	}()
	return c, nil
}

// read passes standard output on, to its end.
func (c *Child) read(out io.Reader, log *os.File) {
	lines := bufio.NewReader(out)
	first, err := lines.ReadString('\n')
	if err == nil {
		c.first <- strings.TrimSpace(first)
	}
	_, _ = log.WriteString(first) // A log that cannot be written is seen by its reader.
	_, _ = io.Copy(log, lines)
}

// FirstLine is the first line that the child says on standard output.
func (c *Child) FirstLine(patience time.Duration) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case line := <-c.first:
		c.first <- line
		return line, nil
	case <-c.ended:
		return "", c.crash()
	case <-time.After(patience):
		return "", fmt.Errorf("%s has said nothing within %s", c.name, patience)
	}
}

func (c *Child) crash() error {
	return fmt.Errorf("%s ended by itself: %w", c.name, errors.Join(c.exit))
}

// PID is the number of the process.
func (c *Child) PID() int { return c.cmd.Process.Pid }

// Signal sends a signal; one that is gone needs none.
func (c *Child) Signal(s syscall.Signal) { _ = c.cmd.Process.Signal(s) }

// Running says whether it still runs.
func (c *Child) Running() bool {
	select {
	case <-c.ended:
		return false
	default:
		return true
	}
}

// Crashed returns an error where the child is gone.
func (c *Child) Crashed() error {
	if c.Running() {
		return nil
	}
	return c.crash()
}

// Stop ends the child as an operator does, and after the patience by force. It is an error where force was
// needed.
func (c *Child) Stop(patience time.Duration) error {
	c.Signal(syscall.SIGTERM)
	select {
	case <-c.ended:
		return nil
	case <-time.After(patience):
		c.Kill()
		return fmt.Errorf("%s did not end within %s of SIGTERM", c.name, patience)
	}
}

// Kill ends the child at once.
func (c *Child) Kill() {
	c.Signal(syscall.SIGKILL)
	<-c.ended
}
