package dedupetest

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/dedupe"
)

// lease is what the suite works with: long, so that the time a slow machine takes is nothing beside it.
const lease = 30 * time.Minute

// Run runs all tests on servers that newServer makes, one for each test.
func Run(t *testing.T, newServer func(t *testing.T) Server) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, env){
		"claim table":                 testClaimTable,
		"claim repeated":              testClaimRepeated,
		"conflict remembered":         testConflictRemembered,
		"conflicts bounded":           testConflictsBounded,
		"verdict outlives new claim":  testVerdictOutlivesNewClaim,
		"verdict outlives completion": testVerdictOutlivesCompletion,
		"begin":                       testBegin,
		"renew":                       testRenew,
		"park":                        testPark,
		"complete table":              testCompleteTable,
		"fail":                        testFail,
		"published":                   testPublished,
		"crash table":                 testCrashTable,
		"retention":                   testRetention,
		"details":                     testDetails,
		"lookup":                      testLookup,
		"lookup all":                  testLookupAll,
		"lock":                        testLock,
		"race":                        testRace,
		"restore":                     testRestore,
		"restore table":               testRestoreTable,
		"restored claims live":        testRestoreLives,
		"restore many":                testRestoreMany,
		"restore race":                testRestoreRace,
		"garbage":                     testGarbage,
		"script cache lost":           testScriptCacheLost,
		"answers lost":                testAnswersLost,
		"steps gathered":              testStepsGathered,
		"steps of one batch":          testStepsOfOneBatch,
		"a caller gives up":           testCallerGivesUp,
		"a batch hangs":               testBatchHangs,
		"noted":                       testNoted,
		"finished":                    testFinished,
		"model":                       testModel,
		"hold":                        testHold,
		"probe":                       testProbe,
		"probe race":                  testProbeRace,
		"probe hastened":              testHastenProbe,
		"holds listed":                testHoldsListed,
		"pace":                        testPace,
		"pace shared":                 testPaceShared,
		"pace learned":                testPaceLearned,
		"pace forgotten":              testPaceForgotten,
		"pace odd":                    testPaceOdd,
		"pace like memory":            testPaceLikeMemory,
		"ping":                        testPing,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := newServer(t)
			test(t, env{srv: srv, Store: Store(t, srv, func(c *dedupe.Config) { c.Lease = lease })})
		})
	}
}

// env is a Store and its server.
type env struct {
	*dedupe.Store

	srv Server
}

var (
	job      = dedupe.Key{MchID: "1900000001", IdempotentID: "550e8400-e29b-41d4-a716-446655440000"}
	contentX = strings.Repeat("ab", 32)
	contentY = strings.Repeat("cd", 32)
)

// record returns a delivery of a record, with a token of its own.
func record(source, content string) dedupe.Claimant {
	return dedupe.Claimant{Key: job, Token: dedupe.NewToken(), Source: source, Content: content}
}

// again is another delivery of the same record.
func again(c dedupe.Claimant) dedupe.Claimant {
	c.Token = dedupe.NewToken()
	return c
}

func (e env) claim(t testing.TB, c dedupe.Claimant, spend int) dedupe.Claim {
	t.Helper()
	got, err := e.Claim(t.Context(), c, spend)
	require.NoError(t, err, "claim by %s", c.Source)
	return got
}

// verdict claims and says in one word what came of it.
func (e env) verdict(t testing.TB, c dedupe.Claimant) dedupe.Verdict {
	t.Helper()
	return e.claim(t, c, 1).Verdict
}

// win claims and insists on winning.
func (e env) win(t testing.TB, c dedupe.Claimant, spend int) dedupe.Claim {
	t.Helper()
	got := e.claim(t, c, spend)
	require.Equal(t, dedupe.VerdictWon, got.Verdict, "claim by %s: %+v", c.Source, got)
	return got
}

func (e env) park(t testing.TB, c dedupe.Claimant, p dedupe.Parked) {
	t.Helper()
	require.NoError(t, e.Park(t.Context(), c, p), "park by %s", c.Source)
}

func (e env) complete(t testing.TB, c dedupe.Claimant, logID string) dedupe.CompleteResult {
	t.Helper()
	got, err := e.Complete(t.Context(), c, dedupe.Done{LogID: logID, Details: "details of " + logID, Attempts: 1})
	require.NoError(t, err, "complete by %s", c.Source)
	return got
}

func (e env) fail(t testing.TB, c dedupe.Claimant, state dedupe.State, maybe dedupe.Tri) {
	t.Helper()
	f := dedupe.Failure{State: state, Reason: "rejected", Details: "details of failure", MaybeSent: maybe}
	require.NoError(t, e.Fail(t.Context(), c, f), "fail by %s", c.Source)
}

func (e env) lookup(t testing.TB) dedupe.Record {
	t.Helper()
	rec, found, err := e.Lookup(t.Context(), job)
	require.NoError(t, err)
	require.True(t, found, "the job should be known")
	return rec
}

func (e env) advance(t testing.TB, d time.Duration) {
	t.Helper()
	e.srv.Advance(t, d)
}

// near checks a duration of which a real server has used up a little.
func near(t testing.TB, want, got time.Duration) {
	t.Helper()
	require.LessOrEqual(t, got, want)
	require.Greater(t, got, want-20*time.Second)
}
