package job_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"replyworker/internal/job"
)

// TestContentOfTheContractsExample pins the hash: claims and outcomes of earlier versions carry it. It
// was computed with Python: hashlib.sha256(json.dumps([complaint_id, complainted_mchid, message],
// sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()).
func TestContentOfTheContractsExample(t *testing.T) {
	t.Parallel()
	require.Equal(t, "9fc242179b0c6ad3b7d3e7f2dac06c4befa88995c166b5b6fe12a21282019c8e", decode(t, contractExample).ContentSHA256())
}

func TestContentIgnoresTheWriting(t *testing.T) {
	t.Parallel()
	same := [][]string{
		{`{"custom_data":"A/中"}`, ` { "custom_data" : "\u0041\/\u4e2d" } `, `{"custom\u005fdata":"A\/中"}`},
		{`{"a":"1","b":"2","ab":"3"}`, `{"ab":"3","b":"2","a":"1"}`, `{"b":"2","\u0061b":"3","a":"1"}`},
		{`{"x":"😀"}`, `{"x":"\ud83d\ude00"}`, `{"x":"\uD83D\uDE00"}`},
		{`{"x":"\u000a\u0008\u000c\u000d\u0009\u001F\u0022\u005c"}`, `{"x":"\n\b\f\r\t\u001f\"\\"}`},
		{`{"x":[]}`, "{\"x\":[\n]}"},
		{`{"x":{}}`, "{\"x\":{\t}}"},
		{`{"x":1}`, `{"x":1.0}`, `{"x":1e0}`, `{"x":10E-1}`, `{"x":0.1e+1}`, `{"x":1.000e00}`},
		{`{"x":0}`, `{"x":-0}`, `{"x":0.00e99999999999999999999}`},
		{`{"x":1500}`, `{"x":1.5e3}`, `{"x":15e2}`},
		{`{"x":-0.015}`, `{"x":-15e-3}`},
		{`{"x":1e100000000000000000000}`, `{"x":10e99999999999999999999}`, `{"x":0.1e+100000000000000000001}`},
		{`{"x":1e-100000000000000000000}`, `{"x":0.1e-99999999999999999999}`},
		{`{"x":1e0000000000000000000000000000}`, `{"x":1}`},
		{`{"x":10e-00000000000000000000000001}`, `{"x":1}`},
	}
	for _, messages := range same {
		for _, m := range messages[1:] {
			require.Equal(t, lenientContent(t, messages[0]), lenientContent(t, m), "%s and %s", messages[0], m)
		}
	}
}

func TestContentTellsValuesApart(t *testing.T) {
	t.Parallel()
	messages := []string{
		`{}`, `{"x":""}`, `{"x":"1"}`, `{"x":1}`, `{"x":-1}`, `{"x":0}`, `{"x":2}`, `{"x":10}`, `{"x":0.1}`,
		`{"x":1e400}`, `{"x":1e401}`, `{"x":9007199254740993}`, `{"x":9007199254740992}`,
		`{"x":1e100000000000000000000}`, `{"x":1e-100000000000000000000}`,
		`{"x":true}`, `{"x":false}`, `{"x":"true"}`, `{"x":[]}`, `{"x":{}}`, `{"x":[1]}`, `{"x":["1"]}`, `{"x":[[]]}`,
		`{"x":[1,2]}`, `{"x":[2,1]}`, `{"x":"1,2"}`, `{"x":{"a":1,"b":2}}`, `{"x":{"a":2,"b":1}}`, `{"x":{"a":1},"b":2}`,
		`{"x":"\\u0041"}`, `{"x":"A"}`, `{"x":"a"}`, `{"x":"é"}`, "{\"x\":\"e\u0301\"}", `{"X":"A"}`, `{"x":"A "}`,
		`{"x":"\",\"y\":\""}`, `{"x":"","y":""}`,
	}
	seen := map[string]string{}
	for _, m := range messages {
		hash := lenientContent(t, m)
		require.Empty(t, seen[hash], "%s has the same content", m)
		seen[hash] = m
	}
}

func TestContentCoversTheIDsThatItShould(t *testing.T) {
	t.Parallel()
	base := decode(t, withMembers(``)).Content
	for name, test := range map[string]struct {
		value string
		same  bool
	}{
		"complaint_id":             {strings.Replace(withMembers(``), `"1"`, `"9"`, 1), false},
		"complainted_mchid":        {strings.Replace(withMembers(``), `"2"`, `"9"`, 1), false},
		"the two ids changed over": {strings.NewReplacer(`"1"`, `"2"`, `"2"`, `"1"`).Replace(withMembers(``)), false},
		"idempotent_id":            {strings.Replace(withMembers(``), `"3"`, `"9"`, 1), true},
		"the rest":                 {withMembers(`,"mchid":"1","labels":{},"expires_at":"2026-12-01T12:00:00Z"`), true},
	} {
		require.Equal(t, test.same, base == decode(t, test.value).Content, name)
	}
}

func TestContentOfAHugeExponentCostsLittle(t *testing.T) {
	t.Parallel()
	digits := strings.Repeat("9", 250_000)
	require.NotEqual(t, lenientContent(t, `{"x":1e`+digits+`}`), lenientContent(t, `{"x":1e-`+digits+`}`))
}

func lenientContent(tb require.TestingT, message string) string {
	j, err := job.Decode([]byte(withMessage(message)), job.Lenient)
	require.NoError(tb, err, message)
	return j.ContentSHA256()
}

func TestContentOfANumberIsThatOfItsValue(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		digits := rapid.StringMatching(`[1-9]([0-9]{0,3}[1-9])?`).Draw(t, "digits")
		power := rapid.SampledFrom([]int{0, 1, 5, 17, 18, 19, 20, 40}).Draw(t, "power")
		exponent := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(power)), nil)
		exponent.Add(exponent, big.NewInt(rapid.Int64Range(-1000, 1000).Draw(t, "offset")))
		if rapid.Bool().Draw(t, "negative") {
			exponent.Neg(exponent)
		}
		write := func(zeros, places int64, plus string) string {
			text, e := digits+strings.Repeat("0", int(zeros)), new(big.Int).Sub(exponent, big.NewInt(zeros))
			if places > 0 {
				text = "0." + strings.Repeat("0", int(places)) + digits
				e.Add(exponent, big.NewInt(places+int64(len(digits))))
			}
			if e.Sign() < 0 {
				plus = ""
			}
			return fmt.Sprintf(`{"x":%se%s%s}`, text, plus, e)
		}
		want := lenientContent(t, write(0, 0, ""))
		require.Equal(t, want, lenientContent(t, write(rapid.Int64Range(0, 1100).Draw(t, "zeros"), 0, "+")))
		require.Equal(t, want, lenientContent(t, write(0, rapid.Int64Range(1, 1100).Draw(t, "places"), "+000")))
		exponent.Add(exponent, big.NewInt(1))
		require.NotEqual(t, want, lenientContent(t, write(0, 0, "")))
	})
}

// drawValue makes any JSON value but null, numbers as integers.
func drawValue(t *rapid.T, depth int) any {
	kinds := 5
	if depth == 0 {
		kinds = 3
	}
	switch rapid.IntRange(0, kinds-1).Draw(t, "kind") {
	case 0:
		return drawString().Draw(t, "string")
	case 1:
		return rapid.Bool().Draw(t, "bool")
	case 2:
		return rapid.IntRange(-100, 100).Draw(t, "number")
	case 3:
		items := make([]any, rapid.IntRange(0, 4).Draw(t, "items"))
		for i := range items {
			items[i] = drawValue(t, depth-1)
		}
		return items
	}
	return drawObject(t, depth)
}

func drawObject(t *rapid.T, depth int) map[string]any {
	object := map[string]any{}
	for range rapid.IntRange(0, 4).Draw(t, "members") {
		object["x"+drawString().Draw(t, "name")] = drawValue(t, depth-1) // no name that the API knows
	}
	return object
}

func drawString() *rapid.Generator[string] {
	return rapid.StringOfN(rapid.RuneFrom([]rune("ab\"\\/\n\x00\x1f\x7fé中\uffff😀")), 0, 5, -1)
}

// rewrite writes a value in one of its many forms.
func rewrite(t *rapid.T, v any) string {
	space := func() string { return rapid.SampledFrom([]string{"", "", " ", "\n", "\t\r"}).Draw(t, "space") }
	switch v := v.(type) {
	case string:
		return rewriteString(t, v)
	case int:
		format := rapid.SampledFrom([]string{"%d", "%d.0", "%de0", "%d0e-1", "%d.00E+0"}).Draw(t, "number")
		if v == 0 {
			format = "%d.0"
		}
		return fmt.Sprintf(format, v)
	case []any:
		items := make([]string, len(v))
		for i := range v {
			items[i] = space() + rewrite(t, v[i]) + space()
		}
		return "[" + strings.Join(items, ",") + space() + "]"
	case map[string]any:
		names := slices.Sorted(maps.Keys(v))
		members := make([]string, 0, len(v))
		for _, name := range rapid.Permutation(names).Draw(t, "order") {
			members = append(members, space()+rewriteString(t, name)+space()+":"+space()+rewrite(t, v[name])+space())
		}
		return "{" + strings.Join(members, ",") + space() + "}"
	}
	return fmt.Sprint(v)
}

func rewriteString(t *rapid.T, s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		escape := rapid.IntRange(0, 3).Draw(t, "escape") == 0
		switch {
		case r == '/' && escape:
			b.WriteString(`\/`)
		case escape || r < ' ' || r == '"' || r == '\\':
			for _, unit := range utf16.Encode([]rune{r}) {
				fmt.Fprintf(&b, rapid.SampledFrom([]string{`\u%04x`, `\u%04X`}).Draw(t, "hex"), unit)
			}
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

func TestContentIsTheSameHoweverItIsWritten(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		message := drawObject(t, 3)
		first, second := rewrite(t, message), rewrite(t, message)
		require.Equal(t, lenientContent(t, first), lenientContent(t, second))
	})
}

func TestContentIsAnotherForAnotherValue(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawObject(t, 2), drawObject(t, 2)
		rawA, err := json.Marshal(a)
		require.NoError(t, err)
		rawB, err := json.Marshal(b)
		require.NoError(t, err)
		require.Equal(t, string(rawA) == string(rawB),
			lenientContent(t, rewrite(t, a)) == lenientContent(t, rewrite(t, b)), "%s and %s", rawA, rawB)
	})
}

func TestEveryChangeOfOneStringChangesTheContent(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		message := drawObject(t, 3)
		before := lenientContent(t, rewrite(t, message))
		message["changed"] = drawString().Draw(t, "value")
		require.NotEqual(t, before, lenientContent(t, rewrite(t, message)))
	})
}
