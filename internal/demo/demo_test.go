package demo_test

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"replyworker/internal/demo"
	"replyworker/internal/job"
	"replyworker/internal/outcome"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTheDemoEndsWithBooksThatBalance(t *testing.T) {
	t.Parallel()
	var out, errOut bytes.Buffer
	err := demo.Run(t.Context(), demo.Options{Jobs: 120, Exit: true, Seed: 7, Stdout: &out, Stderr: &errOut, Version: "test"})
	require.NoError(t, err, errOut.String())
	require.Empty(t, out.String(), "stdout is for the outcomes of a person's own jobs")
	for _, want := range []string{
		"enqueued 120 = succeeded ", "the books balance", "the primary host goes down",
		"the worker takes the primary host out", "the worker brings the primary host back in",
	} {
		require.Contains(t, errOut.String(), want)
	}
}

func TestTheDemoTakesAPersonsOwnJobs(t *testing.T) {
	t.Parallel()
	good := `{"complaint_id": "1", "complainted_mchid": "2", "idempotent_id": "mine", "message": {}}`
	input := strings.Join([]string{good, "", good, `{"complaint_id": "1"}`, "no JSON"}, "\n")
	var out, errOut bytes.Buffer
	err := demo.Run(t.Context(), demo.Options{
		Jobs: 1, Exit: true, Input: strings.NewReader(input), Stdout: &out, Stderr: &errOut, Version: "test",
	})
	require.NoError(t, err, errOut.String())
	counts := map[job.Status]int{}
	for line := range strings.Lines(out.String()) {
		var e outcome.Event
		require.NoError(t, json.Unmarshal([]byte(line), &e), line)
		counts[e.Status]++
	}
	require.Equal(t, map[job.Status]int{job.StatusSucceeded: 1, job.StatusDuplicate: 1, job.StatusFailed: 2}, counts)
	require.Contains(t, errOut.String(), "enqueued 4 = succeeded 1 + duplicate 1 + failed 2 + expired 0")
}

// TestCtrlCEndsTheDemoWithItsBooks holds that what was enqueued before the interrupt is still
// accounted for.
func TestCtrlCEndsTheDemoWithItsBooks(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
	defer cancel()
	var errOut bytes.Buffer
	err := demo.Run(ctx, demo.Options{Jobs: 10_000, Seed: 1, Stderr: &errOut, Version: "test"})
	require.NoError(t, err, errOut.String())
	require.Contains(t, errOut.String(), "the books balance")
}
