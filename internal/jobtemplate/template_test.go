package jobtemplate_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"replyworker/internal/job"
	"replyworker/internal/jobtemplate"
)

// reply is a template; ID, LABEL stand for what differs between tests.
const reply = `{
  "message": {"blocks": [{"type": "TEXT", "text": {"is_bold": false, "text": "您好{{ name }}，退款{{amount}}元"}}]},
  "complainted_mchid": "{{complainted_mchid}}",
  "complaint_id": "{{complaint_id}}"
}`

var columns = []string{"complaint_id", "name", "complainted_mchid", "amount", "note"}

func fill(t *testing.T, template string, cells ...string) string {
	t.Helper()
	parsed, err := jobtemplate.Parse([]byte(template))
	require.NoError(t, err)
	filler, err := parsed.Filler(columns, job.Strict)
	require.NoError(t, err)
	value, fault := filler.Fill([]byte("before"), cells)
	require.Empty(t, fault)
	require.True(t, strings.HasPrefix(string(value), "before"))
	return string(value[len("before"):])
}

func TestFillKeepsTheTemplateAndItsOrder(t *testing.T) {
	t.Parallel()
	const withID = `{"labels": {"b": "1", "a": "{{note}}"}, "idempotent_id": "refund-{{complaint_id}}", ` + "\n" +
		`"message": {"custom_data": "\u007b{name}} \\{{name}}\u0041 {{name}}{{name}}"},` +
		`"complaint_id": "{{complaint_id}}", "complainted_mchid": "{{ complainted_mchid }}"}`
	got := fill(t, withID, "2002", "王\"小\\明\n\u2028</", "1900012181", "1e3", "")
	require.Equal(t, `{"labels":{"b":"1","a":""},"idempotent_id":"refund-2002",`+
		`"message":{"custom_data":"\u007b{name}} \\王\"小\\明\n\u2028</\u0041 王\"小\\明\n\u2028</王\"小\\明\n\u2028</"},`+
		`"complaint_id":"2002","complainted_mchid":"1900012181"}`, got)
	_, err := job.Decode([]byte(got), job.Strict)
	require.NoError(t, err)
}

func TestFillNamesColumnsAsTheHeaderDoes(t *testing.T) {
	t.Parallel()
	const text = `{"complaint_id":"{{complaint_id}}","complainted_mchid":"{{complainted_mchid}}",` +
		`"message":{"custom_data":"{{\u6295\u8bc9 \"x\"}}"}}`
	parsed, err := jobtemplate.Parse([]byte(text))
	require.NoError(t, err)
	require.Equal(t, []string{"complaint_id", "complainted_mchid", `投诉 "x"`}, parsed.Columns())
}

func TestAnIDThatIsMadeIsOfTheReplyAlone(t *testing.T) {
	t.Parallel()
	id := func(template string, cells ...string) string {
		j, err := job.Decode([]byte(fill(t, template, cells...)), job.Strict)
		require.NoError(t, err)
		return j.IdempotentID
	}
	first := id(reply, "c1", "王", "m1", "5", "")
	require.Regexp(t, `^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`, first)
	// It is part of what users rely on: a later version must make the same one, or files that are enqueued
	// again are sent again.
	require.Equal(t, "3de46a4e-7448-8710-a7c8-ccb3b448acc8", first)

	same := strings.ReplaceAll(reply, `"is_bold": false, "text": "您`, `"text":"\u60a8`)
	same = strings.ReplaceAll(same, `款{{amount}}元"`, `款{{amount}}元", "is_bold": false`)
	require.NotEqual(t, reply, same)
	require.Equal(t, first, id(same, "c1", "王", "m1", "5", "another note"), "white space, order, escapes, unused columns")
	labelled := strings.Replace(reply, "{", `{"labels": {"a": "{{note}}"}, "expires_at": "2036-01-01T00:00:00Z",`, 1)
	require.Equal(t, first, id(labelled, "c1", "王", "m1", "5", "x"), "what the customer does not see")

	seen := map[string]bool{first: true}
	for _, other := range []string{
		id(reply, "c2", "王", "m1", "5", ""), id(reply, "c1", "王", "m2", "5", ""), id(reply, "c1", "王", "m1", "6", ""),
		id(strings.ReplaceAll(reply, "退款", "已退款"), "c1", "王", "m1", "5", ""),
		id(strings.ReplaceAll(reply, `"is_bold": false`, `"is_bold": true`), "c1", "王", "m1", "5", ""),
	} {
		require.False(t, seen[other], "another reply with the same id")
		seen[other] = true
	}
}

func TestAnInvalidJobKeepsAnIDOfZeros(t *testing.T) {
	t.Parallel()
	require.Contains(t, fill(t, reply, "", "王", "m", "5", ""), `"00000000-0000-8000-8000-000000000000"`)
}

func TestTemplatesThatAreNone(t *testing.T) {
	t.Parallel()
	ids := `"complaint_id":"{{complaint_id}}","complainted_mchid":"{{complainted_mchid}}"`
	for _, tt := range []struct{ name, template, want string }{
		{"nothing", "", "the value: is not JSON: line 1: unexpected end of JSON input"},
		{"no JSON", "{\n\"a\": b}", "the value: is not JSON: line 2: invalid character 'b' looking for beginning of value"},
		{"an array", "[]", "the value: must be one JSON object"},
		{"too long", strings.Repeat(" ", job.MaxBytes+1), "the value: has 262145 bytes; must be at most 262144"},
		{"GBK", "{\"a\":\"\xc4\xfa\"}", "the value: is not UTF-8; save it as UTF-8"},
		{
			"one complaint for all", `{"complaint_id":"2002","complainted_mchid":"{{complainted_mchid}}"}`,
			`/complaint_id: must be "{{complaint_id}}", nothing else: each row is a reply to its own complaint`,
		},
		{
			"more than the id", `{"complaint_id":" {{complaint_id}}","complainted_mchid":"{{complaint_id}}"}`,
			`/complaint_id: must be "{{complaint_id}}", nothing else: each row is a reply to its own complaint; ` +
				`/complainted_mchid: must be "{{complainted_mchid}}", nothing else: each row is a reply to its own complaint`,
		},
		{
			"one id for all", `{"idempotent_id":"x",` + ids + `}`, "/idempotent_id: has no placeholder; one id is one reply, " +
				"so it must differ from row to row; leave it out for one that is made of the reply",
		},
		{"open", `{` + ids + `,"labels":{"a":"{{x"}}`, `/labels/a: has {{ without }} behind it; write \u007b for a brace that is text`},
		{"no name", `{` + ids + `,"m":["","{{ }}"]}`, `/m/1: has no column's name between {{ and }}; write \u007b for a brace that is text`},
		{
			"in a name", `{` + ids + `,"{{a~/}}":1}`,
			`/{{a~0~1}}: is a name with {{ in it; placeholders stand in values only; write \u007b for a brace that is text`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := jobtemplate.Parse([]byte(tt.template))
			require.ErrorIs(t, err, job.ErrInvalid)
			require.EqualError(t, err, "template invalid: "+tt.want)
		})
	}
}

func TestOwnTellsTheTemplatesProblemsFromThoseOfCells(t *testing.T) {
	t.Parallel()
	parsed, err := jobtemplate.Parse([]byte(`{"complaint_id":"{{complaint_id}}","complainted_mchid":"{{complainted_mchid}}",
		"expires_at":"{{until}}","colour":1,"message":{"blocks":[{"type":"TEXT"},{"type":"{{kind}}"}]}}`))
	require.NoError(t, err)
	_, err = job.Decode(parsed.Sample(), job.Strict)
	var invalid *job.InvalidError
	require.ErrorAs(t, err, &invalid)
	var own []string
	for _, p := range parsed.Own(invalid.Problems) {
		own = append(own, p.String())
	}
	require.Equal(t, []string{"/colour: is not a known field", "/message/blocks/0/text: is missing; a block of type TEXT must have it"}, own)
	require.Greater(t, len(invalid.Problems), len(own))
}

func TestUnknownColumns(t *testing.T) {
	t.Parallel()
	parsed, err := jobtemplate.Parse([]byte(strings.ReplaceAll(reply, "amount", "{sum")))
	require.NoError(t, err)
	_, err = parsed.Filler(columns, job.Strict)
	require.EqualError(t, err, `no column "{sum"; there are "complaint_id", "name", "complainted_mchid", "amount", "note"`)
	many := append([]string{"complaint_id", "complainted_mchid", "name"}, strings.Split(strings.Repeat("x,", 40), ",")...)
	_, err = parsed.Filler(many, job.Strict)
	require.ErrorContains(t, err, `"x", and 14 more`)
}

func TestIDsThatASpreadsheetHasSpoilt(t *testing.T) {
	t.Parallel()
	parsed, err := jobtemplate.Parse([]byte(reply))
	require.NoError(t, err)
	filler, err := parsed.Filler(columns, job.Strict)
	require.NoError(t, err)
	for cell, want := range map[string]string{
		"2.00202E+26": `has in column "complaint_id" "2.00202E+26", a number that a spreadsheet has rounded`,
		"2e26":        "has rounded",
		"2002" + " ":  `has in column "complaint_id" white space around the id`, "\u00a02002": "white space",
	} {
		_, fault := filler.Fill(nil, []string{cell, "n", "m", "a", ""})
		require.Contains(t, fault, want)
	}
	for _, cell := range []string{"2E", "E26", "12E+26", "2.0.0E+2"} { // may be ids
		_, fault := filler.Fill(nil, []string{cell, "n", "m", "1E+3", ""})
		require.Empty(t, fault)
	}
}

func TestFillEndsWhereAJobIsTooLong(t *testing.T) {
	t.Parallel()
	parsed, err := jobtemplate.Parse([]byte(strings.ReplaceAll(reply, "{{amount}}", strings.Repeat("{{amount}}", 10_000))))
	require.NoError(t, err)
	filler, err := parsed.Filler(columns, job.Strict)
	require.NoError(t, err)
	value, fault := filler.Fill(nil, []string{"c", "n", "m", strings.Repeat("x", 1<<20), ""})
	require.Equal(t, "makes a job of more than 327680 bytes; must be at most 262144", fault)
	require.Empty(t, value)
	require.Less(t, cap(value), 8<<20)
}

// FuzzFill holds that whatever a cell has in it becomes that text in its string, and changes nothing else.
func FuzzFill(f *testing.F) {
	for _, cell := range []string{"", `"}`, `\`, `\u007b{{name}}`, "{{name}}", "\x00\x1f\x7f\u2028\u2029<>&", "😀", `","x":"`} {
		f.Add(cell, cell)
	}
	parsed, err := jobtemplate.Parse([]byte(reply))
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, name, amount string) {
		if !utf8.ValidString(name) || !utf8.ValidString(amount) {
			t.Skip("rows are UTF-8")
		}
		filler, err := parsed.Filler(columns, job.Lenient)
		require.NoError(t, err)
		value, fault := filler.Fill(nil, []string{"c", name, "m", amount, ""})
		if fault != "" {
			require.Greater(t, 6*(len(name)+len(amount)), job.MaxBytes)
			return
		}
		var got map[string]any
		require.NoError(t, json.Unmarshal(value, &got))
		id, _ := got["idempotent_id"].(string)
		require.Len(t, id, 36)
		require.Equal(t, map[string]any{
			"complaint_id": "c", "complainted_mchid": "m", "idempotent_id": id,
			"message": map[string]any{"blocks": []any{map[string]any{"type": "TEXT", "text": map[string]any{
				"is_bold": false, "text": "您好" + name + "，退款" + amount + "元",
			}}}},
		}, got)
		again, _ := filler.Fill(nil, []string{"c", name, "m", amount, "another"})
		require.Equal(t, string(value), string(again))
	})
}
