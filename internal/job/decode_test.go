package job_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"replyworker/internal/job"
)

// contractExample is the job that section 2 of the contract shows.
const contractExample = `{"complaint_id": "200201820200101080076610000",
 "complainted_mchid": "1900012181",
 "idempotent_id": "550e8400-e29b-41d4-a716-446655440000",
 "message": {"blocks": [{"type": "TEXT", "text": {"text": "您好，已收到您的投诉", "color": "DEFAULT", "is_bold": false}}],
             "sender_identity": "MACHINE", "custom_data": "ticket-4711"},
 "mchid": "1900000001", "expires_at": "2026-12-01T12:00:00+08:00", "labels": {"team": "refunds"}}`

// withMessage returns a valid job with this message.
func withMessage(message string) string {
	return `{"complaint_id":"1","complainted_mchid":"2","idempotent_id":"3","message":` + message + `}`
}

// withMembers returns a valid job with more members, which begin with a comma.
func withMembers(members string) string {
	return `{"complaint_id":"1","complainted_mchid":"2","idempotent_id":"3","message":{}` + members + `}`
}

func decode(tb testing.TB, value string) *job.Job {
	tb.Helper()
	j, err := job.Decode([]byte(value), job.Strict)
	require.NoError(tb, err)
	return j
}

func TestDecodeReadsEveryField(t *testing.T) {
	t.Parallel()
	j := decode(t, contractExample)
	require.Equal(t, "200201820200101080076610000", j.ComplaintID)
	require.Equal(t, "1900012181", j.ComplaintedMchID)
	require.Equal(t, "550e8400-e29b-41d4-a716-446655440000", j.IdempotentID)
	require.Equal(t, "1900000001", j.MchID)
	require.Equal(t, time.Date(2026, 12, 1, 4, 0, 0, 0, time.UTC), j.ExpiresAt)
	require.Equal(t, map[string]string{"team": "refunds"}, j.LabelPairs())
	require.True(t, strings.HasPrefix(string(j.Message), `{"blocks": [{`), "got %s", j.Message)
	require.True(t, strings.HasSuffix(string(j.Message), `"custom_data": "ticket-4711"}`), "got %s", j.Message)
}

func TestDecodeLeavesAbsentFieldsZero(t *testing.T) {
	t.Parallel()
	j := decode(t, withMessage(`{}`))
	require.Empty(t, j.MchID)
	require.True(t, j.ExpiresAt.IsZero())
	require.Nil(t, j.LabelPairs())
}

func TestDecodeResolvesEscapesOfIDsAndLabels(t *testing.T) {
	t.Parallel()
	j := decode(t, `{"complaint\u005fid":"\u0031\/\"","complainted_mchid":"\\","idempotent_id":"\u4e2d\b\f\n\r\t",
		"message":{},"labels":{"a\tb,:{":"\ud83d\ude00","c":"}\""}}`)
	require.Equal(t, `1/"`, j.ComplaintID)
	require.Equal(t, `\`, j.ComplaintedMchID)
	require.Equal(t, "中\b\f\n\r\t", j.IdempotentID)
	require.Equal(t, map[string]string{"a\tb,:{": "😀", "c": `}"`}, j.LabelPairs())
}

func TestBodyHasTheProducersBytes(t *testing.T) {
	t.Parallel()
	j := decode(t, ` { "message" : { "custom_data" : "\u0041\/" } , "idempotent_id":"\u0033",
		"complainted_mchid" :"2\/" , "complaint_id":"1"}`)
	const want = `{"complainted_mchid":"2\/","message":{ "custom_data" : "\u0041\/" },"idempotent_id":"\u0033"}`
	require.Equal(t, want, string(j.Body()))
	require.Equal(t, want, string(j.Body()), "the second body differs from the first")
}

func TestBodyOfAJobMadeByHandQuotesTheIDs(t *testing.T) {
	t.Parallel()
	j := &job.Job{ComplaintedMchID: "a\"\\\n\x01中", IdempotentID: "<&>", Message: json.RawMessage(`{}`)}
	require.Equal(t,
		`{"complainted_mchid":"a\"\\\n\u0001中","message":{},"idempotent_id":"<&>"}`, string(j.Body()))
	require.Empty(t, j.ContentSHA256())
}

func TestDecodeRefersToTheValueInsteadOfCopyingIt(t *testing.T) {
	t.Parallel()
	value := []byte(withMessage(`{"custom_data":"x"}`))
	j, err := job.Decode(value, job.Strict)
	require.NoError(t, err)
	require.Len(t, j.Message, cap(j.Message), "an append to the message would write over the value")
	value[strings.Index(string(value), "x")] = 'y'
	require.JSONEq(t, `{"custom_data":"y"}`, string(j.Message))
}

func TestDecodeReadsTheTimeThatRFC3339Means(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Time{
		"2026-12-01T12:00:00+08:00":            time.Date(2026, 12, 1, 4, 0, 0, 0, time.UTC),
		"2026-12-01t12:00:00.5z":               time.Date(2026, 12, 1, 12, 0, 0, 500_000_000, time.UTC),
		"2026-12-01T12:00:00.1234567899-00:30": time.Date(2026, 12, 1, 12, 30, 0, 123_456_789, time.UTC),
		"2017-01-01T07:59:60+08:00":            time.Date(2017, 1, 1, 0, 0, 0, 0, time.UTC),
		"0000-01-01T00:00:00Z":                 time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC),
		"9999-12-31T23:59:59-23:59":            time.Date(10000, 1, 1, 23, 58, 59, 0, time.UTC),
	} {
		require.Equal(t, want, decode(t, withMembers(`,"expires_at":"`+text+`"`)).ExpiresAt, text)
	}
	require.False(t, decode(t, withMembers(`,"expires_at":"0001-01-01T00:00:00Z"`)).ExpiresAt.IsZero(),
		"a job that expired in the year one would never expire")
}

func TestDecodeTellsNullFromEmpty(t *testing.T) {
	t.Parallel()
	_, err := job.Decode(nil, job.Strict)
	require.EqualError(t, err, "job invalid: 1 problem: the value: is null (a tombstone); must be one JSON object")
	_, err = job.Decode([]byte{}, job.Strict)
	require.EqualError(t, err, "job invalid: 1 problem: the value: is empty; must be one JSON object")
}

func TestDecodeBoundsTheSize(t *testing.T) {
	t.Parallel()
	pad := func(size int) []byte {
		empty := len(withMessage(`{"blocks":[{"type":"TEXT","text":{"text":""}}]}`))
		return []byte(withMessage(`{"blocks":[{"type":"TEXT","text":{"text":"` + strings.Repeat("x", size-empty) + `"}}]}`))
	}
	largest := pad(job.MaxBytes)
	require.Len(t, largest, 262_144)
	_, err := job.Decode(largest, job.Strict)
	require.NoError(t, err)

	_, err = job.Decode(pad(job.MaxBytes+1), job.Strict)
	e := invalid(t, err)
	require.Equal(t, []job.Problem{{Rule: "has 262145 bytes; must be at most 262144"}}, e.Problems)
	require.Equal(t, "3", e.Partial.IdempotentID)
}

func TestDecodeBoundsTheDepth(t *testing.T) {
	t.Parallel()
	nested := func(levels int, opening, closing string) []byte { // the job and its message are two of them
		return []byte(withMessage(
			`{"x":` + strings.Repeat(opening, levels-2) + `"1"` + strings.Repeat(closing, levels-2) + `}`))
	}
	for opening, closing := range map[string]string{"[": "]", `{"a":`: "}"} {
		_, err := job.Decode(nested(64, opening, closing), job.Lenient)
		require.NoError(t, err)
		_, err = job.Decode(nested(65, opening, closing), job.Lenient)
		require.ErrorContains(t, err, "is nested deeper than 64 levels")
		_, err = job.Decode(nested(50_000, opening, ""), job.Lenient)
		require.ErrorContains(t, err, "is nested deeper than 64 levels")
	}
}

func TestDecodeFindsDuplicatesAmongManyNames(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for i := range 200 {
		fmt.Fprintf(&b, `"n%d":"",`, i)
	}
	_, err := job.Decode([]byte(withMessage(`{`+b.String()+`"last":""}`)), job.Lenient)
	require.NoError(t, err)
	for _, name := range []string{"n0", "n31", "n32", "n199"} {
		_, err = job.Decode([]byte(withMessage(`{`+b.String()+`"`+name+`":""}`)), job.Lenient)
		e := invalid(t, err)
		require.Len(t, e.Problems, 1)
		require.Equal(t, "/message/"+name, e.Problems[0].Pointer)
	}
}

func TestLenientLeavesTheRulesOutsideTheMessage(t *testing.T) {
	t.Parallel()
	for name, value := range map[string]string{
		"unknown field beside the message":   withMembers(`,"expire_at":"x"`),
		"emoji in an id":                     strings.Replace(withMembers(``), `"3"`, `"😀"`, 1),
		"null in an unknown field":           withMessage(`{"x":{"y":[null]}}`),
		"duplicate in an unknown field":      withMessage(`{"x":{"y":1,"y":2}}`),
		"lone surrogate in an unknown field": withMessage(`{"x":"\ud800"}`),
		"wrong type of a known field":        withMessage(`{"custom_data":1}`),
		"wrong type of an enum":              withMessage(`{"sender_identity":1}`),
		"length":                             withMessage(`{"custom_data":"` + strings.Repeat("x", 4097) + `"}`),
		"missing member of a known type":     withMessage(`{"blocks":[{"type":"TEXT"}]}`),
		"missing type":                       withMessage(`{"blocks":[{"text":{}}]}`),
	} {
		_, err := job.Decode([]byte(value), job.Lenient)
		require.Error(t, err, name)
		invalid(t, err)
	}
}

func TestUnknownValidationIsStrict(t *testing.T) {
	t.Parallel()
	_, err := job.Decode([]byte(withMessage(`{"x":1}`)), "")
	invalid(t, err)
}

func TestInvalidErrorCarriesWhatCanBeRead(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 1025)
	tests := []struct {
		name  string
		value string
		want  job.Job
	}{
		{
			"everything but the message",
			`{"complaint_id":"1","complainted_mchid":"2","idempotent_id":"3","mchid":"4","labels":{"a":"b"}}`,
			job.Job{ComplaintID: "1", ComplaintedMchID: "2", IdempotentID: "3", MchID: "4", Labels: json.RawMessage(`{"a":"b"}`)},
		},
		{
			"ids that break their own rule", `{"complaint_id":"..","complainted_mchid":"😀","idempotent_id":"","mchid":""}`,
			job.Job{ComplaintID: "..", ComplaintedMchID: "😀"},
		},
		{
			"ids that cannot be read",
			`{"complaint_id":1,"complainted_mchid":"\ud800","idempotent_id":null,"mchid":["4"],"labels":{"a":1}}`,
			job.Job{},
		},
		{"an id of too many bytes", `{"complaint_id":"` + long + `","idempotent_id":"` + long[1:] + `"}`, job.Job{IdempotentID: long[1:]}},
		{"invalid UTF-8", "{\"complaint_id\":\"\xff\",\"idempotent_id\":\"3\"}", job.Job{IdempotentID: "3"}},
		{"an id that stands twice", `{"complaint_id":"1","complaint_id":"1","idempotent_id":"3"}`, job.Job{IdempotentID: "3"}},
		{"labels that stand twice", `{"labels":{"a":"b"},"labels":{}}`, job.Job{}},
		{"JSON that is cut off in a string", `{"complaint_id":"1","idempotent_id":"3`, job.Job{ComplaintID: "1"}},
		{"JSON that is cut off in the labels", `{"complaint_id":"1","labels":{"a":"b"`, job.Job{ComplaintID: "1"}},
		{"two objects", `{"complaint_id":"1"}{"complaint_id":"2"}`, job.Job{ComplaintID: "1"}},
		{"ids inside the message", `{"message":{"complaint_id":"1","idempotent_id":"3"}}`, job.Job{}},
		{"no object", `["1"]`, job.Job{}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := job.Decode([]byte(test.value), job.Strict)
			require.Equal(t, test.want, invalid(t, err).Partial)
		})
	}
}

func TestProblemsAreBoundedAndCounted(t *testing.T) {
	t.Parallel()
	_, err := job.Decode([]byte(withMessage(`{"blocks":[`+strings.Repeat(`1,`, 249)+`1]}`)), job.Strict)
	e := invalid(t, err)
	require.Len(t, e.Problems, 100)
	require.Equal(t, 150, e.Omitted)
	require.Equal(t, "/message/blocks/99", e.Problems[99].Pointer)
	require.True(t, strings.HasPrefix(e.Error(), "job invalid: 250 problems: /message/blocks/0: is a number; "), e.Error())
	require.Regexp(t, `; and \d+ more$`, e.Error())
}

func TestErrorIsOneBoundedLine(t *testing.T) {
	t.Parallel()
	name := strings.Repeat("中", 300)
	deep := withMessage(strings.Repeat(`{"`+name+`":`, 60) + `1` + strings.Repeat(`}`, 60))
	for _, value := range []string{
		deep,
		withMembers(`,"a\nb\u001b[31m\u2028\u202e":1,"` + name + `":1`),
		"{\"\xff\n\":1}",
		withMembers(`,"labels":{"` + name + `\ud83d":{"` + strings.Repeat(`a":{"`, 30) + `":null}` + strings.Repeat("}", 31)),
		withMembers(`,"expires_at":"` + strings.Repeat(`\n`, 500) + `"`),
	} {
		_, err := job.Decode([]byte(value), job.Strict)
		text := invalid(t, err).Error()
		for _, r := range text {
			require.True(t, r >= ' ' && r != '\u2028' && r != '\u202e' && r != 0x7f, "%U in %q", r, text)
		}
		require.LessOrEqual(t, len(invalid(t, err).Problems[0].Pointer), 64*(64*3+4))
	}
}

func TestErrorCutsOneLongProblem(t *testing.T) {
	t.Parallel()
	name := strings.Repeat("中", 64)
	_, err := job.Decode([]byte(withMessage(
		strings.Repeat(`{"`+name+`":`, 60)+`null`+strings.Repeat(`}`, 60))), job.Lenient)
	text := invalid(t, err).Error()
	require.True(t, strings.HasPrefix(text, "job invalid: 1 problem: /message/中"), text)
	require.True(t, strings.HasSuffix(text, "..."), text)
	require.Greater(t, len(text), 1000)
	require.True(t, utf8.ValidString(text), "cut within a character")
}

func TestErrorsHaveNoReplyText(t *testing.T) {
	t.Parallel()
	const secret = "topsecret"
	for _, value := range []string{
		withMessage(`"` + secret + `"`),
		withMessage(`["` + secret + `"]`),
		withMessage(`{"custom_data":"` + secret + strings.Repeat("x", 4096) + `"}`),
		withMessage(`{"custom_data":"` + secret + `😀"}`),
		withMessage(`{"custom_data":"` + secret + `\ud800"}`),
		withMessage(`{"custom_data":"` + secret + "\xff" + `"}`),
		withMessage(`{"custom_data":"` + secret + "\n" + `"}`),
		withMessage(`{"custom_data":"` + secret + `\x"}`),
		withMessage(`{"custom_data":"` + secret),
		withMessage(`{"x":"` + secret + `","x":"` + secret + `"}`),
		withMessage(`{"blocks":[{"type":"TEXT","text":"` + secret + `"}]}`),
		withMessage(`{"custom_data":` + secret + `}`),
		withMessage(`{"custom_data":"` + secret + `" ` + secret + `}`),
		withMessage(`{"custom_data":"a"} ` + secret),
		withMessage(`{}`) + secret,
	} {
		_, err := job.Decode([]byte(value), job.Strict)
		require.NotContains(t, invalid(t, err).Error(), secret, value)
	}
}

func TestInvalidKeepsTheIDsOfADecodedJob(t *testing.T) {
	t.Parallel()
	j := decode(t, contractExample)
	e := j.Invalid(job.Problem{Pointer: "/mchid", Rule: "is not configured"})
	require.EqualError(t, e, "job invalid: 1 problem: /mchid: is not configured")
	require.Equal(t, job.Job{
		ComplaintID: j.ComplaintID, ComplaintedMchID: j.ComplaintedMchID, IdempotentID: j.IdempotentID,
		MchID: j.MchID, Labels: j.Labels,
	}, e.Partial)
}
