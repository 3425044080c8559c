package replay_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/deadletter"
	"replyworker/internal/dedupe"
	"replyworker/internal/job"
	"replyworker/internal/kafkaio"
	"replyworker/internal/replay"
)

// sheet is one letter as a test describes it, and what is known of its job.
type sheet struct {
	id, complaint, mchID, expires string
	topic                         string // where its job came from; jobsTopic where it is empty
	partition                     int
	offset                        int64 // -1 for a letter of another program, which does not tell
	enqueued, firstFailed         time.Time
	replays                       int
	maybeSent                     bool
	value                         []byte // in the place of a valid job
}

// letter writes the letter of a sheet.
func (d *desk) letter(s sheet) deadletter.Place {
	value := s.value
	if value == nil {
		value = validJob(s.complaint, s.id)
		value = []byte(strings.TrimSuffix(string(value), "}"))
		if s.mchID != "" {
			value = fmt.Appendf(value, `, "mchid": %q`, s.mchID)
		}
		if s.expires != "" {
			value = fmt.Appendf(value, `, "expires_at": %q`, s.expires)
		}
		value = append(value, '}')
	}
	topic := s.topic
	if topic == "" {
		topic = jobsTopic
	}
	record := job.Delivery{
		Source: job.Source{Topic: topic, Partition: s.partition, Offset: s.offset, Timestamp: s.enqueued},
		Key:    []byte(s.complaint), Value: value,
	}
	failed := s.firstFailed
	if s.replays > 0 {
		record.Headers = append(record.Headers, job.Header{Key: "dlq-replay-count", Value: []byte(fmt.Sprint(s.replays))},
			job.Header{Key: "dlq-first-failed-at", Value: []byte(s.firstFailed.Format(time.RFC3339Nano))})
		failed = s.enqueued.Add(time.Minute)
	}
	r := job.Result{Reason: job.ReasonRejected, MaybeSent: s.maybeSent, FinishedAt: failed}
	m := deadletter.Message(&record, r, "group")
	if s.offset < 0 {
		m.Headers = nil
	}
	offset := d.kafka.append(lettersTopic, 0, failed, &m)
	at := d.kafka.records[lettersTopic][0][offset].Source.Timestamp
	return deadletter.Place{ID: deadletter.ID{Offset: offset}, Timestamp: at}
}

// make plans the replay of all letters.
func (d *desk) make(claims replay.Claims, change ...func(*replay.PlanConfig)) *replay.Plan {
	d.t.Helper()
	x := d.load()
	cfg := planConfig(x, d.kafka, claims)
	for _, do := range change {
		do(&cfg)
	}
	plan, err := replay.Make(d.t.Context(), cfg, x.Letters)
	require.NoError(d.t, err)
	return plan
}

func verdicts(p *replay.Plan) map[string]replay.Verdict {
	found := map[string]replay.Verdict{}
	for i := range p.Items {
		found[p.Items[i].Letter.IdempotentID] = p.Items[i].Verdict
	}
	return found
}

func contentOf(complaint, id string) string {
	j, err := job.Decode(validJob(complaint, id), job.Strict)
	if err != nil {
		return ""
	}
	return hex.EncodeToString(j.Content[:])
}

// ordinary is a letter about which nothing is special.
func ordinary() sheet {
	return sheet{id: "a", complaint: "c", offset: 10, enqueued: morning, firstFailed: morning.Add(time.Minute)}
}

func TestVerdicts(t *testing.T) {
	t.Parallel()
	same, other := contentOf("c", "a"), strings.Repeat("00", 32)
	claim := func(r dedupe.Record) dedupe.LookupResult { return dedupe.LookupResult{Found: true, Record: r} }
	for _, tt := range []struct {
		name    string
		change  func(*sheet)
		claim   dedupe.LookupResult
		want    replay.Verdict
		sent    bool
		unclear bool
	}{
		{name: "no claim", want: replay.Forgotten, sent: true},
		{
			name: "no claim, maybe sent", change: func(s *sheet) { s.maybeSent = true },
			want: replay.ForgottenMaybeSent, unclear: true,
		},
		{name: "dead", claim: claim(dedupe.Record{State: dedupe.StateDead, Content: same}), want: replay.WillBeSent, sent: true},
		{
			name: "dead, maybe sent", claim: claim(dedupe.Record{State: dedupe.StateDead, Content: same, MaybeSent: true}),
			want: replay.MaybeSent, sent: true, unclear: true,
		},
		{
			name: "dead, and the letter says that it may have been sent", change: func(s *sheet) { s.maybeSent = true },
			claim: claim(dedupe.Record{State: dedupe.StateDead, Content: same}), want: replay.MaybeSent, sent: true, unclear: true,
		},
		{name: "expired claim", claim: claim(dedupe.Record{State: dedupe.StateExpired, Content: same}), want: replay.WillBeSent, sent: true},
		{name: "done", claim: claim(dedupe.Record{State: dedupe.StateDone, Content: same}), want: replay.AlreadySucceeded, sent: true},
		{name: "done with other content", claim: claim(dedupe.Record{State: dedupe.StateDone, Content: other}), want: replay.Conflict},
		{name: "dead with other content", claim: claim(dedupe.Record{State: dedupe.StateDead, Content: other}), want: replay.WillBeSent, sent: true},
		{
			name:  "dead with other content that may have been sent",
			claim: claim(dedupe.Record{State: dedupe.StateDead, Content: other, MaybeSent: true}), want: replay.Conflict, unclear: true,
		},
		{
			name: "claimed", claim: claim(dedupe.Record{State: dedupe.StateClaimed, Content: same, Wait: time.Second}), want: replay.UnderWay,
		},
		{
			name: "its holder was lost", claim: claim(dedupe.Record{State: dedupe.StateClaimed, Content: same}),
			want: replay.MaybeSent, sent: true, unclear: true,
		},
		{name: "waiting", claim: claim(dedupe.Record{State: dedupe.StateWaiting, Content: same, Wait: time.Second}), want: replay.UnderWay},
		{
			name: "waiting for nobody", claim: claim(dedupe.Record{State: dedupe.StateWaiting, Content: same}),
			want: replay.WillBeSent, sent: true,
		},
		{name: "claimed with other content", claim: claim(dedupe.Record{State: dedupe.StateClaimed, Content: other}), want: replay.Conflict},
		{
			name:  "its key holds something else",
			claim: dedupe.LookupResult{Err: &dedupe.Error{Op: "lookup", Reason: dedupe.ReasonWrongType}}, want: replay.ClaimBroken,
		},
		{
			name:  "its ids can be no key",
			claim: dedupe.LookupResult{Err: &dedupe.Error{Op: "lookup", Reason: dedupe.ReasonInvalid}}, want: replay.Unreadable,
		},
		{name: "expired", change: func(s *sheet) { s.expires = "2026-11-23T09:00:00Z" }, want: replay.Expired},
		{name: "not yet expired", change: func(s *sheet) { s.expires = "2026-11-23T09:00:01Z" }, want: replay.Forgotten, sent: true},
		{name: "not valid", change: func(s *sheet) { s.value = []byte("hello") }, want: replay.Unreadable},
		{name: "a merchant that is not configured", change: func(s *sheet) { s.mchID = "1900000002" }, want: replay.Unreadable},
		{name: "the merchant by its name", change: func(s *sheet) { s.mchID = testMchID }, want: replay.Forgotten, sent: true},
		{name: "replayed twice", change: func(s *sheet) { s.replays = 2 }, want: replay.Forgotten, sent: true},
		{name: "replayed thrice", change: func(s *sheet) { s.replays = 3 }, want: replay.TooOften},
		{name: "of another topic", change: func(s *sheet) { s.topic = "payments" }, want: replay.Elsewhere},
		{name: "of a merchant's own topic", change: func(s *sheet) { s.topic = "vip-jobs" }, want: replay.Forgotten, sent: true},
		{name: "not known from where", change: func(s *sheet) { s.offset = -1 }, want: replay.Forgotten, sent: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, 1)
			s := ordinary()
			if tt.change != nil {
				tt.change(&s)
			}
			d.letter(s)
			d.letter(sheet{id: "b", complaint: "other", offset: 11, enqueued: morning, firstFailed: morning.Add(time.Minute)})
			plan := d.make(fixedClaims{"a": tt.claim}, func(cfg *replay.PlanConfig) { cfg.JobsTopics = append(cfg.JobsTopics, "vip-jobs") })
			i := slices.IndexFunc(plan.Items, func(i replay.Item) bool { return i.Letter.IdempotentID != "b" })
			require.Equal(t, tt.want, plan.Items[i].Verdict)
			require.Equal(t, tt.sent, plan.Sent(tt.want))
			require.Equal(t, tt.unclear, plan.Items[i].Unclear)
			require.Contains(t, replay.Verdicts(), tt.want)
			require.NotEmpty(t, tt.want.Meaning())
			require.Equal(t, replay.Forgotten, plan.Items[1-i].Verdict, "the other letter's")
			require.Len(t, plan.ToSend(), len(plan.Items)-map[bool]int{true: 0, false: 1}[tt.sent])
			require.Equal(t, []string{testMchID}, plan.Merchants())
			require.Equal(t, 1, plan.Counts()[tt.want]-map[bool]int{true: 1}[tt.want == replay.Forgotten])
		})
	}
}

func TestVerdictsOfResolvedLetters(t *testing.T) {
	t.Parallel()
	for status, want := range map[deadletter.Status]replay.Verdict{
		deadletter.StatusReplayed: replay.Replayed, deadletter.StatusReplaying: replay.Forgotten, deadletter.StatusDiscarded: replay.Forgotten,
	} {
		d := newDesk(t, 1)
		m, err := deadletter.ResolutionMessage(d.letter(ordinary()), deadletter.Resolution{Status: status})
		require.NoError(t, err)
		d.kafka.append(resolutionsTopic, 0, morning, &m)
		require.Equal(t, map[string]replay.Verdict{"a": want}, verdicts(d.make(nobodysClaims{})), status)
	}
}

func TestWithoutRedisThereIsNoPlan(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 1)
	d.letter(ordinary())
	x := d.load()
	away := &dedupe.Error{Op: "lookup", Reason: dedupe.ReasonUnavailable, Err: errors.New("refused")}
	_, err := replay.Make(t.Context(), planConfig(x, d.kafka, fixedClaims{"a": {Err: away}}), x.Letters)
	require.ErrorIs(t, err, away)
	require.ErrorContains(t, err, "claim of letter 0/0: ")
}

func TestWithoutOutcomesThereIsNoPlan(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 1)
	d.letter(ordinary())
	d.succeeded(success{id: "b", complaint: "c", offset: 11})
	x := d.load()
	d.kafka.reads = func(kafkaio.Span) error { return errFault }
	done := false
	cfg := planConfig(x, d.kafka, nobodysClaims{})
	cfg.Outcomes.Done = func() { done = true }
	_, err := replay.Make(t.Context(), cfg, x.Letters)
	require.ErrorIs(t, err, errFault)
	require.True(t, done, "the progress bar ends all the same")
}

// A plan is in the order in which the jobs stood in each partition, whatever that of the letters.
func TestThePlansOrder(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 1)
	for i, n := range []int64{7, 3, 9, 1, 5} {
		s := sheet{id: fmt.Sprintf("%d/%d", i%2, n), complaint: "c", partition: i % 2, offset: n, enqueued: morning, firstFailed: morning}
		d.letter(s)
	}
	last := map[int]int64{0: -1, 1: -1}
	for _, i := range d.make(nobodysClaims{}).Items {
		require.Greater(t, i.Letter.Source.Offset, last[i.Letter.Source.Partition])
		last[i.Letter.Source.Partition] = i.Letter.Source.Offset
	}
}
