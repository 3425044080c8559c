package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
)

// errNotRunning says that a process is asked to end that has none.
var errNotRunning = errors.New("is not running")

// process is a child that can be killed, stopped and started again. It is safe for concurrent use.
type process struct {
	name string   // of messages
	path string   // of the program
	args []string // without the program
	env  []string // added to this process's own
	log  string   // the file that takes what it prints, in all its runs

	mu   sync.Mutex
	last *run // nil before the first start
}

// run is one life of a process.
type run struct {
	child *os.Process
	done  chan struct{} // closed once the child is gone and waited for
	err   error         // how it ended; to be read after done
}

func (r *run) alive() bool {
	if r == nil {
		return false
	}
	select {
	case <-r.done:
		return false
	default:
		return true
	}
}

// start starts the child. It fails where it runs already.
func (p *process) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last.alive() {
		return fmt.Errorf("%s runs already", p.name)
	}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("log of %s: %w", p.name, err)
	}
	defer log.Close() //nolint:errcheck // the child has its own
	// The child outlives the call, and with it the context of who starts it.
	cmd := exec.CommandContext(context.Background(), p.path, p.args...) //nolint:gosec // our own programs
	cmd.Env = append(os.Environ(), p.env...)
	cmd.Stdout, cmd.Stderr = log, log
	tie(cmd)
	p.last, err = launch(cmd)
	if err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	return nil
}

// launch starts a command and waits for it in the background.
func launch(cmd *exec.Cmd) (*run, error) {
	r := &run{done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		// The kernel ends a child that is tied when the thread that forked ends: that one must live as long.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		r.child = cmd.Process
		started <- err
		if err == nil {
			r.err = cmd.Wait()
			close(r.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start: %w", err)
	}
	return r, nil
}

// running returns the present run, or nil where there is none.
func (p *process) running() *run {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.last.alive() {
		return nil
	}
	return p.last
}

// pid returns the child's id, or 0 where it does not run.
func (p *process) pid() int {
	if r := p.running(); r != nil {
		return r.child.Pid
	}
	return 0
}

// kill ends the child at once and returns when it is gone.
func (p *process) kill() error {
	r := p.running()
	if r == nil {
		return fmt.Errorf("kill %s: it %w", p.name, errNotRunning)
	}
	return r.end(p.name)
}

func (r *run) end(name string) error {
	if err := r.child.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill %s: %w", name, err)
	}
	<-r.done
	return nil
}

// stop asks the child to end and returns when it is gone. A child that still runs when ctx ends is
// killed, which is an error.
func (p *process) stop(ctx context.Context) error {
	r := p.running()
	if r == nil {
		return fmt.Errorf("stop %s: it %w", p.name, errNotRunning)
	}
	if err := r.child.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s: %w", p.name, err)
	}
	select {
	case <-r.done:
		return nil
	case <-ctx.Done():
	}
	if err := r.end(p.name); err != nil {
		return err
	}
	return p.fault(fmt.Errorf("had to be killed: %w", context.Cause(ctx)))
}

// finish runs the child to its end, which must be exit status 0.
func (p *process) finish(ctx context.Context) error {
	if err := p.start(); err != nil {
		return err
	}
	r := p.last
	select {
	case <-r.done:
	case <-ctx.Done():
		return errors.Join(context.Cause(ctx), r.end(p.name))
	}
	if r.err != nil {
		return p.fault(r.err)
	}
	return nil
}

// exited returns an error where the child has been started and is gone.
func (p *process) exited() error {
	p.mu.Lock()
	r := p.last
	p.mu.Unlock()
	if r == nil || r.alive() {
		return nil
	}
	if r.err == nil {
		return p.fault(errors.New("has ended by itself"))
	}
	return p.fault(fmt.Errorf("has ended: %w", r.err))
}

// fault is an error of the child, with the end of its log.
func (p *process) fault(err error) error {
	lines := tail(p.log, 25)
	if lines == "" {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	return fmt.Errorf("%s: %w; the end of %s:\n%s", p.name, err, p.log, lines)
}

// tail returns the last lines of a file, "" where it has none or cannot be read.
func tail(path string, lines int) string {
	const most = 16 << 10
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close() //nolint:errcheck // only read
	info, err := f.Stat()
	if err != nil {
		return ""
	}
	data := make([]byte, min(info.Size(), most))
	n, err := f.ReadAt(data, info.Size()-int64(len(data)))
	if err != nil && n == 0 {
		return ""
	}
	all := strings.Split(strings.TrimSpace(string(data[:n])), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
