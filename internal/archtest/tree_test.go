package archtest_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "replyworker"

// tree is the Go files that a rule looks at.
type tree struct {
	fset  *token.FileSet
	files []*file
}

// file is one Go file.
type file struct {
	path   string // from the top of the module, with slashes
	dir    string
	test   bool // its name ends in _test.go
	syntax *ast.File
}

// support says that the package is for tests, though its files are none: dedupetest, archtest.
func (f *file) support() bool { return strings.HasSuffix(path.Base(f.dir), "test") }

// outside says that the file is of a suite under test/, a measurement, or an example for producers, which are no part of
// the product.
func (f *file) outside() bool {
	return strings.HasPrefix(f.dir, "test/") || strings.HasPrefix(f.dir, "docs/") || strings.HasPrefix(f.dir+"/", "bench/")
}

// finding is one breach of a rule.
func (t *tree) finding(at token.Pos, format string, args ...any) string {
	p := t.fset.Position(at)
	return fmt.Sprintf("%s:%d: ", p.Filename, p.Line) + fmt.Sprintf(format, args...)
}

func (t *tree) add(name string, source any) error {
	syntax, err := parser.ParseFile(t.fset, name, source, parser.ParseComments)
	if err != nil {
		return fmt.Errorf("parse: %w", err)
	}
	t.files = append(t.files, &file{
		path: name, dir: path.Dir(name), test: strings.HasSuffix(name, "_test.go"), syntax: syntax,
	})
	return nil
}

// code is the files that end up in the binary or could.
func (t *tree) code() []*file {
	return slices.DeleteFunc(slices.Clone(t.files), func(f *file) bool { return f.test || f.outside() })
}

// packages is the files of code by folder.
func (t *tree) packages() map[string][]*file {
	all := map[string][]*file{}
	for _, f := range t.code() {
		all[f.dir] = append(all[f.dir], f)
	}
	return all
}

// imports calls see with the path of each import.
func (f *file) imports(see func(spec *ast.ImportSpec, path string)) {
	for _, spec := range f.syntax.Imports {
		name, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			panic(err) // the parser has read it
		}
		see(spec, name)
	}
}

// calls says that call is of the function name of a package, by the name it is imported under.
func calls(call *ast.CallExpr, pkg string, names ...string) bool {
	return isSelector(call.Fun, pkg, names...)
}

func isSelector(expr ast.Expr, pkg string, names ...string) bool {
	sel, ok := expr.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	x, ok := sel.X.(*ast.Ident)
	return ok && x.Name == pkg && slices.Contains(names, sel.Sel.Name)
}

// the is the module's own files, read once.
var the = sync.OnceValues(func() (*tree, error) {
	top, err := filepath.Abs("../..")
	if err != nil {
		return nil, err
	}
	t := &tree{fset: token.NewFileSet()}
	err = filepath.WalkDir(top, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			hidden := name != top && strings.HasPrefix(entry.Name(), ".")
			if hidden || entry.Name() == "testdata" || entry.Name() == "vendor" {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		source, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(top, name)
		if err != nil {
			return err
		}
		return t.add(filepath.ToSlash(rel), source)
	})
	return t, err
})

// rule is one of the rules: it returns what breaks it.
type rule func(*tree) []string

// check runs a rule on the code base.
func check(t *testing.T, r rule, why string) {
	t.Helper()
	own, err := the()
	require.NoError(t, err)
	require.NotEmpty(t, own.code(), "no Go files found: are the tests run in the module's folder?")
	if found := r(own); len(found) > 0 {
		slices.Sort(found)
		t.Errorf("%s\n  %s", why, strings.Join(found, "\n  "))
	}
}

// example is files, name and source, and how many findings a rule must have in them.
type example struct {
	name  string
	files map[string]string
	finds int
}

// prove runs a rule on made-up files, so that a rule that has stopped to look does not pass for good.
func prove(t *testing.T, r rule, examples ...example) {
	t.Helper()
	for _, e := range examples {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			made := &tree{fset: token.NewFileSet()}
			for name, source := range e.files {
				require.NoError(t, made.add(name, source))
			}
			require.Len(t, r(made), e.finds, "findings")
		})
	}
}

// one is an example of a single file.
func one(name, path, source string, finds int) example {
	return example{name, map[string]string{path: source}, finds}
}
