package app_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"replyworker/internal/devstack"
	"replyworker/internal/job"
)

// TestTopicsTakeLessThanAtTheStart holds that outcomes and dead letters are cut down, too, where it is
// the broker that finds them too large: max.message.bytes was lowered while the worker runs.
func TestTopicsTakeLessThanAtTheStart(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1)
	w := b.run(nil)
	b.produce(0, jobValue("c", "before", "hello", nil))
	b.ends(1)
	for _, topic := range []string{devstack.TopicDeadLetters, devstack.TopicOutcomes} {
		b.limit(topic, "3000")
	}
	labels := map[string]any{}
	for i := range 16 {
		labels[fmt.Sprintf("label-%02d", i)] = strings.Repeat("x", 256)
	}
	b.produce(0, jobValue("c", "labels", "hello", map[string]any{"labels": labels}),
		jobValue("c", "invalid", "hello", map[string]any{"unknown": strings.Repeat("x", 8000)}))
	ends := b.ends(3)
	require.Equal(t, job.StatusSucceeded, ends["labels"].Status)
	require.NotEmpty(t, ends["labels"].LogID)
	require.Empty(t, ends["labels"].Labels, "what does not fit is left out")
	require.Equal(t, job.ReasonInvalidJob, ends["invalid"].Reason)
	letters := b.letters(1)
	require.Len(t, letters, 1)
	require.Nil(t, letters[0].Value)
	require.NotEmpty(t, headersOf(t, letters[0])["dlq-value-omitted"])
	b.eventually("all is committed", func() bool { return b.committed(0) == 3 })
	require.NoError(t, w.stop())
}
