package wxsim_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/wxsim"
)

func TestGoodCallIsAnsweredSigned(t *testing.T) {
	t.Parallel()
	sim := newSim(t)
	r := direct(t, sim, wxsim.Primary, newCall(t, "200201820200101080076610000", "id-1"))
	logID := r.logID(t)
	require.NoError(t, r.verify(t))
	require.Len(t, logID, 27)
	require.Equal(t, "timeout=8", r.header.Get("Keep-Alive"))
	require.Equal(t, "WECHATPAY2-SHA256-RSA2048", r.header.Get("Wechatpay-Signature-Type"))
	for _, name := range []string{"Request-Id", "Cache-Control", "X-Content-Type-Options"} {
		require.NotEmpty(t, r.header.Get(name), name)
	}
	require.Empty(t, sim.Stats().Refused)
}

func TestHeaderAndTargetChecks(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		change func(*call)
		status int
		code   string
		text   string
	}{
		{"no Accept", func(c *call) { c.header.Del("Accept") }, 400, "INVALID_REQUEST", "Http头缺少Accept或User-Agent"},
		{"no User-Agent", func(c *call) { c.header.Del("User-Agent") }, 400, "INVALID_REQUEST", "Http头缺少Accept或User-Agent"},
		{"wrong Content-Type", func(c *call) { c.header.Set("Content-Type", "text/plain") }, 400, "INVALID_REQUEST", "Content-Type"},
		{"other path", func(c *call) { c.target = "/v3/certificates" }, 404, "RESOURCE_NOT_EXISTS", ""},
		{"unescaped slash in the id", func(c *call) { c.target = strings.Replace(c.target, "c-1", "c/1", 1) }, 404, "RESOURCE_NOT_EXISTS", ""},
		{"wrong method", func(c *call) { c.method = http.MethodPut }, 405, "INVALID_REQUEST", ""},
		{"complaint id too long", func(c *call) { c.target = target(strings.Repeat("7", 65)) }, 400, "PARAM_ERROR", "complaint_id"},
		{"dots as the complaint id", func(c *call) { c.target = target("..") }, 400, "PARAM_ERROR", "complaint_id"},
		{"no key id", func(c *call) { c.header.Del("Wechatpay-Serial") }, 400, "PARAM_ERROR", "Wechatpay-Serial"},
		{"other key id", func(c *call) { c.header.Set("Wechatpay-Serial", "PUB_KEY_ID_2") }, 400, "PARAM_ERROR", "Wechatpay-Serial"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			requireRefused(t, tc.change, tc.status, tc.code, tc.text)
		})
	}
}

func TestAuthorizationChecks(t *testing.T) {
	t.Parallel()
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	join := func(how func([]string) string) func(*call) { return func(c *call) { c.authorization = how } }
	const scheme = "WECHATPAY2-SHA256-RSA2048 "
	for name, change := range map[string]func(*call){
		"none":           join(func([]string) string { return "" }),
		"other scheme":   join(func(p []string) string { return "Bearer " + strings.Join(p, ",") }),
		"part missing":   join(func(p []string) string { return scheme + strings.Join(p[1:], ",") }),
		"part twice":     join(func(p []string) string { return scheme + strings.Join(append(p, p[0]), ",") }),
		"part too many":  join(func(p []string) string { return scheme + strings.Join(append(p, `x="y"`), ",") }),
		"not quoted":     join(func(p []string) string { return scheme + strings.ReplaceAll(strings.Join(p, ","), `"`, "") }),
		"unknown mchid":  func(c *call) { c.mchID = "1900000009" },
		"other serial":   func(c *call) { c.serial = "00" },
		"clock behind":   func(c *call) { c.at = c.at.Add(-5*time.Minute - 2*time.Second) },
		"clock ahead":    func(c *call) { c.at = c.at.Add(5*time.Minute + 2*time.Second) },
		"milliseconds":   func(c *call) { c.at = time.Unix(c.at.UnixMilli(), 0) },
		"other key":      func(c *call) { c.key = other },
		"target decoded": func(c *call) { c.target = target("a b"); c.signedTarget = strings.Replace(c.target, "%20", " ", 1) },
		"query unsigned": func(c *call) { c.signedTarget = c.target; c.target += "?a=b" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			requireRefused(t, change, http.StatusUnauthorized, "SIGN_ERROR", "")
		})
	}
}

func requireRefused(t *testing.T, change func(*call), status int, code, text string) {
	t.Helper()
	sim := newSim(t)
	c := newCall(t, "c-1", "id-1")
	change(c)
	r := direct(t, sim, wxsim.Primary, c)
	require.Equal(t, status, r.status, "body: %s", r.body)
	require.Equal(t, code, r.code(t))
	require.Contains(t, string(r.body), text)
	require.NotEmpty(t, r.header.Get("Request-Id"))
	for name := range r.header {
		require.False(t, strings.HasPrefix(name, "Wechatpay-"), "error answers are unsigned, got %s", name)
	}
	require.Empty(t, sim.Effects())
	require.Equal(t, map[string]int64{code: 1}, sim.Stats().Refused)
}

func TestAuthorizationPartsInAnyOrderAndSignedQuery(t *testing.T) {
	t.Parallel()
	sim := newSim(t)
	c := newCall(t, "a/b c%汉", "id-1")
	c.target += "?x=%41"
	c.authorization = func(parts []string) string {
		slices.Reverse(parts)
		return "WECHATPAY2-SHA256-RSA2048 " + strings.Join(parts, ",")
	}
	direct(t, sim, wxsim.Primary, c).logID(t)
	require.Equal(t, "a/b c%汉", sim.Effects()[0].ComplaintID)
}

func TestTimestampOfFiveMinutesIsStillTaken(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_790_000_000, 0)
	sim := newSim(t, func(c *wxsim.Config) { c.Now = func() time.Time { return now } })
	for i, at := range []time.Time{now.Add(-5 * time.Minute), now.Add(5 * time.Minute)} {
		c := newCall(t, "c", string(rune('a'+i)))
		c.at = at
		direct(t, sim, wxsim.Primary, c).logID(t)
	}
}

func TestWrongSignatureIsAnsweredAsDocumented(t *testing.T) {
	t.Parallel()
	c := newCall(t, "c-1", "id-1")
	c.header.Set("Content-Type", "application/json; charset=utf-8")
	sim := newSim(t)
	c.signedTarget = "/other"
	r := direct(t, sim, wxsim.Primary, c)
	require.Equal(t, http.StatusUnauthorized, r.status)
	var out struct {
		Detail struct {
			Field, Location string
			Detail          struct{ Issue string }
			SignInformation struct {
				Method, URL          string
				SignMessageLength    int    `json:"sign_message_length"`
				TruncatedSignMessage string `json:"truncated_sign_message"`
			} `json:"sign_information"`
		}
	}
	require.NoError(t, json.Unmarshal(r.body, &out))
	info := out.Detail.SignInformation
	require.Equal(t, "sign not match", out.Detail.Detail.Issue)
	require.Equal(t, c.target, info.URL)
	at := len("1790000000")
	require.Equal(t, len("POST\n")+len(c.target)+1+at+1+len(c.nonce)+1+len(c.body)+1, info.SignMessageLength)
	require.True(t, strings.HasPrefix(info.TruncatedSignMessage, "POST\n"+c.target+"\n"), info.TruncatedSignMessage)
	require.True(t, strings.HasSuffix(info.TruncatedSignMessage, "\n{\"compla\n"), info.TruncatedSignMessage)
}

func TestBodyChecks(t *testing.T) {
	t.Parallel()
	message := func(m string) string { return replyBody("id", m) }
	block := func(b string) string { return message(`{"blocks":[` + b + `]}`) }
	long := func(n int) string { return strings.Repeat("汉", n) }
	const none = "nothing is wrong"
	for _, tc := range []struct{ name, body, field string }{
		{"empty message", message(`{}`), none},
		{"every member", message(everything), none},
		{"custom_data of 4096", message(`{"custom_data":"` + long(4096) + `"}`), none},
		{"id of 128", replyBody(long(128), `{}`), none},
		{"example's foreign members", block(`{"type":"IMAGE","image":{"media_id":"m"},"text":{"text":"t"}}`), none},

		{"not JSON", `{`, ""},
		{"trailing data", message(`{}`) + `{}`, ""},
		{"not UTF-8", message(`{"custom_data":"` + "\xff" + `"}`), ""},
		{"not an object", `[]`, ""},
		{"too deep", message(strings.Repeat("[", 70) + strings.Repeat("]", 70)), ""},
		{"no message", `{"complainted_mchid":"1","idempotent_id":"2"}`, "/message"},
		{"no complainted_mchid", `{"message":{},"idempotent_id":"2"}`, "/complainted_mchid"},
		{"no idempotent_id", `{"complainted_mchid":"1","message":{}}`, "/idempotent_id"},
		{"empty id", replyBody("", `{}`), "/idempotent_id"},
		{"id of 129", replyBody(long(129), `{}`), "/idempotent_id"},
		{"complainted_mchid of 65", `{"complainted_mchid":"` + long(65) + `","message":{},"idempotent_id":"2"}`, "/complainted_mchid"},
		{"complainted_mchid a number", `{"complainted_mchid":1,"message":{},"idempotent_id":"2"}`, "/complainted_mchid"},
		{"complaint_id in the body", `{"complaint_id":"c","complainted_mchid":"1","message":{},"idempotent_id":"2"}`, "/complaint_id"},
		{"null message", message(`null`), "/message"},
		{"custom_data of 4097", message(`{"custom_data":"` + long(4097) + `"}`), "/message/custom_data"},
		{"twice", message(`{"custom_data":"a","custom_data":"a"}`), "/message/custom_data"},
		{"unknown", message(`{"a/b~c":1}`), "/message/a~1b~0c"},
		{"sender", message(`{"sender_identity":"machine"}`), "/message/sender_identity"},
		{"blocks no array", message(`{"blocks":{}}`), "/message/blocks"},
		{"null block", block(`null`), "/message/blocks/0"},
		{"no type", block(`{"text":{"text":"a"}}`), "/message/blocks/0/type"},
		{"unknown type", block(`{"type":"VIDEO"}`), "/message/blocks/0/type"},
		{"member of the type missing", block(`{"type":"FAQ_LIST","text":{}}`), "/message/blocks/0/faq_list"},
		{"color", block(`{"type":"TEXT","text":{"color":"RED"}}`), "/message/blocks/0/text/color"},
		{"is_bold", block(`{"type":"TEXT","text":{"is_bold":"true"}}`), "/message/blocks/0/text/is_bold"},
		{"no content", block(`{"type":"BUTTON","button":{"action":{"message_info":{}}}}`), "/message/blocks/0/button/action/message_info/content"},
		{"layout", block(`{"type":"BUTTON_GROUP","button_group":{"button_layout":"X"}}`), "/message/blocks/0/button_group/button_layout"},
		{"emoji", block(`{"type":"TEXT","text":{"text":"` + "\U0001F600" + `"}}`), "/message/blocks/0/text/text"},
		{"escaped emoji", message(`{"custom_data":"\uD83D\ude00"}`), "/message/custom_data"},
		{"lone surrogate", message(`{"custom_data":"a\\\ud83dx"}`), "/message/custom_data"},
		{"lone low surrogate", message(`{"custom_data":"\uDE00"}`), "/message/custom_data"},
		{"no surrogate", message(`{"custom_data":"\\ud83d\ud7ff\ue000"}`), none},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := newCall(t, "c-1", "id-1")
			c.body = tc.body
			r := direct(t, newSim(t), wxsim.Primary, c)
			if tc.field == none {
				r.logID(t)
				return
			}
			require.Equal(t, http.StatusBadRequest, r.status, "body: %s", r.body)
			require.Equal(t, "PARAM_ERROR", r.code(t))
			var out struct {
				Detail struct{ Field, Location, Issue string }
			}
			require.NoError(t, json.Unmarshal(r.body, &out))
			require.Equal(t, tc.field, out.Detail.Field, "issue: %s", out.Detail.Issue)
			require.Equal(t, "body", out.Detail.Location)
			require.NotEmpty(t, out.Detail.Issue)
		})
	}
}

const everything = `{"blocks":[
 {"type":"IMAGE","image":{"media_id":"m","image_style_type":"IMAGE_STYLE_TYPE_WIDE"}},
 {"type":"LINK","link":{"text":"l","action":{"action_type":"ACTION_TYPE_JUMP_URL","jump_url":"https://a","action_id":"1"},
  "invalid_info":{"expired_time":"2026-12-01T12:00:00+08:00","multi_clickable":true}}},
 {"type":"FAQ_LIST","faq_list":{"faqs":[{"faq_id":"1","faq_title":"t","action":{"action_type":"ACTION_TYPE_SEND_MESSAGE",
  "message_info":{"content":"c","custom_data":"d"}}}]}},
 {"type":"BUTTON_GROUP","button_group":{"buttons":[{"text":"b","action":{"action_type":"ACTION_TYPE_JUMP_MINI_PROGRAM",
  "mini_program_jump_info":{"appid":"a","path":"p"}}}],"button_layout":"LAYOUT_VERTICAL","invalid_info":{}}}],
 "sender_identity":"MANUAL","custom_data":"x"}`

func TestLenientLetsAGrownMessageThrough(t *testing.T) {
	t.Parallel()
	lenient := func(c *wxsim.Config) { c.Lenient = true }
	for body, status := range map[string]int{
		replyBody("1", `{"new":{"a":[1]},"blocks":[{"type":"VIDEO","video":{}}],"custom_data":"`+"\U0001F600"+`"}`): 200,
		replyBody("1", `{"new":null}`):              400,
		replyBody("1", `{"new":"\ud83d"}`):          400,
		replyBody("1", `{"new":{"a":1,"a":2}}`):     400,
		replyBody("1", `{"custom_data":1}`):         400,
		replyBody("\U0001F600", `{}`):               400,
		`{"new":1,` + replyBody("1", `{}`)[1:]:      400,
		replyBody("1", `{"blocks":[{"a":"type"}]}`): 400,
	} {
		c := newCall(t, "c-1", "id-1")
		c.body = body
		require.Equal(t, status, direct(t, newSim(t, lenient), wxsim.Primary, c).status, body)
	}
}

func TestBodyTooLargeIsRefused(t *testing.T) {
	t.Parallel()
	requireRefused(t, func(c *call) { c.body = strings.Repeat(" ", 1<<20+1) }, 400, "PARAM_ERROR", "")
}

func TestNewReportsEveryFault(t *testing.T) {
	t.Parallel()
	_, err := wxsim.New(wxsim.Config{MaxCalls: -1, Conflict: "perhaps"})
	for _, want := range []string{"merchants", "answer key", "max calls", "perhaps"} {
		require.ErrorContains(t, err, want)
	}
}
