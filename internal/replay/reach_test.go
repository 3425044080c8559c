package replay_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/kafkaio"
	"replyworker/internal/replay"
)

// TestHowFarBackTheOutcomesGo holds that a plan says from when on it knows of all replies.
func TestHowFarBackTheOutcomesGo(t *testing.T) {
	t.Parallel()
	margin := 5 * time.Minute // clocks differ
	for _, tt := range []struct {
		name    string
		claims  fixedClaims
		outcome []time.Time // of each partition, one record each hour from then on
		removed int64       // records of each partition, by retention
		want    time.Time
	}{
		{"all that is needed is there", dead("a"), []time.Time{minutes(-600), minutes(-600)}, 1, minutes(0).Add(-margin)},
		{"there never were any before", dead("a"), []time.Time{minutes(30), minutes(40)}, 0, minutes(0).Add(-margin)},
		{"retention has taken some", dead("a"), []time.Time{minutes(-30), minutes(-90)}, 2, minutes(90)},
		{"of one partition more than of the other", dead("a"), []time.Time{minutes(30), minutes(-600)}, 1, minutes(90)},
		{"there are none", dead("a"), nil, 0, minutes(0).Add(-margin)},
		{"of what is forgotten, all", nil, []time.Time{minutes(-900), minutes(-600)}, 0, minutes(-900)},
		{"of what is forgotten, as many as are kept", nil, []time.Time{minutes(-900), minutes(-600)}, 3, minutes(-420)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, 2)
			d.letter(ordinary())
			for p, first := range tt.outcome {
				for i := range 20 {
					d.succeeded(success{id: fmt.Sprint(i), complaint: "x", at: p, finished: first.Add(time.Duration(i) * time.Hour)})
				}
			}
			d.kafka.first[outcomesTopic] = tt.removed
			require.Equal(t, tt.want, d.make(tt.claims).OutcomesFrom.UTC())
		})
	}
}

func TestOutcomesAreNotReadWhereNoneMatters(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 1)
	s := ordinary()
	s.value = []byte("hello")
	d.letter(s)
	x := d.load()
	d.kafka.reads = func(kafkaio.Span) error { return errFault }
	plan, err := replay.Make(t.Context(), planConfig(x, d.kafka, nobodysClaims{}), x.Letters)
	require.NoError(t, err)
	require.True(t, plan.OutcomesFrom.IsZero())
}

// Outcomes that cannot be read say nothing, and are in nobody's way.
func TestOutcomesThatCannotBeRead(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 1)
	d.letter(ordinary())
	for _, value := range [][]byte{nil, {}, []byte("hello"), []byte(`{"schema_version": 9, "status": "succeeded"}`), []byte(`{"schema_version": 1,
		"status": "succeeded", "mchid": "1900000001", "complaint_id": "c", "idempotent_id": "b", "enqueued_at": "yesterday",
		"source": {"topic": "reply-jobs", "partition": 1, "offset": 99}}`)} {
		d.kafka.append(outcomesTopic, 0, minutes(9), &kafkaio.Message{Value: value})
	}
	require.Equal(t, map[string]replay.Verdict{"a": replay.WillBeSent}, verdicts(d.make(dead("a"))))
	d.succeeded(success{id: "b", complaint: "c", offset: 11, enqueued: minutes(2)})
	require.Equal(t, map[string]replay.Verdict{"a": replay.Superseded}, verdicts(d.make(dead("a"))))
}
