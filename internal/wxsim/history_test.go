package wxsim_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/wxsim"
)

func historyCall(t testing.TB, complaint, query string) *call {
	t.Helper()
	c := newCall(t, "", "")
	c.method, c.body = http.MethodGet, ""
	c.target = "/v3/merchant-service/complaints-v2/" + url.PathEscape(complaint) + "/negotiation-historys" + query
	c.header.Del("Content-Type")
	return c
}

type historyAnswer struct {
	Data []struct {
		LogID          string          `json:"log_id"`
		Operator       string          `json:"operator"`
		OperateTime    string          `json:"operate_time"`
		OperateType    string          `json:"operate_type"`
		OperateDetails string          `json:"operate_details"`
		NormalMessage  json.RawMessage `json:"normal_message"`
	} `json:"data"`
	Limit      int `json:"limit"`
	Offset     int `json:"offset"`
	TotalCount int `json:"total_count"`
}

func history(t testing.TB, sim *wxsim.Sim, complaint, query string) historyAnswer {
	t.Helper()
	r := direct(t, sim, wxsim.Primary, historyCall(t, complaint, query))
	require.Equal(t, http.StatusOK, r.status, "body: %s", r.body)
	require.NoError(t, r.verify(t))
	var out historyAnswer
	require.NoError(t, json.Unmarshal(r.body, &out))
	return out
}

func TestHistoryHasTheReplies(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 4, 0, 0, 0, time.UTC)
	sim := newSim(t, func(c *wxsim.Config) { c.Now = func() time.Time { return now } })
	send := func(complaint, id string) string {
		c := newCall(t, complaint, id)
		c.at = now
		return direct(t, sim, wxsim.Primary, c).logID(t)
	}
	first := send("c/1", "id-1")
	send("c-2", "id-2")
	now = now.Add(time.Hour)
	second := send("c/1", "id-3")
	require.Equal(t, second, send("c/1", "id-3"), "a repeat is no entry more")

	ask := func(query string) historyAnswer {
		c := historyCall(t, "c/1", query)
		c.at = now
		r := direct(t, sim, wxsim.Backup, c)
		var out historyAnswer
		require.NoError(t, json.Unmarshal(r.body, &out), "body: %s", r.body)
		return out
	}
	got := ask("")
	require.Equal(t, [3]int{100, 0, 3}, [3]int{got.Limit, got.Offset, got.TotalCount})
	require.Len(t, got.Data, 3)
	require.Equal(t, second, got.Data[0].LogID, "the latest first")
	require.Equal(t, "2026-11-23T13:00:00+08:00", got.Data[0].OperateTime)
	require.Equal(t, "MERCHANT_RESPONSE", got.Data[0].OperateType)
	require.JSONEq(t, goodMessage, string(got.Data[0].NormalMessage))
	require.Equal(t, first, got.Data[1].LogID)
	require.Equal(t, "USER_CREATE_COMPLAINT", got.Data[2].OperateType)
	require.Equal(t, "2026-11-23T11:59:00+08:00", got.Data[2].OperateTime)
	require.NotEmpty(t, got.Data[2].OperateDetails)

	got = ask("?limit=1&offset=1")
	require.Len(t, got.Data, 1)
	require.Equal(t, first, got.Data[0].LogID)
	require.Empty(t, ask("?offset=3").Data)
	require.Equal(t, int64(3), sim.Stats().Histories)
	require.Equal(t, int64(3), sim.Stats().Effects)
}

func TestHistoryChecks(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, query string
		spoil       func(*call)
		status      int
		text        string
	}{
		{"limit too low", "?limit=0", nil, 400, "want limit, 1 to 300"},
		{"limit too high", "?limit=301", nil, 400, "want limit, 1 to 300"},
		{"offset negative", "?offset=-1", nil, 400, "offset"},
		{"no number", "?offset=x", nil, 400, "want one number"},
		{"twice", "?limit=1&limit=2", nil, 400, "want one number"},
		{"unknown parameter", "?page=1", nil, 400, "page"},
		{"a body", "", func(c *call) { c.body = "{}" }, 400, "请求体"},
		{"query not signed", "?limit=1", func(c *call) { c.signedTarget, _, _ = strings.Cut(c.target, "?") }, 401, ""},
		{"wrong method", "", func(c *call) { c.method = http.MethodPost }, 405, ""},
		{"unknown complaint", "", func(c *call) { c.target = strings.Replace(c.target, "c-1", "c-9", 1) }, 404, "RESOURCE_NOT_EXISTS"},
		{"other spelling", "", func(c *call) { c.target = strings.Replace(c.target, "historys", "histories", 1) }, 404, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			sim := newSim(t)
			direct(t, sim, wxsim.Primary, newCall(t, "c-1", "id-1")).logID(t)
			c := historyCall(t, "c-1", tc.query)
			if tc.spoil != nil {
				tc.spoil(c)
			}
			r := direct(t, sim, wxsim.Primary, c)
			require.Equal(t, tc.status, r.status, "body: %s", r.body)
			require.Contains(t, string(r.body), tc.text)
			require.Zero(t, sim.Stats().Histories)
		})
	}
}

func TestMessagesAreKeptUpToABound(t *testing.T) {
	t.Parallel()
	const each = 2 << 10
	sim := newSim(t, func(c *wxsim.Config) { c.MaxMessageBytes = 5 * each })
	for i := range 20 {
		c := newCall(t, "c-1", fmt.Sprint("id-", i))
		c.body = replyBody(fmt.Sprint("id-", i), `{"custom_data":"`+strings.Repeat("x", each)+`"}`)
		direct(t, sim, wxsim.Primary, c).logID(t)
	}
	got := history(t, sim, "c-1", "")
	require.Len(t, got.Data, 21)
	kept := 0
	for i, e := range got.Data[:20] {
		if e.NormalMessage != nil {
			require.Equal(t, i, kept, "the latest ones")
			kept++
		}
	}
	require.Positive(t, kept)
	require.LessOrEqual(t, kept, 5)
}

func TestHistoryThatIsTooLarge(t *testing.T) {
	t.Parallel()
	sim := newSim(t, func(c *wxsim.Config) { c.MaxHistoryBytes = 1000 })
	for i := range 5 {
		direct(t, sim, wxsim.Primary, newCall(t, "c-1", fmt.Sprint("id-", i))).logID(t)
	}
	r := direct(t, sim, wxsim.Primary, historyCall(t, "c-1", "?limit=5"))
	require.Equal(t, http.StatusBadRequest, r.status)
	require.Contains(t, string(r.body), "当前查询结果数据量过大")
	require.Len(t, history(t, sim, "c-1", "?limit=2").Data, 2)
}
