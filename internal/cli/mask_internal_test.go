package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestMaskMessage(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, value, want string }{
		{
			"a job",
			`{"complaint_id": "2002<&>", "message": {"blocks": [{"type": "TEXT", "text": {"text": "您好，😀", "color": "DEFAULT", "is_bold": false}},
			{"type": "IMAGE", "image": {"media_id": "file2/a+b=="}},
			{"type": "LINK", "link": {"text": "see", "action": {"action_type": "ACTION_TYPE_JUMP_URL", "jump_url": "https://example.com/?phone=13800000000",
			"mini_program_jump_info": {"appid": "wx8888888888888888", "path": "pages/secret"}, "message_info": {"content": "ok", "custom_data": "x"}},
			"invalid_info": {"expired_time": "2026-12-01T12:00:00+08:00", "multi_clickable": true}}}],
			"sender_identity": "MACHINE", "custom_data": "ticket-4711"}, "labels": {"team": "退款", "n": "1"}, "idempotent_id": "a"}`,
			`{"complaint_id":"2002<&>","message":{"blocks":[{"type":"TEXT","text":{"text":"(4 characters)","color":"DEFAULT","is_bold":false}},` +
				`{"type":"IMAGE","image":{"media_id":"file2/a+b=="}},` +
				`{"type":"LINK","link":{"text":"(3 characters)","action":{"action_type":"ACTION_TYPE_JUMP_URL","jump_url":"(38 characters)",` +
				`"mini_program_jump_info":{"appid":"wx8888888888888888","path":"(12 characters)"},"message_info":{"content":"(2 characters)",` +
				`"custom_data":"(1 characters)"}},"invalid_info":{"expired_time":"2026-12-01T12:00:00+08:00","multi_clickable":true}}}],` +
				`"sender_identity":"MACHINE","custom_data":"(11 characters)"},"labels":{"team":"退款","n":"1"},"idempotent_id":"a"}`,
		},
		{"a text in the place of the message", `{"message": "您好"}`, `{"message":"(2 characters)"}`},
		{"a list in its place", `{"message": ["您好", ["a"], {"type": "b"}]}`, `{"message":["(2 characters)",["(1 characters)"],{"type":"b"}]}`},
		{"a text where an enumeration belongs", `{"message": {"type": "您好 13800000000"}}`, `{"message":{"type":"(14 characters)"}}`},
		{"an address where an id belongs", `{"message": {"media_id": "https://a.b/c"}}`, `{"message":{"media_id":"(13 characters)"}}`},
		{
			"a list of texts there", `{"message": {"type": ["a b", {"type": "B", "text": "c"}]}}`,
			`{"message":{"type":["(3 characters)",{"type":"B","text":"(1 characters)"}]}}`,
		},
		{"a text as a name", `{"message": {"您好": 1, "blokcs": []}}`, `{"message":{"(2 characters)":"(a number)","blokcs":[]}}`},
		{"a number in the message", `{"message": {"text": 13800000000, "is_bold": null}}`, `{"message":{"text":"(a number)","is_bold":null}}`},
		{"the message under another name", `{"Message": {"text": "secret"}, "reply": "secret"}`, `{"Message":{"text":"(6 characters)"},"reply":"(6 characters)"}`},
		{
			"big numbers elsewhere", `{"labels": {"n": 123456789012345678901234567890, "e": 1e999, "z": -0.10}}`,
			`{"labels":{"n":123456789012345678901234567890,"e":1e999,"z":-0.10}}`,
		},
		{
			"names twice", `{"complaint_id": "a", "message": {"text": "b", "text": "cc"}, "complaint_id": "d", "message": "ee"}`,
			`{"complaint_id":"a","message":{"text":"(1 characters)","text":"(2 characters)"},"complaint_id":"d","message":"(2 characters)"}`,
		},
		{"white space around", " \n{ } \t", `{}`},
		{"no object", `["text"]`, `"(8 bytes, not JSON)"`},
		{"cut off", `{"message": {"text": "secret`, `"(28 bytes, not JSON)"`},
		{"more behind it", `{"complaint_id": "a"} {}`, `"(24 bytes, not JSON)"`},
		{"empty", "", `"(0 bytes, not JSON)"`},
		{"no UTF-8", "{\"complaint_id\": \"a\xff\", \"message\": {\"text\": \"\xff\xfe\"}}", `{"complaint_id":"a` + "\uFFFD" + `","message":{"text":"(2 characters)"}}`},
		{"too deep", `{"message":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + "}", `"(40012 bytes, not JSON)"`},
		{
			"deep", `{"message":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + "}",
			`{"message":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + "}",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tt.want, string(maskMessage([]byte(tt.value))))
		})
	}
}

// secret begins every text that nobody must see.
const secret = "密 "

// drawValue returns JSON in which every string begins with secret, and the names are those of a message.
func drawValue(t *rapid.T, depth int) any {
	kinds := []string{"text", "number", "bool", "null"}
	if depth > 0 {
		kinds = append(kinds, "object", "object", "array")
	}
	switch rapid.SampledFrom(kinds).Draw(t, "kind") {
	case "text":
		return secret + rapid.String().Draw(t, "text")
	case "number":
		return rapid.IntRange(1e9, 2e9).Draw(t, "number")
	case "bool":
		return true
	case "null":
		return nil
	case "array":
		return []any{drawValue(t, depth-1), drawValue(t, depth-1)}
	}
	object := map[string]any{}
	for range rapid.IntRange(0, 4).Draw(t, "members") {
		object[drawName(t)] = drawValue(t, depth-1)
	}
	return object
}

func drawName(t *rapid.T) string {
	names := append(slices.Clone(plainMembers), "message", "blocks", "text", "jump_url", "custom_data", "labels", "complaint_id", secret+"name", "x y")
	return rapid.SampledFrom(names).Draw(t, "name")
}

// TestNothingThatIsSaidIsShown holds that of a message, and of members that no job has, no text, no number and
// no name that may be a text is shown, and that the result has the same shape.
func TestNothingThatIsSaidIsShown(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		value, err := json.Marshal(map[string]any{
			"complaint_id": "open", "labels": map[string]string{"team": "open"},
			rapid.SampledFrom([]string{"message", "Message", "reply", "blocks", "type", secret}).Draw(t, "member"): drawValue(t, 4),
		})
		require.NoError(t, err)
		masked := maskMessage(value)
		require.True(t, json.Valid(masked), "%s", masked)
		require.NotContains(t, string(masked), strings.TrimSpace(secret))
		require.NotRegexp(t, `\d{9}`, string(masked))
		require.Equal(t, 2, strings.Count(string(masked), `"open"`), "what is no part of the message")
		require.Equal(t, shapeOf(t, value), shapeOf(t, masked))
	})
}

// shapeOf tells the brackets and the number of values between them, in their order.
func shapeOf(t *rapid.T, value []byte) string {
	var b strings.Builder
	in := json.NewDecoder(bytes.NewReader(value))
	for {
		token, err := in.Token()
		if err == io.EOF {
			return b.String()
		}
		require.NoError(t, err)
		if delim, ok := token.(json.Delim); ok {
			b.WriteString(delim.String())
			continue
		}
		b.WriteByte('.')
	}
}

func TestSetIdempotentID(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ value, want string }{
		{`{"idempotent_id":"a"}`, `{"idempotent_id":"NEW"}`},
		{
			"{ \"x\" : {\"idempotent_id\": \"inner\"} ,\n\t\"idempotent_id\"  :  \"\\u0061\"  , \"y\": [1, 2e3 ] }",
			"{ \"x\" : {\"idempotent_id\": \"inner\"} ,\n\t\"idempotent_id\"  :  \"NEW\"  , \"y\": [1, 2e3 ] }",
		},
		{`{"idempotent\u005fid": "a", "message": {"text": "您好"}}`, `{"idempotent\u005fid": "NEW", "message": {"text": "您好"}}`},
	} {
		got, err := setIdempotentID([]byte(tt.value), "NEW")
		require.NoError(t, err, tt.value)
		require.Equal(t, tt.want, string(got))
	}
	for _, value := range []string{"", "{}", `{"id": "idempotent_id"}`, `{"a": `, `{"idempotent_id": `} {
		_, err := setIdempotentID([]byte(value), "NEW")
		require.Error(t, err, value)
	}
}

// Everything but the id stays byte for byte, whatever stands around it and in it.
func TestSetIdempotentIDChangesNothingElse(t *testing.T) {
	t.Parallel()
	white := rapid.SampledFrom([]string{"", " ", "\n\t ", "\r\n"})
	rapid.Check(t, func(t *rapid.T) {
		old, err := json.Marshal(rapid.String().Draw(t, "old"))
		require.NoError(t, err)
		other, err := json.Marshal(map[string]string{"idempotent_id": rapid.String().Draw(t, "other")})
		require.NoError(t, err)
		space := white.Draw(t, "space")
		before := fmt.Sprintf(`{%s"message"%s:%s%s,%s"idempotent_id"%s:%s`, space, space, space, other, space, white.Draw(t, "space"), space)
		after := fmt.Sprintf(`%s,%s"labels":%s}%s`, white.Draw(t, "space"), space, other, space)
		id := rapid.String().Draw(t, "new")
		got, err := setIdempotentID([]byte(before+string(old)+after), id)
		require.NoError(t, err)
		want, err := json.Marshal(id)
		require.NoError(t, err)
		require.Equal(t, before+string(want)+after, string(got))
	})
}
