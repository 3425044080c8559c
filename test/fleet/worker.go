//go:build linux

// Package fleet runs workers as processes of the built binary, and ends them in every way there is.
package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	readyPatience = 90 * time.Second
	stopPatience  = 40 * time.Second
)

// Worker is one place in a fleet: a process of the built binary, and those that came before it. Its
// methods are for one goroutine at a time; lock it over what belongs together.
type Worker struct {
	sync.Mutex

	binary string
	env    []string
	admin  string
	log    *os.File

	cmd   *exec.Cmd
	ended chan struct{} // Closed when the process is gone.
	exit  error
}

// Build builds the worker into a folder and returns the binary's path.
func Build(ctx context.Context, dir string) (string, error) {
	binary := filepath.Join(dir, "worker")
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, "replyworker/cmd/worker") //nolint:gosec // A path of the caller's.
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the worker: %w: %s", err, out)
	}
	return binary, nil
}

// New prepares the worker of a number; Start starts it. Its log gets the output of all its processes.
func New(binary, dir string, n int, env []string) (*Worker, error) {
	log, err := os.Create(filepath.Join(dir, fmt.Sprintf("worker-%d.log", n)))
	if err != nil {
		return nil, fmt.Errorf("worker %d: %w", n, err)
	}
	// Not 127.0.0.1: there the port, free again until the worker takes it, may become that of a connection.
	ln, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		return nil, fmt.Errorf("worker %d: %w", n, err)
	}
	defer func() { _ = ln.Close() }()
	admin := ln.Addr().String()
	return &Worker{
		binary: binary, admin: admin, log: log,
		env: append([]string{"REPLYWORKER_ADMIN_ADDR=" + admin, "PATH=" + os.Getenv("PATH")}, env...),
	}, nil
}

// Log returns the file with the output of all its processes.
func (w *Worker) Log() string { return w.log.Name() }

// Exit returns how the last process ended, where it has.
func (w *Worker) Exit() error {
	if w.Running() {
		return nil
	}
	return w.exit
}

// Close ends the process, if there is one, and the log.
func (w *Worker) Close() {
	if w.cmd != nil {
		w.Kill()
	}
	_ = w.log.Close() // Written by the processes themselves.
}

// Start starts a process.
func (w *Worker) Start() error {
	w.cmd = exec.Command(w.binary, "run") //nolint:gosec,noctx // The binary under test; ended by its methods.
	w.cmd.Env, w.cmd.Stdout, w.cmd.Stderr = w.env, w.log, w.log
	w.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	w.ended = make(chan struct{})
	if err := w.cmd.Start(); err != nil {
		return fmt.Errorf("worker: %w", err)
	}
	go func(cmd *exec.Cmd, ended chan struct{}) {
		w.exit = cmd.Wait()
		close(ended)
	}(w.cmd, w.ended)
	return nil
}

// PID returns the number of the process that was started last.
func (w *Worker) PID() int { return w.cmd.Process.Pid }

// Signal sends the process a signal.
func (w *Worker) Signal(s syscall.Signal) { _ = w.cmd.Process.Signal(s) } // One that is gone needs none.

// Kill ends the process at once; the next start makes another.
func (w *Worker) Kill() {
	w.Signal(syscall.SIGKILL)
	<-w.ended
}

// Stop ends the process as an operator does, and says if it did not end well.
func (w *Worker) Stop() error {
	w.Signal(syscall.SIGTERM)
	select {
	case <-w.ended:
	case <-time.After(stopPatience):
		w.Kill()
		return fmt.Errorf("worker did not stop within %s of SIGTERM", stopPatience)
	}
	var exit *exec.ExitError
	if errors.As(w.exit, &exit) && exit.ExitCode() != 1 { // 1: drain-timeout cut calls off
		return fmt.Errorf("worker stopped with %w", w.exit)
	}
	return nil
}

// Running tells whether the process is there; one that nobody ended and is gone has crashed.
func (w *Worker) Running() bool {
	select {
	case <-w.ended:
		return false
	default:
		return true
	}
}

// Get asks the worker's own HTTP.
func (w *Worker) Get(ctx context.Context, path string) (int, string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+w.admin+path, http.NoBody)
	if err != nil {
		return 0, "", fmt.Errorf("worker: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", fmt.Errorf("worker: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, "", fmt.Errorf("worker: %w", err)
	}
	return resp.StatusCode, string(body), nil
}

// Ready waits until the worker says that it is.
func (w *Worker) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyPatience)
	defer cancel()
	for {
		status, said, err := w.Get(ctx, "/readyz")
		if err == nil && status == http.StatusOK {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("worker is not ready: %d %s %w", status, said, errors.Join(err, ctx.Err()))
		case <-time.After(100 * time.Millisecond):
		}
		if !w.Running() {
			return fmt.Errorf("worker ended by itself: %w", w.exit)
		}
	}
}

// Holdings is what a process holds that it could leak: goroutines, and connections by whom they lead to.
type Holdings struct {
	Goroutines int
	Conns      map[string]int
}

// Holdings asks what the worker holds now. names tells whom a local port belongs to.
func (w *Worker) Holdings(ctx context.Context, names map[int]string) (Holdings, error) {
	h := Holdings{Conns: map[string]int{}}
	_, text, err := w.Get(ctx, "/debug/pprof/goroutine?debug=1")
	if err != nil {
		return h, err
	}
	if _, err := fmt.Sscanf(text, "goroutine profile: total %d", &h.Goroutines); err != nil {
		return h, fmt.Errorf("goroutine profile: %w", err)
	}
	sockets, err := remotePorts(w.cmd.Process.Pid)
	if err != nil {
		return h, err
	}
	for _, port := range sockets {
		if name, known := names[port]; known {
			h.Conns[name]++
		}
	}
	return h, nil
}

// remotePorts returns the port that each TCP connection of a process leads to.
func remotePorts(pid int) ([]int, error) {
	proc := "/proc/" + strconv.Itoa(pid)
	table, err := os.ReadFile(proc + "/net/tcp")
	if err != nil {
		return nil, fmt.Errorf("connections of the worker: %w", err)
	}
	port := map[string]int{} // by the name of the file that is the socket
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		if len(f) < 10 {
			continue
		}
		if _, hex, ok := strings.Cut(f[2], ":"); ok {
			n, _ := strconv.ParseInt(hex, 16, 32) // The heading is no number, and nobody's port.
			port["socket:["+f[9]+"]"] = int(n)
		}
	}
	files, err := os.ReadDir(proc + "/fd")
	if err != nil {
		return nil, fmt.Errorf("files of the worker: %w", err)
	}
	var found []int
	for _, f := range files {
		to, err := os.Readlink(filepath.Join(proc, "fd", f.Name()))
		if n := port[to]; err == nil && n > 0 {
			found = append(found, n)
		}
	}
	return found, nil
}
