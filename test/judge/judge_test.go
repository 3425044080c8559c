package judge_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"replyworker/internal/wxsim"
	"replyworker/test/judge"
)

var start = time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)

// world is a small run: jobs a and b of one complaint succeeded, a came again, one job is invalid and
// one was rejected.
type world struct{ judge.Evidence }

func newWorld() *world {
	w := &world{judge.Evidence{
		Committed: map[int32]int64{0: 6}, Ends: map[int32]int64{0: 6}, Claims: map[string]string{"a": "done", "r": "dead"},
	}}
	w.job("c1", "a", "hello")
	w.job("c1", "b", "again")
	w.job("c1", "a", "hello")
	w.job("c1", "r", "odd")
	w.job("c1", "x", "late", kgo.RecordHeader{Key: judge.Expect, Value: []byte(judge.ExpectExpired)})
	w.job("", "", "", kgo.RecordHeader{Key: judge.Expect, Value: []byte(judge.ExpectInvalid)})
	w.effect("c1", "a", "hello")
	w.effect("c1", "b", "again")
	w.say(0, "succeeded", "", "log-a")
	w.say(1, "succeeded", "", "log-b")
	w.say(2, "duplicate", "", "log-a")
	w.say(3, "failed", "rejected", "")
	w.say(4, "expired", "", "")
	w.say(5, "failed", "invalid_job", "")
	w.letter(3)
	w.letter(5)
	return w
}

func message(text string) string { return fmt.Sprintf(`{"blocks": [], "custom_data": %q}`, text) }

func (w *world) job(complaint, id, text string, headers ...kgo.RecordHeader) {
	value := fmt.Sprintf(`{"complaint_id":%q,"complainted_mchid":"m","idempotent_id":%q,"message":%s}`, complaint, id, message(text))
	w.Jobs = append(w.Jobs, &kgo.Record{
		Offset: int64(len(w.Jobs)), Key: []byte(complaint), Value: []byte(value), Headers: headers,
	})
}

func (w *world) effect(complaint, id, text string) {
	sum := sha256.Sum256(fmt.Appendf(nil, `{"complainted_mchid":"m","message":%s,"idempotent_id":%q}`, message(text), id))
	w.Effects = append(w.Effects, wxsim.Effect{
		Sequence: int64(len(w.Effects) + 1), ComplaintID: complaint, IdempotentID: id, LogID: "log-" + id,
		BodySHA256: hex.EncodeToString(sum[:]),
	})
}

var (
	ids        = []string{"a", "b", "a", "r", "x", ""}
	complaints = []string{"c1", "c1", "c1", "c1", "c1", ""}
)

func (w *world) say(offset int, status, reason, logID string) {
	w.sayMaybe(offset, status, reason, logID, false)
}

func (w *world) sayMaybe(offset int, status, reason, logID string, maybe bool) {
	id, complaint := "new", "c1"
	if offset < len(ids) {
		id, complaint = ids[offset], complaints[offset]
	}
	w.Outcomes = append(w.Outcomes, &kgo.Record{
		Offset: int64(len(w.Outcomes)), Timestamp: start.Add(time.Duration(len(w.Outcomes)) * time.Second),
		Headers: []kgo.RecordHeader{{Key: "ce_id", Value: fmt.Appendf(nil, "jobs/0/%d", offset)}},
		Value: fmt.Appendf(nil, `{"status":%q,"reason":%q,"log_id":%q,"idempotent_id":%q,"complaint_id":%q,"maybe_sent":%t,`+
			`"source":{"topic":"jobs","partition":0,"offset":%d}}`, status, reason, logID, id, complaint, maybe, offset),
	})
}

func (w *world) letter(offset int) {
	of := w.Jobs[offset]
	w.Letters = append(w.Letters, &kgo.Record{
		Offset: int64(len(w.Letters)), Key: of.Key, Value: of.Value, Headers: append([]kgo.RecordHeader{
			{Key: "__dlq.errors.partition", Value: []byte("0")},
			{Key: "__dlq.errors.offset", Value: fmt.Append(nil, offset)},
		}, of.Headers...),
	})
}

func TestCleanRun(t *testing.T) {
	t.Parallel()
	r := judge.Judge(newWorld().Evidence)
	require.Empty(t, r.Samples)
	require.True(t, r.Clean())
	require.Equal(t, map[string]int{
		"succeeded": 2, "duplicate": 1, "failed rejected": 1, "failed invalid_job": 1, "expired": 1,
	}, r.Statuses)
	require.Len(t, r.EndToEnd, 6)
}

func TestEachRuleIsFoundBroken(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		spoil func(*world)
		rules []judge.Rule
	}{
		{"a job was skipped", func(w *world) { w.Outcomes = w.Outcomes[1:] }, []judge.Rule{judge.NoOutcome, judge.Untold}},
		{"an aborted job was answered", func(w *world) { w.say(9, "failed", "rejected", "") }, []judge.Rule{judge.Phantom}},
		{"an aborted job was buried", func(w *world) {
			l := *w.Letters[0]
			l.Headers = []kgo.RecordHeader{{Key: "__dlq.errors.offset", Value: []byte("77")}}
			w.Letters = append(w.Letters, &l)
		}, []judge.Rule{judge.Phantom}},
		{"a zombie contradicts", func(w *world) { w.say(0, "failed", "exhausted", ""); w.letter(0) }, []judge.Rule{judge.Contradiction}},
		{"another log_id", func(w *world) { w.say(1, "succeeded", "", "log-z") }, []judge.Rule{judge.Contradiction, judge.WrongLogID}},
		{"a failure with a log_id", func(w *world) { w.say(3, "failed", "rejected", "log-a") }, []judge.Rule{judge.Contradiction, judge.WrongLogID}},
		{"success without an effect", func(w *world) { w.Effects = w.Effects[:1] }, []judge.Rule{judge.NoEffect}},
		{"other bytes were sent", func(w *world) { w.Effects[0].BodySHA256 = "00" }, []judge.Rule{judge.NoEffect, judge.Untold}},
		{"an effect that nobody tells of", func(w *world) { w.effect("c1", "r", "odd") }, []judge.Rule{judge.Untold}},
		{"the API took one reply twice", func(w *world) { w.effect("c1", "a", "hello") }, []judge.Rule{judge.SecondEffect, judge.OutOfOrder}},
		{"sent again", func(w *world) { w.Outcomes[2] = nil; w.replace(2, "succeeded") }, []judge.Rule{judge.SecondSuccess}},
		{"order turned round", func(w *world) { w.Effects[0].Sequence, w.Effects[1].Sequence = 2, 1; w.swapSaid() }, []judge.Rule{judge.OutOfOrder}},
		{"a letter is missing", func(w *world) { w.Letters = w.Letters[1:] }, []judge.Rule{judge.Unlettered}},
		{"a letter too many", func(w *world) { w.letter(1) }, []judge.Rule{judge.Unlettered}},
		{"a letter's value", func(w *world) { w.Letters[0].Value = []byte("{}") }, []judge.Rule{judge.ChangedLetter}},
		{"a letter's null key", func(w *world) { w.Letters[1].Key = nil }, []judge.Rule{judge.ChangedLetter}},
		{"a letter's headers", func(w *world) { w.Letters[1].Headers = w.Letters[1].Headers[:2] }, []judge.Rule{judge.ChangedLetter}},
		{"not committed", func(w *world) { w.Committed[0] = 5 }, []judge.Rule{judge.Uncommitted}},
		{"never committed", func(w *world) { w.Committed = nil }, []judge.Rule{judge.Uncommitted}},
		{"a claim is left", func(w *world) { w.Claims["b"] = "claimed" }, []judge.Rule{judge.ClaimLeft}},
		{"an invalid job was sent", func(w *world) { w.Outcomes[5] = nil; w.replace(5, "expired") }, []judge.Rule{judge.Unexpected, judge.Unlettered}},
		{"an expired job failed", func(w *world) { w.Outcomes[4] = nil; w.replaceReason(4, "failed", "exhausted"); w.letter(4) }, []judge.Rule{judge.Unexpected}},
		{"a fault of the worker", func(w *world) { w.Outcomes[3] = nil; w.replaceReason(3, "failed", "internal") }, []judge.Rule{judge.Unexpected}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			c.spoil(w)
			r := judge.Judge(w.Evidence)
			var broken []judge.Rule
			for _, rule := range judge.Rules() {
				if r.Violations[rule] > 0 {
					broken = append(broken, rule)
				}
			}
			require.ElementsMatch(t, c.rules, broken, "%v", r.Samples)
			require.False(t, r.Clean())
		})
	}
}

func (w *world) replace(offset int, status string) {
	logID := ""
	if status == "succeeded" {
		logID = "log-" + ids[offset]
	}
	w.put(offset, func() { w.say(offset, status, "", logID) })
}

func (w *world) replaceReason(offset int, status, reason string) {
	w.put(offset, func() { w.say(offset, status, reason, "") })
}

func (w *world) put(offset int, say func()) {
	say()
	last := len(w.Outcomes) - 1
	w.Outcomes[offset] = w.Outcomes[last]
	w.Outcomes = w.Outcomes[:last]
}

// swapSaid keeps the log_ids right where only the order of effects is wrong; a's other job goes, so
// that nothing else can have made its effect.
func (w *world) swapSaid() {
	w.Jobs[2], w.Outcomes[2] = w.Jobs[4], w.Outcomes[4]
	w.Jobs, w.Outcomes = append(w.Jobs[:4], w.Jobs[5:]...), append(w.Outcomes[:4], w.Outcomes[5:]...)
}

func TestAReplyThatMayHaveBeenSentMayHaveAnEffect(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.put(3, func() { w.sayMaybe(3, "failed", "exhausted", "", true) })
	w.effect("c1", "r", "odd")
	require.Empty(t, judge.Judge(w.Evidence).Samples)
}

func TestALostClaimExplains(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.say(0, "failed", "rejected", "")
	w.letter(0)
	w.put(2, func() { w.say(2, "succeeded", "", "log-a") })
	w.Losses = []judge.Span{{start.Add(3 * time.Second), start.Add(4 * time.Second)}}
	r := judge.Judge(w.Evidence)
	require.Empty(t, r.Samples)
	require.Equal(t, map[judge.Rule]int{judge.Contradiction: 1, judge.SecondSuccess: 1}, r.Explained)
	w.Losses = []judge.Span{{start.Add(time.Hour), start.Add(2 * time.Hour)}}
	require.Len(t, judge.Judge(w.Evidence).Violations, 2, "a loss at another time explains nothing")
}
