package topics_test

import (
	"math"
	"strconv"
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
		{topics.Jobs, topics.Retention, "9223372036854775807", "kept for ever", "claim-retention of every worker"},
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

// TestSegmentsOutliveRetention holds that a topic made with the broker's segments of a week is judged by how
// long it really keeps a record.
func TestSegmentsOutliveRetention(t *testing.T) {
	t.Parallel()
	const week, day = 7 * 24 * time.Hour, 24 * time.Hour
	for _, row := range []struct {
		retention, segment time.Duration
		do                 string
	}{
		{week, week, ""},
		{week + time.Millisecond, week, "segment.ms of the topic to 43200000 or less"},
		{13 * day, week, "segment.ms of the topic to 43200000 or less"},
		{14*day - time.Hour, week, "segment.ms of the topic to 3600000 or less"},
		{week, math.MaxInt64, "segment.ms of the topic to 43200000 or less"},
		{13 * day, 12 * time.Hour, ""},
	} {
		settings := map[string]string{
			topics.Retention: strconv.FormatInt(row.retention.Milliseconds(), 10),
			topics.Segment:   strconv.FormatInt(row.segment.Milliseconds(), 10),
		}
		found := topics.DeadLetters.Findings(settings, claims, 0)
		if row.do == "" {
			require.Empty(t, found, "%v", row)
			continue
		}
		require.Len(t, found, 1, "%v", row)
		require.Contains(t, found[0].Text, "kept for both together")
		require.Contains(t, found[0].Do, row.do)
	}
}

func TestKeptText(t *testing.T) {
	t.Parallel()
	for ms, want := range map[string]string{
		"-1": "for ever", "9223372036854775807": "for ever", "3600000": "1h0m0s", "": "", "long": "",
	} {
		require.Equal(t, want, topics.KeptText(map[string]string{topics.Retention: ms}), ms)
	}
}
