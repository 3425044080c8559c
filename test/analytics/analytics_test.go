package analytics

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"replyworker/internal/cli"
	"replyworker/internal/devstack"
	"replyworker/internal/job"
	"replyworker/internal/outcome/export"
	"replyworker/internal/stacktest"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	document = "../../docs/analytics.md"
	corpus   = "../../internal/outcome/testdata/corpus/v1"
)

// statements returns the document's SQL of one kind, a statement for each block.
func statements(t *testing.T, kind string) []string {
	t.Helper()
	text, err := os.ReadFile(document)
	require.NoError(t, err)
	blocks := regexp.MustCompile("(?ms)^```sql "+kind+"\n(.*?)^```$").FindAllStringSubmatch(string(text), -1)
	require.NotEmpty(t, blocks, "%s has no block of SQL for %s", document, kind)
	var all []string
	for _, b := range blocks {
		all = append(all, b[1])
	}
	return all
}

// TestTheDocumentIsOfThisVersion holds what can be held without any SQL: that every block is one of those
// that are run, and that no column, status or reason is missing.
func TestTheDocumentIsOfThisVersion(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(document)
	require.NoError(t, err)
	text := string(data)
	n := len(statements(t, "duckdb")) + len(statements(t, "clickhouse")) + len(statements(t, "flink"))
	require.Equal(t, strings.Count(text, "```sql"), n)
	_, list, _ := strings.Cut(text, "new ones come at the end:\n")
	list, _, _ = strings.Cut(list, ".\n")
	var columns []string
	for _, m := range regexp.MustCompile("`([a-z0-9_]+)`").FindAllStringSubmatch(list, -1) {
		columns = append(columns, m[1])
	}
	require.Equal(t, export.CSVColumns(), columns)
	for _, s := range job.Statuses() {
		require.Contains(t, text, "| `"+string(s)+"` | ")
	}
	for _, r := range job.Reasons() {
		require.Contains(t, text, "| `"+string(r)+"` | ")
	}
}

// installed returns the folder that the script run has filled.
func installed(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("TEST_SQL")
	if dir == "" {
		t.Skip("needs DuckDB, ClickHouse and Flink's parser: test/analytics/run")
	}
	return dir
}

// published returns the outcomes of the corpus as records.
func published(t *testing.T) []*kgo.Record {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(corpus, "*.json"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	var records []*kgo.Record
	for _, file := range files {
		value, err := os.ReadFile(file)
		require.NoError(t, err)
		headers, err := os.ReadFile(strings.TrimSuffix(file, ".json") + ".headers")
		require.NoError(t, err)
		r := &kgo.Record{Topic: devstack.TopicOutcomes, Key: []byte("one partition"), Value: value}
		for line := range strings.Lines(string(headers)) {
			name, text, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: name, Value: []byte(text)})
		}
		records = append(records, r)
	}
	return records
}

// exports puts the corpus on a topic, and exports it in each form to a folder.
func exports(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	kafka := stacktest.NewKafka(t, map[string]int{devstack.TopicOutcomes: 3})
	require.NoError(t, kafka.Client().ProduceSync(t.Context(), published(t)...).FirstErr())
	for _, args := range [][]string{
		{"outcomes.parquet"}, {"outcomes.csv"}, {"outcomes.ndjson"}, {"again.ndjson", "--repeats"},
	} {
		args[0] = filepath.Join(dir, args[0])
		var stdout, stderr bytes.Buffer
		args = append([]string{"outcomes", "export", "--out"}, args...)
		require.Zero(t, cli.Run(t.Context(), args, kafka.Env(), strings.NewReader(""), &stdout, &stderr), stderr.String())
	}
	return dir
}

// rows runs statements in a folder and returns each one's rows, as JSON on a line.
func rows(t *testing.T, engine, dir string, statements []string) []string {
	t.Helper()
	script, err := filepath.Abs("queries.py")
	require.NoError(t, err)
	input, err := json.Marshal(statements)
	require.NoError(t, err)
	out := output(t, dir, bytes.NewReader(input), filepath.Join(installed(t), "python", "bin", "python"), script, engine)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	require.Len(t, lines, len(statements))
	return lines
}

func output(t *testing.T, dir string, input *bytes.Reader, program string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.Stdin = dir, input
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "%.2000s", &stderr)
	return string(out)
}

// golden compares each statement's rows with a file.
func golden(t *testing.T, name string, statements, rows []string) {
	t.Helper()
	var b strings.Builder
	for i, s := range statements {
		b.WriteString(s)
		var all []json.RawMessage
		require.NoError(t, json.Unmarshal([]byte(rows[i]), &all), rows[i])
		for _, row := range all {
			b.WriteString("--> ")
			b.Write(row)
			b.WriteByte('\n')
		}
		b.WriteByte('\n')
	}
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(b.String()), 0o600))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), b.String(), "test/analytics/run -update, if it is meant, and look at the diff")
}

const complaints = `complaint_id,opened_at
200201820200101080076610000,2026-11-25T12:40:00+08:00
200201820200101080070000600,2026-11-25T12:43:00+08:00
200201820200101080079999999,2026-11-25T12:44:00+08:00
`

func TestDuckDB(t *testing.T) {
	t.Parallel()
	installed(t)
	dir := exports(t)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "complaints.csv"), []byte(complaints), 0o600))
	queries := statements(t, "duckdb")
	golden(t, "duckdb.golden", queries, rows(t, "duckdb", dir, queries))
}

// TestTheExportsAgree holds, with a reader that others wrote, that the three forms say the same.
func TestTheExportsAgree(t *testing.T) {
	t.Parallel()
	installed(t)
	dir := exports(t)
	const csv = `read_csv('outcomes.csv', header = true, all_varchar = true, quote = '"', escape = '"')`
	const ndjson = `read_json('outcomes.ndjson', format = 'newline_delimited', columns = {
		ce_id: 'VARCHAR', schema_version: 'BIGINT', status: 'VARCHAR', reason: 'VARCHAR', idempotent_id: 'VARCHAR',
		complaint_id: 'VARCHAR', complainted_mchid: 'VARCHAR', mchid: 'VARCHAR', log_id: 'VARCHAR', content_sha256: 'VARCHAR',
		attempts: 'BIGINT', maybe_sent: 'BOOLEAN', host: 'VARCHAR', http_status: 'BIGINT', error_code: 'VARCHAR',
		error_message: 'VARCHAR', request_id: 'VARCHAR', enqueued_at: 'VARCHAR', started_at: 'VARCHAR', finished_at: 'VARCHAR',
		queue_ms: 'BIGINT', processing_ms: 'BIGINT', end_to_end_ms: 'BIGINT', replay_count: 'BIGINT',
		labels: 'MAP(VARCHAR, VARCHAR)', source: 'STRUCT(topic VARCHAR, partition BIGINT, "offset" BIGINT)'})`
	same := func(time string, text, labels, source string) string {
		var columns []string
		for _, c := range export.CSVColumns() {
			switch {
			case strings.HasSuffix(c, "_at"):
				columns = append(columns, strings.ReplaceAll(time, "?", c))
			case c == "labels":
				columns = append(columns, labels)
			case strings.HasPrefix(c, "source_"):
				columns = append(columns, strings.ReplaceAll(source, "?", strings.TrimPrefix(c, "source_")))
			default:
				columns = append(columns, strings.ReplaceAll(text, "?", c))
			}
		}
		return "SELECT " + strings.Join(columns, ", ") + " FROM "
	}
	// DuckDB takes an empty cell for null.
	const toTime, unguarded = "nullif(?, '')::TIMESTAMPTZ", "regexp_replace(coalesce(?, ''), '^''', '')"
	const sorted = "list_sort(map_entries(labels))::VARCHAR"
	fromParquet := same("?", "?::VARCHAR", sorted, `source."?"::VARCHAR`) + "'outcomes.parquet'"
	fromNDJSON := same(toTime, "?::VARCHAR", sorted, `source."?"::VARCHAR`) + ndjson
	fromCSV := same(toTime, unguarded,
		"list_sort(map_entries(labels::JSON::MAP(VARCHAR, VARCHAR)))::VARCHAR", "source_?") + csv
	got := rows(t, "duckdb", dir, []string{
		"SELECT count(*) FROM 'outcomes.parquet'",
		"(" + fromParquet + ") EXCEPT ALL (" + fromNDJSON + ")", "(" + fromNDJSON + ") EXCEPT ALL (" + fromParquet + ")",
		"(" + fromParquet + ") EXCEPT ALL (" + fromCSV + ")", "(" + fromCSV + ") EXCEPT ALL (" + fromParquet + ")",
	})
	distinct := map[string]bool{}
	for _, r := range published(t) {
		for _, h := range r.Headers {
			if h.Key == "ce_id" {
				distinct[string(h.Value)] = true
			}
		}
	}
	count, err := json.Marshal([][]int{{len(distinct)}})
	require.NoError(t, err)
	require.Equal(t, []string{string(count), "[]", "[]", "[]", "[]"}, got)
}

// TestClickHouse runs the document's statements with a table in memory in the place of Kafka's, whose
// columns named for the headers are what Kafka's engine has by itself.
func TestClickHouse(t *testing.T) {
	t.Parallel()
	installed(t)
	documented := statements(t, "clickhouse")
	kafka := regexp.MustCompile(`(?s)\n\)\nENGINE = Kafka\nSETTINGS .*;`)
	require.Regexp(t, kafka, documented[0])
	run := append([]string(nil), documented...)
	run[0] = kafka.ReplaceAllString(run[0], ",\n    _headers Nested(name String, value String)\n)\nENGINE = Memory;")
	last := len(run) - 1
	run = append(run[:last:last], insertion(t), documented[last])
	got := rows(t, "clickhouse", t.TempDir(), run)
	golden(t, "clickhouse.golden", documented, append(got[:last:last], got[last+1]))
}

// insertion is a statement that puts the corpus into the table that takes Kafka's place.
func insertion(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("INSERT INTO outcomes_queue SETTINGS input_format_skip_unknown_fields = 1 FORMAT JSONEachRow\n")
	for _, r := range published(t) {
		var names, values []string
		for _, h := range r.Headers {
			names, values = append(names, h.Key), append(values, string(h.Value))
		}
		headers, err := json.Marshal(map[string][]string{"_headers.name": names, "_headers.value": values})
		require.NoError(t, err)
		b.Write(headers[:len(headers)-1])
		b.WriteByte(',')
		b.Write(r.Value[1:])
		b.WriteByte('\n')
	}
	return b.String()
}

func TestFlinkParses(t *testing.T) {
	t.Parallel()
	libs := filepath.Join(installed(t), "flink", "*")
	all := statements(t, "flink")
	got := output(t, "", bytes.NewReader([]byte(strings.Join(all, "\x00"))),
		"java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", libs, filepath.Join("java", "ParseFlink.java"))
	require.Equal(t, []string{"SqlCreateTable", "SqlCreateView", "SqlSelect"}, strings.Fields(got))
}
