package topics_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/topics"
)

const claims = 336 * time.Hour

// TestWhatIsMadeIsWell holds that topics are made with settings of which nothing is wrong.
func TestWhatIsMadeIsWell(t *testing.T) {
	t.Parallel()
	limit := topics.LetterLimit(1_048_588)
	for _, kind := range []topics.Kind{topics.Jobs, topics.Outcomes, topics.DeadLetters, topics.Resolutions} {
		require.Empty(t, kind.Findings(kind.Settings(300*time.Hour, limit), claims, limit), kind)
		require.Empty(t, kind.Findings(map[string]string{}, claims, limit), "what is not told is not judged")
	}
}

func TestFindings(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		kind           topics.Kind
		setting, value string
		text, do       string // of the one finding; empty: none
	}{
		{topics.Jobs, topics.Retention, "1209599999", "", ""},
		{
			topics.Jobs, topics.Retention, "1209600000", "not less than claim-retention (336h0m0s)",
			"retention.ms of the topic below 1209600000",
		},
		{topics.DeadLetters, topics.Retention, "-1", "kept for ever", "claim-retention of every worker"},
		{topics.Outcomes, topics.Retention, "-1", "", ""},
		{topics.Jobs, topics.Cleanup, "compact,delete", "it should be delete", "cleanup.policy of the topic to delete"},
		{topics.DeadLetters, topics.Cleanup, "compact", "it should be delete", "delete"},
		{topics.Outcomes, topics.Cleanup, "compact", "it should be delete", "delete"},
		{topics.Resolutions, topics.Cleanup, "delete", "should be compact", "compact"},
		{topics.Resolutions, topics.Cleanup, "compact,delete", "", ""},
		{topics.Jobs, topics.MaxMessage, "270335", "the largest jobs (262144 bytes) do not fit", "270336 or more"},
		{topics.Jobs, topics.MaxMessage, "270336", "", ""},
		{topics.DeadLetters, topics.MaxMessage, "1114123", "should be 1114124", "to 1114124"},
		{topics.DeadLetters, topics.MaxMessage, "1114124", "", ""},
		{topics.Jobs, topics.Retention, "long", "", ""},
	} {
		found := row.kind.Findings(map[string]string{row.setting: row.value}, claims, topics.LetterLimit(1_048_588))
		if row.text == "" {
			require.Empty(t, found, "%s=%s", row.setting, row.value)
			continue
		}
		require.Len(t, found, 1, "%s=%s", row.setting, row.value)
		require.Contains(t, found[0].Text, row.text)
		require.Contains(t, found[0].Do, row.do)
	}
}
