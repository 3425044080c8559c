package export_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"replyworker/internal/outcome/export"
)

// entries returns the names in a folder.
func entries(t *testing.T, dir string) []string {
	t.Helper()
	list, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}

func put(t *testing.T, path, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
}

func text(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(data)
}

func begin(t *testing.T, path string, force bool) *export.File {
	t.Helper()
	f, err := export.Create(path, force)
	require.NoError(t, err)
	_, err = f.Write([]byte("new"))
	require.NoError(t, err)
	return f
}

func TestAFileIsThereWhenItIsWhole(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "a.csv")
	f := begin(t, path, false)
	require.NoFileExists(t, path)
	require.Regexp(t, `^\.a\.csv\.[A-Z2-7]{8}\.part$`, entries(t, dir)[0])
	require.NoError(t, f.Commit())
	f.Abort()
	require.Equal(t, []string{"a.csv"}, entries(t, dir))
	require.Equal(t, "new", text(t, path))
}

func TestAnAbortedFileLeavesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := begin(t, filepath.Join(dir, "a.csv"), false)
	f.Abort()
	f.Abort()
	require.Empty(t, entries(t, dir))
}

func TestAFileIsNotReplaced(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "a.csv")
	put(t, path, "old")
	_, err := export.Create(path, false)
	require.ErrorIs(t, err, export.ErrExists)
	require.EqualError(t, err, path+": it exists")
	require.Equal(t, []string{"a.csv"}, entries(t, dir))

	meanwhile := filepath.Join(dir, "b.csv")
	f := begin(t, meanwhile, false)
	put(t, meanwhile, "somebody else's")
	require.ErrorIs(t, f.Commit(), export.ErrExists)
	require.Equal(t, "somebody else's", text(t, meanwhile))
	require.Equal(t, []string{"a.csv", "b.csv"}, entries(t, dir))
}

func TestAFileIsReplacedByForce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, link := filepath.Join(dir, "a.csv"), filepath.Join(dir, "link.csv")
	put(t, path, "old")
	require.NoError(t, os.Symlink("a.csv", link))
	f := begin(t, link, true)
	require.Equal(t, "old", text(t, path), "until the end")
	require.NoError(t, f.Commit())
	require.Equal(t, "new", text(t, path))
	info, err := os.Lstat(link)
	require.NoError(t, err)
	require.NotZero(t, info.Mode()&os.ModeSymlink, "the link stays")
	require.Equal(t, []string{"a.csv", "link.csv"}, entries(t, dir))
}

func TestOnlyRegularFilesAreReplaced(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, path := range []string{dir, os.DevNull} {
		_, err := export.Create(path, true)
		require.EqualError(t, err, path+" is no regular file")
	}
	_, err := export.Create(filepath.Join(dir, "none", "a.csv"), false)
	require.EqualError(t, err, "make a file in "+filepath.Join(dir, "none")+": no such file or directory")
	put(t, filepath.Join(dir, "file"), "")
	_, err = export.Create(filepath.Join(dir, "file", "a.csv"), false)
	require.ErrorContains(t, err, "not a directory")
}
