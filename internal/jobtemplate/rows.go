package jobtemplate

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxRowBytes bounds the memory for one row. A quote that is never closed makes one of all that follows.
const maxRowBytes = 1 << 20

// FormatError says why a file cannot be read as CSV, or no further. Hint is what to do about it.
type FormatError struct {
	Line int64 // 0: it is about the whole file
	Rule string
	Hint string
}

func (e *FormatError) Error() string {
	if e.Line == 0 {
		return e.Rule
	}
	return fmt.Sprintf("line %d: %s", e.Line, e.Rule)
}

// Row is a row of cells, one for each column, or what is wrong with it.
type Row struct {
	Line  int64 // on which it begins; a cell in quotes may have several lines
	Cells []string
	Fault string
}

// Rows reads a CSV file: commas, quotes as RFC 4180 has them, UTF-8 with or without a byte order mark,
// the columns' names in the first row. Rows without any text are passed over. Memory is bounded.
type Rows struct {
	csv     *csv.Reader
	budget  *budgetReader
	columns []string
}

// NewRows reads the first row. Its error is a [*FormatError], or that of r.
func NewRows(r io.Reader) (*Rows, error) {
	buffered := bufio.NewReader(r)
	head, _ := buffered.Peek(4)
	if fault := foreignFormat(head); fault != nil {
		return nil, fault
	}
	if bytes.HasPrefix(head, []byte(byteOrderMark)) {
		_, _ = buffered.Discard(len(byteOrderMark)) // it was peeked at
	}
	budget := &budgetReader{from: buffered}
	rows := &Rows{csv: csv.NewReader(budget), budget: budget}
	rows.csv.FieldsPerRecord = -1 // Next counts them, with words of its own
	rows.csv.ReuseRecord = true
	header, err := rows.read()
	if errors.Is(err, io.EOF) {
		return nil, &FormatError{Rule: "is empty; the first row must be the names of the columns"}
	}
	if err != nil {
		return nil, err
	}
	if header.Fault != "" {
		return nil, &FormatError{Line: header.Line, Rule: header.Fault}
	}
	rows.columns = slices.Clone(header.Cells)
	for i, name := range rows.columns {
		rows.columns[i] = strings.TrimSpace(name)
	}
	return rows, checkColumns(rows.columns)
}

// foreignFormat knows the files that spreadsheets make beside CSV in UTF-8, by their first bytes.
func foreignFormat(head []byte) error {
	const hint = `save it as "CSV UTF-8 (comma delimited)"`
	switch {
	case bytes.HasPrefix(head, []byte("PK\x03\x04")), bytes.HasPrefix(head, []byte("\xd0\xcf\x11\xe0")):
		return &FormatError{Rule: "is a workbook, not a CSV file", Hint: hint}
	case bytes.HasPrefix(head, []byte("\xff\xfe")), bytes.HasPrefix(head, []byte("\xfe\xff")):
		return &FormatError{Rule: "is UTF-16, not UTF-8", Hint: hint}
	}
	return nil
}

func checkColumns(columns []string) error {
	all := strings.Join(columns, ",")
	var rule, hint string
	switch first := columns[0]; {
	case strings.Contains(all, "\r"):
		rule, hint = "has lines that end in a carriage return alone", "save it with the line ends of Windows or Unix"
	case len(columns) == 1 && strings.Contains(first, ";"):
		rule, hint = "has semicolons between its columns", "save it with commas"
	case len(columns) == 1 && strings.Contains(first, "\t"):
		rule, hint = "has tabs between its columns", "save it with commas"
	}
	if rule != "" {
		return &FormatError{Line: 1, Rule: rule, Hint: hint}
	}
	for i, name := range columns {
		if name != "" && slices.Contains(columns[:i], name) {
			return &FormatError{Line: 1, Rule: fmt.Sprintf("has two columns %q", name), Hint: "rename one of them"}
		}
	}
	for _, name := range []string{ColumnComplaintID, ColumnComplaintedMchID} {
		if !slices.Contains(columns, name) {
			return &FormatError{
				Line: 1, Rule: fmt.Sprintf("has no column %q; there are %s", name, list(columns)),
				Hint: "the first row must be the names of the columns; these two must be there: " +
					ColumnComplaintID + ", " + ColumnComplaintedMchID,
			}
		}
	}
	return nil
}

// Columns returns the names in the first row.
func (r *Rows) Columns() []string { return r.columns }

// Next returns the next row that has any text, and [io.EOF] after the last. A row with a Fault is
// followed by others; after an error there are none. Cells are the caller's until the next call.
func (r *Rows) Next() (Row, error) {
	for {
		row, err := r.read()
		if err != nil || row.Fault != "" {
			return row, err
		}
		if !slices.ContainsFunc(row.Cells, func(cell string) bool { return cell != "" }) {
			continue
		}
		if len(row.Cells) != len(r.columns) {
			row.Fault = fmt.Sprintf("has %d cells, and the first row has %d", len(row.Cells), len(r.columns))
		}
		return row, nil
	}
}

// read returns the next row as it is.
func (r *Rows) read() (Row, error) {
	r.budget.left = maxRowBytes
	last := r.csv.InputOffset()
	cells, err := r.csv.Read()
	if wrong, ok := errors.AsType[*csv.ParseError](err); ok {
		return Row{Line: int64(wrong.StartLine), Fault: quoteFault(wrong)}, nil
	}
	if errors.Is(err, errBudget) {
		return Row{}, &FormatError{
			Rule: fmt.Sprintf("has a row of more than %d bytes, after the first %d bytes of the file", maxRowBytes, last),
			Hint: "look for a quote that is never closed",
		}
	}
	if err != nil {
		return Row{}, err //nolint:wrapcheck // the caller knows the file's name
	}
	line, _ := r.csv.FieldPos(0)
	for i, cell := range cells {
		if !utf8.ValidString(cell) {
			return Row{}, r.notUTF8(i)
		}
	}
	return Row{Line: int64(line), Cells: cells}, nil
}

func (r *Rows) notUTF8(cell int) error {
	line, _ := r.csv.FieldPos(cell)
	column := fmt.Sprintf("cell %d", cell+1)
	if cell < len(r.columns) {
		column = fmt.Sprintf("column %q", r.columns[cell])
	}
	return &FormatError{
		Line: int64(line), Rule: column + " is not UTF-8",
		Hint: `a spreadsheet's plain "CSV" is GBK where Windows is Chinese: save it as "CSV UTF-8 (comma delimited)", ` +
			"or convert it: iconv -f GB18030 -t UTF-8 IN.csv > OUT.csv",
	}
}

func quoteFault(e *csv.ParseError) string {
	switch {
	case errors.Is(e.Err, csv.ErrBareQuote):
		return `has a quote in a cell that does not begin with one; put quotes around the cell and double those in it`
	case errors.Is(e.Err, csv.ErrQuote) && e.Line > e.StartLine:
		return fmt.Sprintf("has a quote that is not closed, or one that is not doubled, up to line %d", e.Line)
	case errors.Is(e.Err, csv.ErrQuote):
		return "has a quote that is not closed, or one that is not doubled"
	}
	return e.Err.Error()
}

var errBudget = errors.New("too long")

// budgetReader ends with an error where one row takes more than it may.
type budgetReader struct {
	from io.Reader
	left int
}

func (b *budgetReader) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errBudget
	}
	n, err := b.from.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err //nolint:wrapcheck // it is passed on as it is
}
