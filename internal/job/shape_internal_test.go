package job

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTableAndSchemaSayTheSame walks the table beside the JSON Schema: what one holds a value to, the
// other does too, keyword by keyword.
func TestTableAndSchemaSayTheSame(t *testing.T) {
	t.Parallel()
	var root map[string]any
	raw, ok := Schema("job")
	require.True(t, ok)
	require.NoError(t, json.Unmarshal(raw, &root))
	c := comparison{t, root["definitions"].(map[string]any)}
	c.compare("", jobShape, root)
}

type comparison struct {
	*testing.T
	definitions map[string]any
}

func (c comparison) compare(at string, s *shape, schema map[string]any) {
	c.Helper()
	if ref, ok := schema["$ref"].(string); ok {
		require.Len(c, schema, 1, "%s: draft-07 ignores what stands beside a $ref", at)
		schema = c.definitions[strings.TrimPrefix(ref, "#/definitions/")].(map[string]any)
	}
	want := map[string]any{"type": map[kind]string{
		kindString: "string", kindBool: "boolean", kindObject: "object", kindArray: "array",
	}[s.kind]}
	switch s.kind {
	case kindString:
		stringKeywords(want, s)
	case kindArray:
		c.compare(at+"/0", s.items, schema["items"].(map[string]any))
		want["items"] = schema["items"]
	case kindObject:
		c.objectKeywords(want, at, s, schema)
	case kindAny, kindBool, kindNumber, kindNull:
	}
	got := map[string]any{}
	for keyword, value := range schema {
		switch keyword {
		case "description", "title", "$schema", "$id", "definitions":
		default:
			got[keyword] = value
		}
	}
	require.Equal(c, want, got, "at %q", at)
}

func stringKeywords(want map[string]any, s *shape) {
	if s.min > 0 {
		want["minLength"] = float64(s.min)
	}
	if s.max > 0 {
		want["maxLength"] = float64(s.max)
	}
	if s.chars != charsAny {
		want["pattern"] = `^[\x00-` + "\uffff]*$"
	}
	if s.enum != nil {
		want["enum"] = anys(s.enum)
	}
	switch s.format {
	case formatSegment:
		want["not"] = map[string]any{"enum": []any{".", ".."}}
	case formatDateTime:
		want["format"] = "date-time"
		want["pattern"] = `^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})$`
	case formatNone:
	}
}

func (c comparison) objectKeywords(want map[string]any, at string, s *shape, schema map[string]any) {
	c.Helper()
	want["additionalProperties"] = false
	if s.values != nil {
		inner := schema["additionalProperties"].(map[string]any)
		c.compare(at+"/*", s.values, inner)
		want["additionalProperties"] = inner
		want["propertyNames"] = map[string]any{"maxLength": float64(s.nameMax)}
		want["maxProperties"] = float64(s.max)
		return
	}
	properties := schema["properties"].(map[string]any)
	want["properties"] = properties
	require.Len(c, properties, len(s.members), "members at %q", at)
	var required []string
	var conditions []any
	for _, m := range s.members {
		require.Contains(c, properties, m.name, "at %q", at)
		c.compare(at+"/"+m.name, m.shape, properties[m.name].(map[string]any))
		if m.required {
			required = append(required, m.name)
		}
		if m.ofType != "" {
			conditions = append(conditions, map[string]any{
				"if": map[string]any{
					"required":   []any{s.tag},
					"properties": map[string]any{s.tag: map[string]any{"const": m.ofType}},
				},
				"then": map[string]any{"required": []any{m.name}},
			})
		}
	}
	if required != nil {
		want["required"] = anys(required)
	}
	if conditions != nil {
		want["allOf"] = conditions
	}
}

func anys(values []string) []any {
	out := make([]any, len(values))
	for i, v := range values {
		out[i] = v
	}
	return out
}

// TestEveryTypeOfBlockHasItsMember fails when a value is added to the enum only.
func TestEveryTypeOfBlockHasItsMember(t *testing.T) {
	t.Parallel()
	types, _ := blockShape.lookup([]byte(blockShape.tag))
	for _, name := range types.shape.enum {
		m, _ := blockShape.lookup([]byte(strings.ToLower(name)))
		require.NotNil(t, m, name)
		require.Equal(t, name, m.ofType)
	}
}

func FuzzScanText(f *testing.F) {
	for _, seed := range []string{`""`, `"a\u0041"`, `"\ud83d\ude00"`, `"\ud83d\u0041"`, "\"\xff\"", `"\`, `"`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) == 0 || data[0] != '"' {
			return
		}
		text, fault, at := scanText(data, 0)
		if fault != "" {
			require.LessOrEqual(t, at, len(data))
			require.False(t, json.Valid(data))
			return
		}
		literal := data[:text.end+1]
		var want string
		require.NoError(t, json.Unmarshal(literal, &want))
		got := string(unquote(data[text.start:text.end], text.escaped))
		if !text.invalidUTF8 {
			require.Equal(t, want, got)
			if !text.loneSurrogate {
				require.Equal(t, len([]rune(want)), text.runes)
				require.Equal(t, literalOf(t, want), string(appendCanonicalString(nil, got)))
			}
		}
	})
}

// literalOf returns s as encoding/json writes it, with the few escapes undone that RFC 8785 does not
// make.
func literalOf(t *testing.T, s string) string {
	t.Helper()
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	require.NoError(t, e.Encode(s))
	out := strings.TrimSuffix(b.String(), "\n")
	if !strings.Contains(s, `\`) { // else the text itself may look like an escape
		out = strings.NewReplacer(`\u2028`, "\u2028", `\u2029`, "\u2029").Replace(out)
		return out
	}
	return strings.NewReplacer(`\\`, `\\`, `\u2028`, "\u2028", `\u2029`, "\u2029").Replace(out)
}
