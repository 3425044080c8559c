package outcome_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/job"
	"replyworker/internal/kafkaio"
	"replyworker/internal/outcome"
)

var published = time.Date(2026, 11, 23, 8, 0, 1, 0, time.UTC)

// published as a record of the topic: its place, and what it says.
func record(offset int64, id, fields string) job.Delivery {
	d := job.Delivery{
		Source: job.Source{Topic: "reply-outcomes", Partition: 2, Offset: offset, Timestamp: published},
		Value:  []byte(`{"schema_version":1,"status":"succeeded"` + fields + `}`),
	}
	if id != "" {
		d.Headers = []job.Header{{Key: "ce_id", Value: []byte(id)}}
	}
	return d
}

func TestReadKnowsTheRecordsIdentity(t *testing.T) {
	t.Parallel()
	d := record(7, "reply-jobs/3/1041/5", `,"new":[1],"finished_at":"2026-11-23T16:00:00.5+08:00"`)
	r, err := outcome.Read(&d)
	require.NoError(t, err)
	require.Equal(t, "reply-jobs/3/1041/5", r.ID)
	require.Equal(t, d.Value, r.Value)
	require.Equal(t, d.Source, r.At)
	require.Equal(t, outcome.Times{Finished: time.Date(2026, 11, 23, 8, 0, 0, 5e8, time.UTC)}, r.Times)

	for fields, want := range map[string]string{
		`,"source":{"topic":"reply-jobs","partition":3,"offset":1041},"enqueued_at":"2026-11-23T08:00:00.123Z"`: "reply-jobs/3/1041/1795420800123",
		`,"source":{"topic":"reply-jobs","partition":3,"offset":1041}`:                                          "reply-jobs/3/1041/-1",
	} {
		d := record(7, "", fields)
		r, err := outcome.Read(&d)
		require.NoError(t, err)
		require.Equal(t, want, r.ID, "where the header is missing it is what it would have been")
	}
	d = record(7, "a", `,"started_at":"yesterday"`)
	_, err = outcome.Read(&d)
	require.EqualError(t, err, `its started_at is "yesterday"`)
	d = record(7, "a", ",\"host\":\"\xff\"")
	_, err = outcome.Read(&d)
	require.EqualError(t, err, "it is no UTF-8")
}

func TestFilter(t *testing.T) {
	t.Parallel()
	e := outcome.Event{
		Status: "failed", Reason: "rejected", ErrorCode: "NO_AUTH", ComplaintID: "c", IdempotentID: "i", MchID: "m",
		Host: "backup", Labels: map[string]string{"team": "refunds", "empty": ""},
	}
	for _, tt := range []struct {
		name   string
		filter outcome.Filter
		want   bool
	}{
		{"none", outcome.Filter{}, true},
		{"one of several", outcome.Filter{Statuses: []job.Status{"expired", "failed"}}, true},
		{"another status", outcome.Filter{Statuses: []job.Status{"expired"}}, false},
		{"all of them", outcome.Filter{
			Reasons: []job.Reason{"rejected"}, ErrorCodes: []string{"NO_AUTH"}, ComplaintIDs: []string{"c"},
			IdempotentIDs: []string{"i"}, MchIDs: []string{"m"}, Hosts: []string{"backup"}, Labels: map[string]string{"team": "refunds"},
		}, true},
		{"one of them not", outcome.Filter{Reasons: []job.Reason{"rejected"}, Hosts: []string{"primary"}}, false},
		{"another reason", outcome.Filter{Reasons: []job.Reason{"internal"}}, false},
		{"another code", outcome.Filter{ErrorCodes: []string{"NO"}}, false},
		{"another complaint", outcome.Filter{ComplaintIDs: []string{"d"}}, false},
		{"another id", outcome.Filter{IdempotentIDs: []string{"d"}}, false},
		{"another merchant", outcome.Filter{MchIDs: []string{"d"}}, false},
		{"a label too many", outcome.Filter{Labels: map[string]string{"team": "refunds", "x": "y"}}, false},
		{"an empty label", outcome.Filter{Labels: map[string]string{"empty": ""}}, true},
		{"no such label", outcome.Filter{Labels: map[string]string{"none": ""}}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tt.want, tt.filter.Wants(&e))
		})
	}
	f := outcome.Filter{Since: published, Until: published.Add(time.Second)}
	require.True(t, f.InTime(published))
	require.False(t, f.InTime(published.Add(-time.Millisecond)))
	require.False(t, f.InTime(published.Add(time.Second)))
	require.True(t, (&outcome.Filter{}).InTime(time.UnixMilli(-1)), "one without a time")
}

func TestSeenIsBounded(t *testing.T) {
	t.Parallel()
	s := outcome.NewSeen(10)
	for i := range 1000 {
		require.True(t, s.Add(fmt.Sprint(i)), "%d is new", i)
		for back := range min(i+1, 10) {
			require.False(t, s.Add(fmt.Sprint(i-back)), "%d was %d ago", i-back, back)
		}
	}
	require.True(t, s.Add("0"), "it is forgotten")
}

// picked returns the offsets that a picker picks.
func picked(t *testing.T, p *outcome.Picker, records ...job.Delivery) []int64 {
	t.Helper()
	var offsets []int64
	require.NoError(t, p.Pick(records, func(r *outcome.Record) error {
		offsets = append(offsets, r.At.Offset)
		return nil
	}, nil))
	return offsets
}

func TestPicker(t *testing.T) {
	t.Parallel()
	early := record(6, "d", "")
	early.Source.Timestamp = published.Add(-time.Hour)
	records := []job.Delivery{
		record(1, "a", `,"host":"primary"`), record(2, "b", `,"host":"backup"`), record(3, "a", `,"host":"backup"`),
		record(4, "b", `,"host":"backup"`),
		{Source: job.Source{Partition: 2, Offset: 5, Timestamp: published}, Value: []byte("x")},
		early,
	}
	filter := outcome.Filter{Hosts: []string{"backup"}, Since: published}
	p := outcome.NewPicker(filter, outcome.NewSeen(100))
	require.Equal(t, []int64{2}, picked(t, p, records...), "the first outcome of a job record counts, and it was of the primary host")
	require.Equal(t, outcome.Counts{
		Read: 5, Picked: 1, Unwanted: 1, Repeats: 2, Unreadable: 1,
		Notes: []outcome.Note{{2, 5, "it is no outcome: invalid character 'x' looking for beginning of value"}},
	}, p.Counts())
	require.Equal(t, []int64{2, 3, 4}, picked(t, outcome.NewPicker(filter, nil), records...), "with repeats")
}

func TestPickerTellsOfAFewUnreadableRecords(t *testing.T) {
	t.Parallel()
	p := outcome.NewPicker(outcome.Filter{}, nil)
	told := 0
	for i := range 100 {
		d := job.Delivery{Source: job.Source{Offset: int64(i)}, Value: []byte(`{"schema_version":1,"status":"` + strings.Repeat("x", 1<<16) + `"}`)}
		require.NoError(t, p.Pick([]job.Delivery{d}, nil, func(outcome.Note) { told++ }))
	}
	require.EqualValues(t, 100, p.Counts().Unreadable)
	require.Len(t, p.Counts().Notes, 5)
	require.Equal(t, 5, told)
	require.Less(t, len(p.Counts().Notes[0].Text), 400)
}

func TestPickerEndsWithTheTakersError(t *testing.T) {
	t.Parallel()
	full := errors.New("disk full")
	p := outcome.NewPicker(outcome.Filter{}, nil)
	err := p.Pick([]job.Delivery{record(1, "a", ""), record(2, "b", "")}, func(*outcome.Record) error { return full }, nil)
	require.ErrorIs(t, err, full)
	require.EqualValues(t, 1, p.Counts().Read)
	err = p.Pick([]job.Delivery{record(3, "c", "")}, func(*outcome.Record) error { panic("it has ended") }, nil)
	require.ErrorIs(t, err, full, "another partition's records come while its reading ends")
	require.EqualValues(t, 1, p.Counts().Read)
}

func TestPickerIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	p := outcome.NewPicker(outcome.Filter{}, outcome.NewSeen(1000))
	var all sync.WaitGroup
	n := 0
	for range 8 {
		all.Go(func() {
			for i := range 500 {
				_ = p.Pick([]job.Delivery{record(int64(i), fmt.Sprint(i), "")}, func(*outcome.Record) error { n++; return nil }, nil)
			}
		})
	}
	all.Wait()
	require.Equal(t, 500, n)
	require.Equal(t, outcome.Counts{Read: 4000, Picked: 500, Repeats: 3500}, p.Counts())
}

// ends answers for the ends of two partitions, by the time that is asked for.
type ends map[time.Time][]kafkaio.Span

func (e ends) Spans(_ context.Context, _ string, since time.Time) ([]kafkaio.Span, error) {
	if spans, found := e[since]; found {
		return spans, nil
	}
	return nil, errors.New("another time was asked for")
}

func TestSpansEndBehindTheTimeThatIsWanted(t *testing.T) {
	t.Parallel()
	since, until := published, published.Add(time.Minute)
	from := ends{
		since:                        {{Partition: 0, First: 10, End: 100}, {Partition: 1, First: 5, End: 5}, {Partition: 2, First: 1, End: 9}},
		until.Add(time.Hour):         {{Partition: 0, First: 60, End: 120}, {Partition: 1, First: 7, End: 8}},
		time.Time{}:                  {{Partition: 0, First: 0, End: 100}},
		published.Add(2 * time.Hour): {{Partition: 0, First: 100, End: 100}},
	}
	got, err := outcome.Spans(t.Context(), from, "", &outcome.Filter{Since: since, Until: until})
	require.NoError(t, err)
	require.Equal(t, []kafkaio.Span{{Partition: 0, First: 10, End: 60}, {Partition: 1, First: 5, End: 5}, {Partition: 2, First: 1, End: 9}}, got)
	got, err = outcome.Spans(t.Context(), from, "", &outcome.Filter{Until: published.Add(time.Hour)})
	require.NoError(t, err)
	require.Equal(t, []kafkaio.Span{{Partition: 0, First: 0, End: 100}}, got)
	_, err = outcome.Spans(t.Context(), from, "", &outcome.Filter{Until: published})
	require.ErrorContains(t, err, "another time")
}
