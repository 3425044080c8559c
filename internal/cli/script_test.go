package cli_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"replyworker/internal/cli"
)

// scriptPatience is how long a script waits for what takes moments when all is well.
const scriptPatience = 30 * time.Second

// TestMain lets the test binary be the command line too: a script's `worker` is a process of its own,
// with the main of cmd/worker.
func TestMain(m *testing.M) {
	testscript.Main(leakChecked{m}, map[string]func(){
		"worker": func() { os.Exit(cli.Main(os.Exit)) },
	})
}

// leakChecked runs the tests, and fails where one has left a goroutine behind.
type leakChecked struct{ m *testing.M }

// Run returns the exit status.
func (l leakChecked) Run() (status int) {
	goleak.VerifyTestMain(l.m, goleak.Cleanup(func(code int) { status = code }))
	return status
}

// TestScripts runs every testdata/script/*.txtar: the command line as a person uses it. One alone:
//
//	go test ./internal/cli -run 'TestScripts/^enqueue$'
//
// The language is testscript's (go doc github.com/rogpeppe/go-internal/testscript), with these commands
// more. REPLYWORKER_UPDATE=1 in the environment of the test writes files that cmp finds different.
//
//	stack [-partitions=N] [-notopics]
//	    starts a broker (its topics of 3 partitions each), a Redis and the API's two hosts for this script
//	    alone, and sets every REPLYWORKER_ variable with which a worker uses them
//	status N PROGRAM [ARG...]
//	    runs a program as exec does, and demands that its exit status is N
//	waitfor 'REGEXP' PROGRAM [ARG...]
//	    runs a program again and again, whatever its exit status, until its stdout matches
//	prints 'REGEXP'
//	    demands that the stdout or the stderr of the last command matches
//	start [-hold] NAME PROGRAM [ARG...]
//	    runs a program in the background, its stdin empty, or with -hold open and silent; what is still
//	    running at the end of the script is interrupted
//	says NAME 'REGEXP'
//	    waits until the stdout or the stderr of a started program matches
//	signal INT|TERM|KILL|HUP NAME
//	    sends a signal to a started program
//	ended N NAME
//	    waits until a started program has ended, demands that its exit status is N (-1: by a signal), and
//	    makes its output that of the stdout and stderr commands
//	fault JSON, nofault
//	    gives the API faults, one or an array, in the place of all others; takes them away
//	effects N [COMPLAINT_ID]
//	    demands that the API took N replies
//	produce [-partition=N] [-at=RFC3339] [-lines] [-null] TOPIC KEY [FILE] [HEADER=VALUE...]
//	    produces a record: KEY - is none, FILE's bytes are the value; with -lines each line is a record's
//	    value, with -null there is no FILE and no value; FILE stdout is the output of the last command
//	records [-wait=N] TOPIC
//	    prints the records of a topic, a JSON object a line in the order of partition and offset:
//	    partition, offset, at, key, value (null where there is none), headers; waits until there are N
//	down kafka|redis|api
//	    stops a part of the stack for good
//	silent VARIABLE
//	    starts a server that takes connections and says nothing, and sets VARIABLE to its host:port
//	connected VARIABLE
//	    waits until somebody has connected to the silent server of that variable
//	flushredis
//	    makes Redis forget everything
//	skewedhost DURATION
//	    puts a host in the primary's place whose clock is so far ahead of ours
func TestScripts(t *testing.T) {
	t.Parallel()
	runScripts(t, "testdata/script")
}

// runScripts runs the scripts of a folder, or, with no folder, some files.
func runScripts(t *testing.T, dir string, files ...string) {
	t.Helper()
	testscript.Run(t, testscript.Params{
		Dir:                 dir,
		Files:               files,
		UpdateScripts:       os.Getenv("REPLYWORKER_UPDATE") != "",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			tb, ok := env.T().(testing.TB)
			if !ok {
				return errors.New("the test is no testing.TB")
			}
			w := &scriptWorld{tb: tb, programs: map[string]*scriptProgram{}, silent: map[string]*atomic.Int64{}}
			tb.Cleanup(w.interrupt)
			if os.Getenv("GORACE") == "" {
				env.Setenv("GORACE", "atexit_sleep_ms=10") // it is a second, with each end of a process
			}
			env.Values[scriptWorldKey{}] = w
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"stack":      scriptStack,
			"status":     scriptStatus,
			"waitfor":    scriptWaitFor,
			"prints":     scriptPrints,
			"start":      scriptStart,
			"says":       scriptSays,
			"signal":     scriptSignal,
			"ended":      scriptEnded,
			"fault":      scriptFault,
			"nofault":    scriptNoFault,
			"effects":    scriptEffects,
			"produce":    scriptProduce,
			"records":    scriptRecords,
			"down":       scriptDown,
			"silent":     scriptSilent,
			"connected":  scriptConnected,
			"flushredis": scriptFlushRedis,
			"skewedhost": scriptSkewedHost,
		},
	})
}

// usage ends the script where a command of its own is called wrongly.
func usage(ts *testscript.TestScript, right bool, text string) {
	if !right {
		ts.Fatalf("usage: %s", text)
	}
}

func scriptStatus(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) >= 2, "status N PROGRAM [ARG...]")
	demandStatus(ts, args[0], ts.Exec(args[1], args[2:]...))
}

func demandStatus(ts *testscript.TestScript, want string, err error) {
	n, parseErr := strconv.Atoi(want)
	ts.Check(parseErr)
	got := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != n {
		ts.Fatalf("exit status %d (%v), want %d", got, err, n)
	}
}

func scriptWaitFor(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) >= 2, "waitfor 'REGEXP' PROGRAM [ARG...]")
	pattern, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	eventually(ts, fmt.Sprintf("stdout of %q to match %q", args[1:], args[0]), func() bool {
		if err := ts.Exec(args[1], args[2:]...); err != nil {
			_, ran := errors.AsType[*exec.ExitError](err)
			if !ran {
				ts.Check(err)
			}
		}
		return pattern.MatchString(ts.ReadFile("stdout"))
	})
}

func scriptPrints(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "prints 'REGEXP'")
	pattern, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	if !pattern.MatchString(ts.ReadFile("stdout")) && !pattern.MatchString(ts.ReadFile("stderr")) {
		ts.Fatalf("neither stdout nor stderr matches %q", args[0])
	}
}

// eventually waits until what is wanted holds, and ends the script where it does not in time.
func eventually(ts *testscript.TestScript, wanted string, holds func() bool) {
	deadline := time.NewTimer(scriptPatience)
	defer deadline.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline.C:
			ts.Fatalf("waited %s for %s", scriptPatience, wanted)
		case <-tick.C:
		}
	}
}

// scriptProgram is a program that a script has started.
type scriptProgram struct {
	cmd            *exec.Cmd
	stdout, stderr watchedBuffer
	done           chan struct{}
	err            error // when done
}

// watchedBuffer is a buffer that can be read while it is written.
type watchedBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write appends.
func (b *watchedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

// String returns what was written so far.
func (b *watchedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func scriptStart(ts *testscript.TestScript, neg bool, args []string) {
	hold := len(args) > 0 && args[0] == "-hold"
	if hold {
		args = args[1:]
	}
	usage(ts, !neg && len(args) >= 2, "start [-hold] NAME PROGRAM [ARG...]")
	w := world(ts)
	if w.programs[args[0]] != nil {
		ts.Fatalf("%s is started already", args[0])
	}
	path, err := exec.LookPath(args[1])
	ts.Check(err)
	p := &scriptProgram{cmd: exec.Command(path, args[2:]...), done: make(chan struct{})}
	p.cmd.Dir, p.cmd.Env = ts.MkAbs("."), environ(ts)
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	if hold {
		_, err := p.cmd.StdinPipe() // closed when the program has ended
		ts.Check(err)
	}
	ts.Check(p.cmd.Start())
	w.programs[args[0]] = p
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
}

func startedProgram(ts *testscript.TestScript, name string) *scriptProgram {
	p := world(ts).programs[name]
	if p == nil {
		ts.Fatalf("no program %s was started", name)
	}
	return p
}

func scriptSays(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "says NAME 'REGEXP'")
	p := startedProgram(ts, args[0])
	pattern, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	said := func() bool { return pattern.MatchString(p.stdout.String()) || pattern.MatchString(p.stderr.String()) }
	ended := false
	eventually(ts, fmt.Sprintf("%s to say %q", args[0], args[1]), func() bool {
		select {
		case <-p.done:
			ended = true
		default:
		}
		return said() || ended
	})
	if !said() {
		ts.Fatalf("%s ended (%v) and did not say %q; stdout:\n%s\nstderr:\n%s", args[0], p.err, args[1], &p.stdout, &p.stderr)
	}
}

func scriptSignal(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]os.Signal{
		"INT": os.Interrupt, "TERM": syscall.SIGTERM, "KILL": os.Kill, "HUP": syscall.SIGHUP,
	}
	usage(ts, !neg && len(args) == 2 && signals[args[0]] != nil, "signal INT|TERM|KILL|HUP NAME")
	ts.Check(startedProgram(ts, args[1]).cmd.Process.Signal(signals[args[0]]))
}

func scriptEnded(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "ended N NAME")
	p := startedProgram(ts, args[1])
	eventually(ts, args[1]+" to end", func() bool {
		select {
		case <-p.done:
			return true
		default:
			return false
		}
	})
	delete(world(ts).programs, args[1])
	_, _ = fmt.Fprint(ts.Stdout(), p.stdout.String())
	_, _ = fmt.Fprint(ts.Stderr(), p.stderr.String())
	demandStatus(ts, args[0], p.err)
}

// interrupt ends what a script has left running.
func (w *scriptWorld) interrupt() {
	for name, p := range w.programs {
		_ = p.cmd.Process.Signal(os.Interrupt) // it may have ended
		kill := time.AfterFunc(scriptPatience, func() { _ = p.cmd.Process.Kill() })
		<-p.done
		kill.Stop()
		if w.tb.Failed() {
			w.tb.Logf("%s: %v; stdout:\n%s\nstderr:\n%s", name, p.err, &p.stdout, &p.stderr)
		}
		delete(w.programs, name)
	}
}

// environ returns the environment of the script's programs, which testscript tells only to them.
func environ(ts *testscript.TestScript) []string {
	ts.Check(ts.Exec("env", "-0"))
	return strings.Split(strings.TrimRight(ts.ReadFile("stdout"), "\x00"), "\x00")
}
