package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"

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
	encoder := json.NewEncoder(s.stdout)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return fmt.Errorf("write to stdout: %w", err)
	}
	return nil
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
