package reconcile_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"replyworker/internal/inquiry"
	"replyworker/internal/job"
	"replyworker/internal/kafkaio"
	"replyworker/internal/outcome"
	"replyworker/internal/reconcile"
	"replyworker/internal/wxclient"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// began is when every run begins.
var began = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

const merchant = "1900000001"

// fakeTopic is partitions of outcomes; the offset of the first record of each is base.
type fakeTopic struct {
	base       int64
	partitions [][]job.Delivery
	err        error
}

// put adds an outcome that was finished so long before began.
func (f *fakeTopic) put(partition int, e outcome.Event, age time.Duration) {
	at := began.Add(-age)
	e.SchemaVersion, e.FinishedAt = 1, at.Format("2006-01-02T15:04:05.000Z")
	if e.MchID == "" {
		e.MchID = merchant
	}
	value, err := json.Marshal(e)
	if err != nil {
		panic(err)
	}
	f.record(partition, value, at, job.Header{Key: "ce_subject", Value: []byte(e.ComplaintID)})
}

func (f *fakeTopic) record(partition int, value []byte, at time.Time, headers ...job.Header) {
	for len(f.partitions) <= partition {
		f.partitions = append(f.partitions, nil)
	}
	d := job.Delivery{Value: value, Headers: headers}
	d.Source.Partition, d.Source.Offset, d.Source.Timestamp = partition, f.base+int64(len(f.partitions[partition])), at
	f.partitions[partition] = append(f.partitions[partition], d)
}

// spans is all of the topic.
func (f *fakeTopic) spans() []kafkaio.Span {
	var out []kafkaio.Span
	for p, records := range f.partitions {
		out = append(out, kafkaio.Span{Topic: "o", Partition: p, First: f.base, End: f.base + int64(len(records))})
	}
	return out
}

func (f *fakeTopic) ReadSpan(
	_ context.Context, s kafkaio.Span, _ time.Duration, each func([]job.Delivery, int64) error,
) error {
	if f.err != nil {
		return f.err
	}
	for offset := s.First; offset < s.End; offset++ {
		if err := each(f.partitions[s.Partition][offset-f.base:offset-f.base+1], 1); err != nil {
			return err
		}
	}
	return nil
}

// fakeHistories has the histories of complaints; an error instead, where there is one.
type fakeHistories struct {
	entries map[string][]wxclient.HistoryEntry
	errs    map[string]error
	asked   []string
	onAsk   func()
}

func (f *fakeHistories) History(
	ctx context.Context, mchID, complaintID string, each func([]wxclient.HistoryEntry) error,
) error {
	f.asked = append(f.asked, complaintID)
	if f.onAsk != nil {
		f.onAsk()
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := f.errs[complaintID]; err != nil {
		return err
	}
	if err := f.errs[mchID]; err != nil {
		return err
	}
	return each(f.entries[complaintID])
}

func reply(logID string, age time.Duration) wxclient.HistoryEntry {
	return wxclient.HistoryEntry{
		LogID: logID, OperateType: wxclient.OperateMerchantResponse,
		OperateTime: began.Add(-age).In(time.FixedZone("", 8*60*60)).Format(time.RFC3339),
	}
}

func succeeded(complaint, id, logID string) outcome.Event {
	return outcome.Event{Status: job.StatusSucceeded, ComplaintID: complaint, IdempotentID: id, LogID: logID}
}

func duplicate(complaint, id, logID string) outcome.Event {
	e := succeeded(complaint, id, logID)
	e.Status = job.StatusDuplicate
	return e
}

func run(
	t require.TestingT, topic *fakeTopic, api *fakeHistories, change func(*reconcile.Config),
) (reconcile.Report, []reconcile.Finding, error) {
	var found []reconcile.Finding
	cfg := reconcile.Config{
		Outcomes: topic, Spans: topic.spans(), Kept: topic.spans(), Histories: api,
		Now: func() time.Time { return began }, Settle: 5 * time.Minute,
		Find: func(f reconcile.Finding) error {
			found = append(found, f)
			return nil
		},
	}
	if change != nil {
		change(&cfg)
	}
	report, err := reconcile.Run(context.Background(), cfg)
	require.Equal(t, report.Complaints, report.Asked+report.NotAsked+report.Left)
	require.Equal(t, report.LogIDs, report.Found+report.Missing+report.Unchecked)
	return report, found, err
}

func kinds(found []reconcile.Finding) []string {
	var out []string
	for _, f := range found {
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s %s", f.Kind, f.ComplaintID, f.LogID)))
	}
	return out
}

func TestDifferencesBothWays(t *testing.T) {
	t.Parallel()
	topic := &fakeTopic{}
	topic.put(0, duplicate("c-1", "a", "1"), time.Hour)
	topic.put(1, succeeded("c-1", "a", "1"), time.Hour) // what the duplicate is of
	topic.put(0, succeeded("c-1", "b", "2"), time.Hour)
	topic.put(0, succeeded("c-1", "b", "2"), time.Hour) // published again
	topic.put(1, succeeded("c-2", "c", "3"), time.Hour)
	topic.put(0, outcome.Event{Status: job.StatusFailed, ComplaintID: "c-2", IdempotentID: "d", MaybeSent: true}, time.Hour)
	topic.put(0, outcome.Event{Status: job.StatusExpired, ComplaintID: "c-3", IdempotentID: "e", MaybeSent: true}, time.Hour)
	topic.put(0, outcome.Event{Status: job.StatusFailed, ComplaintID: "c-4", IdempotentID: "f"}, time.Hour)
	topic.record(0, []byte("noise"), began)
	topic.put(0, succeeded("c-5", "g", ""), time.Hour) // no outcome of ours is so
	api := &fakeHistories{entries: map[string][]wxclient.HistoryEntry{
		"c-1": {reply("1", time.Hour), {LogID: "2", OperateType: "USER_RESPONSE"}},
		"c-2": {reply("3", time.Hour), reply("9", time.Hour), {LogID: "8", OperateType: "USER_RESPONSE"}},
		"c-3": {reply("7", time.Hour)},
	}}
	var progress []int
	report, found, err := run(t, topic, api, func(c *reconcile.Config) {
		c.Asking = func(n int) { progress = append(progress, n) }
		c.Asked = func() { progress = append(progress, -1) }
	})
	require.NoError(t, err)
	require.Equal(t, []string{"missing c-1 2", "unknown c-2 9", "unknown c-3 7"}, kinds(found))
	require.Equal(t, "b", found[0].Ours.IdempotentID)
	require.Equal(t, []string{"d"}, found[1].MaybeOf)
	require.Equal(t, []string{"e"}, found[2].MaybeOf)
	require.Equal(t, []string{"c-1", "c-2", "c-3"}, api.asked)
	require.Equal(t, []int{3, -1, -1, -1}, progress)
	require.Equal(t, reconcile.Report{
		Outcomes: 10, Unreadable: 2, Taken: 5, MaybeSent: 2, Complaints: 3, Asked: 3,
		LogIDs: 3, Found: 2, Missing: 1, Replies: 4, Unknown: 2,
	}, report)
}

func TestAJobThatMayHaveBeenSentIsNamedOnce(t *testing.T) {
	t.Parallel()
	topic := &fakeTopic{}
	for _, id := range []string{"d", "d", "e", "d", "f", "g", "h", "i", "j"} { // published again, and replayed
		topic.put(0, outcome.Event{Status: job.StatusFailed, ComplaintID: "c-1", IdempotentID: id, MaybeSent: true}, time.Hour)
	}
	api := &fakeHistories{entries: map[string][]wxclient.HistoryEntry{"c-1": {reply("9", time.Hour)}}}
	_, found, err := run(t, topic, api, func(c *reconcile.Config) { c.MaxKept = 5 })
	require.NoError(t, err, "what is not kept does not count")
	require.Len(t, found, 1)
	require.Equal(t, []string{"d", "e", "f", "g", "h"}, found[0].MaybeOf)
}

func TestTheSuccessIsNamedNotItsDuplicate(t *testing.T) {
	t.Parallel()
	first := duplicate("c-1", "a", "1")
	first.Source.Offset = 7
	for _, order := range [][]outcome.Event{
		{first, succeeded("c-1", "a", "1")}, {succeeded("c-1", "a", "1"), first},
	} {
		topic := &fakeTopic{}
		for _, e := range order {
			topic.put(0, e, time.Hour)
		}
		_, found, err := run(t, topic, &fakeHistories{}, nil)
		require.NoError(t, err)
		require.Equal(t, []string{"missing c-1 1"}, kinds(found))
		require.Equal(t, job.StatusSucceeded, found[0].Ours.Status)
	}
}

func TestFilters(t *testing.T) {
	t.Parallel()
	topic := &fakeTopic{}
	topic.put(0, succeeded("c-1", "a", "1"), 3*time.Hour)
	topic.put(0, succeeded("c-1", "b", "2"), time.Hour)
	topic.put(0, succeeded("c-2", "c", "3"), 2*time.Hour)
	other := succeeded("c-2", "d", "4")
	other.MchID = "1900000002"
	topic.put(0, other, 2*time.Hour)
	// A record whose header does not tell the complaint is read.
	value, err := json.Marshal(outcome.Event{
		SchemaVersion: 1, Status: job.StatusSucceeded, ComplaintID: "c-2", IdempotentID: "x", LogID: "5", MchID: merchant,
		FinishedAt: began.Add(-2 * time.Hour).Format(time.RFC3339),
	})
	require.NoError(t, err)
	topic.record(0, value, began.Add(-2*time.Hour))
	for name, tc := range map[string]struct {
		change  func(*reconcile.Config)
		missing []string
	}{
		"none":      {func(*reconcile.Config) {}, []string{"1", "2", "3", "5", "4"}},
		"complaint": {func(c *reconcile.Config) { c.ComplaintID = "c-2" }, []string{"3", "5", "4"}},
		"merchant":  {func(c *reconcile.Config) { c.MchID = "1900000002" }, []string{"4"}},
		"both":      {func(c *reconcile.Config) { c.ComplaintID, c.MchID = "c-2", merchant }, []string{"3", "5"}},
		"since":     {func(c *reconcile.Config) { c.Since = began.Add(-90 * time.Minute) }, []string{"2"}},
		"until":     {func(c *reconcile.Config) { c.Until = began.Add(-150 * time.Minute) }, []string{"1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, found, err := run(t, topic, &fakeHistories{}, tc.change)
			require.NoError(t, err)
			var missing []string
			for _, f := range found {
				missing = append(missing, f.LogID)
			}
			require.Equal(t, tc.missing, missing)
		})
	}
}

// TestWhenAReplyIsUnknown holds a reply of each age against what could be known of it.
func TestWhenAReplyIsUnknown(t *testing.T) {
	t.Parallel()
	unreadable := reply("9", 0)
	unreadable.OperateTime = "yesterday"
	for _, tc := range []struct {
		name   string
		base   int64 // greater than 0: retention has taken records
		entry  wxclient.HistoryEntry
		change func(*reconcile.Config)
		want   bool
	}{
		{"old, and nothing was lost", 0, reply("9", 1000*time.Hour), nil, true},
		{"older than what is kept", 5, reply("9", 4*time.Hour), nil, false},
		{"younger than what is kept", 5, reply("9", 2*time.Hour), nil, true},
		{"too young", 0, reply("9", 4*time.Minute), nil, false},
		{"just old enough", 0, reply("9", 5*time.Minute), nil, true},
		{"from the future", 0, reply("9", -time.Hour), nil, false},
		{"no time", 5, unreadable, nil, true},
		{"before since", 0, reply("9", 4*time.Hour), func(c *reconcile.Config) { c.Since = began.Add(-3 * time.Hour) }, false},
		{"after since", 0, reply("9", 2*time.Hour), func(c *reconcile.Config) { c.Since = began.Add(-3 * time.Hour) }, true},
		{"after until", 0, reply("9", time.Hour), func(c *reconcile.Config) { c.Until = began.Add(-2 * time.Hour) }, false},
		{
			"since is later than what is lost", 5, reply("9", 2*time.Hour), func(c *reconcile.Config) {
				c.Since = began.Add(-150 * time.Minute)
				c.Spans = []kafkaio.Span{{Topic: "o", First: 6, End: 7}}
			}, true,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			topic := &fakeTopic{base: tc.base}
			topic.put(0, succeeded("c-1", "a", "1"), 3*time.Hour)
			topic.put(0, succeeded("c-1", "b", "2"), 150*time.Minute)
			api := &fakeHistories{entries: map[string][]wxclient.HistoryEntry{
				"c-1": {reply("1", 3*time.Hour), reply("2", 150*time.Minute), tc.entry},
			}}
			report, found, err := run(t, topic, api, tc.change)
			require.NoError(t, err)
			require.Equal(t, 1, report.Asked)
			require.Equal(t, tc.want, slices.Contains(kinds(found), "unknown c-1 9"))
			require.Len(t, found, report.Unknown)
			require.LessOrEqual(t, report.Unknown, 1, "the others are ours, or were not read")
		})
	}
}

func TestAnOutcomeAfterUntilExplainsItsReply(t *testing.T) {
	t.Parallel()
	topic := &fakeTopic{}
	topic.put(0, succeeded("c-1", "a", "1"), 3*time.Hour)
	topic.put(0, succeeded("c-1", "b", "2"), time.Hour) // published late
	topic.put(0, succeeded("c-2", "c", "3"), time.Hour)
	api := &fakeHistories{entries: map[string][]wxclient.HistoryEntry{
		"c-1": {reply("1", 3*time.Hour), reply("2", 150*time.Minute)},
	}}
	report, found, err := run(t, topic, api, func(c *reconcile.Config) { c.Until = began.Add(-2 * time.Hour) })
	require.NoError(t, err)
	require.Empty(t, found)
	require.Equal(t, []string{"c-1"}, api.asked)
	require.Equal(t, 1, report.LogIDs)
}

func apiError(class wxclient.Class) error { return &wxclient.Error{Class: class} }

func TestComplaintsThatCannotBeAskedAbout(t *testing.T) {
	t.Parallel()
	topic := &fakeTopic{}
	for i := range 6 {
		topic.put(0, succeeded(fmt.Sprint("c-", i), fmt.Sprint(i), fmt.Sprint(i)), time.Hour)
	}
	other := succeeded("c-2", "x", "x")
	other.MchID = "1900000002"
	topic.put(0, other, time.Hour)
	everything := func() map[string][]wxclient.HistoryEntry {
		out := map[string][]wxclient.HistoryEntry{}
		for i := range 6 {
			out[fmt.Sprint("c-", i)] = []wxclient.HistoryEntry{reply(fmt.Sprint(i), time.Hour), reply("x", time.Hour)}
		}
		return out
	}
	for _, tc := range []struct {
		name              string
		errs              map[string]error
		fails             bool
		asked, not, other int
	}{
		{"refused", map[string]error{"c-1": apiError(wxclient.ClassRefused), "c-3": apiError(wxclient.ClassRefused)}, false, 5, 2, 0},
		{"not whole", map[string]error{"c-1": inquiry.ErrLongHistory}, false, 6, 1, 0},
		{"hosts away for two", map[string]error{
			"c-3": apiError(wxclient.ClassHostFailed), "c-4": apiError(wxclient.ClassTransient),
		}, true, 5, 2, 0},
		{"hosts away for three in a row", map[string]error{
			"c-1": apiError(wxclient.ClassHostFailed), "c-2": apiError(wxclient.ClassSlowDown), "c-3": apiError(wxclient.ClassUnknown),
		}, true, 1, 3, 3},
		{"credentials", map[string]error{merchant: apiError(wxclient.ClassCredentials)}, true, 1, 1, 5},
		{"unknown key", map[string]error{merchant: apiError(wxclient.ClassUnknownKey)}, true, 1, 1, 5},
		{"not configured", map[string]error{"1900000002": &inquiry.UnknownMerchantError{MchID: "1900000002"}}, true, 6, 1, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			report, found, err := run(t, topic, &fakeHistories{entries: everything(), errs: tc.errs},
				func(c *reconcile.Config) { c.Settle = 2 * time.Hour }) // no reply is unknown
			require.Equal(t, tc.fails, err != nil, "%v", err)
			require.Equal(t, [3]int{tc.asked, tc.not, tc.other}, [3]int{report.Asked, report.NotAsked, report.Left})
			for _, f := range found {
				require.Equal(t, reconcile.NotAsked, f.Kind)
				require.Error(t, f.Err)
			}
			require.Len(t, found, tc.not)
		})
	}
}

func TestItCanBeEndedAnyTime(t *testing.T) {
	t.Parallel()
	topic := &fakeTopic{}
	for i := range 5 {
		topic.put(0, succeeded(fmt.Sprint("c-", i), fmt.Sprint(i), fmt.Sprint(i)), time.Hour)
	}
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	api := &fakeHistories{}
	api.onAsk = func() {
		if len(api.asked) == 3 {
			cancel(stop)
		}
	}
	found := 0
	report, err := reconcile.Run(ctx, reconcile.Config{
		Outcomes: topic, Spans: topic.spans(), Histories: api,
		Find: func(reconcile.Finding) error { found++; return nil },
	})
	require.ErrorIs(t, err, stop)
	require.Equal(t, 2, found)
	require.Equal(t, [4]int{5, 2, 0, 3}, [4]int{report.Complaints, report.Asked, report.NotAsked, report.Left})
	require.Equal(t, [3]int{5, 2, 3}, [3]int{report.LogIDs, report.Missing, report.Unchecked})

	_, _, err = run(t, topic, &fakeHistories{}, func(c *reconcile.Config) {
		c.Find = func(reconcile.Finding) error { return stop }
	})
	require.ErrorIs(t, err, stop, "who is told the findings may end it")
	topic.err = stop
	report, _, err = run(t, topic, &fakeHistories{}, nil)
	require.ErrorIs(t, err, stop)
	require.Zero(t, report.Complaints)
}

func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	topic := &fakeTopic{}
	for i := range 11 {
		topic.put(0, succeeded("c", "a", fmt.Sprint(i%10)), time.Hour)
	}
	_, _, err := run(t, topic, &fakeHistories{}, func(c *reconcile.Config) { c.MaxKept = 10 })
	require.NoError(t, err, "a repeat takes no room")
	topic.put(0, outcome.Event{Status: job.StatusFailed, ComplaintID: "d", IdempotentID: "e", MaybeSent: true}, time.Hour)
	_, _, err = run(t, topic, &fakeHistories{}, func(c *reconcile.Config) { c.MaxKept = 10 })
	require.ErrorIs(t, err, reconcile.ErrTooMany)
}

func TestManyRepliesToOneComplaint(t *testing.T) {
	t.Parallel()
	topic := &fakeTopic{}
	var inAPI []wxclient.HistoryEntry
	for round, status := range []func(_, _, _ string) outcome.Event{duplicate, succeeded, duplicate} {
		for i := range 100 {
			topic.put(round, status("c-1", fmt.Sprint("id-", i), fmt.Sprint(i)), time.Hour)
			if round == 0 && i%2 == 0 {
				inAPI = append(inAPI, reply(fmt.Sprint(i), time.Hour))
			}
		}
	}
	report, found, err := run(t, topic, &fakeHistories{entries: map[string][]wxclient.HistoryEntry{"c-1": inAPI}}, nil)
	require.NoError(t, err)
	require.Equal(t, [4]int{100, 50, 50, 0}, [4]int{report.LogIDs, report.Found, report.Missing, report.Unknown})
	for _, f := range found {
		require.Equal(t, "id-"+f.LogID, f.Ours.IdempotentID)
		require.Equal(t, job.StatusSucceeded, f.Ours.Status)
	}
}

func TestLookup(t *testing.T) {
	t.Parallel()
	topic := &fakeTopic{}
	topic.put(0, succeeded("c-1", "a", "1"), time.Hour)
	topic.put(1, succeeded("c-2", "b", "2"), time.Hour)
	cfg := reconcile.Config{Outcomes: topic, Spans: topic.spans(), MchID: merchant, ComplaintID: "c-1"}
	ours, err := reconcile.Lookup(t.Context(), cfg)
	require.NoError(t, err)
	require.Equal(t, []string{"1"}, slices.Collect(maps.Keys(ours)))
	require.Equal(t, "a", ours["1"].IdempotentID)
	cfg.MchID = "1900000009"
	ours, err = reconcile.Lookup(t.Context(), cfg)
	require.NoError(t, err)
	require.Empty(t, ours)
}

// TestFindingsAreTheDifference holds for whatever was sent, lost and published: the findings are the
// two differences of the sets of log_ids, complaint by complaint.
func TestFindingsAreTheDifference(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		topic := &fakeTopic{}
		api := &fakeHistories{entries: map[string][]wxclient.HistoryEntry{}}
		ours, theirs := map[string]bool{}, map[string]bool{}
		asked := map[string]bool{}
		n := rapid.IntRange(0, 40).Draw(rt, "replies")
		for i := range n {
			complaint := fmt.Sprint("c-", rapid.IntRange(0, 5).Draw(rt, "complaint"))
			logID := fmt.Sprint(i)
			id := complaint + " " + logID
			if rapid.Bool().Draw(rt, "in the API") {
				theirs[id] = true
				api.entries[complaint] = append(api.entries[complaint], reply(logID, time.Hour))
			}
			for range rapid.IntRange(0, 2).Draw(rt, "outcomes") {
				ours[id], asked[complaint] = true, true
				made := rapid.SampledFrom([]func(_, _, _ string) outcome.Event{succeeded, duplicate}).Draw(rt, "outcome")
				topic.put(rapid.IntRange(0, 2).Draw(rt, "partition"), made(complaint, "id-"+logID, logID), time.Hour)
			}
		}
		want := map[string]bool{}
		for id := range ours {
			if !theirs[id] {
				want["missing "+id] = true
			}
		}
		for id := range theirs {
			complaint, _, _ := strings.Cut(id, " ")
			if !ours[id] && asked[complaint] {
				want["unknown "+id] = true
			}
		}
		report, found, err := run(rt, topic, api, nil)
		require.NoError(rt, err)
		require.Equal(rt, slices.Sorted(maps.Keys(want)), slices.Sorted(slices.Values(kinds(found))))
		require.Equal(rt, len(ours), report.LogIDs)
		require.Equal(rt, len(asked), report.Asked)
		require.True(rt, slices.IsSorted(api.asked))
	})
}
