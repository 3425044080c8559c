package wxsim_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"replyworker/internal/wxsim"
)

func control(t *testing.T, sim *wxsim.Sim, method, target, body string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	sim.ControlHandler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body)))
	return w.Code, w.Body.String()
}

func TestControlFaults(t *testing.T) {
	t.Parallel()
	sim := newSim(t)
	for _, step := range []struct{ method, target, body, want string }{
		{"GET", "/faults", "", `[]`},
		{"PUT", "/faults", `{"kind":"hang","name":"a"}`, `[{"kind":"hang","name":"a"}]`},
		{"POST", "/faults", `[{"kind":"status","status":429,"count":3}]`, `[{"kind":"hang","name":"a"},{"kind":"status","status":429,"count":3}]`},
		{"DELETE", "/faults?name=a", "", `[{"kind":"status","status":429,"count":3}]`},
		{"PUT", "/faults", `[{"kind":"latency","delay":"1s"}]`, `[{"kind":"latency","delay":"1s"}]`},
		{"DELETE", "/faults", "", `[]`},
	} {
		status, body := control(t, sim, step.method, step.target, step.body)
		require.Equal(t, http.StatusOK, status, body)
		require.JSONEq(t, step.want, body)
	}
}

func TestControlRefusesMistakes(t *testing.T) {
	t.Parallel()
	sim := newSim(t)
	for body, want := range map[string]string{
		``:                               "want one fault or an array",
		`null`:                           "is unknown",
		`{`:                              "unexpected end",
		`{"kind":"hang"} {}`:             "after top-level value",
		`{"kind":"explode"}`:             `kind "explode" is unknown; want one of status hang reset`,
		`{"kind":"hang","proability":1}`: `unknown field "proability"`,
		`[{"kind":"status"},{"kind":"hang","delay":"1s"}]`: "status 0: want 200 to 599\nfault hang: delay means nothing",
		`{"kind":"latency","delay":5}`:                     "delay",
	} {
		for _, method := range []string{"PUT", "POST"} {
			status, text := control(t, sim, method, "/faults", body)
			require.Equal(t, http.StatusBadRequest, status, "body: %s", body)
			require.Contains(t, text, want, "body: %s", body)
		}
	}
	require.Empty(t, sim.Faults())
	for _, query := range []string{"after=x", "limit=-1"} {
		status, _ := control(t, sim, "GET", "/effects?"+query, "")
		require.Equal(t, http.StatusBadRequest, status)
	}
	status, _ := control(t, sim, "GET", "/nothing", "")
	require.Equal(t, http.StatusNotFound, status)
}

func TestControlReadsTheLedger(t *testing.T) {
	t.Parallel()
	sim := newSim(t)
	for _, id := range []string{"a", "b", "c"} {
		direct(t, sim, wxsim.Primary, newCall(t, "complaint-"+id, id)).logID(t)
	}
	for query, want := range map[string]string{
		"": "abc", "?idempotent_id=b": "b", "?complaint_id=complaint-c": "c", "?after=1": "bc", "?after=1&limit=1": "b",
		"?mchid=1": "", "?limit=0": "",
	} {
		status, body := control(t, sim, "GET", "/effects"+query, "")
		require.Equal(t, http.StatusOK, status)
		var page wxsim.EffectsPage
		require.NoError(t, json.Unmarshal([]byte(body), &page))
		got := ""
		for _, e := range page.Effects {
			got += e.IdempotentID
		}
		require.Equal(t, want, got, query)
		require.NotNil(t, page.Effects)
	}
	_, body := control(t, sim, "GET", "/stats", "")
	var stats wxsim.Stats
	require.NoError(t, json.Unmarshal([]byte(body), &stats))
	require.Equal(t, sim.Stats(), stats)
	_, body = control(t, sim, "GET", "/calls", "")
	var calls []wxsim.Call
	require.NoError(t, json.Unmarshal([]byte(body), &calls))
	require.Len(t, calls, 3)
	_, help := control(t, sim, "GET", "/", "")
	for _, k := range wxsim.Kinds() {
		require.Contains(t, help, string(k.Kind))
	}
}
