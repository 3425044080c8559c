package app_test

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"replyworker/internal/devstack"
	"replyworker/internal/job"
	"replyworker/internal/outcome"
	"replyworker/internal/stacktest"
	"replyworker/internal/wxsim"
)

// end is one outcome as it is on the topic.
type end struct {
	outcome.Event
	id      string // ce_id
	headers map[string]string
	key     string
}

func endOf(t testing.TB, r *kgo.Record) end {
	t.Helper()
	e := end{headers: headersOf(t, r), key: string(r.Key)}
	require.NoError(t, json.Unmarshal(r.Value, &e.Event))
	e.id = e.headers["ce_id"]
	return e
}

// headersOf returns a record's headers; none may be there twice.
func headersOf(t testing.TB, r *kgo.Record) map[string]string {
	t.Helper()
	m := map[string]string{}
	for _, h := range r.Headers {
		require.NotContains(t, m, h.Key, "header %s is there twice", h.Key)
		m[h.Key] = string(h.Value)
	}
	return m
}

// ends waits until so many records have an outcome, checks that the outcomes of each agree, and
// returns the last of each by idempotent id, or by key where there is none.
func (b *bench) ends(records int) map[string]end {
	b.t.Helper()
	byRecord := map[string]end{}
	seen := 0
	all := b.read(devstack.TopicOutcomes, func(rs []*kgo.Record) bool {
		for ; seen < len(rs); seen++ {
			e := endOf(b.t, rs[seen])
			if first, ok := byRecord[e.id]; ok {
				require.Equal(b.t, []any{first.Status, first.Reason, first.LogID}, []any{e.Status, e.Reason, e.LogID}, "outcomes of %s", e.id)
			}
			byRecord[e.id] = e
		}
		return len(byRecord) >= records
	})
	require.Len(b.t, byRecord, records, "records with an outcome; outcomes: %d", len(all))
	byID := map[string]end{}
	for id, e := range byRecord {
		name := e.IdempotentID
		if _, twice := byID[name]; twice || name == "" {
			name = id
		}
		byID[name] = e
	}
	return byID
}

// letters reads the dead letters that are there, at least n.
func (b *bench) letters(n int) []*kgo.Record {
	b.t.Helper()
	return b.read(devstack.TopicDeadLetters, func(rs []*kgo.Record) bool { return len(rs) >= n })
}

// count returns how many records a topic has, control records included.
func (b *bench) count(topic string) int64 {
	b.t.Helper()
	var n int64
	for p := range b.partitions {
		n += b.endOffset(topic, int32(p))
	}
	return n
}

func (b *bench) endOffset(topic string, partition int32) int64 {
	b.t.Helper()
	topic = b.stack.Kafka.Topic(topic)
	all, err := b.stack.Kafka.Admin().ListEndOffsets(b.t.Context(), topic)
	require.NoError(b.t, err)
	end, _ := all.Lookup(topic, partition)
	require.NoError(b.t, end.Err)
	return end.Offset
}

// committed returns the group's committed offset, -1 where there is none.
func (b *bench) committed(partition int32) int64 {
	b.t.Helper()
	all, err := b.stack.Kafka.Admin().FetchOffsets(b.t.Context(), b.stack.Kafka.Group(stacktest.Group))
	require.NoError(b.t, err)
	if o, found := all.Lookup(b.stack.Kafka.Topic(devstack.TopicJobs), partition); found {
		return o.At
	}
	return -1
}

// limit sets a topic's max.message.bytes, and waits until it is so.
func (b *bench) limit(topic, bytes string) {
	b.t.Helper()
	b.stack.Kafka.SetTopicConfig(topic, "max.message.bytes", bytes)
}

func (b *bench) eventually(what string, cond func() bool) {
	b.t.Helper()
	require.Eventually(b.t, cond, patience, 10*time.Millisecond, what)
}

// effects checks that each of the jobs took effect once, and the simulator found no fault with us.
func (b *bench) effects(ids []string) {
	b.t.Helper()
	require.Empty(b.t, b.stack.Sim.Stats().Refused, "calls that the API's own checks refuse")
	for _, id := range ids {
		_, ok := b.stack.Sim.Effect(b.stack.Materials.MchID, id)
		require.True(b.t, ok, id)
	}
	require.Len(b.t, b.stack.Sim.Effects(), len(ids))
}

func (b *bench) callsOf(id string) []wxsim.Call {
	return slices.DeleteFunc(b.stack.Sim.Calls(), func(c wxsim.Call) bool { return c.IdempotentID != id })
}

// TestEveryEnd takes one job of every kind to its end, and then delivers all of them again.
func TestEveryEnd(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1)
	documented, err := os.ReadFile("../job/testdata/good/api-documentation-all-members-in-one-block.json")
	require.NoError(t, err)
	var doc struct {
		ID string `json:"idempotent_id"`
	}
	require.NoError(t, json.Unmarshal(documented, &doc))
	success := jobValue("c", "success", "hello", map[string]any{"labels": map[string]string{"team": "refunds"}})
	trace := []kgo.RecordHeader{{Key: "traceparent", Value: []byte("00-1-2-01")}, {Key: "tracestate", Value: []byte("a=b")}, {Key: "mine"}}
	notJSON := []byte("\x00\xffnot JSON")
	records := []*kgo.Record{
		{Key: []byte("key"), Value: success, Headers: trace},
		{Key: []byte("key"), Value: success},                                                     // a duplicate
		{Key: []byte("key"), Value: jobValue("c", "success", "something else", nil)},             // a conflict
		{Key: nil, Value: notJSON, Headers: trace},                                               // invalid
		{Key: []byte{}, Value: []byte{}},                                                         // invalid
		{Key: []byte("tombstone"), Value: nil},                                                   // invalid
		{Key: []byte("key"), Value: []byte(`{"idempotent_id":"half","complaint_id":"c","x":1}`)}, // invalid
		{Key: []byte("key"), Value: jobValue("c", "expired", "hello", map[string]any{"expires_at": "2026-01-01T00:00:00Z"})},
		{Key: []byte("key"), Value: jobValue("c", "refused", "hello", nil)},
		{Key: []byte("key"), Value: documented},
	}
	require.NoError(t, b.stack.Sim.Set(wxsim.Fault{Kind: wxsim.KindStatus, Status: 403, IdempotentID: "refused"}))
	for _, r := range records {
		r.Topic = devstack.TopicJobs
		b.produceRecord(r)
	}
	w := b.run(nil)
	ends := b.ends(len(records))
	letters := b.letters(6)
	require.Len(t, letters, 6)
	b.eventually("all is committed", func() bool { return b.committed(0) == int64(len(records)) })
	require.NoError(t, w.stop())
	b.effects([]string{"success", doc.ID})
	calls := b.stack.Sim.Stats().Calls

	byOffset := map[int64]end{}
	for _, e := range ends {
		byOffset[e.Source.Offset] = e
		require.Equal(t, "replyworker.reply."+string(e.Status)+".v1", e.headers["ce_type"])
		require.NotEmpty(t, e.id)
	}
	effect, _ := b.stack.Sim.Effect(b.stack.Materials.MchID, "success")
	want := []struct {
		status job.Status
		reason job.Reason
		logID  string
	}{
		{job.StatusSucceeded, "", effect.LogID},
		{job.StatusDuplicate, "", effect.LogID},
		{job.StatusFailed, job.ReasonConflict, ""},
		{job.StatusFailed, job.ReasonInvalidJob, ""},
		{job.StatusFailed, job.ReasonInvalidJob, ""},
		{job.StatusFailed, job.ReasonInvalidJob, ""},
		{job.StatusFailed, job.ReasonInvalidJob, ""},
		{job.StatusExpired, "", ""},
		{job.StatusFailed, job.ReasonRejected, ""},
	}
	for i, row := range want {
		e := byOffset[int64(i)]
		require.Equal(t, row.status, e.Status, i)
		require.Equal(t, row.reason, e.Reason, i)
		require.Equal(t, row.logID, e.LogID, i)
	}
	documentedEnd := byOffset[int64(len(records)-1)]
	require.Equal(t, job.StatusSucceeded, documentedEnd.Status, "the documentation's own example")
	require.NotEmpty(t, documentedEnd.LogID)
	require.Equal(t, map[string]string{"team": "refunds"}, byOffset[0].Labels)
	require.Equal(t, "00-1-2-01", byOffset[0].headers["traceparent"])
	require.Equal(t, "a=b", byOffset[3].headers["tracestate"])
	require.Equal(t, "success", byOffset[0].key)
	require.Equal(t, "tombstone", byOffset[5].key)
	require.Equal(t, "half", byOffset[6].IdempotentID)
	require.Equal(t, "c", byOffset[6].headers["ce_subject"])

	for _, l := range letters {
		h := headersOf(t, l)
		var at int
		require.NoError(t, json.Unmarshal([]byte(h["__dlq.errors.offset"]), &at))
		require.Equal(t, records[at].Key, l.Key, "the key of %d, null and empty told apart", at)
		require.Equal(t, records[at].Value, l.Value, "the value of %d", at)
		require.Equal(t, string(byOffset[int64(at)].Reason), h["dlq-reason"])
		require.NotEmpty(t, h["__dlq.errors.message"])
		if at == 3 {
			require.Equal(t, trace, l.Headers[:3])
		}
	}

	// Another group reads the topic from its beginning: nothing is sent again, and what is said again
	// is the same (ends checks it).
	before := b.count(devstack.TopicOutcomes)
	w = b.run(map[string]string{"REPLYWORKER_KAFKA_GROUP": b.stack.Kafka.Group("replyworker-2")})
	b.eventually("what leaves no claim is said again", func() bool { return b.count(devstack.TopicOutcomes) >= before+6 })
	require.NoError(t, w.stop())
	b.ends(len(records))
	require.Equal(t, calls, b.stack.Sim.Stats().Calls, "no call is made again")
}

// TestTransactions: jobs of aborted transactions are none, and what transactions leave in the log
// does not keep the watermark from the end.
func TestTransactions(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1)
	tx := b.stack.Kafka.Client(kgo.TransactionalID(b.stack.Kafka.Group("producer")),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DefaultProduceTopic(b.stack.Kafka.Topic(devstack.TopicJobs)))
	transaction := func(commit kgo.TransactionEndTry, ids ...string) {
		require.NoError(t, tx.BeginTransaction())
		for _, id := range ids {
			require.NoError(t, tx.ProduceSync(t.Context(), kgo.SliceRecord(jobValue("c", id, "hello", nil))).FirstErr())
		}
		require.NoError(t, tx.Flush(t.Context()))
		require.NoError(t, tx.EndTransaction(t.Context(), commit))
	}
	transaction(kgo.TryAbort, "aborted-1", "aborted-2")
	transaction(kgo.TryCommit, "committed-1", "committed-2")
	b.produce(0, jobValue("c", "plain-1", "hello", nil))
	w := b.run(nil)
	transaction(kgo.TryAbort, "aborted-3")
	transaction(kgo.TryCommit, "committed-3")
	transaction(kgo.TryAbort, "aborted-4", "aborted-5")

	ends := b.ends(4)
	b.eventually("the watermark reaches the end", func() bool { return b.committed(0) == b.endOffset(devstack.TopicJobs, 0) })
	require.NoError(t, w.stop())
	for _, id := range []string{"committed-1", "committed-2", "committed-3", "plain-1"} {
		require.Equal(t, job.StatusSucceeded, ends[id].Status, id)
	}
	b.effects([]string{"committed-1", "committed-2", "committed-3", "plain-1"})
	require.Greater(t, b.endOffset(devstack.TopicJobs, 0), int64(9), "control records are in the log")
}

// TestALetterTooLarge: a job that its dead letters' topic does not take comes to its end all the same.
func TestALetterTooLarge(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1)
	for _, topic := range []string{devstack.TopicDeadLetters, devstack.TopicOutcomes} {
		b.limit(topic, "100000")
	}
	large := []byte(strings.Repeat("x", 200_000))
	b.produceRecord(&kgo.Record{Topic: devstack.TopicJobs, Key: []byte("key"), Value: large})
	b.produceRecord(&kgo.Record{Topic: devstack.TopicJobs, Key: large, Value: []byte("x")})
	b.produce(0, jobValue("c", "good", "hello", nil))
	w := b.run(nil)
	b.ends(3)
	letters := b.letters(2)
	require.Len(t, letters, 2)
	for _, l := range letters {
		h := headersOf(t, l)
		require.Nil(t, l.Value)
		require.NotEmpty(t, h["dlq-value-omitted"])
		require.Equal(t, "invalid_job", h["dlq-reason"])
	}
	b.eventually("all is committed", func() bool { return b.committed(0) == 3 })
	require.NoError(t, w.stop())
}
