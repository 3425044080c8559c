package job

import (
	"fmt"
	"slices"
	"strings"
)

// lookup returns the member of that name and its number, or nil and -1. A nil shape has none.
func (s *shape) lookup(name []byte) (*member, int) {
	if s == nil {
		return nil, -1
	}
	for i := range s.members {
		if s.members[i].name == string(name) {
			return &s.members[i], i
		}
	}
	return nil, -1
}

// of returns what the value of a member of s must be; m is nil where the name is not in the table.
func (s *shape) of(m *member) *shape {
	switch {
	case m != nil:
		return m.shape
	case s != nil:
		return s.values
	}
	return nil
}

// checkName checks the name of a member of s; m is nil where it is not in the table.
func (w *walker) checkName(s *shape, m *member, t text) {
	if t.invalidUTF8 {
		w.fault("has a name that is not valid UTF-8")
	}
	if t.loneSurrogate {
		w.fault("has a name with a lone surrogate")
	}
	switch {
	case s == nil || m != nil:
	case s.values == nil && !(s.open && w.lenient):
		w.fault("is not a known field")
	case s.nameMax > 0 && t.runes > s.nameMax:
		w.fault("has a name of %d characters; must be at most %d", t.runes, s.nameMax)
	}
}

// checkText checks a string; a nil shape is any string.
func (w *walker) checkText(s *shape, t text) {
	if t.invalidUTF8 {
		w.fault("is not valid UTF-8")
	}
	if t.loneSurrogate {
		w.fault("has a lone surrogate")
	}
	if s == nil {
		return
	}
	if t.astral && (s.chars == charsBMP || s.chars == charsMessage && !w.lenient) {
		w.fault("has a character outside the Basic Multilingual Plane, such as an emoji; the API takes none")
	}
	if t.runes < s.min || s.max > 0 && t.runes > s.max {
		w.fault("has %d characters; must be %s", t.runes, s.lengths())
	}
	if s.enum == nil && s.format == formatNone {
		return
	}
	value := unquote(w.data[t.start:t.end], t.escaped)
	if s.enum != nil && !w.lenient && !slices.Contains(s.enum, string(value)) {
		w.fault("%s is not one of %s", quote(string(value)), strings.Join(s.enum, ", "))
	}
	switch s.format {
	case formatSegment:
		if v := string(value); v == "." || v == ".." {
			w.fault("%q cannot be a segment of a URL's path", v)
		}
	case formatDateTime:
		if _, ok := parseTimestamp(string(value)); !ok {
			w.fault("%s is not an RFC 3339 time such as 2026-12-01T12:00:00+08:00", quote(string(value)))
		}
	case formatNone:
	}
}

// checkObject checks an object as a whole, once its end is reached.
func (w *walker) checkObject(s *shape, names *nameSet, tag text) {
	if s.max > 0 && names.count > s.max {
		w.fault("has %d pairs; must be at most %d", names.count, s.max)
	}
	tagValue := unquote(w.data[tag.start:tag.end], tag.escaped)
	for i := range s.members {
		m := &s.members[i]
		if names.known&(1<<i) != 0 {
			continue
		}
		if m.required {
			w.faultAt(m.name, "is missing; "+m.shape.must())
		}
		if m.ofType != "" && m.ofType == string(tagValue) {
			w.faultAt(m.name, "is missing; a block of type "+m.ofType+" must have it")
		}
	}
}

// mismatch says that a value of one kind stands where s wants another; a nil s wants anything but
// null.
func mismatch(got kind, s *shape) string {
	switch {
	case s == nil:
		return "is null; a null is allowed nowhere"
	case s.kind == kindString && s.lengths() != "":
		return "is " + got.String() + "; must be a string of " + s.lengths()
	}
	return "is " + got.String() + "; " + s.must()
}

// must says what s wants, in words.
func (s *shape) must() string {
	switch {
	case s.enum != nil:
		return "must be one of " + strings.Join(s.enum, ", ")
	case s.format == formatDateTime:
		return "must be an RFC 3339 time"
	case s.kind == kindString && s.lengths() != "":
		return "must be " + s.lengths()
	}
	return "must be " + s.kind.String()
}

// lengths says how long a string may be, and is empty where it may have any length.
func (s *shape) lengths() string {
	switch {
	case s.min > 0 && s.max > 0:
		return fmt.Sprintf("%d to %d characters", s.min, s.max)
	case s.min > 0:
		return fmt.Sprintf("%d or more characters", s.min)
	case s.max > 0:
		return fmt.Sprintf("at most %d characters", s.max)
	}
	return ""
}
