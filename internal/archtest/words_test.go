package archtest_test

import (
	"go/ast"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// ends says that a comment is whole sentences. Code and lists at its end are indented.
func ends(doc *ast.CommentGroup) bool {
	if doc == nil {
		return false
	}
	lines := strings.Split(strings.TrimSpace(doc.Text()), "\n")
	last := lines[len(lines)-1]
	indented := strings.HasPrefix(last, "\t") || strings.HasPrefix(last, " ")
	return indented || strings.HasSuffix(strings.TrimRight(last, `)"`), ".")
}

func commentsAreSentences(t *tree) []string {
	var found []string
	for dir, files := range t.packages() {
		if !slices.ContainsFunc(files, func(f *file) bool { return ends(f.syntax.Doc) }) {
			found = append(found, t.finding(files[0].syntax.Package, "package %s has no comment that ends in a period", dir))
		}
		for _, f := range files {
			for _, decl := range f.syntax.Decls {
				found = append(found, undocumented(t, decl)...)
			}
		}
	}
	return found
}

func undocumented(t *tree, decl ast.Decl) []string {
	var found []string
	switch d := decl.(type) {
	case *ast.FuncDecl:
		if d.Name.IsExported() && (d.Recv == nil || exportedReceiver(d)) && !ends(d.Doc) && !plain(d) {
			found = append(found, t.finding(d.Pos(), "func %s", d.Name.Name))
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.TypeSpec:
				if s.Name.IsExported() && !ends(s.Doc) && !(len(d.Specs) == 1 && ends(d.Doc)) {
					found = append(found, t.finding(s.Pos(), "type %s", s.Name.Name))
				}
			case *ast.ValueSpec:
				named := slices.ContainsFunc(s.Names, (*ast.Ident).IsExported)
				if named && !ends(s.Doc) && !ends(d.Doc) {
					found = append(found, t.finding(s.Pos(), "%s %s", d.Tok, s.Names[0].Name))
				}
			}
		}
	}
	return found
}

// plain says that a method is one whose name says it all: those of the standard library's
// interfaces.
func plain(d *ast.FuncDecl) bool {
	return d.Recv != nil && slices.Contains([]string{
		"Close", "Error", "Is", "Len", "Less", "MarshalJSON", "MarshalText", "Pop", "Push", "Set", "String", "Swap", "Type",
		"UnmarshalJSON", "UnmarshalText", "Unwrap", "Write",
	}, d.Name.Name)
}

func TestCommentsAreSentences(t *testing.T) {
	t.Parallel()
	check(t, commentsAreSentences, "every package and every exported name has a comment of whole sentences")
	file := func(name, source string, finds int) example {
		return one(name, "internal/cli/a.go", "// Package cli is.\npackage cli\n"+source, finds)
	}
	prove(t, commentsAreSentences,
		one("package", "internal/cli/a.go", "package cli", 1),
		file("func", "func F() {}", 1),
		file("func with one", "// F does.\nfunc F() {}", 0),
		file("no period", "// F does\nfunc F() {}", 1),
		file("code at its end", "// F does:\n//\n//\tF()\nfunc F() {}", 0),
		file("hidden", "func f() {}", 0),
		file("method of a hidden type", "type t int\nfunc (t) F() {}", 0),
		file("method", "// T is.\ntype T int\nfunc (*T) F() {}", 1),
		file("plain method", "// T is.\ntype T int\nfunc (T) String() string { return \"\" }", 0),
		file("type", "type T int", 1),
		file("group", "// The As.\nconst (\n\tA = 1\n\tB = 2\n)", 0),
		file("group without", "const (\n\t// A is.\n\tA = 1\n\tB = 2\n)", 1),
	)
}

var (
	loose  = regexp.MustCompile(`\b(TODO|FIXME|XXX|HACK)\b`)
	tied   = regexp.MustCompile(`\b(TODO|FIXME)[ (]*#\d+`)
	nolint = regexp.MustCompile(`^//\s*nolint`)
	reason = regexp.MustCompile(`^//nolint:[a-z0-9]+(,[a-z0-9]+)* // \S`)
)

func leftovers(t *tree) []string {
	var found []string
	for _, f := range t.files {
		for _, group := range f.syntax.Comments {
			for _, c := range group.List {
				if loose.MatchString(c.Text) && !tied.MatchString(c.Text) && f.dir != "internal/archtest" {
					found = append(found, t.finding(c.Pos(), "a leftover without an issue: %s", c.Text))
				}
				if nolint.MatchString(c.Text) && !reason.MatchString(c.Text) {
					found = append(found, t.finding(c.Pos(), "silences a linter without a reason: %s", c.Text))
				}
			}
		}
	}
	return found
}

func TestNoLeftovers(t *testing.T) {
	t.Parallel()
	check(t, leftovers, "TODO #123 names its issue; //nolint:name // reason says which linter and why")
	prove(t, leftovers,
		one("todo", "internal/cli/a.go", "package cli // TODO: more", 1),
		one("todo of an issue", "internal/cli/a.go", "package cli // TODO #12: more", 0),
		one("nolint", "internal/cli/a.go", "package cli //nolint", 1),
		one("nolint of one", "internal/cli/a.go", "package cli //nolint:gosec", 1),
		one("nolint with a reason", "internal/cli/a.go", "package cli //nolint:gosec,errcheck // it fits", 0),
	)
}

// foreign returns the first character that is neither ASCII nor of a Chinese term.
func foreign(text string) (rune, bool) {
	for _, r := range text {
		chinese := unicode.Is(unicode.Han, r) ||
			r >= 0x3000 && r <= 0x303f || // CJK punctuation
			r >= 0xff00 && r <= 0xffef // full-width forms
		if r > unicode.MaxASCII && !chinese {
			return r, true
		}
	}
	return 0, false
}

func plainCharacters(t *tree) []string {
	var found []string
	for _, f := range t.code() {
		if f.support() {
			continue
		}
		for _, group := range f.syntax.Comments {
			for _, c := range group.List {
				if r, odd := foreign(c.Text); odd {
					found = append(found, t.finding(c.Pos(), "%q in a comment", r))
				}
			}
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.BasicLit:
				if r, odd := foreign(n.Value); odd {
					found = append(found, t.finding(n.Pos(), "%q in a literal: write it as \\u%04x", r, r))
				}
			case *ast.Ident:
				if strings.IndexFunc(n.Name, func(r rune) bool { return r > unicode.MaxASCII }) >= 0 {
					found = append(found, t.finding(n.Pos(), "the name %s", n.Name))
				}
			}
			return true
		})
	}
	return found
}

func TestPlainCharacters(t *testing.T) {
	t.Parallel()
	check(t, plainCharacters, "code is ASCII, but for Chinese terms in comments and literals: what looks like a quote or a "+
		"dash can be searched for")
	prove(t, plainCharacters,
		one("dash", "internal/cli/a.go", "package cli // a \u2013 b", 1),
		one("term", "internal/cli/a.go", "package cli // \u5546\u6237\u53f7", 0),
		one("literal", "internal/cli/a.go", "package cli; const a = `\u5546\u6237\uff0c`", 0),
		one("quote", "internal/cli/a.go", "package cli; const a = `\u201c`", 1),
		one("name", "internal/cli/a.go", "package cli; const \u5546 = 1", 1),
		one("test", "internal/cli/a_test.go", "package cli // \u2026", 0),
	)
}
