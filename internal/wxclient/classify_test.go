package wxclient_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"replyworker/internal/wxclient"
)

func TestEveryStatusHasItsClass(t *testing.T) {
	t.Parallel()
	want := map[int]wxclient.Class{
		99: wxclient.ClassHostFailed, 101: wxclient.ClassHostFailed,
		202: wxclient.ClassTransient,
		300: wxclient.ClassTransient, 301: wxclient.ClassTransient, 302: wxclient.ClassTransient,
		304: wxclient.ClassTransient, 307: wxclient.ClassTransient, 308: wxclient.ClassTransient,
		400: wxclient.ClassRefused, 401: wxclient.ClassCredentials, 403: wxclient.ClassRefused,
		404: wxclient.ClassRefused, 405: wxclient.ClassRefused, 407: wxclient.ClassRefused,
		408: wxclient.ClassTransient, 409: wxclient.ClassRefused, 413: wxclient.ClassRefused,
		425: wxclient.ClassTransient, 429: wxclient.ClassSlowDown, 499: wxclient.ClassRefused,
		500: wxclient.ClassTransient, 501: wxclient.ClassTransient, 502: wxclient.ClassHostFailed,
		503: wxclient.ClassHostFailed, 504: wxclient.ClassHostFailed, 505: wxclient.ClassTransient,
		599: wxclient.ClassTransient, 600: wxclient.ClassHostFailed, 999: wxclient.ClassHostFailed,
	}
	m := newMerchant(t)
	for status, class := range want {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			// Signed and with a log_id: no signature makes another status a success.
			e := replyError(t, newClient(t, wxclient.Config{Transport: answer(status, signedHeader(t, okBody), okBody)}), m)
			require.Equal(t, class, e.Class)
			require.Equal(t, status, e.Status)
			require.Equal(t, "08F4A1", e.RequestID)
			require.True(t, e.Sent)
		})
	}
	for _, status := range []int{200, 201, 203, 204, 206, 299} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			c := newClient(t, wxclient.Config{Transport: answer(status, signedHeader(t, okBody), okBody)})
			got, err := c.Reply(t.Context(), wxclient.Primary, m, complaintID, replyBody)
			require.NoError(t, err)
			require.Equal(t, wxclient.Answer{
				LogID: "300285320210322170000071077", RequestID: "08F4A1", HTTPStatus: status,
			}, got)
		})
	}
}

func TestSignedAnswersWithoutALogIDAreUnknown(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, body, text string }{
		{"empty, as of a 204", "", "no JSON object"},
		{"null", "null", "no JSON object"},
		{"array", `["log_id"]`, "no JSON object"},
		{"HTML", "<html></html>", "no JSON object"},
		{"two objects", okBody + okBody, "no JSON object"},
		{"no member", `{}`, "no log_id"},
		{"other case", `{"LOG_ID":"1"}`, "no log_id"},
		{"number", `{"log_id":300285320210322170000071077}`, "no log_id"},
		{"empty string", `{"log_id":""}`, "no log_id"},
		{"blank", `{"log_id":"  "}`, "no log_id"},
		{"null member", `{"log_id":null}`, "no log_id"},
		{"control character", `{"log_id":"1\n2"}`, "no log_id"},
		{"129 characters", `{"log_id":"` + strings.Repeat("单", 129) + `"}`, "no log_id"},
		{"error envelope", `{"code":"SYSTEM_ERROR","message":"m","log_id":"1"}`, "error code"},
		{"code that is no string", `{"code":0,"log_id":"1"}`, "error code"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := newClient(t, wxclient.Config{Transport: answer(200, signedHeader(t, tc.body), tc.body)})
			e := replyError(t, c, newMerchant(t))
			require.Equal(t, wxclient.ClassUnknown, e.Class)
			require.ErrorContains(t, e, tc.text)
			require.True(t, e.Sent)
			require.Equal(t, 200, e.Status)
		})
	}
	for _, body := range []string{
		`{"log_id":"1","code":""}`, `{"log_id":"1","code":null,"message":"ok"}`, ` {"log_id" : "\u0031"} ` + "\n",
		`{"log_id":"` + strings.Repeat("1", 128) + `"}`,
	} {
		c := newClient(t, wxclient.Config{Transport: answer(200, signedHeader(t, body), body)})
		_, err := c.Reply(t.Context(), wxclient.Primary, newMerchant(t), complaintID, replyBody)
		require.NoError(t, err, body)
	}
}

func TestErrorBodies(t *testing.T) {
	t.Parallel()
	const signError = `{"code":"SIGN_ERROR","detail":{"detail":{"issue":"sign not match"},"field":"signature"},` +
		`"message":"签名错误,请检查后再试"}`
	for _, tc := range []struct {
		name, body, code, message, detail string
	}{
		{
			"as documented", signError, "SIGN_ERROR", "签名错误,请检查后再试",
			`{"detail":{"issue":"sign not match"},"field":"signature"}`,
		},
		{"empty", "", "", "", ""},
		{"HTML", "<html>502 Bad Gateway</html>", "", "", ""},
		{"text", "upstream connect error", "", "", ""},
		{"cut off", signError[:40], "", "", ""},
		{"array", `[1]`, "", "", ""},
		{"null", `null`, "", "", ""},
		{"code is a number", `{"code":42,"message":"m"}`, "", "m", ""},
		{"code is an object", `{"code":{"a":1},"message":["m"]}`, "", "", ""},
		{"detail is null", `{"code":"X","detail":null}`, "X", "", ""},
		{"detail is a string", `{"code":"X","detail":"d"}`, "X", "", `"d"`},
		{"detail is large", `{"code":"X","detail":"` + strings.Repeat("d", 4095) + `"}`, "X", "", ""},
		{"long code", `{"code":"` + strings.Repeat("C", 65) + `"}`, strings.Repeat("C", 64), "", ""},
		{"long message", `{"message":"` + strings.Repeat("签", 200) + `"}`, "", strings.Repeat("签", 170), ""},
		{"control characters", `{"message":"a\u0000b\nc\u2028d\u001b[31m"}`, "", "a b c d [31m", ""},
		{"not UTF-8", "{\"message\":\"a\xffb\"}", "", "a�b", ""},
		{"deep", strings.Repeat("[", 20000), "", "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			e := replyError(t, newClient(t, wxclient.Config{Transport: answer(400, http.Header{}, tc.body)}), newMerchant(t))
			require.Equal(t, wxclient.ClassRefused, e.Class)
			require.Equal(t, tc.code, e.Code)
			require.Equal(t, tc.message, e.Message)
			require.Equal(t, tc.detail, string(e.Detail))
			require.NotContains(t, e.Error(), "sign not match", "detail is not for texts")
		})
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]time.Duration{
		"":                              0,
		"0":                             0,
		"7":                             7 * time.Second,
		"3600":                          time.Hour,
		"3601":                          time.Hour,
		"99999999999999999999999999":    time.Hour,
		"-1":                            0,
		"1.5":                           0,
		"soon":                          0,
		"Wed, 01 Jan 2025 00:00:30 GMT": 30 * time.Second,
		"Tue, 31 Dec 2024 23:59:00 GMT": 0,
		"Fri, 01 Jan 2125 00:00:00 GMT": time.Hour,
	} {
		t.Run(value, func(t *testing.T) {
			t.Parallel()
			h := http.Header{"Retry-After": {value}}
			e := replyError(t, newClient(t, wxclient.Config{Transport: answer(429, h, "")}), newMerchant(t))
			require.Equal(t, want, e.RetryAfter)
		})
	}
}

func TestRequestIDIsMadePrintable(t *testing.T) {
	t.Parallel()
	h := http.Header{"Request-Id": {"a\x1b\xff" + strings.Repeat("x", 1000)}}
	e := replyError(t, newClient(t, wxclient.Config{Transport: answer(500, h, "")}), newMerchant(t))
	require.Equal(t, "a �"+strings.Repeat("x", 123), e.RequestID)
}

func TestErrorText(t *testing.T) {
	t.Parallel()
	h := http.Header{"Request-Id": {"08F4"}}
	e := replyError(t, newClient(t, wxclient.Config{
		Transport: answer(400, h, `{"code":"PARAM_ERROR","message":"参数错误"}`),
	}), newMerchant(t))
	require.EqualError(t, e, "primary host: refused: HTTP 400: PARAM_ERROR: 参数错误 (request id 08F4)")
}

func FuzzErrorBody(f *testing.F) {
	for _, body := range []string{
		"", "{", `{"code":"A","message":"b","detail":{"c":1}}`, `{"code":1}`, `<html>`, `{"message":"\ud800"}`,
		`{"log_id":"1"}`, "{\"message\":\"\xf0\x9f\x98\"}",
	} {
		for _, status := range []int{200, 400, 500} {
			f.Add(status, []byte(body), "1", "2")
		}
	}
	m := newMerchant(f)
	m.Key = stubSigner{m.Key.Public()}
	f.Fuzz(func(t *testing.T, status int, body []byte, retry, id string) {
		h := http.Header{"Retry-After": {retry}, "Request-Id": {id}}
		e := replyError(t, newClient(t, wxclient.Config{Transport: answer(status, h, string(body))}), m)
		require.LessOrEqual(t, len(e.Code), 64)
		require.LessOrEqual(t, len(e.Message), 512)
		require.LessOrEqual(t, len(e.RequestID), 128)
		require.True(t, utf8.ValidString(e.Error()))
		require.True(t, e.Detail == nil || json.Valid(e.Detail) && len(e.Detail) <= 4096)
		require.True(t, e.RetryAfter >= 0 && e.RetryAfter <= time.Hour)
	})
}
