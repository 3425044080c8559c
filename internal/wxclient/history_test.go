package wxclient_test

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"replyworker/internal/wxclient"
)

// historyOf makes a call that is answered with that body, well signed.
func historyOf(t *testing.T, status int, body string) (wxclient.HistoryPage, error) {
	t.Helper()
	c := newClient(t, wxclient.Config{Transport: answer(status, signedHeader(t, body), body)})
	return c.History(t.Context(), wxclient.Primary, newMerchant(t), complaintID, 2, 0)
}

func TestHistoryRequest(t *testing.T) {
	t.Parallel()
	const body = `{"data":[],"limit":7,"offset":14,"total_count":0}`
	m := newMerchant(t)
	requests := make(chan *http.Request, 1)
	c := newClient(t, wxclient.Config{Transport: fake(func(r *http.Request) (*http.Response, error) {
		requests <- r
		return answer(http.StatusOK, signedHeader(t, body), body)(r)
	})})
	_, err := c.History(t.Context(), wxclient.Primary, m, "a/b c", 7, 14)
	require.NoError(t, err)
	r := <-requests
	require.Equal(t, "GET", r.Method)
	require.Equal(t, "/v3/merchant-service/complaints-v2/a%2Fb%20c/negotiation-historys?limit=7&offset=14", r.URL.RequestURI())
	require.Nil(t, r.Body)
	require.Empty(t, r.Header.Get("Content-Type"))
	r.RequestURI = r.URL.RequestURI()
	require.NoError(t, checkSignature(r, nil, &privateKey(t, "merchant_key.pem").PublicKey))
}

func TestHistoryPage(t *testing.T) {
	t.Parallel()
	page, err := historyOf(t, http.StatusOK, `{"data":[
		{"log_id":"1","operator":"投诉人","operate_time":"2026-11-23T10:00:00+08:00","operate_type":"USER_CREATE_COMPLAINT",
		 "operate_details":"text","image_list":["https://x"],"complaint_media_list":[{"media_type":"x"}],"new":{"a":1}},
		{"log_id":"2","operate_type":"MERCHANT_RESPONSE","normal_message":{"sender_identity":"MACHINE"},
		 "click_message":null,"image_list":null,"operate_details":null,"LOG_ID":"other"}],
		"limit":2,"offset":0,"total_count":9}`)
	require.NoError(t, err)
	require.Equal(t, wxclient.HistoryPage{Total: 9, Entries: []wxclient.HistoryEntry{
		{
			LogID: "1", Operator: "投诉人", OperateTime: "2026-11-23T10:00:00+08:00", OperateType: "USER_CREATE_COMPLAINT",
			OperateDetails: "text", Images: []string{"https://x"}, Media: json.RawMessage(`[{"media_type":"x"}]`),
		},
		{LogID: "2", OperateType: "MERCHANT_RESPONSE", NormalMessage: json.RawMessage(`{"sender_identity":"MACHINE"}`)},
	}}, page)

	page, err = historyOf(t, http.StatusOK, `{"total_count":0}`)
	require.NoError(t, err)
	require.Equal(t, wxclient.HistoryPage{}, page)
}

func TestHistoriesThatAreNoSuccess(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"no total":            `{"data":[]}`,
		"negative total":      `{"data":[],"total_count":-1}`,
		"total no number":     `{"data":[],"total_count":"9"}`,
		"data no list":        `{"data":{},"total_count":9}`,
		"entry no object":     `{"data":["x"],"total_count":9}`,
		"entry without id":    `{"data":[{"operator":"x"}],"total_count":9}`,
		"id no text":          `{"data":[{"log_id":5}],"total_count":9}`,
		"images no list":      `{"data":[{"log_id":"5","image_list":"x"}],"total_count":9}`,
		"more than asked for": `{"data":[{"log_id":"1"},{"log_id":"2"},{"log_id":"3"}],"total_count":9}`,
		"error code":          `{"data":[],"total_count":9,"code":"SYSTEM_ERROR"}`,
		"no JSON":             `<html>`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			page, err := historyOf(t, http.StatusOK, body)
			require.Zero(t, page)
			require.Equal(t, wxclient.ClassUnknown, checkError(t, err).Class)
			require.NotErrorIs(t, err, wxclient.ErrTooMuch)
		})
	}
}

func TestHistoryIsVerifiedFirst(t *testing.T) {
	t.Parallel()
	const body = `{"data":[],"total_count":0}`
	c := newClient(t, wxclient.Config{Transport: answer(http.StatusOK, signedHeader(t, body), body+" ")})
	_, err := c.History(t.Context(), wxclient.Primary, newMerchant(t), complaintID, 2, 0)
	e := checkError(t, err)
	require.Equal(t, wxclient.ClassUnknown, e.Class)
	require.ErrorContains(t, e, "signature")
}

func TestHistoryTooMuch(t *testing.T) {
	t.Parallel()
	_, err := historyOf(t, http.StatusBadRequest, `{"code":"INVALID_REQUEST","message":"当前查询结果数据量过大"}`)
	require.ErrorIs(t, err, wxclient.ErrTooMuch)
	require.Equal(t, wxclient.ClassRefused, checkError(t, err).Class)

	_, err = historyOf(t, http.StatusBadRequest, `{"code":"INVALID_REQUEST","message":"别的"}`)
	require.NotErrorIs(t, err, wxclient.ErrTooMuch)

	_, err = historyOf(t, http.StatusOK, `{"data":[],"total_count":0,"x":"`+strings.Repeat("x", 8<<20)+`"}`)
	require.ErrorIs(t, err, wxclient.ErrTooMuch)
	require.ErrorContains(t, err, "answer is larger than 8 MiB")

	large := `{"data":[],"total_count":0,"x":"` + strings.Repeat("x", 7<<20) + `"}`
	_, err = historyOf(t, http.StatusOK, large)
	require.NoError(t, err, "more than another call would read")
}

func TestHistoryArguments(t *testing.T) {
	t.Parallel()
	c := newClient(t, wxclient.Config{Transport: fake(func(*http.Request) (*http.Response, error) {
		panic("nothing is to be sent")
	})})
	for _, tc := range []struct {
		id            string
		limit, offset int
	}{{"", 1, 0}, {"..", 1, 0}, {strings.Repeat("x", 257), 1, 0}, {"c", 0, 0}, {"c", 301, 0}, {"c", 1, -1}} {
		_, err := c.History(t.Context(), wxclient.Primary, newMerchant(t), tc.id, tc.limit, tc.offset)
		require.Equal(t, wxclient.ClassRefused, checkError(t, err).Class, strconv.Itoa(tc.limit))
	}
}
