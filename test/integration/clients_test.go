//go:build linux

package integration_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/test/servers"
)

// clients are the programs that the script of this name has fetched, by its names.
type clients map[string]string

func installClients(t *testing.T) clients {
	t.Helper()
	if shared == nil {
		t.Skip("it needs the package registries: TEST_REAL=1 runs it")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, "./clients")
	cmd.Stderr = &said
	out, err := cmd.Output()
	require.NoError(t, err, "%s", &said)
	found := clients{}
	for line := range strings.Lines(string(out)) {
		name, path, _ := strings.Cut(strings.TrimSpace(line), "=")
		_, err := os.Stat(path)
		require.NoError(t, err, name)
		found[name] = path
	}
	return found
}

// program is a program of another language.
type program struct {
	args []string
	env  []string
	in   string
}

// run runs the program to its end, and returns what it said.
func (p program) run(t *testing.T) (stdout, stderr string, status int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.args[0], p.args[1:]...)
	cmd.Env = append(os.Environ(), p.env...)
	cmd.Stdin = strings.NewReader(p.in)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err := cmd.Run()
	require.NoError(t, ctx.Err(), "%q ended too late: %s", p.args, &errs)
	if err != nil {
		exit := new(exec.ExitError)
		require.ErrorAs(t, err, &exit, "%s", &errs)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// examples returns each language's program of docs/examples/producers.
func examples(t *testing.T) map[string]program {
	t.Helper()
	c := installClients(t)
	in, err := servers.Install(t.Context())
	require.NoError(t, err)
	dir, err := filepath.Abs(filepath.Join("..", "..", "docs", "examples", "producers"))
	require.NoError(t, err)
	built := filepath.Join(t.TempDir(), "produce")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", built, ".")
	build.Dir = filepath.Join(dir, "go")
	said, err := build.CombinedOutput()
	require.NoError(t, err, "%s", said)
	// A module is looked for beside the file that imports it.
	script := filepath.Join(t.TempDir(), "produce.mjs")
	text, err := os.ReadFile(filepath.Join(dir, "node", "produce.mjs"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(script, text, 0o600))
	require.NoError(t, os.Symlink(filepath.Join(c["NODE_PACKAGES"], "node_modules"), filepath.Join(filepath.Dir(script), "node_modules")))
	return map[string]program{
		"go": {args: []string{built}},
		"java": {args: []string{
			in.Java, "-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", filepath.Join(c["JARS"], "*"),
			filepath.Join(dir, "java", "src", "main", "java", "Produce.java"),
		}},
		"python": {
			args: []string{"python3", filepath.Join(dir, "python", "produce.py")}, env: []string{"PYTHONPATH=" + c["PYTHON_PACKAGES"]},
		},
		"node": {args: []string{c["NODE"], script}},
	}
}
