//go:build linux

package peers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Names are the peers, each a folder here.
func Names() []string { return []string{"watermill", "bento", "parallelconsumer"} }

// Settings are what every peer is started with.
type Settings struct {
	Brokers     []string // host:port each.
	Topic       string   // Of the jobs; key of a record: its complaint id.
	Group       string   // The consumer group, and the prefix of keys in Redis.
	Outcomes    string   // The topic that gets one outcome for each job.
	Dead        string   // The topic of the dead letters.
	API         string   // The API's base URL, http://127.0.0.1:PORT.
	MchID       string
	CertSerial  string
	KeyFile     string // PKCS #8 in PEM.
	AnswerKeyID string
	// AnswerKeyFile is the public key that answers are verified with, in PEM.
	AnswerKeyFile string
	Concurrency   int    // Calls at once, as far as the peer can reach it.
	RedisURL      string // redis://HOST:PORT/N; only Bento uses it.
}

// Environment is the settings as variables, NAME=value each.
func (s Settings) Environment() []string {
	return []string{
		"BENCH_BROKERS=" + strings.Join(s.Brokers, ","), "BENCH_TOPIC=" + s.Topic, "BENCH_GROUP=" + s.Group,
		"BENCH_OUTCOMES=" + s.Outcomes, "BENCH_DEAD=" + s.Dead, "BENCH_API=" + s.API, "BENCH_MCHID=" + s.MchID,
		"BENCH_CERT_SERIAL=" + s.CertSerial, "BENCH_KEY_FILE=" + s.KeyFile, "BENCH_ANSWER_KEY_ID=" + s.AnswerKeyID,
		"BENCH_ANSWER_KEY_FILE=" + s.AnswerKeyFile, "BENCH_CONCURRENCY=" + strconv.Itoa(s.Concurrency),
		"BENCH_REDIS=" + s.RedisURL,
	}
}

// Build builds a peer. dir is this package's folder. Its error has what the build said.
func Build(ctx context.Context, dir, name string) error {
	script, err := script(dir, name)
	if err != nil {
		return err
	}
	said, err := exec.CommandContext(ctx, script, "build").CombinedOutput()
	if err != nil {
		return fmt.Errorf("build %s: %w\n%s", name, err, said)
	}
	return nil
}

// script is the peer's own run.
func script(dir, name string) (string, error) {
	if !slices.Contains(Names(), name) {
		return "", fmt.Errorf("peer %q: there are %s", name, strings.Join(Names(), ", "))
	}
	path, err := filepath.Abs(filepath.Join(dir, name, "run"))
	if err != nil {
		return "", fmt.Errorf("peer %s: %w", name, err)
	}
	return path, nil
}

// Process is a peer that runs. Whoever started it stops it.
type Process struct {
	name  string
	cmd   *exec.Cmd
	ended chan struct{}
	err   error // of cmd.Wait; to be read once ended is closed
}

// Start starts a peer that was built. What it prints goes to log. It dies with this process.
func Start(dir, name string, s Settings, log io.Writer, more ...string) (*Process, error) {
	script, err := script(dir, name)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(script, "serve") //nolint:noctx // it lives until it is stopped
	cmd.Env = slices.Concat(os.Environ(), s.Environment(), more)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p := &Process{name: name, cmd: cmd, ended: make(chan struct{})}
	started := make(chan error)
	go func() {
		// Pdeathsig comes when the thread that forked ends, so that it must not before the process has.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.ended)
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return p, nil
}

// Pid is the process's id: run executes the program in its own place.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Ended is closed once the process is gone.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Stop sends SIGTERM, and SIGKILL after the grace. Its error says that the peer had ended before, or had to
// be killed; the exit status of one that was asked to end is its own affair (Java's is 143).
func (p *Process) Stop(grace time.Duration) error {
	select {
	case <-p.ended:
		return fmt.Errorf("%s has ended by itself: %w", p.name, errors.Join(p.err, errEnded))
	default:
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s: %w", p.name, err)
	}
	select {
	case <-p.ended:
		return nil
	case <-time.After(grace):
	}
	_ = p.cmd.Process.Kill() // It may have ended just now.
	<-p.ended
	return fmt.Errorf("%s did not end within %s of SIGTERM and was killed", p.name, grace)
}

var errEnded = errors.New("see its log")
