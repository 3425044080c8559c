package jobtemplate

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"replyworker/internal/job"
)

// MaxFilledBytes is how long a job may grow before filling stops: more than a job may have, so that one
// that is somewhat too long is still looked into.
const MaxFilledBytes = job.MaxBytes + 64<<10

// UnknownColumnsError says that a template names columns that the file does not have.
type UnknownColumnsError struct {
	Unknown []string
	Columns []string // those of the file
}

func (e *UnknownColumnsError) Error() string {
	noun := "no column"
	if len(e.Unknown) > 1 {
		noun = "no columns"
	}
	return fmt.Sprintf("%s %s; there are %s", noun, list(e.Unknown), list(e.Columns))
}

// list quotes names, as many as a person reads.
func list(names []string) string {
	const most = 30
	quoted := make([]string, 0, most)
	for _, name := range names[:min(len(names), most)] {
		quoted = append(quoted, fmt.Sprintf("%q", name))
	}
	if len(names) > most {
		quoted = append(quoted, fmt.Sprintf("and %d more", len(names)-most))
	}
	return strings.Join(quoted, ", ")
}

// Filler is a template for the rows of one file. It is not safe for concurrent use.
type Filler struct {
	template   *Template
	validation job.Validation
	cells      []int // of each part, the cell that stands there, or -1
	ids        map[string]int
	escaped    bytes.Buffer
	encoder    *json.Encoder
}

// Filler returns the template's filler for a file with these columns, or an [*UnknownColumnsError].
// validation is what the jobs are to be held to.
func (t *Template) Filler(columns []string, validation job.Validation) (*Filler, error) {
	f := &Filler{template: t, validation: validation, ids: map[string]int{}}
	f.encoder = json.NewEncoder(&f.escaped)
	f.encoder.SetEscapeHTML(false)
	unknown := slices.DeleteFunc(t.Columns(), func(name string) bool { return slices.Contains(columns, name) })
	if len(unknown) > 0 {
		return nil, &UnknownColumnsError{unknown, columns}
	}
	for _, p := range t.parts {
		cell := -1
		if p.column != "" {
			cell = slices.Index(columns, p.column)
		}
		f.cells = append(f.cells, cell)
	}
	for _, name := range []string{ColumnComplaintID, ColumnComplaintedMchID} {
		f.ids[name] = slices.Index(columns, name)
	}
	return f, nil
}

// Fill appends to b the job of a row. Where none can be made, fault says why, and for which column.
//
// Without an idempotent_id in the template, the job gets one that is made of its content, which is
// complaint_id, complainted_mchid and message as [job.Job.ContentSHA256] sees them, as a UUID of version 8.
// So the same reply to the same complaint has one id, in whichever row, file or run it comes, and two
// replies that differ in anything that the customer sees have two. A job that is not valid keeps an id
// of zeros, for [job.Decode] to say what is wrong.
func (f *Filler) Fill(b []byte, cells []string) (value []byte, fault string) {
	for _, name := range []string{ColumnComplaintID, ColumnComplaintedMchID} {
		if fault = idFault(cells[f.ids[name]]); fault != "" {
			return b, fmt.Sprintf("has in column %q %s", name, fault)
		}
	}
	start := len(b)
	for i, p := range f.template.parts {
		if f.cells[i] < 0 {
			b = append(b, p.bytes...)
		} else {
			b = append(b, f.escape(cells[f.cells[i]])...)
		}
		if len(b)-start > MaxFilledBytes {
			return b[:start], fmt.Sprintf("makes a job of more than %d bytes; must be at most %d", MaxFilledBytes, job.MaxBytes)
		}
	}
	if f.template.derived {
		if j, err := job.Decode(b[start:], f.validation); err == nil {
			// Decode's job refers to the bytes that are written here, and is not used any more.
			copy(b[start+len(f.template.parts[0].bytes):], idOf(j.Content))
		}
	}
	return b, ""
}

// escape returns what stands for a cell between quotes. It is good until the next call.
func (f *Filler) escape(cell string) []byte {
	f.escaped.Reset()
	_ = f.encoder.Encode(cell) //nolint:errchkjson // a string, into memory
	return bytes.TrimSuffix(f.escaped.Bytes()[1:], []byte("\"\n"))
}

// idOf makes a UUID of a hash, as RFC 9562 has it for hashes of one's own choice (version 8).
func idOf(hash [32]byte) string {
	hash[6] = hash[6]&0x0f | 0x80
	hash[8] = hash[8]&0x3f | 0x80
	text := hex.EncodeToString(hash[:16])
	return strings.Join([]string{text[:8], text[8:12], text[12:16], text[16:20], text[20:]}, "-")
}

// rounded is how spreadsheets write numbers that are too long for them.
var rounded = regexp.MustCompile(`^[0-9](\.[0-9]*)?[eE]\+?[0-9]+$`)

// idFault says what is wrong with the cell of an id that a spreadsheet or a hand has spoilt.
func idFault(cell string) string {
	switch {
	case rounded.MatchString(cell):
		return fmt.Sprintf("%q, a number that a spreadsheet has rounded; "+
			"format the column as text there and take the ids in anew", cell)
	case strings.TrimSpace(cell) != cell:
		return "white space around the id"
	}
	return ""
}
