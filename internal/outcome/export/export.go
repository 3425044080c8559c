// Package export writes outcomes as CSV, as NDJSON and as Parquet, each bounded in memory, and files that
// are whole or not there.
package export

import (
	"io"
	"path/filepath"
	"slices"
	"strings"

	"replyworker/internal/outcome"
)

// Format is a form of the export.
type Format string

// The formats.
const (
	FormatCSV     Format = "csv"
	FormatNDJSON  Format = "ndjson"
	FormatParquet Format = "parquet"
)

// Formats lists the formats.
func Formats() []Format { return []Format{FormatCSV, FormatNDJSON, FormatParquet} }

// FormatOf returns the format that a file's name says it has.
func FormatOf(path string) (Format, bool) {
	f := Format(strings.ToLower(strings.TrimPrefix(filepath.Ext(path), ".")))
	if f == "jsonl" {
		return FormatNDJSON, true
	}
	return f, slices.Contains(Formats(), f)
}

// Writer writes outcomes in one format. It is not safe for concurrent use.
type Writer interface {
	Write(r *outcome.Record) error
	// Close writes what is left. It does not close what is written to.
	Close() error
}

// Options are choices of single formats.
type Options struct {
	// RawCells leaves the cells of CSV as they are, also those that a spreadsheet would run.
	RawCells bool
	// Program is the name and version of the program, which a Parquet file says it is made by.
	Program, Version string
}

// New makes the writer of a format.
func New(f Format, to io.Writer, o Options) Writer {
	switch f {
	case FormatCSV:
		return NewCSV(to, o)
	case FormatNDJSON:
		return NewNDJSON(to)
	default:
		return NewParquet(to, o)
	}
}
