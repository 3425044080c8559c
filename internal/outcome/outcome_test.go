package outcome_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"replyworker/internal/job"
	"replyworker/internal/kafkaio"
	"replyworker/internal/outcome"
	"replyworker/internal/stacktest"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const group = "reply worker"

var enqueued = time.Date(2026, 11, 23, 16, 0, 0, 123e6, time.FixedZone("", 8*3600))

func delivery(value string) *job.Delivery {
	return &job.Delivery{
		Source: job.Source{Topic: "reply-jobs", Partition: 3, Offset: 1041, Timestamp: enqueued},
		Key:    []byte("the-job's-key"), Value: []byte(value),
		Headers: []job.Header{
			{Key: "traceparent", Value: []byte("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")},
			{Key: "tracestate", Value: []byte("vendor=1")},
			{Key: "mine", Value: []byte("stays away")},
			{Key: "dlq-replay-count", Value: []byte("2")},
		},
	}
}

const valid = `{"complaint_id":"200201820200101080076610000","complainted_mchid":"1900012181",` +
	`"idempotent_id":"550e8400-e29b-41d4-a716-446655440000","message":{"custom_data":"secret reply"},` +
	`"labels":{"team":"refunds <1>"}}`

func decoded(t *testing.T) *job.Job {
	t.Helper()
	j, err := job.Decode([]byte(valid), job.Strict)
	require.NoError(t, err)
	j.MchID = "1900000001"
	return j
}

func result(status job.Status, reason job.Reason) job.Result {
	return job.Result{Status: status, Reason: reason, StartedAt: enqueued.Add(12 * time.Millisecond), FinishedAt: enqueued.Add(252 * time.Millisecond)}
}

// TestGolden holds the value and the headers of each status byte for byte: they are a contract.
func TestGolden(t *testing.T) {
	t.Parallel()
	succeeded := result(job.StatusSucceeded, job.ReasonNone)
	succeeded.LogID, succeeded.Attempts = "300285320210322170000071077", 2
	succeeded.Answer = job.Answer{Host: "backup", HTTPStatus: http.StatusOK, RequestID: "08F4"}
	duplicate := result(job.StatusDuplicate, job.ReasonNone)
	duplicate.LogID = succeeded.LogID
	expired := result(job.StatusExpired, job.ReasonNone)
	expired.Attempts, expired.MaybeSent, expired.Detail = 3, true, "expires_at has passed"
	rejected := result(job.StatusFailed, job.ReasonRejected)
	rejected.Attempts, rejected.Detail = 1, "not for outcomes"
	rejected.Answer = job.Answer{Host: "primary", HTTPStatus: 400, Code: "PARAM_ERROR", Message: "参数错误 <&>", RequestID: "08F5"}
	invalid := result(job.StatusFailed, job.ReasonInvalidJob)
	for _, row := range []struct {
		name string
		job  *job.Job
		r    job.Result
	}{
		{"succeeded", decoded(t), succeeded},
		{"duplicate", decoded(t), duplicate},
		{"expired", decoded(t), expired},
		{"rejected", decoded(t), rejected},
		{"exhausted", decoded(t), result(job.StatusFailed, job.ReasonExhausted)},
		{"conflict", decoded(t), result(job.StatusFailed, job.ReasonConflict)},
		{"internal", decoded(t), result(job.StatusFailed, job.ReasonInternal)},
		{"unreadable", &job.Job{}, invalid},
		{"invalid-with-ids", &job.Job{IdempotentID: "id", ComplaintID: "c"}, invalid},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			d := delivery(valid)
			m, err := outcome.Message(d, outcome.New(d, row.job, row.r), group, row.r.FinishedAt)
			require.NoError(t, err)
			var text bytes.Buffer
			require.NoError(t, json.Indent(&text, m.Value, "", "  "))
			text.WriteString("\nkey: " + string(m.Key) + "\n")
			for _, h := range m.Headers {
				text.WriteString(h.Key + ": " + string(h.Value) + "\n")
			}
			path := filepath.Join("testdata", row.name+".golden")
			if *update {
				require.NoError(t, os.WriteFile(path, text.Bytes(), 0o600))
			}
			want, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, string(want), text.String(), "if this is meant, -update and look at the diff")
			require.NotContains(t, text.String(), "secret reply")
			require.NotContains(t, text.String(), "null", "every field is always there")
		})
	}
}

func TestTheSameRecordHasTheSameID(t *testing.T) {
	t.Parallel()
	id := func(d *job.Delivery) string {
		m, err := outcome.Message(d, outcome.New(d, &job.Job{}, job.Result{}), group, time.Now())
		require.NoError(t, err)
		for _, h := range m.Headers {
			if h.Key == "ce_id" {
				return string(h.Value)
			}
		}
		return ""
	}
	a, b := delivery("a"), delivery("b")
	require.NotEmpty(t, id(a))
	require.Equal(t, id(a), id(b))
	b.Source.Offset++
	require.NotEqual(t, id(a), id(b))
	b.Source.Offset--
	b.Source.Timestamp = b.Source.Timestamp.Add(time.Millisecond)
	require.NotEqual(t, id(a), id(b), "the topic was made anew")
}

func TestOddHeadersAndClocks(t *testing.T) {
	t.Parallel()
	for _, count := range []string{"", "x", "-1", "99999999999999999999"} {
		d := delivery(valid)
		d.Headers[3].Value = []byte(count)
		require.Zero(t, outcome.New(d, &job.Job{}, job.Result{}).ReplayCount, count)
	}
	d := delivery(valid)
	r := result(job.StatusSucceeded, job.ReasonNone)
	d.Source.Timestamp = r.FinishedAt.Add(time.Hour) // a producer's clock
	e := outcome.New(d, &job.Job{}, r)
	require.Zero(t, e.QueueMS)
	require.Zero(t, e.EndToEndMS)
	require.EqualValues(t, 240, e.ProcessingMS)
}

// TestTooLarge: what a producer has made large must not keep the record from its end.
func TestTooLarge(t *testing.T) {
	t.Parallel()
	kafka := stacktest.NewKafka(t, map[string]int{"outcomes": 1})
	topic := kafkaio.NewPublisher(kafka.Product(), kafka.Topic("outcomes"), 4096)
	t.Cleanup(topic.Close)
	p := outcome.NewPublisher(topic, group)

	large := delivery(valid)
	large.Key = bytes.Repeat([]byte("k"), 8192)
	require.NoError(t, p.Publish(t.Context(), large, &job.Job{}, result(job.StatusFailed, job.ReasonInvalidJob)))
	labelled := decoded(t)
	labelled.Labels = json.RawMessage(`{"x":"` + strings.Repeat("y", 8192) + `"}`)
	require.NoError(t, p.Publish(t.Context(), delivery(valid), labelled, result(job.StatusSucceeded, job.ReasonNone)))
	traced := delivery(valid)
	traced.Headers[0].Value = bytes.Repeat([]byte("0"), 8192)
	require.NoError(t, p.Publish(t.Context(), traced, decoded(t), result(job.StatusSucceeded, job.ReasonNone)))

	reader := kafka.Client(kgo.ConsumeTopics(kafka.Topic("outcomes")), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	var records []*kgo.Record
	for len(records) < 3 {
		f := reader.PollFetches(t.Context())
		require.NoError(t, f.Err())
		records = append(records, f.Records()...)
	}
	require.Nil(t, records[0].Key)
	require.Equal(t, decoded(t).IdempotentID, string(records[1].Key))
	for _, r := range records {
		var e outcome.Event
		require.NoError(t, json.Unmarshal(r.Value, &e))
		require.Empty(t, e.Labels)
		require.NotNil(t, e.Labels)
	}
}
