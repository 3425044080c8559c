package cli_test

import (
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// scriptSkewedHost puts a host with a wrong clock in the primary's place.
func scriptSkewedHost(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "skewedhost DURATION")
	ahead, err := time.ParseDuration(args[0])
	ts.Check(err)
	host := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", time.Now().Add(ahead).UTC().Format(http.TimeFormat))
		w.WriteHeader(http.StatusNotFound)
	}))
	world(ts).tb.Cleanup(host.Close)
	ts.Setenv("REPLYWORKER_PRIMARY_URL", host.URL)
}
