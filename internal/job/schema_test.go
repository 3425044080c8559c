package job_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"replyworker/internal/job"
)

func TestEverySchemaCompiles(t *testing.T) {
	t.Parallel()
	files, err := os.ReadDir("schema")
	require.NoError(t, err)
	require.Len(t, files, len(job.SchemaNames()), "a schema file has no name, or a name no file")
	for _, name := range job.SchemaNames() {
		compileSchema(t, name)
	}
	_, ok := job.Schema("../doc.go")
	require.False(t, ok)
}

// TestSchemasKeepToTheKeywordsOfDraft07 lets older validators use them.
func TestSchemasKeepToTheKeywordsOfDraft07(t *testing.T) {
	t.Parallel()
	for _, name := range job.SchemaNames() {
		raw, _ := job.Schema(name)
		for _, keyword := range []string{
			"$defs", "$anchor", "$dynamicRef", "dependentRequired", "dependentSchemas", "unevaluatedProperties",
			"unevaluatedItems", "prefixItems", "minContains", "maxContains",
		} {
			require.NotContains(t, string(raw), `"`+keyword+`"`, name)
		}
	}
}

// TestLenientSchemaIsTheStrictOneOpened derives the lenient schema from the strict one; -update writes
// it. In the message, unknown fields take any value but null, enums any string, strings any character.
func TestLenientSchemaIsTheStrictOneOpened(t *testing.T) {
	t.Parallel()
	strict, _ := job.Schema("job")
	head, definitions, ok := strings.Cut(string(strict), `"definitions": {`)
	require.True(t, ok)
	head = strings.NewReplacer(
		"schema/job.schema.json", "schema/job-lenient.schema.json",
		`"title": "Reply job"`, `"title": "Reply job, lenient"`,
		"Validation strict.", "Validation lenient: inside the message, unknown fields, unknown enum values and characters"+
			" beyond the Basic Multilingual Plane pass.",
	).Replace(head)
	definitions = strings.ReplaceAll(definitions, `"additionalProperties": false`, `"additionalProperties": {"$ref": "#/definitions/any"}`)
	definitions = regexp.MustCompile(`, "(enum": \[[^]]*\]|pattern": "[^"]*")`).ReplaceAllString(definitions, "")
	definitions = regexp.MustCompile(`"description": "No character beyond[^"]*",\s*`).ReplaceAllString(definitions, "")
	want := head + `"definitions": {
    "any": {
      "description": "A value of an unknown field: no null, however deep.",
      "not": {"type": "null"},
      "additionalProperties": {"$ref": "#/definitions/any"},
      "items": {"$ref": "#/definitions/any"}
    },` + definitions
	if *update {
		require.NoError(t, os.WriteFile("schema/job-lenient.schema.json", []byte(want), 0o600))
	}
	got, err := os.ReadFile("schema/job-lenient.schema.json")
	require.NoError(t, err)
	require.Equal(t, want, string(got))
}

// TestDecodeAndSchemaAgreeOnMutatedJobs changes one value of a good job to another and asks both.
func TestDecodeAndSchemaAgreeOnMutatedJobs(t *testing.T) {
	t.Parallel()
	docs := corpus(t, "good")
	schemas := map[job.Validation]string{job.Strict: "job", job.Lenient: "job-lenient"}
	for validation, name := range schemas {
		schema := compileSchema(t, name)
		t.Run(string(validation), func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(t *rapid.T) {
				var doc any
				require.NoError(t, json.Unmarshal(rapid.SampledFrom(docs).Draw(t, "doc").value, &doc))
				raw, err := json.Marshal(mutate(t, doc, rapid.IntRange(0, 6).Draw(t, "depth")))
				require.NoError(t, err)
				_, decodeErr := job.Decode(raw, validation)
				var value any
				require.NoError(t, json.Unmarshal(raw, &value))
				schemaErr := schema.Validate(value)
				require.Equal(t, decodeErr == nil, schemaErr == nil, "%s\nDecode: %v\nschema: %v", raw, decodeErr, schemaErr)
			})
		})
	}
}

// mutate replaces, removes or adds one thing at some depth of v.
func mutate(t *rapid.T, v any, depth int) any {
	values := []any{
		nil, true, 1.5, "", "x", "😀", ".", "TEXT", "IMAGE", "DEFAULT", "2026-12-01T12:00:00Z", strings.Repeat("中", 65),
		strings.Repeat("x", 257),
		[]any{},
		map[string]any{},
		[]any{nil},
		map[string]any{"a": "b"},
		map[string]any{"type": "TEXT"},
	}
	replacement := rapid.SampledFrom(values)
	switch v := v.(type) {
	case []any:
		if depth > 0 && len(v) > 0 {
			i := rapid.IntRange(0, len(v)-1).Draw(t, "index")
			v[i] = mutate(t, v[i], depth-1)
			return v
		}
	case map[string]any:
		names := []string{"x", "type", "text", "labels", "content", "mchid", "action", "message_info", "expires_at"}
		for name := range v {
			names = append(names, name)
		}
		name := rapid.SampledFrom(names).Draw(t, "name")
		inner, ok := v[name]
		switch {
		case !ok:
			v[name] = replacement.Draw(t, "added")
		case depth > 0:
			v[name] = mutate(t, inner, depth-1)
		default:
			delete(v, name)
		}
		return v
	}
	return replacement.Draw(t, "replacement")
}

func TestOutcomeSchema(t *testing.T) {
	t.Parallel()
	const succeeded = `{"schema_version": 1, "status": "succeeded", "reason": "",
		"idempotent_id": "550e8400", "complaint_id": "2002", "complainted_mchid": "1900012181", "mchid": "1900000001",
		"log_id": "300285320210322170000071077", "content_sha256": "", "attempts": 2, "maybe_sent": false, "host": "backup",
		"http_status": 200, "error_code": "", "error_message": "", "request_id": "08F4",
		"enqueued_at": "2026-11-23T08:00:00.000Z", "started_at": "2026-11-23T08:00:00.012Z", "finished_at": "",
		"queue_ms": 12, "processing_ms": 240, "end_to_end_ms": 252, "replay_count": 0, "labels": {"team": "refunds"},
		"source": {"topic": "reply-jobs", "partition": 3, "offset": 1041}}`
	tests := []struct {
		name, field, value string
		ok                 bool
	}{
		{"as it is", "status", `"succeeded"`, true},
		{"a field of a later version", "trace_id", `"x"`, true},
		{"a duplicate", "status", `"duplicate"`, true},
		{"an unknown status", "status", `"done"`, false},
		{"an unknown version", "schema_version", `2`, false},
		{"a success with a reason", "reason", `"rejected"`, false},
		{"a failure without a reason", "status", `"failed"`, false},
		{"an expiry with a log_id", "status", `"expired"`, false},
		{"a success without a log_id", "log_id", `""`, false},
		{"a null", "log_id", `null`, false},
		{"a hash", "content_sha256", `"` + strings.Repeat("0f", 32) + `"`, true},
		{"a hash in capitals", "content_sha256", `"` + strings.Repeat("0F", 32) + `"`, false},
		{"a time without offset", "started_at", `"2026-11-23T08:00:00"`, false},
		{"attempts below zero", "attempts", `-1`, false},
		{"a boolean as text", "maybe_sent", `"false"`, false},
		{"no labels", "labels", `{}`, true},
		{"a label that is no string", "labels", `{"a":1}`, false},
		{"a source without offset", "source", `{"topic":"reply-jobs","partition":3}`, false},
	}
	schema := compileSchema(t, "outcome")
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var outcome map[string]any
			require.NoError(t, json.Unmarshal([]byte(succeeded), &outcome))
			var value any
			require.NoError(t, json.Unmarshal([]byte(test.value), &value))
			outcome[test.field] = value
			err := schema.Validate(outcome)
			require.Equal(t, test.ok, err == nil, "%v", err)
		})
	}
	t.Run("every field is required", func(t *testing.T) {
		t.Parallel()
		var outcome map[string]any
		require.NoError(t, json.Unmarshal([]byte(succeeded), &outcome))
		for name, value := range outcome {
			delete(outcome, name)
			require.Error(t, schema.Validate(outcome), "without %s", name)
			outcome[name] = value
		}
		require.NoError(t, schema.Validate(outcome))
	})
}

// TestOutcomeSchemaKnowsEveryStatusAndReason fails when one is added to the code only.
func TestOutcomeSchemaKnowsEveryStatusAndReason(t *testing.T) {
	t.Parallel()
	var schema struct {
		Properties map[string]struct {
			Enum []string `json:"enum"`
		} `json:"properties"`
	}
	raw, _ := job.Schema("outcome")
	require.NoError(t, json.Unmarshal(raw, &schema))
	statuses := []string{}
	for _, s := range job.Statuses() {
		statuses = append(statuses, string(s))
	}
	reasons := []string{string(job.ReasonNone)}
	for _, r := range job.Reasons() {
		reasons = append(reasons, string(r))
	}
	require.Equal(t, statuses, schema.Properties["status"].Enum)
	require.Equal(t, reasons, schema.Properties["reason"].Enum)
}
