package result_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/bench/internal/result"
)

func example() *result.Result {
	r := &result.Result{
		Name: "cpu", Title: "CPU", Command: "go -C bench run . -only cpu", At: time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC),
		Machine: "2 cores", Commit: "abc", Others: []float64{0.1, 0.3, 0.2},
	}
	for _, v := range []float64{1.2, 1.1, 1.3} {
		r.Set(result.Figure{Name: "ratio", Aim: &result.Aim{AtMost: 1.25}}, v)
		r.Set(result.Figure{Name: "rate", Unit: "/s", Aim: &result.Aim{AtLeast: 20_000}}, 1000*v)
		r.Set(result.Figure{Name: "curve", Unit: "%", Series: "ours", At: "20 ms"}, 10*v)
	}
	r.Set(result.Figure{Name: "curve", Unit: "%", Series: "ours", At: "100 ms"}, 7)
	r.Set(result.Figure{Name: "curve", Unit: "%", Series: "theirs", At: "100 ms"}, 8)
	return r
}

func TestTable(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	example().Table(&b)
	require.Equal(t, "`go -C bench run . -only cpu`, 2026-11-25, abc; 2 cores; other processes had 20 % of the machine.\n"+`
| CPU | aim | median | least to greatest | runs |
| --- | --- | ---: | ---: | ---: |
| ratio | at most 1.25 | **1.20** | 1.10 to 1.30 | 3 |
| rate | at least 20,000 /s | **1,200 /s** | 1,100 to 1,300 | 3 |

| curve (%) | 20 ms | 100 ms |
| --- | ---: | ---: |
| ours | **12** (11 to 13) | **7** |
| theirs | | **8** |
`, b.String())
}

func TestWriteRead(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new")
	none, err := result.Read(dir, "cpu")
	require.NoError(t, err)
	require.Nil(t, none)
	require.NoError(t, example().Write(dir))
	got, err := result.Read(dir, "cpu")
	require.NoError(t, err)
	require.Equal(t, example(), got)
}

// TestInsert: a table goes where its name stands, and again over itself; the rest of the text stays.
func TestInsert(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, example().Write(dir))
	doc := filepath.Join(dir, "doc.md")
	const text = "a\n<!-- measured: cpu -->\nold\n<!-- /measured -->\nb\n<!-- measured: other -->\nkept\n<!-- /measured -->\nc\n"
	require.NoError(t, os.WriteFile(doc, []byte(text), 0o600))
	var first string
	for range 2 {
		require.NoError(t, result.Insert(doc, dir))
		got, err := os.ReadFile(doc)
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(string(got), "a\n<!-- measured: cpu -->\n\n`go"), "%s", got)
		require.True(t, strings.HasSuffix(string(got), "<!-- /measured -->\nb\n<!-- measured: other -->\nkept\n<!-- /measured -->\nc\n"), "%s", got)
		require.NotContains(t, string(got), "old")
		require.True(t, first == "" || first == string(got), "the second time it is another")
		first = string(got)
	}
	require.NoError(t, os.WriteFile(doc, []byte("<!-- measured: cpu -->\nno end"), 0o600))
	require.Error(t, result.Insert(doc, dir))
}

func TestAimMisses(t *testing.T) {
	t.Parallel()
	most, least := &result.Aim{AtMost: 1.25}, &result.Aim{AtLeast: 97}
	var none *result.Aim
	require.False(t, most.Misses(2.0, 1.6))
	require.True(t, most.Misses(2.01, 1.6))
	require.False(t, least.Misses(61, 1.6))
	require.True(t, least.Misses(60, 1.6))
	require.False(t, none.Misses(1e9, 1.6))
}

func TestQuantile(t *testing.T) {
	t.Parallel()
	values := []float64{4, 1, 3, 2}
	require.InDelta(t, 2.5, result.Quantile(values, 0.5), 1e-9)
	require.InDelta(t, 1, result.Quantile(values, 0), 1e-9)
	require.InDelta(t, 4, result.Quantile(values, 1), 1e-9)
	require.Zero(t, result.Quantile(nil, 0.5))
	require.Equal(t, []float64{4, 1, 3, 2}, values)
}
