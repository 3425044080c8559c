package export_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/stretchr/testify/require"

	"replyworker/internal/job"
	"replyworker/internal/outcome"
	"replyworker/internal/outcome/export"
)

// record makes an outcome with these fields in its event.
func record(t *testing.T, id, fields string) *outcome.Record {
	t.Helper()
	if fields != "" {
		fields = "," + fields
	}
	r, err := outcome.Read(&job.Delivery{
		Value:   []byte(`{"schema_version":1,"status":"succeeded"` + fields + `}`),
		Headers: []job.Header{{Key: "ce_id", Value: []byte(id)}},
	})
	require.NoError(t, err)
	return &r
}

func write(t *testing.T, w export.Writer, records ...*outcome.Record) {
	t.Helper()
	for _, r := range records {
		require.NoError(t, w.Write(r))
	}
	require.NoError(t, w.Close())
}

func TestFormatOf(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]export.Format{
		"a.csv": export.FormatCSV, "x/y.NDJSON": export.FormatNDJSON, "a.b.jsonl": export.FormatNDJSON, "a.parquet": export.FormatParquet,
	} {
		got, found := export.FormatOf(path)
		require.True(t, found, path)
		require.Equal(t, want, got)
	}
	for _, path := range []string{"", "csv", "a.txt", "a.csv.gz", "a."} {
		_, found := export.FormatOf(path)
		require.False(t, found, path)
	}
}

// cell returns what a CSV has for one column of its first outcome.
func cell(t *testing.T, text, column string) string {
	t.Helper()
	rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	require.NoError(t, err)
	require.Len(t, rows, 2)
	for i, name := range rows[0] {
		if name == column {
			return rows[1][i]
		}
	}
	require.Fail(t, "no column "+column)
	return ""
}

func TestCSVKeepsEveryCharacter(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"plain", `a "quoted" word`, "a, b", "two\nlines", " spaces ", "\u6295\u8bc9", "", `\`, "a\tb", "a;b",
	} {
		value, err := json.Marshal(text)
		require.NoError(t, err)
		var b bytes.Buffer
		write(t, export.NewCSV(&b, export.Options{}), record(t, "id", `"error_message":`+string(value)))
		require.Equal(t, text, cell(t, b.String(), "error_message"))
		require.Equal(t, 2, strings.Count(strings.ReplaceAll(b.String(), "two\nlines", ""), "\n"))
	}
	var b bytes.Buffer
	write(t, export.NewCSV(&b, export.Options{}), record(t, "id", `"error_message":"a\r\nb\rc\nd"`))
	require.Contains(t, b.String(), "\"a\r\nb\rc\nd\"", "line breaks stay as they are")
}

func TestCSVGuardsAgainstSpreadsheets(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "\nx", "'=1", "'", "\uff1d1", "\uff0b1", "\uff0d1", "\uff201"} {
		value, err := json.Marshal(text)
		require.NoError(t, err)
		r := record(t, "id", `"idempotent_id":`+string(value)+`,"queue_ms":-1`)
		var b bytes.Buffer
		c := export.NewCSV(&b, export.Options{})
		write(t, c, r)
		require.EqualValues(t, 1, c.Guarded(), "%q; numbers are not guarded", text)
		require.Equal(t, text, strings.TrimPrefix(cell(t, b.String(), "idempotent_id"), "'"), "it can be had back")
		require.NotEqual(t, text, cell(t, b.String(), "idempotent_id"))
		require.Equal(t, "-1", cell(t, b.String(), "queue_ms"))

		b.Reset()
		c = export.NewCSV(&b, export.Options{RawCells: true})
		write(t, c, r)
		require.Zero(t, c.Guarded())
		require.Equal(t, text, cell(t, b.String(), "idempotent_id"))
	}
	var b bytes.Buffer
	c := export.NewCSV(&b, export.Options{})
	write(t, c, record(t, "id", `"idempotent_id":"a=b","labels":{"=1":"=2"}`))
	require.Zero(t, c.Guarded(), "within a cell they are harmless")
}

// TestCSVColumnsStay holds the order of the columns, which is a contract: new ones come at the end.
func TestCSVColumnsStay(t *testing.T) {
	t.Parallel()
	require.Equal(t, strings.Fields("ce_id schema_version status reason idempotent_id complaint_id complainted_mchid mchid "+
		"log_id content_sha256 attempts maybe_sent host http_status error_code error_message request_id enqueued_at "+
		"started_at finished_at queue_ms processing_ms end_to_end_ms replay_count labels source_topic source_partition "+
		"source_offset"), export.CSVColumns())
}

func TestEmptyExportsAreWhole(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	write(t, export.New(export.FormatCSV, &b, export.Options{}))
	require.Equal(t, strings.Join(export.CSVColumns(), ",")+"\r\n", b.String())
	b.Reset()
	write(t, export.New(export.FormatNDJSON, &b, export.Options{}))
	require.Empty(t, b.String())
	write(t, export.New(export.FormatParquet, &b, export.Options{Program: "replyworker", Version: "1.2.3"}))
	file, err := parquet.OpenFile(bytes.NewReader(b.Bytes()), int64(b.Len()))
	require.NoError(t, err)
	require.Zero(t, file.NumRows())
	require.Contains(t, file.Metadata().CreatedBy, "replyworker version 1.2.3")
}

func TestNDJSONIsAsInTheTopic(t *testing.T) {
	t.Parallel()
	for fields, want := range map[string]string{
		`"error_message":"\u003c<&\u2028","new":1.50`: `{"ce_id":"a/0/1/2","schema_version":1,"status":"succeeded","error_message":"\u003c<&\u2028","new":1.50}`,
		"\"host\" :\n\t\"backup\"":                    `{"ce_id":"a/0/1/2","schema_version":1,"status":"succeeded","host":"backup"}`,
		`"ce_id":"its own"`:                           `{"schema_version":1,"status":"succeeded","ce_id":"its own"}`,
	} {
		var b bytes.Buffer
		write(t, export.NewNDJSON(&b), record(t, "a/0/1/2", fields))
		require.Equal(t, want+"\n", b.String())
	}
}

// parquetRow is what the test reads back, written down apart from the code.
type parquetRow struct {
	ID       string            `parquet:"ce_id"`
	Finished *time.Time        `parquet:"finished_at,optional,timestamp(millisecond)"`
	Enqueued *time.Time        `parquet:"enqueued_at,optional,timestamp(millisecond)"`
	Attempts int64             `parquet:"attempts"`
	Labels   map[string]string `parquet:"labels"`
	Source   struct {
		Topic  string `parquet:"topic"`
		Offset int64  `parquet:"offset"`
	} `parquet:"source"`
}

func TestParquet(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	write(t, export.NewParquet(&b, export.Options{}),
		record(t, "a", `"finished_at":"2026-11-23T16:00:00.123+08:00","attempts":9007199254740993,"labels":{"k":"=v"},`+
			`"source":{"topic":"reply-jobs","partition":3,"offset":1041}`),
		record(t, "b", ""))
	rows, err := parquet.Read[parquetRow](bytes.NewReader(b.Bytes()), int64(b.Len()))
	require.NoError(t, err)
	require.Len(t, rows, 2)
	at := time.Date(2026, 11, 23, 8, 0, 0, 123e6, time.UTC)
	require.True(t, at.Equal(*rows[0].Finished))
	require.Nil(t, rows[0].Enqueued)
	require.EqualValues(t, 9007199254740993, rows[0].Attempts)
	require.Equal(t, map[string]string{"k": "=v"}, rows[0].Labels)
	require.Equal(t, "reply-jobs", rows[0].Source.Topic)
	require.EqualValues(t, 1041, rows[0].Source.Offset)
	require.Equal(t, "b", rows[1].ID)
	require.Nil(t, rows[1].Finished)
	require.Empty(t, rows[1].Labels)
}

// TestParquetIsWrittenAsItComes holds that no more than a row group is kept in memory, also where few
// outcomes are large.
func TestParquetIsWrittenAsItComes(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	w := export.NewParquet(&b, export.Options{})
	large := record(t, "large", `"labels":{"k":"`+strings.Repeat("x", 1<<20)+`"}`)
	for range 40 {
		require.NoError(t, w.Write(large))
	}
	require.NotZero(t, b.Len(), "32 MiB are reached")
	small := record(t, "small", "")
	for range 100_001 {
		require.NoError(t, w.Write(small))
	}
	require.NoError(t, w.Close())
	file, err := parquet.OpenFile(bytes.NewReader(b.Bytes()), int64(b.Len()))
	require.NoError(t, err)
	require.EqualValues(t, 100_041, file.NumRows())
	require.Len(t, file.RowGroups(), 3)
}

// full is a disk that takes so many bytes.
type full struct{ left int }

var errFull = errors.New("no space left on device")

// Write implements io.Writer.
func (f *full) Write(p []byte) (int, error) {
	if len(p) > f.left {
		return 0, errFull
	}
	f.left -= len(p)
	return len(p), nil
}

func TestAFullDiskIsAnError(t *testing.T) {
	t.Parallel()
	for _, f := range export.Formats() {
		for _, outcomes := range []int{1, 2000} {
			t.Run(fmt.Sprint(f, outcomes), func(t *testing.T) {
				t.Parallel()
				w := export.New(f, &full{50}, export.Options{})
				var err error
				for i := 0; err == nil && i < outcomes; i++ {
					err = w.Write(record(t, fmt.Sprint(i), ""))
				}
				if err == nil {
					err = w.Close()
				}
				require.ErrorIs(t, err, errFull)
			})
		}
	}
}
