package dedupetest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/dedupe"
)

// behind returns a Store behind a Proxy. Its scripts are loaded.
func (e env) behind(t *testing.T) (*dedupe.Store, *Proxy) {
	t.Helper()
	if where := e.srv.Where(); where.Cluster || where.Master != "" {
		t.Skip("needs to stand between the client and its server, which the client of a Cluster or of Sentinel finds by itself")
	}
	proxy := NewProxy(t, e.srv.Where().Addrs[0])
	s := Store(t, e.srv, func(c *dedupe.Config) { c.Server.Addrs, c.Lease = []string{proxy.Addr()}, lease })
	warm := record("jobs/0/0/0", contentX)
	warm.IdempotentID = "loads the scripts"
	warmUp(t, s, warm)
	return s, proxy
}

// many returns the deliveries of n jobs.
func many(n int) []dedupe.Claimant {
	out := make([]dedupe.Claimant, n)
	for i := range out {
		out[i] = record(fmt.Sprintf("jobs/0/%d/1", i), contentX)
		out[i].IdempotentID = fmt.Sprintf("job %d", i)
	}
	return out
}

// out makes a claim and waits until its answer is held back.
func out(t *testing.T, s *dedupe.Store, p *Proxy, wg *sync.WaitGroup) {
	t.Helper()
	first := record("jobs/0/0/1", contentX)
	first.IdempotentID = "goes first"
	wg.Go(func() {
		_, err := s.Claim(t.Context(), first, 1)
		require.NoError(t, err)
	})
	require.Eventually(t, func() bool { return p.Holding() > 0 }, time.Minute, time.Millisecond)
}

// testStepsGathered claims many jobs while an answer is out: they go together.
func testStepsGathered(t *testing.T, e env) {
	s, proxy := e.behind(t)
	release := proxy.HoldAnswers()
	defer release()
	var wg sync.WaitGroup
	out(t, s, proxy, &wg)
	before := proxy.Asked()
	jobs := many(100)
	var verdicts sync.Map
	started := make(chan struct{}, len(jobs))
	for _, c := range jobs {
		wg.Go(func() {
			started <- struct{}{}
			got, err := s.Claim(t.Context(), c, 1)
			require.NoError(t, err)
			verdicts.Store(c.IdempotentID, got.Verdict)
		})
	}
	for range jobs {
		<-started
	}
	release()
	wg.Wait()
	// A few go at once beside the one that seems to hang; the rest wait for one of them.
	require.Less(t, proxy.Asked()-before, len(jobs)/3, "round trips of %d claims", len(jobs))
	for _, c := range jobs {
		v, _ := verdicts.Load(c.IdempotentID)
		require.Equal(t, dedupe.VerdictWon, v, c.IdempotentID)
	}
}

// testStepsOfOneBatch lets one batch meet what single steps may: each has its own answer, also where one
// of the keys is something else, and where the server has lost the scripts.
func testStepsOfOneBatch(t *testing.T, e env) {
	s, proxy := e.behind(t)
	jobs := many(12)
	for _, c := range jobs[:6] {
		e.win(t, c, 1)
	}
	odd := jobs[6]
	e.srv.Do(t, "SET", e.srv.Prefix()+":job:{"+odd.Key.String()+"}", "something else")
	release := proxy.HoldAnswers()
	defer release()
	var wg sync.WaitGroup
	out(t, s, proxy, &wg)
	e.srv.Do(t, "SCRIPT", "FLUSH")
	errs := make([]error, len(jobs))
	for i, c := range jobs {
		wg.Go(func() {
			if i < 6 {
				var got dedupe.CompleteResult
				got, errs[i] = s.Complete(t.Context(), c, dedupe.Done{LogID: fmt.Sprint("log ", i), Attempts: 1})
				require.Equal(t, fmt.Sprint("log ", i), got.LogID)
				return
			}
			_, errs[i] = s.Claim(t.Context(), c, 1)
		})
	}
	release()
	wg.Wait()
	requireReason(t, dedupe.ReasonWrongType, errs[6])
	for i := range jobs {
		if i != 6 {
			require.NoError(t, errs[i], jobs[i].IdempotentID)
		}
	}
}

// testCallerGivesUp ends one caller's time while its batch is out: it is told at once, and the others
// get their answers.
func testCallerGivesUp(t *testing.T, e env) {
	s, proxy := e.behind(t)
	release := proxy.HoldAnswers()
	defer release()
	var wg sync.WaitGroup
	out(t, s, proxy, &wg)
	jobs := many(2)
	ctx, cancel := context.WithCancel(t.Context())
	gaveUp := make(chan error)
	wg.Go(func() {
		_, err := s.Claim(ctx, jobs[0], 1)
		gaveUp <- err
	})
	wg.Go(func() {
		got, err := s.Claim(t.Context(), jobs[1], 1)
		require.NoError(t, err)
		require.Equal(t, dedupe.VerdictWon, got.Verdict)
	})
	cancel()
	requireReason(t, dedupe.ReasonCanceled, <-gaveUp)
	release()
	wg.Wait()
}

// testBatchHangs holds one batch up for good: what comes later does not wait for it.
func testBatchHangs(t *testing.T, e env) {
	s, proxy := e.behind(t)
	release := proxy.HoldAnswers()
	defer release()
	var wg sync.WaitGroup
	defer wg.Wait()
	out(t, s, proxy, &wg)
	proxy.HoldAnswers()()               // what comes from now on passes
	<-time.After(50 * time.Millisecond) // it hangs, by any standard
	got, err := s.Claim(t.Context(), many(1)[0], 1)
	require.NoError(t, err)
	require.Equal(t, dedupe.VerdictWon, got.Verdict)
}

// testNoted notes outcomes as published and waits for nothing: the notes are there when the Store has
// closed.
func testNoted(t *testing.T, e env) {
	cfg := dedupe.Config{Server: e.srv.Where(), RootCAs: e.srv.Roots(), Prefix: e.srv.Prefix(), Lease: lease}
	s, err := dedupe.New(cfg)
	require.NoError(t, err)
	jobs := many(300)
	for _, c := range jobs {
		_, err := s.Complete(t.Context(), c, dedupe.Done{LogID: "log", Attempts: 1})
		require.NoError(t, err)
		s.NotePublished(c.Key, c.Source)
	}
	require.NoError(t, s.Close())
	for _, c := range jobs {
		got := e.claim(t, again(c), 1)
		require.Equal(t, dedupe.VerdictDone, got.Verdict)
		require.True(t, got.Published, c.IdempotentID)
	}
}
