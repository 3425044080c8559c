package outcome_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"replyworker/internal/outcome"
)

func TestParseReadsWhatIsPublished(t *testing.T) {
	t.Parallel()
	want := outcome.Event{
		SchemaVersion: 1, Status: "failed", Reason: "rejected", IdempotentID: "a", Attempts: 3,
		Labels: map[string]string{"team": "refunds"}, Source: outcome.Source{Topic: "reply-jobs", Partition: 3, Offset: 4},
	}
	value, err := json.Marshal(want)
	require.NoError(t, err)
	got, err := outcome.Parse(value)
	require.NoError(t, err)
	require.Equal(t, want, got)
}

func TestParse(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, value, want string }{
		{"null", "", "it has no value"},
		{"no JSON", "hello", "it is no outcome: invalid character 'h' looking for beginning of value"},
		{"another type", `{"schema_version": 1, "status": 3}`, "it is no outcome: "},
		{"a later version", `{"schema_version": 2, "status": "failed"}`, "its schema_version is 2, not 1"},
		{"an unknown status", `{"schema_version": 1, "status": "lost"}`, `its status is "lost"`},
		{"what is new", `{"schema_version": 1, "status": "expired", "colour": "red"}`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := outcome.Parse([]byte(tt.value))
			if tt.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.want)
		})
	}
}
