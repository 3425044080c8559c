package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf16"

	"github.com/rivo/uniseg"
)

// The values of --output.
const (
	outputTable = "table"
	outputJSON  = "json"
)

// column is one column of a table of T.
type column[T any] struct {
	title string
	text  func(T) string
}

// printRecords writes records to stdout as --output says: a table of the columns, or each record as
// JSON on a line.
func printRecords[T any](s *state, records []T, columns ...column[T]) error {
	if s.output == outputJSON {
		for _, r := range records {
			if err := printJSON(s, r); err != nil {
				return err
			}
		}
		return nil
	}
	var header []string
	for _, c := range columns {
		header = append(header, strings.ToUpper(c.title))
	}
	rows := [][]string{header}
	for _, r := range records {
		var row []string
		for _, c := range columns {
			row = append(row, c.text(r))
		}
		rows = append(rows, row)
	}
	return writeTable(s.stdout, rows)
}

// printJSON writes one value to stdout as JSON on a line. <, > and & stay as they are.
func printJSON(s *state, v any) error {
	if err := encodeJSON(s.stdout, v); err != nil {
		return fmt.Errorf("write to stdout: %w", err)
	}
	return nil
}

// encodeJSON writes a value as JSON on a line, with escapes for what clean would not let through: the
// value is the same, and a terminal is safe.
func encodeJSON(w io.Writer, v any) error {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return err //nolint:wrapcheck // the callers know what is written where
	}
	line := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	if bytes.ContainsFunc(line, isHarmful) { // inside strings, where else
		line = escapeJSON(line)
	}
	_, err := w.Write(append(line, '\n'))
	return err //nolint:wrapcheck // the callers know what is written where
}

func escapeJSON(line []byte) []byte {
	var b bytes.Buffer
	for _, r := range string(line) {
		if !isHarmful(r) {
			b.WriteRune(r)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&b, "\\u%04x", unit)
		}
	}
	return b.Bytes()
}

// errNobodyReads says that standard output is a pipe whose reader is gone, as in `worker schema job | head -1`.
var errNobodyReads = errors.New("nobody reads it any more")

// pipeAware tells errNobodyReads from other failures of standard output.
type pipeAware struct{ to io.Writer }

// Write writes.
func (w pipeAware) Write(p []byte) (int, error) {
	n, err := w.to.Write(p)
	if errors.Is(err, syscall.EPIPE) {
		err = fmt.Errorf("%w: %w", errNobodyReads, err)
	}
	return n, err
}

// writeTable writes rows with their columns aligned, as a terminal counts them: a Chinese character
// takes two columns. The last column is as long as it is.
func writeTable(w io.Writer, rows [][]string) error {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			row[i] = clean(cell)
			widths[i] = max(widths[i], uniseg.StringWidth(row[i]))
		}
	}
	var b bytes.Buffer
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString(cell)
			line.WriteString(strings.Repeat(" ", widths[i]-uniseg.StringWidth(cell)+2))
		}
		b.WriteString(strings.TrimRight(line.String(), " "))
		b.WriteByte('\n')
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("write to stdout: %w", err)
	}
	return nil
}

// clean makes text from elsewhere harmless on a terminal: what would move the cursor, break the line
// or turn the direction of writing is shown as an escape.
func clean(text string) string {
	if !strings.ContainsFunc(text, isHarmful) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if isHarmful(r) {
			escaped := strconv.QuoteRune(r)
			b.WriteString(escaped[1 : len(escaped)-1])
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

func isHarmful(r rune) bool {
	const joiner = '\u200d' // in the middle of emoji
	return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || unicode.Is(unicode.Cf, r) && r != joiner
}

// texts returns words of a type of their own as plain texts.
func texts[T ~string](values []T) []string {
	var all []string
	for _, v := range values {
		all = append(all, string(v))
	}
	return all
}
