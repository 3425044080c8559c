package archtest_test

import (
	"flag"
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"replyworker/internal/config"
)

var update = flag.Bool("update", false, "write what is made from the code into the documents")

// TestReadmeHasTheSettings holds that the README's tables are those of the code.
func TestReadmeHasTheSettings(t *testing.T) {
	t.Parallel()
	const path, begin, end = "../../README.md", "archtest -update` -->\n", "<!-- /settings -->"
	readme, err := os.ReadFile(path)
	require.NoError(t, err)
	head, rest, found := strings.Cut(string(readme), begin)
	require.True(t, found, "README.md has no line that ends in %q", begin)
	got, tail, found := strings.Cut(rest, end)
	require.True(t, found, "README.md has no line %q", end)
	want := "\n" + config.Markdown() + "\n"
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(head+begin+want+end+tail), 0o644))
		return
	}
	require.Equal(t, want, got, "the settings in README.md are not those of the code: go test ./internal/archtest -update")
}

// TestMetricsAreDocumented holds that docs/metrics.md has each metric of the code, and no other.
func TestMetricsAreDocumented(t *testing.T) {
	t.Parallel()
	name := regexp.MustCompile(`^replyworker_[a-z0-9_]+$`)
	inCode := map[string]bool{}
	own, err := the()
	require.NoError(t, err)
	for _, f := range own.code() {
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok {
				if text, err := strconv.Unquote(lit.Value); err == nil && name.MatchString(text) {
					inCode[text] = true
				}
			}
			return true
		})
	}
	text, err := os.ReadFile("../../docs/metrics.md")
	require.NoError(t, err)
	inDocs := map[string]bool{}
	for _, m := range regexp.MustCompile("`(replyworker_[a-z0-9_]+)`").FindAllStringSubmatch(string(text), -1) {
		inDocs[m[1]] = true
	}
	require.Equal(t, keys(inDocs), keys(inCode), "metrics in docs/metrics.md (expected) and in the code (actual)")
}

func keys(set map[string]bool) []string {
	var all []string
	for k := range set {
		all = append(all, k)
	}
	slices.Sort(all)
	return all
}

// TestCommandsInDocumentsRunSomething holds that the tests, benchmarks and fuzz targets which a document
// says to run are there: go test is content with a pattern that matches nothing.
func TestCommandsInDocumentsRunSomething(t *testing.T) {
	t.Parallel()
	command := regexp.MustCompile("go test \\./([a-z/]+)([^`\n]*)")
	pattern := regexp.MustCompile(`-(run|bench|fuzz) (\S+)`)
	prefixes := map[string]string{"run": "Test", "bench": "Benchmark", "fuzz": "Fuzz"}
	documents, err := filepath.Glob("../../docs/*.md")
	require.NoError(t, err)
	found := 0
	for _, path := range append(documents, "../../README.md") {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		for _, c := range command.FindAllStringSubmatch(string(text), -1) {
			for _, p := range pattern.FindAllStringSubmatch(c[2], -1) {
				expr := strings.Trim(p[2], "'")
				if expr == "^$" {
					continue
				}
				found++
				require.True(t, hasTest(t, c[1], prefixes[p[1]], regexp.MustCompile(expr)), "%s says %q, and ./%s has no such test", path, c[0], c[1])
			}
		}
	}
	require.Positive(t, found, "no document says which tests to run")
}

// hasTest says whether a package has a test function of a kind whose name matches.
func hasTest(t *testing.T, dir, prefix string, name *regexp.Regexp) bool {
	t.Helper()
	files, err := filepath.Glob("../../" + dir + "/*_test.go")
	require.NoError(t, err)
	for _, path := range files {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		for _, f := range regexp.MustCompile(`(?m)^func (`+prefix+`\w+)\(`).FindAllStringSubmatch(string(text), -1) {
			if name.MatchString(f[1]) {
				return true
			}
		}
	}
	return false
}
