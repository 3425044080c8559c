package wxsim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

const maxDepth = 64

// node is one JSON value, read so that duplicate names, nulls and characters can be judged.
type node struct {
	kind    nodeKind
	text    string // Of strings and numbers.
	names   []member
	items   []node
	wide    bool // A character outside the Basic Multilingual Plane.
	invalid bool // A lone surrogate.
}

type member struct {
	name  node
	value node
}

type nodeKind string

const (
	kindObject nodeKind = "an object"
	kindArray  nodeKind = "an array"
	kindString nodeKind = "a string"
	kindNumber nodeKind = "a number"
	kindBool   nodeKind = "a boolean"
	kindNull   nodeKind = "null"
)

func (n *node) member(name string) *node {
	for i := range n.names {
		if n.names[i].name.text == name {
			return &n.names[i].value
		}
	}
	return nil
}

// problem is why a body is refused: where, as a JSON pointer, and what.
type problem struct{ field, issue, value string }

// read parses a body and holds it against the schema. It reports the first problem, as the API does.
func (sc *schema) read(body []byte, lenient bool) (*node, *problem) {
	if !utf8.Valid(body) {
		return nil, &problem{issue: "not UTF-8"}
	}
	if !json.Valid(body) {
		return nil, &problem{issue: "not one JSON value"}
	}
	p := &parser{body: body, dec: json.NewDecoder(bytes.NewReader(body))}
	p.dec.UseNumber()
	root, err := p.value(0)
	if err != nil {
		return nil, &problem{issue: err.Error()}
	}
	c := checker{lenient: lenient}
	if pr := c.check(&root, sc, "", false); pr != nil {
		return nil, pr
	}
	return &root, nil
}

type parser struct {
	body []byte
	dec  *json.Decoder
}

func (p *parser) value(depth int) (node, error) {
	if depth > maxDepth {
		return node{}, fmt.Errorf("nested deeper than %d", maxDepth)
	}
	start := p.dec.InputOffset()
	token, err := p.dec.Token()
	if err != nil {
		return node{}, fmt.Errorf("JSON: %w", err)
	}
	switch t := token.(type) {
	case json.Delim:
		if t == '{' {
			return p.object(depth)
		}
		return p.array(depth)
	case string:
		n := node{kind: kindString, text: t}
		n.wide, n.invalid = beyondBMP(t, p.body[start:p.dec.InputOffset()])
		return n, nil
	case json.Number:
		return node{kind: kindNumber, text: t.String()}, nil
	case bool:
		return node{kind: kindBool}, nil
	default:
		return node{kind: kindNull}, nil
	}
}

func (p *parser) object(depth int) (node, error) {
	n := node{kind: kindObject}
	for p.dec.More() {
		name, err := p.value(depth + 1)
		if err != nil {
			return n, err
		}
		value, err := p.value(depth + 1)
		if err != nil {
			return n, err
		}
		n.names = append(n.names, member{name: name, value: value})
	}
	return n, p.end()
}

func (p *parser) array(depth int) (node, error) {
	n := node{kind: kindArray}
	for p.dec.More() {
		item, err := p.value(depth + 1)
		if err != nil {
			return n, err
		}
		n.items = append(n.items, item)
	}
	return n, p.end()
}

func (p *parser) end() error {
	if _, err := p.dec.Token(); err != nil {
		return fmt.Errorf("JSON: %w", err)
	}
	return nil
}

// beyondBMP looks at a string's characters and, because the decoder replaces lone surrogates, at the
// escapes that it was written with.
func beyondBMP(text string, raw []byte) (wide, invalid bool) {
	wide = strings.IndexFunc(text, func(r rune) bool { return r > 0xFFFF }) >= 0
	for i := 0; i+1 < len(raw); {
		if raw[i] != '\\' {
			i++
			continue
		}
		if raw[i+1] != 'u' || !surrogate(raw, i, '8') {
			i += 2
			continue
		}
		if !highSurrogate(raw, i) || !surrogate(raw, i+6, 'c') {
			return wide, true
		}
		i += 12
	}
	return wide, false
}

// surrogate reports whether an escape of a surrogate whose second digit is at least from stands at i.
func surrogate(raw []byte, i int, from byte) bool {
	if i+6 > len(raw) || raw[i] != '\\' || raw[i+1] != 'u' {
		return false
	}
	first, second := lower(raw[i+2]), lower(raw[i+3])
	return first == 'd' && second >= from
}

func highSurrogate(raw []byte, i int) bool { return lower(raw[i+3]) < 'c' }

func lower(b byte) byte {
	if b >= 'A' && b <= 'F' {
		return b + 'a' - 'A'
	}
	return b
}

type checker struct{ lenient bool }

// check holds a value against its schema. Inside the message a lenient checker lets growth through.
func (c checker) check(n *node, sc *schema, at string, inMessage bool) *problem {
	grown := c.lenient && inMessage
	if n.kind != sc.kind {
		return &problem{field: at, issue: fmt.Sprintf("is %s, want %s", n.kind, sc.kind), value: short(n.text)}
	}
	if pr := characters(n, at, grown); pr != nil {
		return pr
	}
	switch n.kind {
	case kindString:
		return checkString(n, sc, at, grown)
	case kindArray:
		for i := range n.items {
			if pr := c.check(&n.items[i], sc.item, at+"/"+strconv.Itoa(i), inMessage); pr != nil {
				return pr
			}
		}
	case kindObject:
		return c.checkObject(n, sc, at, inMessage)
	case kindNumber, kindBool, kindNull:
	}
	return nil
}

func characters(n *node, at string, grown bool) *problem {
	switch {
	case n.invalid:
		return &problem{field: at, issue: "has a lone surrogate"}
	case n.wide && !grown:
		return &problem{field: at, issue: "has a character of more than three bytes of UTF-8"}
	}
	return nil
}

func checkString(n *node, sc *schema, at string, grown bool) *problem {
	if length := utf8.RuneCountInString(n.text); length < sc.min || sc.max > 0 && length > sc.max {
		return &problem{field: at, issue: fmt.Sprintf("length is %d, want %d to %d", length, sc.min, sc.max)}
	}
	if sc.enum != nil && !grown && !slices.Contains(sc.enum, n.text) {
		return &problem{field: at, issue: "want one of " + strings.Join(sc.enum, " "), value: short(n.text)}
	}
	return nil
}

func (c checker) checkObject(n *node, sc *schema, at string, inMessage bool) *problem {
	for i := range n.names {
		name, value := &n.names[i].name, &n.names[i].value
		here := at + "/" + escapePointer(name.text)
		if repeated(n.names, i) {
			return &problem{field: here, issue: "stands twice"}
		}
		if pr := c.checkMember(name, value, sc, here, inMessage); pr != nil {
			return pr
		}
	}
	for _, name := range sc.required {
		if n.member(name) == nil {
			return &problem{field: at + "/" + name, issue: "is missing"}
		}
	}
	if sc.typed {
		payload := strings.ToLower(n.member("type").text)
		if sc.members[payload] != nil && n.member(payload) == nil {
			return &problem{field: at + "/" + payload, issue: "is missing for this type"}
		}
	}
	return nil
}

func (c checker) checkMember(name, value *node, sc *schema, here string, inMessage bool) *problem {
	expected := sc.members[name.text]
	if expected == nil {
		if c.lenient && inMessage {
			return foreign(value, here)
		}
		return &problem{field: here, issue: "is unknown"}
	}
	return c.check(value, expected, here, inMessage || here == "/message")
}

// foreign checks the little that holds for every value, known or not.
func foreign(n *node, at string) *problem {
	if n.kind == kindNull {
		return &problem{field: at, issue: "is null"}
	}
	if pr := characters(n, at, true); pr != nil {
		return pr
	}
	for i := range n.items {
		if pr := foreign(&n.items[i], at+"/"+strconv.Itoa(i)); pr != nil {
			return pr
		}
	}
	for i := range n.names {
		here := at + "/" + escapePointer(n.names[i].name.text)
		if repeated(n.names, i) {
			return &problem{field: here, issue: "stands twice"}
		}
		if pr := foreign(&n.names[i].value, here); pr != nil {
			return pr
		}
	}
	return nil
}

func repeated(members []member, i int) bool {
	return slices.ContainsFunc(members[:i], func(m member) bool { return m.name.text == members[i].name.text })
}

func escapePointer(name string) string {
	return strings.ReplaceAll(strings.ReplaceAll(name, "~", "~0"), "/", "~1")
}

// short keeps a value fit for an error's detail.
func short(text string) string {
	const limit = 64
	if utf8.RuneCountInString(text) <= limit {
		return text
	}
	return string([]rune(text)[:limit]) + "..."
}
