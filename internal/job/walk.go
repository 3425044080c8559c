package job

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// maxDepth bounds the recursion. A job as the API documents it is nested eight deep.
const maxDepth = 64

// walker goes over one document once: it checks the grammar of JSON and the shapes of the table at
// the same time and notes where the job's own members lie. A broken shape is noted and the walk goes
// on; broken JSON ends it (its methods return false then).
type walker struct {
	data     []byte
	pos      int
	lenient  bool
	path     []step // from the root to the value at hand
	problems []Problem
	omitted  int
	slots    [slotCount]place
}

// step is one token of the pointer to the value at hand: a name, or an index where name is nil.
type step struct {
	name  []byte
	index int
}

// place is where one of the job's own members lies.
type place struct {
	start, end int
	text       text // where it is a string
	kind       kind
	valid      bool // nothing inside it is wrong
	repeated   bool
}

// found is what a value turned out to be.
type found struct {
	kind kind
	text text // of a string
}

// document walks the whole of data, which is not empty.
func (w *walker) document() {
	if bytes.HasPrefix(w.data, []byte("\ufeff")) {
		w.fault("starts with a byte order mark; must be one JSON object")
		w.pos = len("\ufeff")
	}
	w.space()
	if _, ok := w.value(jobShape); !ok {
		return
	}
	if w.space(); w.pos < len(w.data) {
		w.fault("has more data after its end, at byte %d; must be one JSON object", w.pos)
	}
}

// value walks one value. A nil shape is any value but null.
func (w *walker) value(s *shape) (f found, ok bool) {
	f.kind = w.kindAhead()
	if f.kind == kindAny {
		return f, w.broken(w.pos, "no value")
	}
	// A word is read first: one that is neither null nor true nor false is no value of a wrong type.
	if f.kind == kindNull && !w.literal("null") || f.kind == kindBool && !w.literal("true", "false") {
		return f, false
	}
	inner := s
	if s != nil && f.kind != s.kind || s == nil && f.kind == kindNull {
		w.fault("%s", mismatch(f.kind, s))
		inner = nil // what is inside is still checked for what no value may have
	}
	switch f.kind {
	case kindString:
		if f.text, ok = w.text(); ok {
			w.checkText(inner, f.text)
		}
	case kindObject:
		ok = w.object(inner)
	case kindArray:
		ok = w.array(inner)
	case kindNumber:
		ok = w.number()
	default:
		ok = true
	}
	return f, ok
}

// kindAhead tells the next value's kind from its first byte; kindAny is none.
func (w *walker) kindAhead() kind {
	switch c := w.peek(); {
	case c == '"':
		return kindString
	case c == '{':
		return kindObject
	case c == '[':
		return kindArray
	case c == 't' || c == 'f':
		return kindBool
	case c == 'n':
		return kindNull
	case c == '-' || c >= '0' && c <= '9':
		return kindNumber
	}
	return kindAny
}

// object walks an object; a nil shape takes any names.
func (w *walker) object(s *shape) bool {
	if len(w.path) == maxDepth {
		w.fault("is nested deeper than %d levels", maxDepth)
		return false
	}
	w.pos++
	var names nameSet
	var tag text
	if w.space(); w.peek() != '}' {
		for {
			if !w.member(s, &names, &tag) {
				return false
			}
			more, ok := w.more('}')
			if !ok {
				return false
			}
			if !more {
				break
			}
		}
	} else {
		w.pos++
	}
	if s != nil {
		w.checkObject(s, &names, tag)
	}
	return true
}

// member walks one name and its value, notes the name in names, and the value in tag if it is the
// tag of s.
func (w *walker) member(s *shape, names *nameSet, tag *text) bool {
	if w.space(); w.peek() != '"' {
		return w.broken(w.pos, "no name in quotes")
	}
	t, ok := w.text()
	if !ok {
		return false
	}
	name := unquote(w.data[t.start:t.end], t.escaped)
	w.path = append(w.path, step{name: name})
	m, i := s.lookup(name)
	first := names.add(name, i)
	if !first {
		w.fault("is a duplicate; a name may stand only once in an object")
	}
	w.checkName(s, m, t)
	if w.space(); w.peek() != ':' {
		return w.broken(w.pos, "no colon after a name")
	}
	w.pos++
	w.space()
	start, problems := w.pos, len(w.problems)+w.omitted
	f, ok := w.value(s.of(m))
	if m != nil && m.slot != slotNone {
		w.note(m.slot, first, place{
			start: start, end: w.pos, text: f.text, kind: f.kind,
			valid: ok && problems == len(w.problems)+w.omitted,
		})
	}
	if m != nil && s.tag == m.name && f.kind == kindString {
		*tag = f.text
	}
	w.path = w.path[:len(w.path)-1]
	return ok
}

// note keeps the place of one of the job's own members; of a repeated one, the first.
func (w *walker) note(s slot, first bool, p place) {
	if !first {
		w.slots[s].repeated = true
		return
	}
	w.slots[s] = p
}

// array walks an array; a nil shape takes any items.
func (w *walker) array(s *shape) bool {
	if len(w.path) == maxDepth {
		w.fault("is nested deeper than %d levels", maxDepth)
		return false
	}
	w.pos++
	if w.space(); w.peek() == ']' {
		w.pos++
		return true
	}
	var items *shape
	if s != nil {
		items = s.items
	}
	w.path = append(w.path, step{})
	for {
		w.space()
		if _, ok := w.value(items); !ok {
			return false
		}
		more, ok := w.more(']')
		if !ok {
			return false
		}
		if !more {
			break
		}
		w.path[len(w.path)-1].index++
	}
	w.path = w.path[:len(w.path)-1]
	return true
}

// more takes the comma or the end that follows an item, and says which it was.
func (w *walker) more(end byte) (more, ok bool) {
	w.space()
	switch w.peek() {
	case ',':
		w.pos++
		return true, true
	case end:
		w.pos++
		return false, true
	}
	return false, w.broken(w.pos, "no comma and no "+string(end)+" after a value")
}

func (w *walker) text() (text, bool) {
	t, fault, at := scanText(w.data, w.pos)
	if fault != "" {
		return t, w.broken(at, fault)
	}
	w.pos = t.end + 1
	return t, true
}

func (w *walker) number() bool {
	end, ok := scanNumber(w.data, w.pos)
	if !ok {
		return w.broken(end, "a broken number")
	}
	w.pos = end
	return true
}

func (w *walker) literal(words ...string) bool {
	for _, word := range words {
		if bytes.HasPrefix(w.data[w.pos:], []byte(word)) {
			w.pos += len(word)
			return true
		}
	}
	return w.broken(w.pos, "an unknown word")
}

func (w *walker) space() {
	for w.pos < len(w.data) {
		switch w.data[w.pos] {
		case ' ', '\t', '\n', '\r':
			w.pos++
		default:
			return
		}
	}
}

// peek returns the next byte, and zero at the end, which is no byte that JSON has outside a string.
func (w *walker) peek() byte {
	if w.pos < len(w.data) {
		return w.data[w.pos]
	}
	return 0
}

// broken notes that the document is no JSON and returns false, which ends the walk. The byte at the
// place is not shown: it may be the reply's.
func (w *walker) broken(at int, what string) bool {
	if at >= len(w.data) {
		w.fault("is not JSON: it ends too early, at byte %d", len(w.data))
	} else {
		w.fault("is not JSON: %s at byte %d", what, at)
	}
	return false
}

// fault notes a problem of the value at hand.
func (w *walker) fault(rule string, args ...any) {
	if len(w.problems) == maxProblems {
		w.omitted++
		return
	}
	w.problems = append(w.problems, Problem{Pointer: w.pointer(), Rule: fmt.Sprintf(rule, args...)})
}

// faultAt notes a problem of a member of the value at hand.
func (w *walker) faultAt(name, rule string) {
	w.path = append(w.path, step{name: []byte(name)})
	w.fault("%s", rule)
	w.path = w.path[:len(w.path)-1]
}

// pointer returns the RFC 6901 pointer of the value at hand, long names cut.
func (w *walker) pointer() string {
	var b strings.Builder
	for _, s := range w.path {
		b.WriteByte('/')
		if s.name == nil {
			b.WriteString(strconv.Itoa(s.index))
			continue
		}
		name := cutRunes(strings.ToValidUTF8(string(s.name), "\ufffd"))
		b.WriteString(strings.ReplaceAll(strings.ReplaceAll(name, "~", "~0"), "/", "~1"))
	}
	return b.String()
}

// nameSet is the set of names of one object.
type nameSet struct {
	known uint32 // one bit for each member of the shape
	few   [][]byte
	many  map[string]struct{} // once few is full
	count int                 // of different names
}

// add adds a name, which is the i-th of the shape or, where i is negative, none of it. It returns
// false where the name was there already.
func (n *nameSet) add(name []byte, i int) bool {
	if n.has(name, i) {
		return false
	}
	n.count++
	switch {
	case i >= 0:
		n.known |= 1 << i
	case n.many != nil:
		n.many[string(name)] = struct{}{}
	default:
		n.few = append(n.few, name)
		if len(n.few) == 32 {
			n.many = make(map[string]struct{}, 2*len(n.few))
			for _, s := range n.few {
				n.many[string(s)] = struct{}{}
			}
		}
	}
	return true
}

func (n *nameSet) has(name []byte, i int) bool {
	if i >= 0 {
		return n.known&(1<<i) != 0
	}
	if n.many != nil {
		_, ok := n.many[string(name)]
		return ok
	}
	for _, s := range n.few {
		if bytes.Equal(s, name) {
			return true
		}
	}
	return false
}
