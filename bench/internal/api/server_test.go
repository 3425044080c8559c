package api_test

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/bench/internal/api"
	"replyworker/bench/internal/bare"
	"replyworker/bench/internal/jobs"
)

const patience = 30 * time.Second

// serve starts an API, which ends with the test, and returns its folder of keys.
func serve(t *testing.T) (api.Client, string) {
	t.Helper()
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	said, say := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- api.Serve(ctx, dir, say) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	url, err := bufio.NewReader(said).ReadString('\n')
	require.NoError(t, err)
	return api.Client{URL: strings.TrimSpace(url)}, dir
}

// TestBareClient: the client's calls are such as the API's rules ask for, its answers such as the client
// verifies, and each job is counted once.
func TestBareClient(t *testing.T) {
	t.Parallel()
	a, dir := serve(t)
	b := jobs.Batch{Run: 3, Jobs: 250, Complaints: 250}
	require.NoError(t, a.Begin(t.Context(), api.Order{Batch: b, Latency: time.Millisecond}))
	before := time.Now()
	require.NoError(t, bare.Run(t.Context(), bare.Config{URL: a.URL, Dir: dir, Batch: b, Concurrency: 8}))
	got, err := a.Counts(t.Context())
	require.NoError(t, err)
	require.LessOrEqual(t, got.Busiest, 8)
	got.Busiest = 0
	require.Equal(t, api.Counts{Calls: 250, Asked: 250, Done: 250, Checked: 3}, got)
	times, err := a.Times(t.Context())
	require.NoError(t, err)
	require.Len(t, times, 250)
	for n, at := range times {
		require.GreaterOrEqual(t, at.Asked, before.UnixNano(), n)
		require.GreaterOrEqual(t, at.Done-at.Asked, time.Millisecond.Nanoseconds(), n)
	}
}

// TestTrouble: those picked are refused, all of them and no others, until it is over.
func TestTrouble(t *testing.T) {
	t.Parallel()
	a, dir := serve(t)
	b := jobs.Batch{Run: 4, Jobs: 1}
	require.NoError(t, a.Begin(t.Context(), api.Order{Batch: b}))
	require.NoError(t, a.Trouble(t.Context(), api.Trouble{Share: 1, For: time.Hour}))
	require.ErrorContains(t, bare.Run(t.Context(), bare.Config{URL: a.URL, Dir: dir, Batch: b, Concurrency: 1}), "500")
	require.NoError(t, a.Trouble(t.Context(), api.Trouble{Share: 1, For: 0}))
	require.NoError(t, bare.Run(t.Context(), bare.Config{URL: a.URL, Dir: dir, Batch: b, Concurrency: 1}))
	require.NoError(t, bare.Run(t.Context(), bare.Config{URL: a.URL, Dir: dir, Batch: b, Concurrency: 1}))
	got, err := a.Wait(t.Context(), patience, "the end", func(c api.Counts) bool { return c.InFlight == 0 })
	require.NoError(t, err)
	require.EqualValues(t, 3, got.Calls)
	require.EqualValues(t, 1, got.Refused)
	require.Equal(t, 1, got.Done)
	require.Equal(t, 1, got.Doubled)
}

// TestQuota: of calls that come together, the API takes so many in a second and refuses the others.
func TestQuota(t *testing.T) {
	t.Parallel()
	a, dir := serve(t)
	b := jobs.Batch{Run: 4, Jobs: 1}
	require.NoError(t, a.Begin(t.Context(), api.Order{Batch: b}))
	require.NoError(t, a.Quota(t.Context(), 2))
	took := time.Now()
	var err error
	calls := 0
	for ; err == nil; calls++ {
		err = bare.Run(t.Context(), bare.Config{URL: a.URL, Dir: dir, Batch: b, Concurrency: 1})
	}
	require.ErrorContains(t, err, "429")
	require.Greater(t, calls, 2)
	require.LessOrEqual(t, calls, 2*(int(time.Since(took).Seconds())+2)+1, "it refuses the third call of a second")
	require.NoError(t, a.Quota(t.Context(), 0))
	require.NoError(t, bare.Run(t.Context(), bare.Config{URL: a.URL, Dir: dir, Batch: b, Concurrency: 1}))
}

// TestFaultyCalls: a call without a good signature is noticed, and so is one of no job.
func TestFaultyCalls(t *testing.T) {
	t.Parallel()
	a, _ := serve(t)
	b := jobs.Batch{Run: 5, Jobs: 1}
	require.NoError(t, a.Begin(t.Context(), api.Order{Batch: b}))
	other := jobs.Batch{Run: 6, Jobs: 1}
	for _, of := range []jobs.Batch{b, other} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, a.URL+of.Path(0), strings.NewReader(string(of.Body(0))))
		require.NoError(t, err)
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
	}
	got, err := a.Counts(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 1, got.Faulty)
	require.NotEmpty(t, got.FirstFlaw)
	require.EqualValues(t, 1, got.Strays)
	_, err = a.Wait(t.Context(), patience, "what never comes", func(api.Counts) bool { return false })
	require.ErrorContains(t, err, "break its rules")
}
