package config

import (
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// GroupAnnotation is the annotation of a setting's flag that has its Group, for help.
const GroupAnnotation = "replyworker-group"

// longestKind is how long a flag's type may be and leave help its columns.
const longestKind = 30

// AddFlags offers every setting as a flag. Help shows those of the groups named, or all where none
// is. A flag that is there already keeps its own meaning: a command's --rate is not the setting rate.
func AddFlags(fs *pflag.FlagSet, shown ...Group) {
	for _, s := range Settings() {
		if fs.Lookup(s.Name) != nil {
			continue
		}
		v := &flagValue{text: s.Default, kind: s.Kind(), list: s.value.list}
		usage := s.Help
		if len(v.kind) > longestKind {
			v.kind = "name"
			usage += ": " + strings.Join(s.Choices(), ", ")
		}
		flag := fs.VarPF(v, s.Name, "", usage)
		flag.Annotations = map[string][]string{GroupAnnotation: {string(s.Group)}}
		flag.Hidden = len(shown) > 0 && !slices.Contains(shown, s.Group)
		if s.Kind() == "bool" {
			flag.NoOptDefVal = "true"
		}
	}
}

// flagValue keeps a flag's text as it is; Load reads it together with the other sources.
type flagValue struct {
	text  string
	kind  string
	list  bool
	given bool
}

// String returns the text given, or the default.
func (v *flagValue) String() string { return v.text }

// Type is the word that help shows after the flag.
func (v *flagValue) Type() string { return v.kind }

// Set takes the text. A list that is given more than once grows.
func (v *flagValue) Set(text string) error {
	if v.list && v.given {
		text = v.text + "," + text
	}
	v.text, v.given = text, true
	return nil
}
