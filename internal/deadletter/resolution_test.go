package deadletter_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"replyworker/internal/deadletter"
	"replyworker/internal/job"
	"replyworker/internal/kafkaio"
)

func TestTheLatestResolutionCounts(t *testing.T) {
	t.Parallel()
	k := newTopics(1)
	p := k.putLetter(0, failedAt, record(1))
	for _, status := range []deadletter.Status{deadletter.StatusDiscarded, deadletter.StatusReplaying, deadletter.StatusReplayed} {
		require.Equal(t, len(k.records[resolutionsTopic][0]) == 0, k.statusOf(t, p) == deadletter.StatusOpen)
		k.resolve(t, 0, p, status, string(status))
		require.Equal(t, status, k.statusOf(t, p))
	}
	x := k.load(t)
	require.Equal(t, deadletter.Resolution{
		Status: deadletter.StatusReplayed, By: "someone", At: "2026-11-23T09:00:00.123Z", Note: "replayed",
	}, x.Resolution(x.Letters[0]))
}

// statusOf reads everything anew.
func (k *topics) statusOf(t *testing.T, p deadletter.Place) deadletter.Status {
	t.Helper()
	x := k.load(t)
	l, found := x.Find(p.ID)
	require.True(t, found)
	return x.Resolution(l).Status
}

func TestResolutionsOfAnotherLetterThatStoodThere(t *testing.T) {
	t.Parallel()
	k := newTopics(1)
	p := k.putLetter(0, failedAt, record(1))
	before := p
	before.Timestamp = p.Timestamp.Add(-time.Millisecond)
	k.resolve(t, 0, before, deadletter.StatusReplayed, "of the topic that was there before")
	require.Equal(t, deadletter.StatusOpen, k.statusOf(t, p))
	k.resolve(t, 0, p, deadletter.StatusDiscarded, "")
	k.resolve(t, 0, before, deadletter.StatusReplayed, "late")
	require.Equal(t, deadletter.StatusDiscarded, k.statusOf(t, p), "what is said of another letter takes nothing back")
}

func TestAResolutionIsTakenBackByATombstone(t *testing.T) {
	t.Parallel()
	k := newTopics(1)
	p := k.putLetter(0, failedAt, record(1))
	k.resolve(t, 0, p, deadletter.StatusDiscarded, "")
	k.put(resolutionsTopic, 0, failedAt, kafkaio.Message{Key: []byte(p.ID.String())})
	require.Equal(t, deadletter.StatusOpen, k.statusOf(t, p))
	k.resolve(t, 0, p, deadletter.StatusReplaying, "")
	require.Equal(t, deadletter.StatusReplaying, k.statusOf(t, p))
}

func TestResolutionsInSeveralPartitions(t *testing.T) {
	t.Parallel()
	// The topic has got more partitions: the later one counts, in whatever order they are read.
	k := newTopics(2)
	p := k.putLetter(0, failedAt, record(1))
	put := func(partition int, at time.Time, status deadletter.Status) {
		m, err := deadletter.ResolutionMessage(p, deadletter.Resolution{Status: status, At: deadletter.FormatTime(at)})
		require.NoError(t, err)
		k.put(resolutionsTopic, partition, at, m)
	}
	put(1, failedAt.Add(2*time.Hour), deadletter.StatusReplayed)
	put(0, failedAt.Add(time.Hour), deadletter.StatusReplaying)
	require.Equal(t, deadletter.StatusReplayed, k.statusOf(t, p))
	put(0, failedAt.Add(3*time.Hour), deadletter.StatusDiscarded)
	require.Equal(t, deadletter.StatusDiscarded, k.statusOf(t, p))
}

func TestResolutionsThatAreNone(t *testing.T) {
	t.Parallel()
	k := newTopics(1)
	p := k.putLetter(0, failedAt, record(1))
	time1 := p.Timestamp.UTC().Format("2006-01-02T15:04:05.000Z")
	for _, m := range []kafkaio.Message{
		{Key: []byte("0/0"), Value: []byte("hello")},
		{Key: []byte("0/0"), Value: []byte{}},
		{Key: []byte("0/0"), Value: []byte("null")},
		{Key: []byte("0/0"), Value: fmt.Appendf(nil, `{"status": "open", "letter_timestamp": %q}`, time1)},
		{Key: []byte("0/0"), Value: fmt.Appendf(nil, `{"status": "lost", "letter_timestamp": %q}`, time1)},
		{Key: []byte("nobody"), Value: fmt.Appendf(nil, `{"status": "replayed", "letter_timestamp": %q}`, time1)},
		{Value: fmt.Appendf(nil, `{"status": "replayed", "letter_timestamp": %q}`, time1)},
		{Key: []byte{}},
	} {
		k.put(resolutionsTopic, 0, failedAt, m)
	}
	x := k.load(t)
	require.EqualValues(t, 8, x.Unreadable)
	require.Equal(t, deadletter.StatusOpen, x.Resolution(x.Letters[0]).Status)
	k.put(resolutionsTopic, 0, failedAt, kafkaio.Message{
		Key: []byte("0/0"), Value: fmt.Appendf(nil, `{"status": "replayed", "letter_timestamp": %q, "new": true}`, time1),
	})
	require.Equal(t, deadletter.StatusReplayed, k.statusOf(t, p), "fields that are not known are passed over")
}

// A resolution holds for every letter of its job record, also one that came later.
func TestAResolutionHoldsForCopies(t *testing.T) {
	t.Parallel()
	k := newTopics(2)
	k.putLetter(1, failedAt, record(1))
	first := deadletter.Place{ID: deadletter.ID{Partition: 1}, Timestamp: failedAt.Truncate(time.Millisecond)}
	k.resolve(t, 0, first, deadletter.StatusReplayed, "")
	k.putLetter(0, failedAt.Add(time.Minute), record(1)) // it comes before the first one, by its ID
	x := k.load(t)
	require.Equal(t, []string{"0/0"}, ids(x.Letters))
	require.Equal(t, deadletter.StatusReplayed, x.Resolution(x.Letters[0]).Status)
}

func TestTheStatusIsThatOfAModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		k := newTopics(2)
		want := map[deadletter.ID]deadletter.Status{}
		for i := range rapid.IntRange(1, 6).Draw(rt, "letters") {
			p := k.putLetter(rapid.IntRange(0, 1).Draw(rt, "partition"), failedAt.Add(time.Duration(i)*time.Second), record(i))
			want[p.ID] = deadletter.StatusOpen
		}
		for range rapid.IntRange(0, 20).Draw(rt, "resolutions") {
			id := deadletter.ID{Partition: rapid.IntRange(0, 1).Draw(rt, "partition"), Offset: rapid.Int64Range(0, 4).Draw(rt, "offset")}
			status := rapid.SampledFrom(deadletter.Statuses()).Draw(rt, "status")
			p := deadletter.Place{ID: id, Timestamp: failedAt}
			if known := k.records[lettersTopic][id.Partition]; id.Offset < int64(len(known)) {
				p.Timestamp = known[id.Offset].Source.Timestamp
			}
			stale := rapid.IntRange(0, 4).Draw(rt, "stale") == 0
			if stale {
				p.Timestamp = p.Timestamp.Add(-time.Hour)
			}
			partition := int(id.Offset) % 2 // as by its key
			if status == deadletter.StatusOpen {
				k.put(resolutionsTopic, partition, failedAt, kafkaio.Message{Key: []byte(id.String())})
			} else {
				k.resolve(t, partition, p, status, "")
			}
			if _, found := want[id]; found && (!stale || status == deadletter.StatusOpen) {
				want[id] = status
			}
		}
		x := k.load(t)
		require.Len(rt, x.Letters, len(want))
		for _, l := range x.Letters {
			require.Equal(rt, want[l.ID], x.Resolution(l).Status, l.ID)
		}
		require.Zero(rt, x.Unreadable)
	})
}

func TestFilters(t *testing.T) {
	t.Parallel()
	k := newTopics(1)
	put := func(n int, reason job.Reason, code string, at time.Time, headers ...job.Header) deadletter.Place {
		r := rejected()
		r.Reason, r.Answer.Code, r.FinishedAt = reason, code, at
		return k.put(lettersTopic, 0, at, deadletter.Message(record(n, headers...), r, "group"))
	}
	hour := func(n int) time.Time { return failedAt.Add(time.Duration(n) * time.Hour) }
	put(0, job.ReasonRejected, "NO_AUTH", hour(0))
	put(1, job.ReasonRejected, "PARAM_ERROR", hour(1))
	put(2, job.ReasonExhausted, "", hour(2), header("dlq-replay-id", "r"))
	k.resolve(t, 0, put(3, job.ReasonInternal, "", hour(3)), deadletter.StatusReplaying, "")
	k.resolve(t, 0, put(4, job.ReasonInternal, "", hour(4)), deadletter.StatusReplayed, "")
	k.resolve(t, 0, put(5, job.ReasonInternal, "", hour(5)), deadletter.StatusDiscarded, "")
	x := k.load(t)
	for _, tt := range []struct {
		name string
		f    deadletter.Filter
		want []string
	}{
		{"all", deadletter.Filter{}, []string{"0/0", "0/1", "0/2", "0/3", "0/4", "0/5"}},
		{"a reason", deadletter.Filter{Reasons: []job.Reason{"rejected"}}, []string{"0/0", "0/1"}},
		{"either of two", deadletter.Filter{Reasons: []job.Reason{"rejected", "exhausted"}}, []string{"0/0", "0/1", "0/2"}},
		{"a code", deadletter.Filter{ErrorCodes: []string{"NO_AUTH"}}, []string{"0/0"}},
		{"both must hold", deadletter.Filter{Reasons: []job.Reason{"exhausted"}, ErrorCodes: []string{"NO_AUTH"}}, []string{}},
		{"a complaint", deadletter.Filter{Complaints: []string{"complaint-1"}}, []string{"0/1"}},
		{"an id", deadletter.Filter{Idempotent: []string{"id-1", "id-2"}}, []string{"0/1", "0/2"}},
		{"a merchant", deadletter.Filter{Merchants: []string{"1900000002"}}, []string{}},
		{"a replay", deadletter.Filter{Replays: []string{"r"}}, []string{"0/2"}},
		{"since includes its time", deadletter.Filter{Since: hour(4)}, []string{"0/4", "0/5"}},
		{"until does not", deadletter.Filter{Until: hour(1)}, []string{"0/0"}},
		{"between", deadletter.Filter{Since: hour(1), Until: hour(3)}, []string{"0/1", "0/2"}},
		{"open", deadletter.Filter{Statuses: []deadletter.Status{"open"}}, []string{"0/0", "0/1", "0/2", "0/3"}},
		{"replaying", deadletter.Filter{Statuses: []deadletter.Status{"replaying"}}, []string{"0/3"}},
		{"dealt with", deadletter.Filter{Statuses: []deadletter.Status{"replayed", "discarded"}}, []string{"0/4", "0/5"}},
	} {
		require.Equal(t, tt.want, ids(x.Select(&tt.f)), tt.name)
		require.Equal(t, tt.name == "all" || len(tt.f.Statuses) > 0, tt.f.IsZero(), tt.name)
	}
}
