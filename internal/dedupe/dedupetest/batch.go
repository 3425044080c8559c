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

// testFinished asks of records in each state whether they need anything.
func testFinished(t *testing.T, e env) {
	jobs := many(250)
	deliveries := make([]dedupe.Delivered, len(jobs))
	want := make([]dedupe.State, len(jobs))
	settle := func(c dedupe.Claimant, s dedupe.State) {
		e.win(t, c, 1)
		require.NoError(t, e.Fail(t.Context(), c, dedupe.Failure{State: s, Reason: "rejected"}))
	}
	for i, c := range jobs {
		deliveries[i] = dedupe.Delivered{Key: c.Key, Source: c.Source}
		switch i % 8 {
		case 0: // nobody has read it yet
			continue
		case 1:
			e.win(t, c, 1)
		case 2, 3:
			e.complete(t, c, "log")
			want[i] = dedupe.StateDone
		case 4:
			settle(c, dedupe.StateDead)
			want[i] = dedupe.StateDead
		case 5:
			settle(c, dedupe.StateExpired)
			want[i] = dedupe.StateExpired
		case 6: // another record of the same job
			e.complete(t, c, "log")
			deliveries[i].Source = "jobs/0/99999/1"
		case 7: // the outcome is not known to be published
			e.complete(t, c, "log")
			continue
		}
		require.NoError(t, e.MarkPublished(t.Context(), c.Key, c.Source))
	}
	got, err := e.Finished(t.Context(), deliveries)
	require.NoError(t, err)
	require.Equal(t, want, got)

	e.srv.Do(t, "SET", e.srv.Prefix()+":job:{"+jobs[0].Key.String()+"}", "something else")
	got, err = e.Finished(t.Context(), deliveries[:3])
	require.NoError(t, err, "Claim tells of it")
	require.Equal(t, want[:3], got)
}
