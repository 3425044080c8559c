package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// document is one YAML file being read: what is wrong with it gathers in faults.
type document struct {
	path   string
	faults []error
}

// entry is one key of a mapping, a known one, with its value.
type entry struct {
	key   string
	value *yaml.Node
}

func (d *document) origin(node *yaml.Node) Origin {
	return Origin{Kind: FromFile, Name: d.path, Line: node.Line}
}

func (d *document) fault(name string, node *yaml.Node, ruleText, do string) {
	d.faults = append(d.faults, &Fault{Name: name, Origin: d.origin(node), Rule: ruleText, Do: do})
}

// root returns the mapping that the file consists of, or nil where it is empty or has none.
func (d *document) root(data []byte) *yaml.Node {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	switch err := decoder.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		d.syntax(err)
		return nil
	}
	var second yaml.Node
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		if err != nil {
			d.syntax(err)
		} else {
			d.fault("the file", &second, "has more than one document", "take the line --- and what follows it out")
		}
		return nil
	}
	node := doc.Content[0]
	if node.Kind == yaml.ScalarNode && node.Tag == "!!null" {
		return nil
	}
	if node.Kind != yaml.MappingNode {
		d.fault("the file", node, "is not made of lines `name: value`", "")
		return nil
	}
	return node
}

// syntax passes on what the YAML reader said, which has the line in it.
func (d *document) syntax(err error) {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	d.faults = append(d.faults, &Fault{
		Name: "the file", Origin: Origin{Kind: FromFile, Name: d.path}, Rule: "is not YAML: " + quoteLines(text),
	})
}

func quoteLines(text string) string {
	return strings.Join(strings.Fields(text), " ")
}

// entries returns the known keys of a mapping, each once, in order; within is the name of what
// the mapping describes, with a dot at its end, or "" for the whole file.
func (d *document) entries(node *yaml.Node, known []string, within string) []entry {
	if node == nil {
		return nil
	}
	var found []entry
	first := map[string]int{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, val := node.Content[i], node.Content[i+1]
		name := within + key.Value
		switch line, twice := first[key.Value]; {
		case key.Kind != yaml.ScalarNode:
			d.fault(within+"a key", key, "is not a plain name", "")
		case twice:
			d.fault(name, key, fmt.Sprintf("is there twice, first in line %d", line), "take one of them out")
		case !slices.Contains(known, key.Value):
			d.unknown(name, key, known, within)
		default:
			found = append(found, entry{key.Value, resolve(val)})
		}
		if _, seen := first[key.Value]; !seen {
			first[key.Value] = key.Line
		}
	}
	return found
}

func (d *document) unknown(name string, key *yaml.Node, known []string, within string) {
	do := "take it out; `worker help settings` lists the names"
	if within != "" {
		do = "take it out; there are " + strings.Join(known, ", ")
	}
	if near := Nearest(key.Value, known); near != "" {
		do = "did you mean " + near + "?"
	}
	if within == "" && key.Value == FileFlag {
		do = "take it out; --config and " + EnvName(FileFlag) + " name the file"
	}
	d.fault(name, key, "is no setting", do)
}

// resolve returns what an alias stands for, with the alias's line.
func resolve(node *yaml.Node) *yaml.Node {
	if node.Kind != yaml.AliasNode || node.Alias == nil {
		return node
	}
	target := *node.Alias
	target.Line = node.Line
	return &target
}

// scalar returns a value's text, as it is written. A list of texts is joined with commas where the
// setting is a list.
func (d *document) scalar(name string, node *yaml.Node, list bool) (string, bool) {
	if list && node.Kind == yaml.SequenceNode {
		var items []string
		for _, item := range node.Content {
			text, ok := d.scalar(name, resolve(item), false)
			if !ok {
				return "", false
			}
			items = append(items, text)
		}
		return strings.Join(items, ","), true
	}
	switch {
	case node.Kind == yaml.MappingNode:
		d.fault(name, node, "has nested values, and takes one value", "write it as "+lastName(name)+": VALUE")
	case node.Kind == yaml.SequenceNode:
		d.fault(name, node, "has a list, and takes one value", "write it as "+lastName(name)+": VALUE")
	case node.Tag == "!!null":
		d.fault(name, node, "has no value", `leave the line out for the default, or write "" for none`)
	case node.Tag == "!!binary" || !strings.HasPrefix(node.Tag, "!!"):
		d.fault(name, node, "has the type "+node.Tag+", and takes plain values only", "take the tag out")
	default:
		return node.Value, true
	}
	return "", false
}

func lastName(name string) string {
	return name[strings.LastIndexByte(name, '.')+1:]
}
