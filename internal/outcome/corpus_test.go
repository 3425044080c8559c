package outcome_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"replyworker/internal/job"
	"replyworker/internal/outcome"
	"replyworker/internal/outcome/export"
)

const (
	corpusDir       = "testdata/corpus/v1"
	corpusGoldenDir = "testdata/corpus/golden/v1"
)

// corpus returns the names and the records of the outcomes of the corpus.
func corpus(t *testing.T) (names []string, records []job.Delivery) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(corpusDir, "*.json"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for i, file := range files {
		value, err := os.ReadFile(file)
		require.NoError(t, err)
		headers, err := os.ReadFile(strings.TrimSuffix(file, ".json") + ".headers")
		require.NoError(t, err)
		d := job.Delivery{Source: job.Source{Topic: "reply-outcomes", Offset: int64(i), Timestamp: published}, Value: value}
		for line := range strings.Lines(string(headers)) {
			name, text, found := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
			require.True(t, found, line)
			d.Headers = append(d.Headers, job.Header{Key: name, Value: []byte(text)})
		}
		names = append(names, strings.TrimSuffix(filepath.Base(file), ".json"))
		records = append(records, d)
	}
	return names, records
}

// TestCorpus holds that this version reads every outcome that an earlier one has published, as it was
// read then.
func TestCorpus(t *testing.T) {
	t.Parallel()
	names, deliveries := corpus(t)
	text, found := job.Schema("outcome")
	require.True(t, found)
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	require.NoError(t, err)
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	require.NoError(t, compiler.AddResource("outcome.json", document))
	schema, err := compiler.Compile("outcome.json")
	require.NoError(t, err)
	var records []*outcome.Record
	for i, d := range deliveries {
		r, err := outcome.Read(&d)
		require.NoError(t, err, names[i])
		records = append(records, &r)
		corpusGolden(t, names[i]+".txt", fmt.Appendf(nil, "%s\n%s\n%s %s %s\n",
			r.ID, indented(t, r.Event), r.Times.Enqueued, r.Times.Started, r.Times.Finished))
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(d.Value))
		require.NoError(t, err, names[i])
		require.NoError(t, schema.Validate(value), names[i])
	}
	corpusGolden(t, "export.csv", exported(t, export.FormatCSV, records))
	corpusGolden(t, "export.ndjson", exported(t, export.FormatNDJSON, records))
	corpusGolden(t, "export.parquet.txt", parquetText(t, exported(t, export.FormatParquet, records)))
}

// TestCorpusIsWhole holds that nothing of the corpus was changed or removed, and that it has each status
// and reason.
func TestCorpusIsWhole(t *testing.T) {
	t.Parallel()
	sums, err := os.ReadFile(filepath.Join(corpusDir, "SHA256SUMS"))
	require.NoError(t, err)
	var listed []string
	for line := range strings.Lines(string(sums)) {
		sum, name, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		data, err := os.ReadFile(filepath.Join(corpusDir, name))
		require.NoError(t, err, "an outcome of the corpus is never removed")
		got := sha256.Sum256(data)
		require.Equal(t, sum, hex.EncodeToString(got[:]), "%s was changed; outcomes of the corpus never are", name)
		listed = append(listed, name)
	}
	names, deliveries := corpus(t)
	kinds := map[string]bool{}
	for i, d := range deliveries {
		require.Contains(t, listed, names[i]+".json", "it is not in SHA256SUMS yet")
		require.Contains(t, listed, names[i]+".headers", "it is not in SHA256SUMS yet")
		e, err := outcome.Parse(d.Value)
		require.NoError(t, err)
		kinds[string(e.Status)+" "+string(e.Reason)] = true
	}
	var want []string
	for _, s := range job.Statuses() {
		if s != job.StatusFailed {
			want = append(want, string(s)+" ")
			continue
		}
		for _, r := range job.Reasons() {
			want = append(want, string(s)+" "+string(r))
		}
	}
	for _, kind := range want {
		require.Contains(t, kinds, kind, "no outcome of the corpus is %s", kind)
	}
}

// corpusGolden compares with a file of what is expected of the corpus.
func corpusGolden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join(corpusGoldenDir, name)
	if *update {
		require.NoError(t, os.MkdirAll(corpusGoldenDir, 0o700))
		require.NoError(t, os.WriteFile(path, got, 0o600))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got), "this version reads or exports an outcome of an earlier one otherwise")
}

func indented(t *testing.T, v any) string {
	t.Helper()
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	require.NoError(t, encoder.Encode(v))
	return strings.TrimSpace(b.String())
}

func exported(t *testing.T, f export.Format, records []*outcome.Record) []byte {
	t.Helper()
	var b bytes.Buffer
	w := export.New(f, &b, export.Options{})
	for _, r := range records {
		require.NoError(t, w.Write(r))
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}

// parquetText is the schema and the rows of a Parquet file.
func parquetText(t *testing.T, data []byte) []byte {
	t.Helper()
	file, err := parquet.OpenFile(bytes.NewReader(data), int64(len(data)))
	require.NoError(t, err)
	text := []byte(file.Schema().String() + "\n")
	rows := parquet.NewGenericReader[map[string]any](file, file.Schema())
	for {
		row := []map[string]any{{}}
		n, err := rows.Read(row)
		if n == 1 {
			text = fmt.Appendf(text, "\n%s\n", indented(t, row[0]))
		}
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
	}
	require.NoError(t, rows.Close())
	return text
}
