package asyncapi_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"replyworker/internal/asyncapi"
	"replyworker/internal/deadletter"
	"replyworker/internal/job"
	"replyworker/internal/outcome"
)

var update = flag.Bool("update", false, "write the golden file anew")

func byDefault() asyncapi.Config {
	return asyncapi.Config{
		Brokers: []string{"127.0.0.1:9092"}, Group: "replyworker", Jobs: []string{"reply-jobs"}, Outcomes: "reply-outcomes",
		DeadLetters: "reply-dead-letters", Resolutions: "reply-resolutions", Validation: job.Strict,
	}
}

// everything is a configuration with all there is to say of it.
func everything() asyncapi.Config {
	return asyncapi.Config{
		Brokers: []string{"kafka-1:9093", "kafka-2:9093"}, TLS: true, Certificate: true, SASL: "SCRAM-SHA-512", Group: "group: one",
		Jobs: []string{"jobs", "jobs.of-two"}, Outcomes: "outcomes", DeadLetters: "letters", Resolutions: "resolutions",
		Validation: job.Lenient,
	}
}

// read returns the document as data, from its YAML and from its JSON, which must be the same.
func read(t *testing.T, cfg asyncapi.Config) map[string]any {
	t.Helper()
	asJSON, err := asyncapi.JSON(cfg)
	require.NoError(t, err)
	require.NotContains(t, string(asJSON), "\n")
	asYAML, err := asyncapi.YAML(cfg)
	require.NoError(t, err)
	var fromJSON, fromYAML map[string]any
	require.NoError(t, json.Unmarshal(asJSON, &fromJSON))
	require.NoError(t, yaml.Unmarshal(asYAML, &fromYAML))
	again, err := json.Marshal(fromYAML)
	require.NoError(t, err)
	require.JSONEq(t, string(asJSON), string(again), "YAML and JSON say the same")
	return fromJSON
}

// at follows a JSON pointer.
func at(t *testing.T, value any, pointer string) any {
	t.Helper()
	for name := range strings.SplitSeq(strings.Trim(pointer, "/"), "/") {
		members, ok := value.(map[string]any)
		require.True(t, ok, "%s in %s", name, pointer)
		value, ok = members[name]
		require.True(t, ok, "no %s in %s", name, pointer)
	}
	return value
}

func keys(t *testing.T, value any) []string {
	t.Helper()
	members, ok := value.(map[string]any)
	require.True(t, ok)
	var names []string
	for name := range members {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func TestDocument(t *testing.T) {
	t.Parallel()
	got, err := asyncapi.YAML(byDefault())
	require.NoError(t, err)
	path := filepath.Join("testdata", "asyncapi.yaml")
	if *update {
		require.NoError(t, os.WriteFile(path, got, 0o600))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got), "the document has changed: go test ./internal/asyncapi -update")
}

func TestDocumentHasTheConfiguration(t *testing.T) {
	t.Parallel()
	doc := read(t, everything())
	security := []any{map[string]any{"$ref": "#/components/securitySchemes/sasl"}}
	for name, host := range map[string]string{"broker1": "kafka-1:9093", "broker2": "kafka-2:9093"} {
		require.Equal(t, map[string]any{
			"host": host, "protocol": "kafka-secure", "security": security, "description": "Clients show a certificate as well.",
		}, at(t, doc, "servers/"+name))
	}
	require.Equal(t, map[string]any{"sasl": map[string]any{"type": "scramSha512"}}, at(t, doc, "components/securitySchemes"))
	for channel, topic := range map[string]string{
		"jobs": "jobs", "jobs2": "jobs.of-two", "outcomes": "outcomes", "deadLetters": "letters", "resolutions": "resolutions",
	} {
		require.Equal(t, topic, at(t, doc, "channels/"+channel+"/address"))
		require.Equal(t, topic, at(t, doc, "channels/"+channel+"/bindings/kafka/topic"))
		require.Equal(t, "0.5.0", at(t, doc, "channels/"+channel+"/bindings/kafka/bindingVersion"))
	}
	require.Equal(t, []any{"group: one"}, at(t, doc, "operations/receiveJobs2/bindings/kafka/groupId/enum"))
	require.Equal(t, "#/channels/jobs2", at(t, doc, "operations/receiveJobs2/channel/$ref"))

	cfg := everything()
	cfg.SASL = ""
	require.Equal(t, map[string]any{"type": "X509"}, at(t, read(t, cfg), "components/securitySchemes/certificate"))
	require.Equal(t, []string{"host", "protocol"}, keys(t, at(t, read(t, byDefault()), "servers/broker1")), "nothing is asked for")
}

func TestEveryReferenceLeadsSomewhere(t *testing.T) {
	t.Parallel()
	for _, cfg := range []asyncapi.Config{byDefault(), everything()} {
		doc := read(t, cfg)
		found := 0
		var look func(value any)
		look = func(value any) {
			switch value := value.(type) {
			case []any:
				for _, inner := range value {
					look(inner)
				}
			case map[string]any:
				if to, ok := value["$ref"].(string); ok {
					found++
					require.True(t, strings.HasPrefix(to, "#/"), to)
					at(t, doc, strings.TrimPrefix(to, "#"))
				}
				for _, inner := range value {
					look(inner)
				}
			}
		}
		look(doc)
		require.Greater(t, found, 40)
	}
}

// schemas compiles those of the document as what AsyncAPI takes: draft-07.
func schemas(t *testing.T, cfg asyncapi.Config) func(pointer string) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft7)
	c.AssertFormat()
	require.NoError(t, c.AddResource("asyncapi.json", read(t, cfg)))
	return func(pointer string) *jsonschema.Schema {
		t.Helper()
		schema, err := c.Compile("asyncapi.json#/" + pointer)
		require.NoError(t, err)
		return schema
	}
}

func TestExamplesKeepToTheirSchemas(t *testing.T) {
	t.Parallel()
	doc := read(t, byDefault())
	compile := schemas(t, byDefault())
	for _, name := range keys(t, at(t, doc, "components/messages")) {
		path := "components/messages/" + name
		examples, ok := at(t, doc, path+"/examples").([]any)
		require.True(t, ok)
		require.NotEmpty(t, examples, name)
		for _, example := range examples {
			payload := at(t, example, "payload")
			require.NoError(t, compile(path+"/payload").Validate(payload), name)
			if headers, ok := example.(map[string]any)["headers"]; ok {
				require.NoError(t, compile(path+"/headers").Validate(headers), name)
			}
		}
	}
}

// TestSchemasInTheDocumentAreThoseOfTheCommand holds that moving the schemas into the document, and reading
// them as draft-07, has changed nothing in what they take.
func TestSchemasInTheDocumentAreThoseOfTheCommand(t *testing.T) {
	t.Parallel()
	for _, cfg := range []asyncapi.Config{byDefault(), everything()} {
		schema := schemas(t, cfg)("components/schemas/job")
		taken := map[bool]int{}
		for _, dir := range []string{"good", "lenient", "bad"} {
			files, err := filepath.Glob(filepath.Join("..", "job", "testdata", dir, "*.json"))
			require.NoError(t, err)
			require.NotEmpty(t, files)
			for _, file := range files {
				raw, err := os.ReadFile(file)
				require.NoError(t, err)
				var value any
				if json.Unmarshal(raw, &value) != nil {
					continue // the corpus has files that are no JSON
				}
				_, err = job.Decode(raw, cfg.Validation)
				require.Equal(t, err == nil, schema.Validate(value) == nil, "%s: %v", file, err)
				taken[err == nil]++
			}
		}
		require.Greater(t, taken[true], 20)
		require.Greater(t, taken[false], 50)
	}
}

func TestSamplesInTheDocumentsAreJobs(t *testing.T) {
	t.Parallel()
	schema := schemas(t, byDefault())("components/schemas/job")
	paths, err := filepath.Glob("../../docs/*.md")
	require.NoError(t, err)
	block := regexp.MustCompile("(?s)```json\n(.*?)```")
	piped := regexp.MustCompile(`(?s)echo '[^|']*\|(\{.*?\})'`) // through tr -d '\n' to kcat
	found := 0
	for _, path := range append(paths, "../../README.md") {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		samples := block.FindAllStringSubmatch(string(text), -1)
		for _, s := range piped.FindAllStringSubmatch(string(text), -1) {
			samples = append(samples, []string{"", strings.ReplaceAll(s[1], "\n", "")})
		}
		for _, s := range samples {
			if !strings.Contains(s[1], `"message"`) || strings.Contains(s[1], "{{") { // templates have tests of their own
				continue
			}
			var value any
			require.NoError(t, json.Unmarshal([]byte(s[1]), &value), "%s: %s", path, s[1])
			require.NoError(t, schema.Validate(value), "%s: %s", path, s[1])
			found++
		}
	}
	require.GreaterOrEqual(t, found, 3)
}

// TestRecordsOfTheCodeKeepToTheDocument makes the records that the worker writes, and holds them against
// what the document says of keys, headers and values.
func TestRecordsOfTheCodeKeepToTheDocument(t *testing.T) {
	t.Parallel()
	compile := schemas(t, byDefault())
	now := time.UnixMilli(1795420801500)
	d := &job.Delivery{
		Key: []byte("c"), Value: []byte("{}"),
		Source:  job.Source{Topic: "reply-jobs", Partition: 3, Offset: 7, Timestamp: now.Add(-time.Second)},
		Headers: []job.Header{{Key: "traceparent", Value: []byte("00")}, {Key: "tracestate", Value: []byte("a=b")}},
	}
	r := job.Result{
		Status: job.StatusFailed, Reason: job.ReasonRejected, StartedAt: now, FinishedAt: now, Detail: "no",
		Answer: job.Answer{HTTPStatus: 403, Code: "NO_AUTH", RequestID: "08F4"},
	}
	event, err := outcome.Message(d, outcome.New(d, &job.Job{ComplaintID: "c", IdempotentID: "i"}, r), "group", now)
	require.NoError(t, err)
	letter := deadletter.Message(d, r, "group")
	resolution, err := deadletter.ResolutionMessage(deadletter.Place{Timestamp: now},
		deadletter.Resolution{Status: deadletter.StatusDiscarded, By: "li", At: deadletter.FormatTime(now)})
	require.NoError(t, err)

	var value any
	require.NoError(t, json.Unmarshal(event.Value, &value))
	require.NoError(t, compile("components/messages/outcome/payload").Validate(value))
	require.NoError(t, json.Unmarshal(resolution.Value, &value))
	require.NoError(t, compile("components/messages/resolution/payload").Validate(value))
	require.NoError(t, compile("components/messages/resolution/bindings/kafka/key").Validate(string(resolution.Key)))

	doc := read(t, byDefault())
	for name, headers := range map[string][]job.Header{"outcome": event.Headers, "deadLetter": letter.Headers} {
		made := map[string]any{}
		for _, h := range headers {
			made[h.Key] = string(h.Value)
		}
		require.NoError(t, compile("components/messages/"+name+"/headers").Validate(made))
		described := keys(t, at(t, doc, "components/messages/"+name+"/headers/properties"))
		for _, h := range headers {
			own := name == "deadLetter" && strings.HasPrefix(h.Key, "trace") // the job's own headers
			require.True(t, own || slices.Contains(described, h.Key), "%s: header %s is not described", name, h.Key)
		}
		required, _ := at(t, doc, "components/messages/"+name+"/headers/required").([]any)
		for _, header := range required {
			require.Contains(t, made, header)
		}
	}
}
