package export

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"replyworker/internal/outcome"
)

const bufferBytes = 64 << 10

// csvColumn is a column of CSV.
type csvColumn struct {
	name string
	text func(*outcome.Record) string
	// free says that others than this program decide how the text begins.
	free bool
}

func whole[T int | int64](of func(*outcome.Record) T) func(*outcome.Record) string {
	return func(r *outcome.Record) string { return strconv.FormatInt(int64(of(r)), 10) }
}

// csvColumns are the columns, in an order that stays. New ones are added at the end.
var csvColumns = []csvColumn{
	{"ce_id", func(r *outcome.Record) string { return r.ID }, true},
	{"schema_version", whole(func(r *outcome.Record) int { return r.SchemaVersion }), false},
	{"status", func(r *outcome.Record) string { return string(r.Status) }, false},
	{"reason", func(r *outcome.Record) string { return string(r.Reason) }, true},
	{"idempotent_id", func(r *outcome.Record) string { return r.IdempotentID }, true},
	{"complaint_id", func(r *outcome.Record) string { return r.ComplaintID }, true},
	{"complainted_mchid", func(r *outcome.Record) string { return r.ComplaintedMchID }, true},
	{"mchid", func(r *outcome.Record) string { return r.MchID }, true},
	{"log_id", func(r *outcome.Record) string { return r.LogID }, true},
	{"content_sha256", func(r *outcome.Record) string { return r.ContentSHA256 }, true},
	{"attempts", whole(func(r *outcome.Record) int { return r.Attempts }), false},
	{"maybe_sent", func(r *outcome.Record) string { return strconv.FormatBool(r.MaybeSent) }, false},
	{"host", func(r *outcome.Record) string { return r.Host }, true},
	{"http_status", whole(func(r *outcome.Record) int { return r.HTTPStatus }), false},
	{"error_code", func(r *outcome.Record) string { return r.ErrorCode }, true},
	{"error_message", func(r *outcome.Record) string { return r.ErrorMessage }, true},
	{"request_id", func(r *outcome.Record) string { return r.RequestID }, true},
	{"enqueued_at", func(r *outcome.Record) string { return r.EnqueuedAt }, false},
	{"started_at", func(r *outcome.Record) string { return r.StartedAt }, false},
	{"finished_at", func(r *outcome.Record) string { return r.FinishedAt }, false},
	{"queue_ms", whole(func(r *outcome.Record) int64 { return r.QueueMS }), false},
	{"processing_ms", whole(func(r *outcome.Record) int64 { return r.ProcessingMS }), false},
	{"end_to_end_ms", whole(func(r *outcome.Record) int64 { return r.EndToEndMS }), false},
	{"replay_count", whole(func(r *outcome.Record) int { return r.ReplayCount }), false},
	{"labels", labelsText, false},
	{"source_topic", func(r *outcome.Record) string { return r.Source.Topic }, true},
	{"source_partition", whole(func(r *outcome.Record) int { return r.Source.Partition }), false},
	{"source_offset", whole(func(r *outcome.Record) int64 { return r.Source.Offset }), false},
}

// labelsText is the labels as a JSON object, sorted by name.
func labelsText(r *outcome.Record) string {
	if len(r.Labels) == 0 {
		return "{}"
	}
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(r.Labels) //nolint:errchkjson // a map of strings, into memory
	return strings.TrimSpace(b.String())
}

// CSVColumns lists the names of the columns.
func CSVColumns() []string {
	var names []string
	for _, c := range csvColumns {
		names = append(names, c.name)
	}
	return names
}

// CSV writes outcomes as RFC 4180 has it: a line of names, then a line for each, which end in CR and LF.
// encoding/csv is no help: with such ends it changes line breaks within a cell.
//
// A cell whose text others decide and that begins with what makes a spreadsheet run it as a formula has
// a ' before it, and so has one that begins with ' itself: who takes one ' away where there is one has
// the text back.
type CSV struct {
	to      *bufio.Writer
	raw     bool
	begun   bool
	guarded int64
}

// NewCSV makes a CSV.
func NewCSV(to io.Writer, o Options) *CSV {
	return &CSV{to: bufio.NewWriterSize(to, bufferBytes), raw: o.RawCells}
}

// Guarded returns how many cells have a ' before them.
func (c *CSV) Guarded() int64 { return c.guarded }

// Write writes an outcome.
func (c *CSV) Write(r *outcome.Record) error {
	if err := c.begin(); err != nil {
		return err
	}
	cells := make([]string, len(csvColumns))
	for i, column := range csvColumns {
		cells[i] = column.text(r)
		if column.free && !c.raw && runs(cells[i]) {
			cells[i] = "'" + cells[i]
			c.guarded++
		}
	}
	return c.line(cells)
}

// begin writes the names, once.
func (c *CSV) begin() error {
	if c.begun {
		return nil
	}
	c.begun = true
	return c.line(CSVColumns())
}

func (c *CSV) line(cells []string) error {
	for i, cell := range cells {
		if strings.ContainsAny(cell, "\",\r\n") || strings.HasPrefix(cell, " ") || strings.HasSuffix(cell, " ") {
			cell = `"` + strings.ReplaceAll(cell, `"`, `""`) + `"`
		}
		if i > 0 {
			cell = "," + cell
		}
		_, _ = c.to.WriteString(cell) // the writer keeps its error for the next line
	}
	if _, err := c.to.WriteString("\r\n"); err != nil {
		return fmt.Errorf("write CSV: %w", err)
	}
	return nil
}

// runs says that a spreadsheet may take a cell for a formula (OWASP, CSV Injection, read 2026-11-20:
// = + - @ tab, CR, LF, and the wide forms of the first four), or that it begins as a guarded one does.
func runs(cell string) bool {
	first, _ := utf8.DecodeRuneInString(cell)
	return cell != "" && strings.ContainsRune("=+-@\t\r\n'\uff1d\uff0b\uff0d\uff20", first)
}

// Close writes what is left, and the names where there was no outcome.
func (c *CSV) Close() error {
	if err := c.begin(); err != nil {
		return err
	}
	if err := c.to.Flush(); err != nil {
		return fmt.Errorf("write CSV: %w", err)
	}
	return nil
}
