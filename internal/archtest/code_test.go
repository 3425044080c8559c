package archtest_test

import (
	"go/ast"
	"go/token"
	"path"
	"regexp"
	"slices"
	"testing"
)

// mayPanic is the files that may panic for what is not http.ErrAbortHandler: each for a mistake in
// this program that shows at its first start.
var mayPanic = []string{
	"internal/dedupe/script.go", // an embedded script is missing
}

func onlyMainExits(t *tree) []string {
	var found []string
	for _, f := range t.files {
		if path.Base(f.path) == "main.go" && f.syntax.Name.Name == "main" {
			continue
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				return !f.test || n.Name.Name != "TestMain"
			case *ast.SelectorExpr:
				if isSelector(n, "os", "Exit") || isSelector(n, "syscall", "Exit") ||
					isSelector(n, "log", "Fatal", "Fatalf", "Fatalln", "Panic", "Panicf", "Panicln") {
					found = append(found, t.finding(n.Pos(), "ends the process"))
				}
			case *ast.CallExpr:
				if id, ok := n.Fun.(*ast.Ident); !ok || id.Name != "panic" || f.test || f.support() {
					return true
				}
				if !isSelector(n.Args[0], "http", "ErrAbortHandler") && !slices.Contains(mayPanic, f.path) {
					found = append(found, t.finding(n.Pos(), "panics"))
				}
			}
			return true
		})
	}
	return found
}

func TestOnlyMainExits(t *testing.T) {
	t.Parallel()
	check(t, onlyMainExits, "only a command's main.go ends the process, or what is deferred is lost; failures are returned")
	prove(t, onlyMainExits,
		one("exit", "internal/cli/a.go", `package cli; func f() { os.Exit(1) }`, 1),
		one("fatal", "internal/cli/a.go", `package cli; func f() { log.Fatal() }`, 1),
		one("as a value", "internal/cli/a.go", `package cli; var exit = os.Exit`, 1),
		one("panic", "internal/cli/a.go", `package cli; func f() { panic("no") }`, 1),
		one("abort", "internal/wxsim/a.go", `package wxsim; func f() { panic(http.ErrAbortHandler) }`, 0),
		one("main", "cmd/worker/main.go", `package main; func main() { os.Exit(1) }`, 0),
		one("main of a suite", "test/servers/with/main.go", `package main; func main() { os.Exit(1) }`, 0),
		one("beside main", "cmd/worker/run.go", `package main; func run() { os.Exit(1) }`, 1),
		one("test main", "internal/cli/a_test.go", `package cli; func TestMain(m *testing.M) { os.Exit(m.Run()) }`, 0),
	)
}

func noInit(t *tree) []string {
	var found []string
	for _, f := range t.files {
		for _, decl := range f.syntax.Decls {
			if d, ok := decl.(*ast.FuncDecl); ok && d.Recv == nil && d.Name.Name == "init" {
				found = append(found, t.finding(d.Pos(), "func init"))
			}
		}
	}
	return found
}

func TestNoInit(t *testing.T) {
	t.Parallel()
	check(t, noInit, "nothing happens because a package is imported: no init")
	prove(t, noInit,
		one("init", "internal/cli/a.go", `package cli; func init() {}`, 1),
		one("method", "internal/cli/a.go", `package cli; func (t T) init() {}`, 0),
	)
}

// constants are calls whose results never change, so that a package variable may hold one.
var constants = map[string][]string{
	"errors":     {"New"},
	"fmt":        {"Errorf"},
	"regexp":     {"MustCompile"},
	"strings":    {"NewReplacer"},
	"prometheus": {"NewDesc"},
	"template":   {"Must"},
	"big":        {"NewInt"},
	"netip":      {"MustParseAddr", "MustParsePrefix"},
}

// variablesAreConstant holds package variables to be constants in all but name: sentinels, compiled
// expressions, embedded files and tables, which nothing writes to.
func variablesAreConstant(t *tree) []string {
	var found []string
	for _, files := range t.packages() {
		if files[0].support() {
			continue
		}
		names := map[string]bool{}
		for _, f := range files {
			for _, decl := range f.syntax.Decls {
				d, ok := decl.(*ast.GenDecl)
				if !ok || d.Tok != token.VAR {
					continue
				}
				for _, spec := range d.Specs {
					s := spec.(*ast.ValueSpec)
					for _, name := range s.Names {
						names[name.Name] = true
					}
					if reason := notConstant(d, s); reason != "" {
						found = append(found, t.finding(s.Pos(), "var %s: %s", s.Names[0].Name, reason))
					}
				}
			}
		}
		for _, f := range files {
			found = append(found, writes(t, f, names)...)
		}
	}
	return found
}

// notConstant says why a variable is none that may be.
func notConstant(d *ast.GenDecl, s *ast.ValueSpec) string {
	if s.Names[0].Name == "_" || embeds(d.Doc) || embeds(s.Doc) {
		return ""
	}
	if len(s.Values) == 0 {
		return "has no value, so it waits for one"
	}
	for _, v := range s.Values {
		if u, ok := v.(*ast.UnaryExpr); ok && u.Op == token.AND {
			v = u.X
		}
		switch v := v.(type) {
		case *ast.CompositeLit, *ast.BasicLit:
		case *ast.CallExpr:
			if !constant(v) {
				return "is the result of a call that is not in constants"
			}
		case *ast.SelectorExpr, *ast.Ident, *ast.BinaryExpr:
		default:
			return "is neither a sentinel nor a table"
		}
	}
	return ""
}

func constant(call *ast.CallExpr) bool {
	for pkg, names := range constants {
		if calls(call, pkg, names...) {
			return true
		}
	}
	id, ok := call.Fun.(*ast.Ident)
	return ok && id.Name == "desc" // prometheus.NewDesc with our prefix
}

func embeds(doc *ast.CommentGroup) bool {
	return doc != nil && slices.ContainsFunc(doc.List, func(c *ast.Comment) bool {
		return regexp.MustCompile(`^//go:embed `).MatchString(c.Text)
	})
}

// writes finds where a file writes to package variables, or to what they hold.
func writes(t *tree, f *file, names map[string]bool) []string {
	var found []string
	see := func(target ast.Expr) {
		for {
			switch x := target.(type) {
			case *ast.IndexExpr:
				target = x.X
				continue
			case *ast.SelectorExpr:
				target = x.X
				continue
			case *ast.StarExpr:
				target = x.X
				continue
			case *ast.ParenExpr:
				target = x.X
				continue
			case *ast.Ident:
				// The parser resolves what a function declares itself; what is left is the package's.
				local := x.Obj != nil && !topLevel(f, x.Obj)
				if names[x.Name] && !local {
					found = append(found, t.finding(x.Pos(), "writes to the package variable %s", x.Name))
				}
			}
			return
		}
	}
	ast.Inspect(f.syntax, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			if n.Tok != token.DEFINE {
				for _, target := range n.Lhs {
					see(target)
				}
			}
		case *ast.IncDecStmt:
			see(n.X)
		case *ast.CallExpr:
			if id, ok := n.Fun.(*ast.Ident); ok && slices.Contains([]string{"delete", "clear"}, id.Name) && len(n.Args) > 0 {
				see(n.Args[0])
			}
		}
		return true
	})
	return found
}

//nolint:staticcheck // Inside a function the parser resolves names well enough, and types would need a build.
func topLevel(f *file, obj *ast.Object) bool { return f.syntax.Scope.Objects[obj.Name] == obj }

func TestPackageVariablesAreConstant(t *testing.T) {
	t.Parallel()
	check(t, variablesAreConstant, "package variables are constants in all but name: two workers in one process share nothing")
	file := func(name, source string, finds int) example {
		return one(name, "internal/cli/a.go", "package cli; "+source, finds)
	}
	prove(t, variablesAreConstant,
		file("sentinel", `var ErrX = errors.New("x")`, 0),
		file("table", `var t = map[string]int{"a": 1}`, 0),
		file("no value", `var mu sync.Mutex`, 1),
		file("call", `var start = time.Now()`, 1),
		file("channel", `var c = make(chan int)`, 1),
		file("written", `var t = map[string]int{}; func f() { t["a"] = 1 }`, 1),
		file("counted", `var n = 0; func f() { n++ }`, 1),
		file("deleted from", `var t = map[string]int{}; func f() { delete(t, "a") }`, 1),
		file("shadowed", `var n = 0; func f() { n := 1; n = 2; _ = n }`, 0),
		file("interface assertion", `var _ io.Reader = (*T)(nil)`, 0),
		one("test", "internal/cli/a_test.go", `package cli; var mu sync.Mutex`, 0),
		example{"written from another file", map[string]string{
			"internal/cli/a.go": `package cli; var n = 0`, "internal/cli/b.go": `package cli; func f() { n = 1 }`,
		}, 1},
	)
}

// errorsUnwrap holds types of errors that carry an error to show it to errors.Is and errors.As.
func errorsUnwrap(t *tree) []string {
	var found []string
	for _, files := range t.packages() {
		methods := map[string]map[string]bool{}
		carriers := map[string]token.Pos{}
		for _, f := range files {
			for _, decl := range f.syntax.Decls {
				if d, ok := decl.(*ast.FuncDecl); ok && d.Recv != nil {
					name := receiver(d)
					if methods[name] == nil {
						methods[name] = map[string]bool{}
					}
					methods[name][d.Name.Name] = true
				}
			}
			ast.Inspect(f.syntax, func(n ast.Node) bool {
				if s, ok := n.(*ast.TypeSpec); ok && carriesError(s) {
					carriers[s.Name.Name] = s.Pos()
				}
				return true
			})
		}
		for name, at := range carriers {
			if methods[name]["Error"] && !methods[name]["Unwrap"] {
				found = append(found, t.finding(at, "%s has an error in it and no Unwrap", name))
			}
		}
	}
	return found
}

func receiver(d *ast.FuncDecl) string {
	expr := d.Recv.List[0].Type
	if star, ok := expr.(*ast.StarExpr); ok {
		expr = star.X
	}
	id, _ := expr.(*ast.Ident)
	if id == nil {
		return ""
	}
	return id.Name
}

func carriesError(s *ast.TypeSpec) bool {
	st, ok := s.Type.(*ast.StructType)
	return ok && slices.ContainsFunc(st.Fields.List, func(f *ast.Field) bool {
		id, ok := f.Type.(*ast.Ident)
		return ok && id.Name == "error" && len(f.Names) > 0
	})
}

func TestErrorsUnwrap(t *testing.T) {
	t.Parallel()
	check(t, errorsUnwrap, "an error that carries its cause shows it")
	const kind = `package cli; type E struct { err error }; func (e *E) Error() string { return "" }; `
	prove(t, errorsUnwrap,
		one("hides it", "internal/cli/a.go", kind, 1),
		one("shows it", "internal/cli/a.go", kind+`func (e *E) Unwrap() error { return e.err }`, 0),
		one("has none", "internal/cli/a.go", `package cli; type E struct {}; func (e *E) Error() string { return "" }`, 0),
		one("is no error", "internal/cli/a.go", `package cli; type R struct { err error }`, 0),
	)
}

// maySleep are tests that sleep outside a bubble of testing/synctest, as "folder:TestName", each for a
// reason that stands beside it.
var maySleep = []string{}

// noSleeps finds tests that sleep, by themselves or in what they call in their package, outside a
// bubble of testing/synctest. In a bubble a sleep is exact and takes no time.
func noSleeps(t *tree) []string {
	type function struct {
		decl    *ast.FuncDecl
		sleeps  token.Pos
		mention map[string]bool // names that it uses outside bubbles
	}
	packages := map[string][]*function{}
	for _, f := range t.files {
		if !f.test && !f.support() {
			continue
		}
		for _, decl := range f.syntax.Decls {
			d, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			fn := &function{decl: d, mention: map[string]bool{}}
			ast.Inspect(d, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.CallExpr:
					return !calls(n, "synctest", "Test")
				case *ast.SelectorExpr:
					if isSelector(n, "time", "Sleep") {
						fn.sleeps = n.Pos()
					}
				case *ast.Ident:
					fn.mention[n.Name] = true
				}
				return true
			})
			packages[f.dir] = append(packages[f.dir], fn)
		}
	}
	var found []string
	for dir, functions := range packages {
		for spread := true; spread; {
			spread = false
			for _, sleeper := range functions {
				for _, fn := range functions {
					if sleeper.sleeps.IsValid() && !fn.sleeps.IsValid() && fn.mention[sleeper.decl.Name.Name] {
						fn.sleeps, spread = sleeper.sleeps, true
					}
				}
			}
		}
		for _, fn := range functions {
			name := fn.decl.Name.Name
			if fn.sleeps.IsValid() && fn.decl.Name.IsExported() && !slices.Contains(maySleep, dir+":"+name) {
				found = append(found, t.finding(fn.sleeps, "time.Sleep in %s", name))
			}
		}
	}
	return found
}

func TestNoSleepsInTests(t *testing.T) {
	t.Parallel()
	check(t, noSleeps, "a sleep in a test is a guess about time: use testing/synctest, a channel, or require.Eventually")
	const helper = `package cli; func nap() { time.Sleep(1) }; `
	prove(t, noSleeps,
		one("sleep", "internal/cli/a_test.go", `package cli; func TestA(t *testing.T) { time.Sleep(1) }`, 1),
		one("in a bubble", "internal/cli/a_test.go",
			`package cli; func TestA(t *testing.T) { synctest.Test(t, func(t *testing.T) { time.Sleep(1) }) }`, 0),
		one("in a helper", "internal/cli/a_test.go", helper+`func TestA(t *testing.T) { nap() }`, 1),
		one("in a helper, passed on", "internal/cli/a_test.go", helper+`func TestA(t *testing.T) { rapid.Check(t, nap) }`, 1),
		one("in a helper, in a bubble", "internal/cli/a_test.go",
			helper+`func TestA(t *testing.T) { synctest.Test(t, func(t *testing.T) { nap() }) }`, 0),
		one("support", "internal/dedupe/dedupetest/a.go", `package dedupetest; func Run() { time.Sleep(1) }`, 1),
	)
}
