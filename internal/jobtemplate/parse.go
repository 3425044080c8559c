package jobtemplate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"replyworker/internal/job"
)

// noID stands where the id will be that is made of a job's content.
const noID = "00000000-0000-8000-8000-000000000000"

// parser takes a template apart. Its text is a valid JSON object without white space between tokens.
type parser struct {
	text     []byte
	decoder  *json.Decoder
	taken    int // bytes of text that are in parts
	parts    []part
	filled   map[string]string // as the template's
	hasID    bool
	problems []job.Problem
}

func parse(text []byte) (*Template, error) {
	p := parser{text: text, decoder: json.NewDecoder(bytes.NewReader(text)), filled: map[string]string{}}
	p.decoder.UseNumber()
	p.value("")
	p.literal(len(text))
	p.checkIDs()
	if len(p.problems) > 0 {
		return nil, &InvalidError{p.problems}
	}
	if !p.hasID {
		rest := bytes.TrimPrefix(p.parts[0].bytes, []byte("{"))
		p.parts = slices.Concat([]part{
			{bytes: []byte(`{"idempotent_id":"`)}, {bytes: []byte(noID)}, {bytes: []byte(`",`)}, {bytes: rest},
		}, p.parts[1:])
	}
	return &Template{parts: p.parts, filled: p.filled, derived: !p.hasID}, nil
}

// checkIDs holds that what tells jobs apart comes from the rows.
func (p *parser) checkIDs() {
	for _, column := range []string{ColumnComplaintID, ColumnComplaintedMchID} {
		if p.filled["/"+column] != column {
			p.fault("/"+column, "must be \"%s%s%s\", nothing else: each row is a reply to its own complaint",
				opening, column, closing)
		}
	}
	if _, filled := p.filled[idPointer]; p.hasID && !filled {
		p.fault(idPointer, "has no placeholder; one id is one reply, so it must differ from row to row; "+
			"leave it out for one that is made of the reply")
	}
}

func (p *parser) fault(pointer, format string, args ...any) {
	p.problems = append(p.problems, job.Problem{Pointer: pointer, Rule: fmt.Sprintf(format, args...)})
}

// next returns the next token and where its bytes begin and end.
func (p *parser) next() (token json.Token, start, end int) {
	start = int(p.decoder.InputOffset())
	token, _ = p.decoder.Token() // the text was found to be well
	for start < len(p.text) && (p.text[start] == ',' || p.text[start] == ':') {
		start++
	}
	return token, start, int(p.decoder.InputOffset())
}

// value takes the placeholders of the value at hand, whatever it is.
func (p *parser) value(pointer string) {
	token, start, end := p.next()
	switch token := token.(type) {
	case string:
		p.string(pointer, start+1, end-1)
	case json.Delim:
		for i := 0; p.decoder.More(); i++ {
			if token == '[' {
				p.value(fmt.Sprintf("%s/%d", pointer, i))
				continue
			}
			p.value(pointer + "/" + p.name(pointer))
		}
		p.next()
	}
}

// name takes a member's name, and returns it as a pointer has it.
func (p *parser) name(pointer string) string {
	token, start, end := p.next()
	text, _ := token.(string)
	name := strings.NewReplacer("~", "~0", "/", "~1").Replace(text)
	if bytes.Contains(p.text[start:end], []byte(opening)) {
		p.fault(pointer+"/"+name, "is a name with {{ in it; placeholders stand in values only; %s", escapeBrace)
	}
	p.hasID = p.hasID || pointer+"/"+name == idPointer
	return name
}

// literal takes the bytes up to end as they are.
func (p *parser) literal(end int) {
	if p.taken < end {
		p.parts = append(p.parts, part{bytes: p.text[p.taken:end]})
		p.taken = end
	}
}

// string takes the placeholders of a string whose content lies from start to end.
func (p *parser) string(pointer string, start, end int) {
	for at := start; ; at = p.taken {
		i := bytes.Index(p.text[at:end], []byte(opening))
		if i < 0 {
			return
		}
		begin := at + i
		raw, _, closed := bytes.Cut(p.text[begin+len(opening):end], []byte(closing))
		column := columnName(raw)
		switch {
		case !closed:
			p.fault(pointer, "has {{ without }} behind it; %s", escapeBrace)
			return
		case column == "":
			p.fault(pointer, "has no column's name between {{ and }}; %s", escapeBrace)
			return
		}
		p.literal(begin)
		p.parts = append(p.parts, part{column: column})
		p.taken = begin + len(opening) + len(raw) + len(closing)
		p.filled[pointer] = ""
		if begin == start && p.taken == end {
			p.filled[pointer] = column
		}
	}
}

// columnName reads the name between braces, escapes and all.
func columnName(raw []byte) string {
	var name string
	if err := json.Unmarshal(slices.Concat([]byte{'"'}, raw, []byte{'"'}), &name); err != nil {
		return ""
	}
	return strings.TrimSpace(name)
}
