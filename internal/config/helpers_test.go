package config_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"replyworker/internal/config"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares got with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, []byte(got), 0o600))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err, "run the test with -update to make the file")
	require.Equal(t, string(want), got, "%s differs; run the test with -update if it is to", path)
}

// memory is a file system of texts.
type memory map[string]string

func (m memory) read(path string) ([]byte, error) {
	text, found := m[path]
	if !found {
		return nil, &os.PathError{Op: "open", Path: path, Err: os.ErrNotExist}
	}
	return []byte(text), nil
}

// load loads what flags, environment and the files worker.yaml and others make. A worker.yaml is
// named by REPLYWORKER_CONFIG.
func load(t *testing.T, args, env []string, files memory) (*config.Config, error) {
	t.Helper()
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	fs.String(config.FileFlag, "", "")
	config.AddFlags(fs)
	require.NoError(t, fs.Parse(args))
	if _, found := files["worker.yaml"]; found {
		env = append(env, "REPLYWORKER_CONFIG=worker.yaml")
	}
	return config.Load(config.Sources{Flags: fs, Env: env, ReadFile: files.read})
}

// faults is the text of every fault, a line each.
func faults(err error) string {
	var lines []string
	for _, f := range config.Faults(err) {
		lines = append(lines, f.Error()+"\n")
	}
	return strings.Join(lines, "")
}
