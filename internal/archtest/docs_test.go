package archtest_test

import (
	"flag"
	"go/ast"
	"os"
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
