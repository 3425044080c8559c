package jobtemplate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"replyworker/internal/job"
)

// The columns that every CSV file must have, and the fields that they fill.
const (
	ColumnComplaintID      = "complaint_id"
	ColumnComplaintedMchID = "complainted_mchid"
)

const (
	opening, closing = "{{", "}}"
	byteOrderMark    = "\ufeff"
	idPointer        = "/idempotent_id"
	escapeBrace      = `write \u007b for a brace that is text`
)

// Template is a job with placeholders. [Parse] makes it; it is read-only then, and safe for concurrent
// use.
type Template struct {
	parts   []part
	filled  map[string]string // the strings with placeholders, by pointer: the column that is all of one, or ""
	derived bool              // there is no idempotent_id
}

// part is some bytes of the template as they are, or the name of a column whose cell stands there.
type part struct {
	bytes  []byte
	column string
}

// InvalidError says what is wrong with a template: at least one problem, in the order of its bytes.
type InvalidError struct {
	Problems []job.Problem
}

func (e *InvalidError) Error() string {
	texts := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		texts[i] = p.String()
	}
	return "template invalid: " + strings.Join(texts, "; ")
}

// Unwrap returns [job.ErrInvalid].
func (e *InvalidError) Unwrap() error { return job.ErrInvalid }

// Parse reads a template: one JSON object of at most [job.MaxBytes] bytes, in UTF-8. It holds that
// complaint_id and complainted_mchid come from the columns of these names, so that no row answers
// another row's complaint, and that an idempotent_id has a placeholder. Whether what it makes is a job,
// [job.Decode] says: [Template.Sample] gives it something to look at. Every error is an [*InvalidError].
func Parse(text []byte) (*Template, error) {
	text = bytes.TrimPrefix(text, []byte(byteOrderMark))
	switch {
	case len(text) > job.MaxBytes:
		return nil, invalid("has %d bytes; must be at most %d", len(text), job.MaxBytes)
	case !utf8.Valid(text):
		return nil, invalid("is not UTF-8; save it as UTF-8")
	}
	var whole json.RawMessage
	if err := json.Unmarshal(text, &whole); err != nil {
		return nil, invalid("is not JSON: %s", describe(text, err))
	}
	var compact bytes.Buffer
	_ = json.Compact(&compact, whole) // it was found well
	if compact.Bytes()[0] != '{' {
		return nil, invalid("must be one JSON object")
	}
	return parse(compact.Bytes())
}

func invalid(format string, args ...any) *InvalidError {
	return &InvalidError{[]job.Problem{{Rule: fmt.Sprintf(format, args...)}}}
}

// describe says where JSON stops being JSON.
func describe(text []byte, err error) string {
	if at, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Sprintf("line %d: %v", 1+bytes.Count(text[:min(int(at.Offset), len(text))], []byte("\n")), err)
	}
	return err.Error()
}

// Columns returns the names of the columns that the template fills in, each once, as they come.
func (t *Template) Columns() []string {
	var names []string
	for _, p := range t.parts {
		if p.column != "" && !slices.Contains(names, p.column) {
			names = append(names, p.column)
		}
	}
	return names
}

// Derived says that the template has no idempotent_id, so that it is made of each job's content.
func (t *Template) Derived() bool { return t.derived }

// Sample returns a job with "x" in every cell, for [job.Decode] to look at.
func (t *Template) Sample() []byte {
	var sample []byte
	for _, p := range t.parts {
		if p.column != "" {
			p.bytes = []byte("x")
		}
		sample = append(sample, p.bytes...)
	}
	return sample
}

// Own returns those problems of a [Template.Sample] that are the template's: the others are about a
// cell.
func (t *Template) Own(problems []job.Problem) []job.Problem {
	return slices.DeleteFunc(slices.Clone(problems), func(p job.Problem) bool {
		_, fromCell := t.filled[p.Pointer]
		return fromCell
	})
}
