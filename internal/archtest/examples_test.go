package archtest_test

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDocumentsShowFilesAsTheyAre holds code blocks that follow a comment "file: PATH" to the file.
func TestDocumentsShowFilesAsTheyAre(t *testing.T) {
	t.Parallel()
	const docs = "../../docs"
	documents, err := filepath.Glob(filepath.Join(docs, "*.md"))
	require.NoError(t, err)
	shown := 0
	for _, document := range documents {
		text, err := os.ReadFile(document)
		require.NoError(t, err)
		for _, block := range regexp.MustCompile("(?s)<!-- file: (\\S+) -->\n\n```\\w+\n(.*?)```\n").FindAllStringSubmatch(string(text), -1) {
			file, err := os.ReadFile(filepath.Join(docs, block[1]))
			require.NoError(t, err)
			require.Equal(t, string(file), block[2], "%s: %s", document, block[1])
			shown++
		}
	}
	require.GreaterOrEqual(t, shown, 4, "the producers' examples, at least")
}
