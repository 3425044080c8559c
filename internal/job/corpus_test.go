package job_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"replyworker/internal/job"
)

var update = flag.Bool("update", false, "write the golden files of testdata and the lenient schema anew")

// document is one file of testdata.
type document struct {
	name  string
	value []byte
}

func corpus(tb testing.TB, dir string) []document {
	tb.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", dir, "*.json"))
	require.NoError(tb, err)
	require.NotEmpty(tb, files)
	docs := make([]document, 0, len(files))
	for _, file := range files {
		value, err := os.ReadFile(file)
		require.NoError(tb, err)
		docs = append(docs, document{strings.TrimSuffix(filepath.Base(file), ".json"), value})
	}
	return docs
}

func compileSchema(tb testing.TB, name string) *jsonschema.Schema {
	tb.Helper()
	raw, ok := job.Schema(name)
	require.True(tb, ok)
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	require.NoError(tb, err)
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	require.NoError(tb, c.AddResource("schema.json", doc))
	schema, err := c.Compile("schema.json")
	require.NoError(tb, err)
	return schema
}

// validateSchema returns what the schema finds wrong with a value that is JSON.
func validateSchema(tb testing.TB, schema *jsonschema.Schema, value []byte) error {
	tb.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(value))
	require.NoError(tb, err)
	return schema.Validate(doc)
}

func invalid(tb testing.TB, err error) *job.InvalidError {
	tb.Helper()
	var e *job.InvalidError
	require.ErrorAs(tb, err, &e)
	require.ErrorIs(tb, err, job.ErrInvalid)
	require.NotEmpty(tb, e.Problems)
	require.LessOrEqual(tb, len(e.Error()), 1024)
	require.NotContains(tb, e.Error(), "\n")
	return e
}

func TestGoodCorpusIsTakenByDecodeAndSchemas(t *testing.T) {
	t.Parallel()
	strict, lenient := compileSchema(t, "job"), compileSchema(t, "job-lenient")
	for _, doc := range corpus(t, "good") {
		t.Run(doc.name, func(t *testing.T) {
			t.Parallel()
			_, err := job.Decode(doc.value, job.Strict)
			require.NoError(t, err)
			_, err = job.Decode(doc.value, job.Lenient)
			require.NoError(t, err)
			require.NoError(t, validateSchema(t, strict, doc.value))
			require.NoError(t, validateSchema(t, lenient, doc.value))
		})
	}
}

func TestLenientCorpusIsTakenByLenientOnly(t *testing.T) {
	t.Parallel()
	strict, lenient := compileSchema(t, "job"), compileSchema(t, "job-lenient")
	for _, doc := range corpus(t, "lenient") {
		t.Run(doc.name, func(t *testing.T) {
			t.Parallel()
			_, err := job.Decode(doc.value, job.Strict)
			invalid(t, err)
			require.Error(t, validateSchema(t, strict, doc.value))
			_, err = job.Decode(doc.value, job.Lenient)
			require.NoError(t, err)
			require.NoError(t, validateSchema(t, lenient, doc.value))
		})
	}
}

func TestBadCorpusIsRefusedByDecodeAndSchemas(t *testing.T) {
	t.Parallel()
	strict, lenient := compileSchema(t, "job"), compileSchema(t, "job-lenient")
	for _, doc := range corpus(t, "bad") {
		t.Run(doc.name, func(t *testing.T) {
			t.Parallel()
			_, err := job.Decode(doc.value, job.Strict)
			invalid(t, err)
			require.Error(t, validateSchema(t, strict, doc.value))

			_, err = job.Decode(doc.value, job.Lenient)
			schemaErr := validateSchema(t, lenient, doc.value)
			require.Equal(t, err == nil, schemaErr == nil, "lenient: Decode %v, schema %v", err, schemaErr)
		})
	}
}

func TestBadBeyondSchemaCorpusIsRefusedByBothValidations(t *testing.T) {
	t.Parallel()
	for _, doc := range corpus(t, "bad-beyond-schema") {
		t.Run(doc.name, func(t *testing.T) {
			t.Parallel()
			for _, v := range []job.Validation{job.Strict, job.Lenient} {
				_, err := job.Decode(doc.value, v)
				invalid(t, err)
			}
		})
	}
}

// TestProblemsAreThoseOfTheGoldenFiles holds the pointers and the words of every problem of the bad
// files. -update writes the golden files anew; read the difference.
func TestProblemsAreThoseOfTheGoldenFiles(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{"bad", "bad-beyond-schema"} {
		t.Run(dir, func(t *testing.T) {
			t.Parallel()
			var b strings.Builder
			for _, doc := range corpus(t, dir) {
				fmt.Fprintf(&b, "%s.json\n", doc.name)
				_, err := job.Decode(doc.value, job.Strict)
				for _, p := range invalid(t, err).Problems {
					fmt.Fprintf(&b, "\t%s\n", p)
				}
			}
			golden := filepath.Join("testdata", dir+".golden")
			if *update {
				require.NoError(t, os.WriteFile(golden, []byte(b.String()), 0o600))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			require.Equal(t, string(want), b.String())
		})
	}
}

// beyondSchema are the beginnings of the rules that JSON Schema cannot express.
var beyondSchema = []string{
	"is a duplicate", "has a lone surrogate", "has a name with a lone surrogate",
	"is not valid UTF-8", "has a name that is not valid UTF-8",
	"is nested deeper", "has more data after its end", "starts with a byte order mark", "is not JSON",
	"is empty", "is null (a tombstone)",
}

// onlyBeyondSchema tells whether no problem is one that the schema should have found.
func onlyBeyondSchema(err error) bool {
	var e *job.InvalidError
	if !errors.As(err, &e) {
		return false
	}
	for _, p := range e.Problems {
		known := strings.HasPrefix(p.Rule, "has ") && strings.Contains(p.Rule, " bytes; must be at most ")
		for _, prefix := range beyondSchema {
			known = known || strings.HasPrefix(p.Rule, prefix)
		}
		if !known {
			return false
		}
	}
	return true
}
