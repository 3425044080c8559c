package wxsim_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"replyworker/internal/wxsim"
)

// A simulator with its own keys on two free ports, misbehaving as the control interface is told.
func Example() {
	keys, err := wxsim.Generate(wxsim.Params{})
	if err != nil {
		fmt.Println(err)
		return
	}
	sim, err := wxsim.New(keys.Config())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = sim.Close() }()
	servers, err := sim.Listen(wxsim.ListenParams{Certificate: keys.Certificate, CAPEM: keys.CAPEM})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(strings.HasPrefix(servers.PrimaryURL, "https://127.0.0.1:"))

	put := httptest.NewRequest(http.MethodPut, "/faults", strings.NewReader(`[
		{"kind": "down", "host": "primary", "for": "30s"},
		{"kind": "status", "status": 429, "retry_after": "2", "count": 5}]`))
	answer := httptest.NewRecorder()
	sim.ControlHandler().ServeHTTP(answer, put)
	fmt.Print(answer.Body)

	put = httptest.NewRequest(http.MethodPut, "/faults", strings.NewReader(`{"kind": "reset", "status": 500}`))
	answer = httptest.NewRecorder()
	sim.ControlHandler().ServeHTTP(answer, put)
	fmt.Print(answer.Code, " ", answer.Body)
	// Output:
	// true
	// [{"kind":"down","host":"primary","for":"30s"},{"kind":"status","count":5,"status":429,"retry_after":"2"}]
	// 400 fault reset: status means nothing for this kind
}

// Faults are written as JSON with durations as text.
func ExampleFault() {
	text, err := json.Marshal(wxsim.Fault{Kind: wxsim.KindReset, AfterEffect: true, ComplaintID: "2002", Count: 1})
	fmt.Println(string(text), err)
	// Output:
	// {"kind":"reset","complaint_id":"2002","count":1,"after_effect":true} <nil>
}
