package replay_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/dedupe"
	"replyworker/internal/job"
	"replyworker/internal/kafkaio"
	"replyworker/internal/outcome"
	"replyworker/internal/replay"
)

// success is an outcome as a test describes it.
type success struct {
	id, complaint      string
	topic              string // jobsTopic where it is empty
	partition          int
	offset             int64
	enqueued, finished time.Time // morning, and a second later, where they are not given
	replays            int
	status             job.Status // succeeded where it is empty
	mchID              string
	content            string
	at                 int // its partition among the outcomes
}

func (d *desk) succeeded(s success) {
	d.t.Helper()
	if s.topic == "" {
		s.topic = jobsTopic
	}
	if s.enqueued.IsZero() {
		s.enqueued = morning
	}
	if s.finished.IsZero() {
		s.finished = s.enqueued.Add(time.Second)
	}
	if s.status == "" {
		s.status = job.StatusSucceeded
	}
	if s.mchID == "" {
		s.mchID = testMchID
	}
	value, err := json.Marshal(outcome.Event{
		SchemaVersion: 1, Status: s.status, IdempotentID: s.id, ComplaintID: s.complaint, MchID: s.mchID, ContentSHA256: s.content,
		EnqueuedAt: s.enqueued.Format(time.RFC3339Nano), FinishedAt: s.finished.Format(time.RFC3339Nano), ReplayCount: s.replays,
		Source: outcome.Source{Topic: s.topic, Partition: s.partition, Offset: s.offset},
	})
	require.NoError(d.t, err)
	d.kafka.append(outcomesTopic, s.at, s.finished, &kafkaio.Message{Value: value})
}

// dead is the claims of jobs that failed and were not sent.
func dead(ids ...string) fixedClaims {
	claims := fixedClaims{}
	for _, id := range ids {
		claims[id] = dedupe.LookupResult{Found: true, Record: dedupe.Record{State: dedupe.StateDead, Content: contentOf("c", id)}}
	}
	return claims
}

func minutes(n int) time.Time { return morning.Add(time.Duration(n) * time.Minute) }

// TestSuperseded asks of one letter, at offset 10 of partition 0, enqueued at minute 0 and failed at minute
// 1, whether a reply has overtaken it.
func TestSuperseded(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		s    success
		want bool
	}{
		{"a later job of its partition", success{id: "b", complaint: "c", offset: 11, enqueued: minutes(2)}, true},
		{"an earlier one", success{id: "b", complaint: "c", offset: 9, enqueued: minutes(-2)}, false},
		{"a later one of another complaint", success{id: "b", complaint: "x", offset: 11, enqueued: minutes(2)}, false},
		{"a later one of another merchant", success{id: "b", complaint: "c", offset: 11, enqueued: minutes(2), mchID: "1"}, false},
		{"a later one that failed too", success{id: "b", complaint: "c", offset: 11, enqueued: minutes(2), status: "failed"}, false},
		{"a later one that was a duplicate", success{id: "b", complaint: "c", offset: 11, enqueued: minutes(2), status: "duplicate"}, false},
		{
			"by its offset, though its producer's clock is behind",
			success{id: "b", complaint: "c", offset: 11, enqueued: minutes(-90), finished: minutes(2)},
			true,
		},
		{
			"an earlier one, though its producer's clock is ahead",
			success{id: "b", complaint: "c", offset: 9, enqueued: minutes(60), finished: minutes(0)},
			false,
		},
		{
			"an earlier one whose outcome was published again",
			success{id: "b", complaint: "c", offset: 9, enqueued: minutes(-1), finished: minutes(9)},
			false,
		},
		{"the topic was made anew", success{id: "b", complaint: "c", offset: 3, enqueued: minutes(9)}, true},
		{"a later one of another partition", success{id: "b", complaint: "c", partition: 1, offset: 3, enqueued: minutes(9)}, true},
		{
			"one of another partition that succeeded before this one failed",
			success{id: "b", complaint: "c", partition: 1, offset: 3, enqueued: morning.Add(20 * time.Second)},
			true,
		},
		{"an earlier one of another partition", success{id: "b", complaint: "c", partition: 1, offset: 99, enqueued: minutes(-1)}, false},
		{"a later one of another topic", success{id: "b", complaint: "c", topic: "vip-jobs", offset: 3, enqueued: minutes(9)}, true},
		{"an earlier one of another topic", success{id: "b", complaint: "c", topic: "vip-jobs", offset: 99, enqueued: minutes(-1)}, false},
		{"a replay of which nothing else is known", success{id: "b", complaint: "c", offset: 11, enqueued: minutes(2), replays: 1}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, 2)
			d.letter(ordinary())
			d.succeeded(tt.s)
			want := replay.WillBeSent
			if tt.want {
				want = replay.Superseded
			}
			plan := d.make(dead("a"))
			require.Equal(t, map[string]replay.Verdict{"a": want}, verdicts(plan))
			require.Equal(t, !tt.want, len(plan.ToSend()) == 1)
			plan = d.make(dead("a"), func(cfg *replay.PlanConfig) { cfg.IncludeSuperseded = true })
			require.Len(t, plan.ToSend(), 1)
		})
	}
}

// Three jobs of a complaint failed, at offsets 10, 20 and 30; the one in the middle was replayed and
// succeeded, at offset 500.
func TestAReplayOvertakesWhatStoodBeforeItsJob(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 1)
	for i, id := range []string{"a", "b", "c"} {
		d.letter(sheet{id: id, complaint: "c", offset: int64(10 + 10*i), enqueued: minutes(2 * i), firstFailed: minutes(2*i + 1)})
	}
	d.succeeded(success{id: "b", complaint: "c", offset: 500, enqueued: minutes(60), replays: 1})
	claims := dead("a", "c")
	claims["b"] = dedupe.LookupResult{Found: true, Record: dedupe.Record{State: dedupe.StateDone, Content: contentOf("c", "b")}}
	require.Equal(t, map[string]replay.Verdict{"a": replay.Superseded, "b": replay.AlreadySucceeded, "c": replay.WillBeSent},
		verdicts(d.make(claims)))
}

// The same over partitions: a replay counts from when its job was enqueued.
func TestAReplayElsewhereCountsFromWhenItsJobWasEnqueued(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 2)
	d.letter(sheet{id: "early", complaint: "c", partition: 0, offset: 10, enqueued: minutes(0), firstFailed: minutes(1)})
	d.letter(sheet{id: "middle", complaint: "c", partition: 1, offset: 10, enqueued: minutes(2), firstFailed: minutes(3)})
	d.letter(sheet{id: "late", complaint: "c", partition: 0, offset: 11, enqueued: minutes(4), firstFailed: minutes(5)})
	d.succeeded(success{id: "middle", complaint: "c", partition: 1, offset: 500, enqueued: minutes(60), replays: 1})
	claims := dead("early", "late")
	claims["middle"] = dedupe.LookupResult{Found: true, Record: dedupe.Record{State: dedupe.StateDone, Content: contentOf("c", "middle")}}
	got := verdicts(d.make(claims))
	require.Equal(t, replay.Superseded, got["early"])
	require.Equal(t, replay.WillBeSent, got["late"])
}

// A job that was replayed and failed again stands where it stood first, not where its replay does.
func TestAReplayThatFailedAgainStandsWhereItStoodFirst(t *testing.T) {
	t.Parallel()
	for _, kept := range []bool{true, false} { // whether its first letter is
		d := newDesk(t, 1)
		if kept {
			d.letter(ordinary())
		}
		d.letter(sheet{id: "a", complaint: "c", offset: 500, enqueued: minutes(60), firstFailed: minutes(1), replays: 1})
		d.succeeded(success{id: "b", complaint: "c", offset: 20, enqueued: minutes(30)})
		for _, i := range d.make(dead("a")).Items {
			require.Equal(t, replay.Superseded, i.Verdict, "letter of offset %d", i.Letter.Source.Offset)
		}
	}
	d := newDesk(t, 1)
	d.letter(sheet{id: "a", complaint: "c", offset: 500, enqueued: minutes(60), firstFailed: minutes(31), replays: 1})
	d.succeeded(success{id: "b", complaint: "c", offset: 20, enqueued: minutes(30)})
	require.Equal(t, replay.WillBeSent, verdicts(d.make(dead("a")))["a"], "the other one came before it failed, in its partition")
}

// A producer that enqueues a job again makes it later.
func TestAJobThatWasEnqueuedAgain(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 1)
	d.letter(ordinary())
	d.succeeded(success{id: "b", complaint: "c", offset: 20, enqueued: minutes(20)})
	d.letter(sheet{id: "a", complaint: "c", offset: 30, enqueued: minutes(30), firstFailed: minutes(31)})
	for _, i := range d.make(dead("a")).Items {
		want := map[int64]replay.Verdict{10: replay.Superseded, 30: replay.WillBeSent}[i.Letter.Source.Offset]
		require.Equal(t, want, i.Verdict, "letter of offset %d", i.Letter.Source.Offset)
	}
}

// Its own success is no later reply, and yet says that it may have been sent.
func TestAJobsOwnSuccess(t *testing.T) {
	t.Parallel()
	other := contentOf("x", "a")
	for _, tt := range []struct {
		name   string
		s      success
		claims fixedClaims
		want   replay.Verdict
	}{
		{"forgotten", success{id: "a", complaint: "c", offset: 500, enqueued: minutes(60), replays: 1}, nil, replay.ForgottenMaybeSent},
		{"forgotten, without a replay", success{id: "a", complaint: "c", offset: 12}, nil, replay.ForgottenMaybeSent},
		{"forgotten, told by a duplicate", success{id: "a", complaint: "c", offset: 12, status: "duplicate"}, nil, replay.ForgottenMaybeSent},
		{"forgotten, the same content", success{id: "a", complaint: "c", content: contentOf("c", "a")}, nil, replay.ForgottenMaybeSent},
		{"forgotten, other content", success{id: "a", complaint: "c", content: other}, nil, replay.Conflict},
		{"forgotten, of another complaint", success{id: "a", complaint: "x", content: other}, nil, replay.Conflict},
		{"Redis has lost a part", success{id: "a", complaint: "c", offset: 12}, dead("a"), replay.MaybeSent},
		{"of another merchant", success{id: "a", complaint: "c", offset: 9, enqueued: minutes(-1), mchID: "1"}, nil, replay.Forgotten},
		{"it failed", success{id: "a", complaint: "c", offset: 10, status: "failed"}, nil, replay.Forgotten},
	} {
		d := newDesk(t, 1)
		d.letter(ordinary())
		d.succeeded(tt.s)
		plan := d.make(tt.claims)
		require.Equal(t, map[string]replay.Verdict{"a": tt.want}, verdicts(plan), tt.name)
		require.Equal(t, tt.want != replay.Forgotten, plan.Items[0].Unclear, tt.name)
	}
}

// A success whose own letter is looked at counts for the other letters of its complaint.
func TestAForgottenSuccessOvertakesOthers(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 1)
	d.letter(ordinary())
	d.letter(sheet{id: "b", complaint: "c", offset: 20, enqueued: minutes(2), firstFailed: minutes(3)})
	d.succeeded(success{id: "b", complaint: "c", offset: 500, enqueued: minutes(60), replays: 1})
	require.Equal(t, map[string]replay.Verdict{"a": replay.Superseded, "b": replay.ForgottenMaybeSent}, verdicts(d.make(nobodysClaims{})))
}

// What may have been sent, is forgotten and was overtaken takes both flags.
func TestIncludingWhatIsSupersededDoesNotIncludeWhatMayHaveBeenSent(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 1)
	s := ordinary()
	s.maybeSent = true
	d.letter(s)
	d.succeeded(success{id: "b", complaint: "c", offset: 11, enqueued: minutes(2)})
	for _, tt := range []struct {
		superseded, forgotten bool
		want                  replay.Verdict
		sent                  int
	}{
		{false, false, replay.Superseded, 0},
		{false, true, replay.Superseded, 0},
		{true, false, replay.ForgottenMaybeSent, 0},
		{true, true, replay.ForgottenMaybeSent, 1},
	} {
		plan := d.make(nobodysClaims{}, func(cfg *replay.PlanConfig) {
			cfg.IncludeSuperseded, cfg.IncludeForgotten = tt.superseded, tt.forgotten
		})
		require.Equal(t, map[string]replay.Verdict{"a": tt.want}, verdicts(plan), "%+v", tt)
		require.Len(t, plan.ToSend(), tt.sent, "%+v", tt)
	}
}
