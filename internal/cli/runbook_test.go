package cli_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	runbook        = "../../docs/runbook.md"
	runbookChapter = "\n## The API refuses everything\n"
	runbookJobs    = 12
)

// TestRunbook runs the incident of docs/runbook.md as it is written there: each command of a console
// block, each line of output that it shows ("…" stands for anything), and, unseen by the reader, what
// the comments that begin with "script:" do to the world around.
func TestRunbook(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(runbook)
	require.NoError(t, err)
	_, chapter, found := strings.Cut(string(text), runbookChapter)
	require.True(t, found, "%s has a chapter %q", runbook, runbookChapter)
	chapter, _, _ = strings.Cut(chapter, "\n## ")

	var script strings.Builder
	script.WriteString(scriptOf(t, chapter))
	script.WriteString("-- jobs.ndjson --\n")
	for i := range runbookJobs {
		fmt.Fprintf(&script, `{"complaint_id":"complaint-%d","complainted_mchid":"1900012181","idempotent_id":"reply-%d",`+
			`"message":{"blocks":[{"type":"TEXT","text":{"text":"您好"}}]}}`+"\n", i+1, i+1)
	}
	path := filepath.Join(t.TempDir(), "runbook.txtar")
	require.NoError(t, os.WriteFile(path, []byte(script.String()), 0o600))
	runScripts(t, "", path)
}

// scriptOf makes a script of a chapter of Markdown.
func scriptOf(t *testing.T, chapter string) string {
	t.Helper()
	var script strings.Builder
	commands := 0
	parts := regexp.MustCompile("(?s)<!-- script: (.*?)-->|```console\n(.*?)```").FindAllStringSubmatch(chapter, -1)
	for _, part := range parts {
		if part[1] != "" {
			script.WriteString(strings.TrimSpace(part[1]) + "\n")
			continue
		}
		for line := range strings.Lines(part[2]) {
			line = strings.TrimRight(line, "\n")
			if command, ok := strings.CutPrefix(line, "$ "); ok {
				commands++
				script.WriteString("exec " + command + "\n")
			} else if line != "…" {
				script.WriteString("prints '" + patternOf(line) + "'\n")
			}
		}
	}
	require.Greater(t, commands, 5, "commands in the chapter")
	return script.String()
}

// patternOf is the regular expression of a line of output, for between single quotes: columns may be
// wider than those shown.
func patternOf(line string) string {
	pattern := regexp.QuoteMeta(strings.TrimRight(line, " "))
	pattern = regexp.MustCompile(" {2,}").ReplaceAllString(pattern, " +")
	return "^" + strings.ReplaceAll(strings.ReplaceAll(pattern, "…", ".*"), "'", "''") + "$"
}
