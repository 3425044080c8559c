package rebuild_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/dedupe"
	"replyworker/internal/dedupe/dedupetest"
	"replyworker/internal/job"
	"replyworker/internal/kafkaio"
	"replyworker/internal/outcome"
	"replyworker/internal/rebuild"
)

const (
	merchant = "1900000001"
	patience = 10 * time.Second
)

// finished is when the jobs of these tests were finished: the day of the embedded Redis.
var finished = time.Date(2026, 11, 23, 7, 59, 0, 0, time.UTC)

// jobOf decodes a job with some text.
func jobOf(t testing.TB, id, text string) *job.Job {
	t.Helper()
	j, err := job.Decode(fmt.Appendf(nil, `{"complaint_id":"c","complainted_mchid":"1900012181","idempotent_id":%q,`+
		`"message":{"custom_data":%q}}`, id, text), job.Strict)
	require.NoError(t, err)
	j.MchID = merchant
	return j
}

// sourceOf is the job record at an offset.
func sourceOf(offset int64) job.Source {
	return job.Source{Topic: "reply-jobs", Partition: 3, Offset: offset, Timestamp: finished.Add(-time.Second)}
}

func succeeded(logID string) job.Result {
	return job.Result{
		Status: job.StatusSucceeded, LogID: logID, Attempts: 1, StartedAt: finished.Add(-time.Second), FinishedAt: finished,
	}
}

// outcomeOf is the outcome record of a job record, as a worker publishes it.
func outcomeOf(t testing.TB, offset int64, j *job.Job, r job.Result) job.Delivery {
	t.Helper()
	d := &job.Delivery{Source: sourceOf(offset)}
	m, err := outcome.Message(d, outcome.New(d, j, r), "replyworker", r.FinishedAt)
	require.NoError(t, err)
	return job.Delivery{Key: m.Key, Value: m.Value, Headers: m.Headers}
}

// changed returns an outcome record with one field of its value changed.
func changed(t *testing.T, d job.Delivery, field string, value any) job.Delivery {
	t.Helper()
	var fields map[string]any
	require.NoError(t, json.Unmarshal(d.Value, &fields))
	require.Contains(t, fields, field)
	fields[field] = value
	var err error
	d.Value, err = json.Marshal(fields)
	require.NoError(t, err)
	return d
}

// withID returns an outcome record with another ce_id, or none.
func withID(d job.Delivery, id string) job.Delivery {
	d.Headers = slices.DeleteFunc(slices.Clone(d.Headers), func(h job.Header) bool { return h.Key == "ce_id" })
	if id != "" {
		d.Headers = append(d.Headers, job.Header{Key: "ce_id", Value: []byte(id)})
	}
	return d
}

// topic is outcomes by partition; it gives them out a page at a time.
type topic struct {
	partitions [][]job.Delivery
	page       int
	before     func(ctx context.Context, partition int) error // before each page
}

func (f *topic) spans() []kafkaio.Span {
	var spans []kafkaio.Span
	for id, records := range f.partitions {
		spans = append(spans, kafkaio.Span{Topic: "reply-outcomes", Partition: id, End: int64(len(records))})
	}
	return spans
}

// ReadSpan implements rebuild.Outcomes.
func (f *topic) ReadSpan(
	ctx context.Context, s kafkaio.Span, _ time.Duration, each func(records []job.Delivery, passed int64) error,
) error {
	records := slices.Clone(f.partitions[s.Partition])
	for i := range records {
		records[i].Source = job.Source{Topic: s.Topic, Partition: s.Partition, Offset: int64(i)}
	}
	for page := range slices.Chunk(records, max(f.page, 1)) {
		if f.before != nil {
			if err := f.before(ctx, s.Partition); err != nil {
				return err
			}
		}
		if err := each(page, int64(len(page))); err != nil {
			return err
		}
	}
	return nil
}

func run(ctx context.Context, f *topic, claims rebuild.Claims) (rebuild.Report, error) {
	return rebuild.Run(ctx, rebuild.Config{Outcomes: f, Spans: f.spans(), Claims: claims, Patience: patience})
}

func TestOutcomesOfEveryKind(t *testing.T) {
	t.Parallel()
	srv := dedupetest.NewFake(t)
	store := dedupetest.Store(t, srv, nil)
	good := outcomeOf(t, 1, jobOf(t, "id-1", "hello"), succeeded("log-1"))
	old := succeeded("log-2")
	old.FinishedAt = finished.Add(-dedupe.DefaultRetention)
	srv.Do(t, "SET", "replyworker:job:{"+merchant+":id-5}", "no claim")
	other := func(status job.Status) job.Delivery {
		return outcomeOf(t, 9, jobOf(t, "id-9", "hello"), job.Result{Status: status, LogID: "log-9", FinishedAt: finished})
	}
	f := &topic{page: 3, partitions: [][]job.Delivery{
		{good, good, outcomeOf(t, 2, jobOf(t, "id-2", "hello"), old)},
		{},
		{other(job.StatusDuplicate), other(job.StatusFailed), other(job.StatusExpired)},
		{
			outcomeOf(t, 3, jobOf(t, "id-1", "other words"), succeeded("log-1")),
			outcomeOf(t, 4, jobOf(t, "id-1", "hello"), succeeded("log-4")),
			outcomeOf(t, 5, jobOf(t, "id-5", "hello"), succeeded("log-5")),
		},
	}}
	first := &topic{page: 3, partitions: f.partitions[:1]} // the disagreement is with what was there before
	report, err := run(t.Context(), first, store)
	require.NoError(t, err)
	require.Equal(t, rebuild.Report{Read: 3, Restored: 1, Present: 1, TooOld: 1}, report)

	var mu sync.Mutex
	var passed int64
	report, err = rebuild.Run(t.Context(), rebuild.Config{
		Outcomes: f, Spans: f.spans(), Claims: store, Patience: patience,
		Progress: func(n int64) { mu.Lock(); defer mu.Unlock(); passed += n },
	})
	require.NoError(t, err)
	require.EqualValues(t, 9, passed)
	broken := report.UnreadableNotes
	report.UnreadableNotes = nil
	owner := sourceOf(1).ID()
	require.Equal(t, rebuild.Report{
		Read: 9, Present: 2, TooOld: 1, Disagreeing: 2, Unreadable: 1, Other: 3,
		DisagreeingNotes: []rebuild.Note{
			{3, 0, `"id-1" of merchant 1900000001 succeeded with log_id log-1, and its claim, of record ` + owner + `, is of other content`},
			{3, 1, `"id-1" of merchant 1900000001 succeeded with log_id log-4, and its claim, of record ` + owner + `, has log_id log-1`},
		},
	}, report)
	require.Len(t, broken, 1)
	require.Equal(t, 3, broken[0].Partition)
	require.EqualValues(t, 2, broken[0].Offset)
	require.Contains(t, broken[0].Text, "replyworker:job:{1900000001:id-5}")
	_, found, err := store.Lookup(t.Context(), dedupe.Key{MchID: merchant, IdempotentID: "id-9"})
	require.NoError(t, err)
	require.False(t, found, "of what did not succeed there is no claim")
}

// TestRestoredClaimsAnswerAsTheLostOnesDid compares what a worker left in Redis with what is restored
// from its outcome, and asks both.
func TestRestoredClaimsAnswerAsTheLostOnesDid(t *testing.T) {
	t.Parallel()
	srv := dedupetest.NewFake(t)
	store := dedupetest.Store(t, srv, nil)
	j := jobOf(t, "id", "hello")
	key := dedupe.Key{MchID: merchant, IdempotentID: "id"}
	claimant := func(offset int64, j *job.Job) dedupe.Claimant {
		return dedupe.Claimant{Key: key, Token: dedupe.NewToken(), Source: sourceOf(offset).ID(), Content: string(j.Content[:])}
	}
	mine := claimant(1, j)
	_, err := store.Claim(t.Context(), mine, 1)
	require.NoError(t, err)
	_, err = store.Begin(t.Context(), mine, 1)
	require.NoError(t, err)
	_, err = store.Complete(t.Context(), mine, dedupe.Done{LogID: "log-1", Attempts: 2, MaybeSent: dedupe.Set})
	require.NoError(t, err)
	require.NoError(t, store.MarkPublished(t.Context(), key, mine.Source))
	before, _, err := store.Lookup(t.Context(), key)
	require.NoError(t, err)

	r := succeeded("log-1")
	r.Attempts, r.MaybeSent = 2, true
	srv.FlushAll()
	report, err := run(t.Context(), &topic{partitions: [][]job.Delivery{{outcomeOf(t, 1, j, r)}}}, store)
	require.NoError(t, err)
	require.Equal(t, rebuild.Report{Read: 1, Restored: 1}, report)
	after, found, err := store.Lookup(t.Context(), key)
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, finished, after.UpdatedAt)
	before.UpdatedAt = after.UpdatedAt
	require.Equal(t, before, after)

	for name, row := range map[string]struct {
		claimant dedupe.Claimant
		want     dedupe.Verdict
	}{
		"the same record":               {claimant(1, j), dedupe.VerdictDone},
		"another record of the content": {claimant(2, jobOf(t, "id", "hello")), dedupe.VerdictDuplicate},
		"other content":                 {claimant(3, jobOf(t, "id", "hello!")), dedupe.VerdictConflict},
	} {
		got, err := store.Claim(t.Context(), row.claimant, 1)
		require.NoError(t, err)
		require.Equal(t, row.want, got.Verdict, name)
		require.Equal(t, "log-1", got.LogID, name)
		require.True(t, got.Published, name)
	}
}

func TestRecordsThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	store := dedupetest.Store(t, dedupetest.NewFake(t), nil)
	good := outcomeOf(t, 1, jobOf(t, "id", "hello"), succeeded("log-1"))
	noValue := good
	noValue.Value = nil
	for _, row := range []struct {
		name   string
		record job.Delivery
		want   string
	}{
		{"no value", noValue, "no value"},
		{"no JSON", job.Delivery{Value: []byte("hello")}, "no outcome"},
		{"another JSON", job.Delivery{Value: []byte(`{"hello":"world"}`)}, "schema_version is 0"},
		{"a field of another type", changed(t, good, "attempts", "two"), "no outcome"},
		{"another version", changed(t, good, "schema_version", 2), "schema_version is 2"},
		{"an unknown status", changed(t, good, "status", "done"), `status is "done"`},
		{"a short hash", changed(t, good, "content_sha256", strings.Repeat("a", 32)), "content_sha256 has 32 digits"},
		{"a hash of other digits", changed(t, good, "content_sha256", strings.Repeat("x", 64)), "not hexadecimal"},
		{"no log_id", changed(t, good, "log_id", ""), "log_id of 0 bytes"},
		{"no merchant", changed(t, good, "mchid", ""), "merchant id"},
		{"no id", changed(t, good, "idempotent_id", ""), "idempotent id is empty"},
		{"no time", changed(t, good, "finished_at", ""), `finished_at is ""`},
		{"attempts below zero", changed(t, good, "attempts", -1), "attempts: -1"},
		{"no ce_id", withID(good, ""), "no ce_id"},
		{"a ce_id of another record", withID(good, sourceOf(2).ID()), "not of the record"},
		{"a ce_id of another kind", withID(good, "9b2a5c1e"), "not of the record"},
		{"a ce_id without its time", withID(good, "reply-jobs/3/1/"), "not of the record"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			report, err := run(t.Context(), &topic{partitions: [][]job.Delivery{{row.record}}}, store)
			require.NoError(t, err)
			require.EqualValues(t, 1, report.Unreadable)
			require.EqualValues(t, 1, report.Read)
			require.Len(t, report.UnreadableNotes, 1)
			require.Contains(t, report.UnreadableNotes[0].Text, row.want)
		})
	}
}

func TestTheFirstFewAreNamed(t *testing.T) {
	t.Parallel()
	bad := job.Delivery{Value: []byte("x")}
	f := &topic{page: 2, partitions: [][]job.Delivery{slices.Repeat([]job.Delivery{bad}, 9), slices.Repeat([]job.Delivery{bad}, 9)}}
	report, err := run(t.Context(), f, &claims{})
	require.NoError(t, err)
	require.EqualValues(t, 18, report.Unreadable)
	require.Len(t, report.UnreadableNotes, 5)
	require.True(t, slices.IsSortedFunc(report.UnreadableNotes, func(a, b rebuild.Note) int {
		return (a.Partition-b.Partition)*100 + int(a.Offset-b.Offset)
	}), "%v", report.UnreadableNotes)
}
