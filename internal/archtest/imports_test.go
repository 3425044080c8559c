package archtest_test

import (
	"go/ast"
	"path"
	"slices"
	"strings"
	"testing"
)

// mayImport is which of our own packages each package may import. Imports run one way: from the
// commands down to the words of the trade. Tests may import what they need.
//
// Packages that only meet through an interface of the one that needs it do not stand here: consumer
// and processor, gate and dedupe, wxclient and wxsim. wxsim must stay free of the client's code, so
// that a mistake in one shows in the other.
var mayImport = map[string][]string{
	"cmd/worker": {"cli"},
	"internal/cli": {
		"app", "asyncapi", "config", "deadletter", "dedupe", "demo", "devstack", "doctor", "inquiry", "job", "jobtemplate",
		"kafkaio", "ops", "outcome", "outcome/export", "outcome/stats", "rebuild", "reconcile", "replay", "topics",
		"wxclient", "wxsim",
	},
	"internal/demo": {"app", "config", "deadletter", "devstack", "job", "kafkaio", "ops", "outcome", "wxsim"},
	"internal/app": {
		"config", "consumer", "deadletter", "dedupe", "gate", "job", "kafkaio", "ops", "outcome", "pace", "processor",
		"retry", "schedule", "topics", "wxclient",
	},
	"internal/consumer":          {"job", "kafkaio"},
	"internal/processor":         {"dedupe", "gate", "job", "retry", "schedule", "wxclient"},
	"internal/reconcile":         {"inquiry", "job", "kafkaio", "outcome", "wxclient"},
	"internal/inquiry":           {"retry", "wxclient"},
	"internal/doctor":            {"config", "dedupe", "kafkaio", "topics", "wxclient"},
	"internal/topics":            {"config", "job"},
	"internal/asyncapi":          {"job"},
	"internal/jobtemplate":       {"job"},
	"internal/rebuild":           {"dedupe", "job", "kafkaio", "outcome"},
	"internal/replay":            {"deadletter", "dedupe", "job", "kafkaio", "outcome"},
	"internal/ops":               {"job"},
	"internal/schedule":          {"gate"},
	"internal/gate":              {"wxclient"},
	"internal/deadletter":        {"job", "kafkaio"},
	"internal/outcome":           {"job", "kafkaio"},
	"internal/outcome/export":    {"outcome"},
	"internal/outcome/stats":     {"outcome"},
	"internal/kafkaio":           {"job"},
	"internal/devstack":          {"wxsim"},
	"internal/dedupe/dedupetest": {"dedupe", "pace"},
	"internal/stacktest":         {"app", "config", "dedupe", "dedupe/dedupetest", "devstack", "kafkaio"},
	"internal/config":            {},
	"internal/dedupe":            {"pace"},
	"internal/job":               {},
	"internal/pace":              {},
	"internal/retry":             {},
	"internal/wxclient":          {},
	"internal/wxsim":             {},
	"internal/archtest":          {},
}

func importsRunOneWay(t *tree) []string {
	var found []string
	for _, f := range t.code() {
		allowed, known := mayImport[f.dir]
		if !known {
			found = append(found, t.finding(f.syntax.Package, "package %s is not in mayImport: add it", f.dir))
			continue
		}
		f.imports(func(spec *ast.ImportSpec, name string) {
			own, ours := strings.CutPrefix(name, module+"/")
			if ours && !slices.Contains(allowed, strings.TrimPrefix(own, "internal/")) {
				found = append(found, t.finding(spec.Pos(), "%s may not import %s", f.dir, own))
			}
		})
	}
	return found
}

func TestImportsRunOneWay(t *testing.T) {
	t.Parallel()
	check(t, importsRunOneWay, "imports run one way; what one part needs of another it declares as a small interface "+
		"on its own side. The table is mayImport.")
	prove(t, importsRunOneWay,
		one("up", "internal/job/a.go", `package job; import _ "replyworker/internal/cli"`, 1),
		one("down", "internal/consumer/a.go", `package consumer; import _ "replyworker/internal/job"`, 0),
		one("sideways", "internal/wxsim/a.go", `package wxsim; import _ "replyworker/internal/wxclient"`, 1),
		one("test support", "internal/app/a.go", `package app; import _ "replyworker/internal/dedupe/dedupetest"`, 1),
		one("test", "internal/job/a_test.go", `package job_test; import _ "replyworker/internal/cli"`, 0),
		one("unknown package", "internal/new/a.go", `package new`, 1),
	)
}

// homes is where each third-party library may be imported; nil is anywhere. A library that is not
// here is a decision to take.
var homes = map[string][]string{
	"github.com/DataDog/sketches-go":         {"internal/outcome/stats"},
	"github.com/alicebob/miniredis/v2":       {"internal/devstack", "internal/dedupe/dedupetest"},
	"github.com/cenkalti/backoff/v4":         {"internal/retry"},
	"github.com/parquet-go/parquet-go":       {"internal/outcome/export"},
	"github.com/prometheus/client_golang":    nil,
	"github.com/prometheus/client_model":     {"internal/demo", "internal/ops", "internal/app"},
	"github.com/redis/go-redis/v9":           {"internal/dedupe"},
	"github.com/rivo/uniseg":                 {"internal/cli"},
	"github.com/rogpeppe/go-internal":        {},
	"github.com/rs/zerolog":                  nil,
	"github.com/schollz/progressbar/v3":      {"internal/cli"},
	"github.com/segmentio/kafka-go":          {"internal/consumer", "internal/kafkaio"},
	"github.com/spf13/cobra":                 {"internal/cli"},
	"github.com/spf13/pflag":                 {"internal/cli", "internal/config"},
	"github.com/twmb/franz-go/pkg/kfake":     {"internal/devstack"},
	"go.yaml.in/yaml/v3":                     {"internal/asyncapi", "internal/config"},
	"golang.org/x/sync":                      nil,
	"golang.org/x/sys":                       nil,
	"golang.org/x/term":                      {"internal/cli", "internal/demo"},
	"github.com/stretchr/testify/require":    {"internal/dedupe/dedupetest", "internal/stacktest"},
	"pgregory.net/rapid":                     {"internal/dedupe/dedupetest"},
	"go.uber.org/goleak":                     {},
	"github.com/twmb/franz-go":               {"internal/stacktest"},
	"github.com/santhosh-tekuri/jsonschema/": {},
}

// home returns where a library may be imported, by the longest entry that it is under.
func home(name string) (dirs []string, anywhere, known bool) {
	best := ""
	for prefix := range homes {
		under := name == prefix || strings.HasPrefix(name, strings.TrimSuffix(prefix, "/")+"/")
		if under && len(prefix) > len(best) {
			best = prefix
		}
	}
	dirs, known = homes[best]
	return dirs, known && dirs == nil, known
}

// cgoHomes is where C may be called from, and the build tag that each file that does must ask for.
var cgoHomes = map[string]string{"internal/wxclient": "openssl"}

func defaultBuildIsPureGo(t *tree) []string {
	var found []string
	for _, f := range t.code() {
		f.imports(func(spec *ast.ImportSpec, name string) {
			if name != "C" {
				return
			}
			switch tag := cgoHomes[f.dir]; {
			case tag == "":
				found = append(found, t.finding(spec.Pos(), "%s may not call C", f.dir))
			case !slices.Contains(buildLines(f.syntax), "//go:build "+tag):
				found = append(found, t.finding(spec.Pos(), "C without a line //go:build %s", tag))
			}
		})
	}
	return found
}

// buildLines are the build constraints of a file.
func buildLines(syntax *ast.File) []string {
	var lines []string
	for _, group := range syntax.Comments {
		if group.Pos() > syntax.Package {
			break
		}
		for _, c := range group.List {
			if strings.HasPrefix(c.Text, "//go:build ") {
				lines = append(lines, c.Text)
			}
		}
	}
	return lines
}

func TestTheDefaultBuildIsPureGo(t *testing.T) {
	t.Parallel()
	check(t, defaultBuildIsPureGo, "the binary is built without a C compiler and runs without a C library, unless a build tag "+
		"asks for one. The table is cgoHomes.")
	prove(t, defaultBuildIsPureGo,
		one("with the tag", "internal/wxclient/a.go", "//go:build openssl\n\npackage wxclient; import \"C\"", 0),
		one("without", "internal/wxclient/a.go", `package wxclient; import "C"`, 1),
		one("with another", "internal/wxclient/a.go", "//go:build !openssl\n\npackage wxclient; import \"C\"", 1),
		one("too late", "internal/wxclient/a.go", "package wxclient; import \"C\"\n\n//go:build openssl\n", 1),
		one("away from home", "internal/job/a.go", "//go:build openssl\n\npackage job; import \"C\"", 1),
	)
}

func thirdParty(name string) bool {
	first, _, _ := strings.Cut(name, "/")
	return strings.Contains(first, ".")
}

func librariesStayAtHome(t *tree) []string {
	var found []string
	for _, f := range t.code() {
		f.imports(func(spec *ast.ImportSpec, name string) {
			if !thirdParty(name) {
				return
			}
			switch dirs, anywhere, known := home(name); {
			case !known:
				found = append(found, t.finding(spec.Pos(), "%s is not in homes: say where it may be imported", name))
			case !anywhere && !slices.Contains(dirs, f.dir):
				found = append(found, t.finding(spec.Pos(), "%s may not be imported by %s", name, f.dir))
			}
		})
	}
	return found
}

func TestLibrariesStayAtHome(t *testing.T) {
	t.Parallel()
	check(t, librariesStayAtHome, "a third-party client has one home, so that it can be replaced; libraries for tests "+
		"are not in the binary. The table is homes.")
	prove(t, librariesStayAtHome,
		one("at home", "internal/kafkaio/a.go", `package kafkaio; import _ "github.com/segmentio/kafka-go/sasl"`, 0),
		one("away", "internal/processor/a.go", `package processor; import _ "github.com/segmentio/kafka-go"`, 1),
		one("anywhere", "internal/processor/a.go", `package processor; import _ "github.com/rs/zerolog"`, 0),
		one("longest entry", "internal/devstack/a.go", `package devstack; import _ "github.com/twmb/franz-go/pkg/kgo"`, 1),
		one("unknown", "internal/job/a.go", `package job; import _ "example.com/x"`, 1),
		one("test library", "internal/job/a.go", `package job; import _ "github.com/stretchr/testify/require"`, 1),
		one("in a test", "internal/job/a_test.go", `package job; import _ "github.com/stretchr/testify/require"`, 0),
	)
}

// testOnly are packages of the standard library that code outside tests does not need.
var testOnly = []string{"testing", "testing/synctest", "testing/fstest", "testing/quick", "net/http/httptest"}

func testsStayOutside(t *tree) []string {
	var found []string
	for _, f := range t.files {
		f.imports(func(spec *ast.ImportSpec, name string) {
			switch {
			case !f.test && !f.support() && slices.Contains(testOnly, name):
				found = append(found, t.finding(spec.Pos(), "%s outside a test", name))
			case strings.HasPrefix(name, "github.com/stretchr/testify/") && path.Base(name) != "require":
				found = append(found, t.finding(spec.Pos(), "%s: use require", name))
			}
		})
	}
	return found
}

func TestTestsStayOutside(t *testing.T) {
	t.Parallel()
	check(t, testsStayOutside, "testing helpers are not in the binary, and tests stop at the first failure (require)")
	prove(t, testsStayOutside,
		one("testing", "internal/job/a.go", `package job; import _ "testing"`, 1),
		one("support", "internal/dedupe/dedupetest/a.go", `package dedupetest; import _ "testing"`, 0),
		one("assert", "internal/job/a_test.go", `package job; import _ "github.com/stretchr/testify/assert"`, 1),
	)
}

// hidden is the libraries whose types may not show in what their home offers to others. kafkaio gives
// the consumer what it needs of kafka-go.
var hidden = map[string][]string{
	"internal/dedupe":   {"github.com/redis/go-redis/v9"},
	"internal/retry":    {"github.com/cenkalti/backoff/v4"},
	"internal/consumer": {"github.com/segmentio/kafka-go"},
}

func typesStayAtHome(t *tree) []string {
	var found []string
	for _, f := range t.code() {
		names := map[string]string{}
		f.imports(func(spec *ast.ImportSpec, name string) {
			if !slices.ContainsFunc(hidden[f.dir], func(lib string) bool { return name == lib || strings.HasPrefix(name, lib+"/") }) {
				return
			}
			local := strings.TrimPrefix(path.Base(strings.TrimSuffix(strings.TrimSuffix(name, "/v9"), "/v4")), "go-")
			local = strings.TrimSuffix(local, "-go")
			if spec.Name != nil {
				local = spec.Name.Name
			}
			names[local] = name
		})
		if len(names) == 0 {
			continue
		}
		offered(f.syntax, func(node ast.Node) {
			ast.Inspect(node, func(n ast.Node) bool {
				sel, ok := n.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				if x, ok := sel.X.(*ast.Ident); ok && names[x.Name] != "" {
					found = append(found, t.finding(sel.Pos(), "%s.%s in an exported name", x.Name, sel.Sel.Name))
				}
				return false
			})
		})
	}
	return found
}

// offered calls see with the types that a file's exported declarations show.
func offered(syntax *ast.File, see func(ast.Node)) {
	for _, decl := range syntax.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && (d.Recv == nil || exportedReceiver(d)) {
				see(d.Type)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				offeredSpec(spec, see)
			}
		}
	}
}

func offeredSpec(spec ast.Spec, see func(ast.Node)) {
	switch s := spec.(type) {
	case *ast.ValueSpec:
		if s.Type != nil && slices.ContainsFunc(s.Names, (*ast.Ident).IsExported) {
			see(s.Type)
		}
	case *ast.TypeSpec:
		if !s.Name.IsExported() {
			return
		}
		st, ok := s.Type.(*ast.StructType)
		if !ok {
			see(s.Type)
			return
		}
		for _, field := range st.Fields.List {
			if len(field.Names) == 0 || slices.ContainsFunc(field.Names, (*ast.Ident).IsExported) {
				see(field.Type)
			}
		}
	}
}

// exportedReceiver says that a method is of an exported type.
func exportedReceiver(d *ast.FuncDecl) bool {
	expr := d.Recv.List[0].Type
	for {
		switch x := expr.(type) {
		case *ast.StarExpr:
			expr = x.X
		case *ast.IndexExpr:
			expr = x.X
		case *ast.IndexListExpr:
			expr = x.X
		case *ast.Ident:
			return x.IsExported()
		default:
			return false
		}
	}
}

func TestTypesStayAtHome(t *testing.T) {
	t.Parallel()
	check(t, typesStayAtHome, "the types of a fenced library do not leave its home")
	const head = `package retry; import "github.com/cenkalti/backoff/v4"; `
	prove(t, typesStayAtHome,
		one("result", "internal/retry/a.go", head+`func F() backoff.BackOff { return nil }`, 1),
		one("field", "internal/retry/a.go", head+`type T struct { B backoff.BackOff }`, 1),
		one("hidden field", "internal/retry/a.go", head+`type T struct { b backoff.BackOff }`, 0),
		one("hidden function", "internal/retry/a.go", head+`func f() backoff.BackOff { return nil }`, 0),
		one("method", "internal/retry/a.go", head+`type T int; func (T) F(backoff.BackOff) {}`, 1),
		one("body", "internal/retry/a.go", head+`func F() { _ = backoff.Stop }`, 0),
	)
}

// badNames are names of packages that say nothing about what is in them.
var badNames = []string{
	"base", "common", "constants", "core", "errors", "helper", "helpers", "lib", "misc", "model", "models", "shared",
	"tools", "types", "util", "utils",
}

func packagesAreNamed(t *tree) []string {
	var found []string
	for _, f := range t.files {
		if slices.Contains(badNames, strings.TrimSuffix(f.syntax.Name.Name, "_test")) {
			found = append(found, t.finding(f.syntax.Name.Pos(), "package %s", f.syntax.Name.Name))
		}
	}
	return found
}

func TestPackagesAreNamedForWhatTheyDo(t *testing.T) {
	t.Parallel()
	check(t, packagesAreNamed, "a package's name says what it is about")
	prove(t, packagesAreNamed,
		one("util", "internal/util/a.go", `package util`, 1),
		one("job", "internal/job/a.go", `package job`, 0),
	)
}
