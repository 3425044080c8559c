package asyncapi

import (
	"encoding/json"
	"fmt"

	"go.yaml.in/yaml/v3"
)

func text(s string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s} }

// mapping makes a mapping of keys and *yaml.Node values, in turn.
func mapping(pairs ...any) *yaml.Node {
	m := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	for i := 0; i+1 < len(pairs); i += 2 {
		set(m, pairs[i].(string), pairs[i+1].(*yaml.Node))
	}
	return m
}

func sequence(items ...*yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Content: items}
}

func reference(to string) *yaml.Node { return mapping("$ref", text(to)) }

// at returns what lies under the keys, which are there.
func at(n *yaml.Node, keys ...string) *yaml.Node {
	for _, key := range keys {
		n = n.Content[index(n, key)+1]
	}
	return n
}

// index returns where a key of a mapping stands, or the mapping's end.
func index(m *yaml.Node, key string) int {
	for i := 0; i < len(m.Content); i += 2 {
		if m.Content[i].Value == key {
			return i
		}
	}
	return len(m.Content)
}

// set sets a key of a mapping: in its place where it is there, or at the end.
func set(m *yaml.Node, key string, value *yaml.Node) {
	i := index(m, key)
	if i < len(m.Content) {
		m.Content[i+1] = value
		return
	}
	m.Style = 0 // {} is for the empty ones
	m.Content = append(m.Content, text(key), value)
}

func unset(m *yaml.Node, key string) {
	if i := index(m, key); i < len(m.Content) {
		m.Content = append(m.Content[:i], m.Content[i+2:]...)
	}
}

func clone(n *yaml.Node) *yaml.Node {
	c := *n
	c.Content = nil
	for _, inner := range n.Content {
		c.Content = append(c.Content, clone(inner))
	}
	return &c
}

// plain takes away the braces and quotes of JSON, where YAML needs none; short lists stay on a line.
func plain(n *yaml.Node) {
	scalars := n.Kind == yaml.SequenceNode
	for _, inner := range n.Content {
		plain(inner)
		scalars = scalars && inner.Kind == yaml.ScalarNode
	}
	n.Style = 0
	if scalars {
		n.Style = yaml.FlowStyle
	}
}

// appendJSON appends a node as JSON.
func appendJSON(b []byte, n *yaml.Node) ([]byte, error) {
	var err error
	switch n.Kind {
	case yaml.MappingNode, yaml.SequenceNode:
		brackets := "[]"
		if n.Kind == yaml.MappingNode {
			brackets = "{}"
		}
		b = append(b, brackets[0])
		for i, inner := range n.Content {
			switch {
			case i > 0 && n.Kind == yaml.MappingNode && i%2 == 1:
				b = append(b, ':')
			case i > 0:
				b = append(b, ',')
			}
			if b, err = appendJSON(b, inner); err != nil {
				return nil, err
			}
		}
		return append(b, brackets[1]), nil
	case yaml.ScalarNode:
		var value any
		if err := n.Decode(&value); err != nil {
			return nil, fmt.Errorf("line %d: %w", n.Line, err)
		}
		scalar, err := json.Marshal(value)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n.Line, err)
		}
		return append(b, scalar...), nil
	default: // a document, which Decode unwraps, or an alias, of which there are none
		return nil, fmt.Errorf("line %d: a node of kind %d", n.Line, n.Kind)
	}
}
