package config

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// OriginKind is one of the places that a value may come from.
type OriginKind int

// The places, the weakest first. The zero value is the default.
const (
	FromDefault OriginKind = iota
	FromFile
	FromEnv
	FromFlag
)

// Origin says where a value came from.
type Origin struct {
	Kind OriginKind
	Name string // the flag, the variable, or the file's path
	Line int    // in the file; 0 where no line is known
}

// String returns the origin as "config print" shows it: "flag --rate", "env REPLYWORKER_RATE",
// "file worker.yaml:3" or "default".
func (o Origin) String() string {
	switch o.Kind {
	case FromFlag:
		return "flag --" + o.Name
	case FromEnv:
		return "env " + o.Name
	case FromFile:
		if o.Line == 0 {
			return "file " + o.Name
		}
		return "file " + o.Name + ":" + strconv.Itoa(o.Line)
	default:
		return "default"
	}
}

// Fault is one thing that is wrong with the configuration.
type Fault struct { //nolint:errname // One of many: the sum of them is the error.
	Name   string // the setting, or what stands in its place
	Origin Origin
	Value  string // what was given; never a secret
	HasVal bool   // Value is known and may be shown
	Rule   string // what is wrong with it
	Do     string // what to do about it; may be empty
	Cause  error  // of the operating system, where there is one
}

// Error returns the fault on one line.
func (f *Fault) Error() string {
	var b strings.Builder
	b.WriteString(f.Name)
	if f.HasVal {
		b.WriteString(" = " + quote(f.Value))
	}
	if f.Origin.Kind != FromDefault {
		b.WriteString(" (" + f.Origin.String() + ")")
	}
	b.WriteString(" " + f.Rule)
	if f.Do != "" {
		b.WriteString("; " + f.Do)
	}
	return b.String()
}

// Unwrap returns what the operating system said, where it was asked.
func (f *Fault) Unwrap() error { return f.Cause }

// Faults returns every fault in err, in order: the parts of what Load, Validate and RequireMerchant
// return. It is empty where err is no fault of the configuration.
func Faults(err error) []*Fault {
	switch e := err.(type) { //nolint:errorlint // the tree is walked by hand, to keep every branch
	case *Fault:
		return []*Fault{e}
	case interface{ Unwrap() []error }:
		var all []*Fault
		for _, part := range e.Unwrap() {
			all = append(all, Faults(part)...)
		}
		return all
	case interface{ Unwrap() error }:
		return Faults(e.Unwrap())
	default:
		return nil
	}
}

// quote shows a value on one line and not at great length.
func quote(value string) string {
	const longest = 120
	if len(value) > longest {
		cut := longest
		for cut > 0 && !utf8.RuneStart(value[cut]) {
			cut--
		}
		return fmt.Sprintf("%q... (%d bytes)", value[:cut], len(value))
	}
	return strconv.Quote(value)
}
