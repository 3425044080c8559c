package deadletter_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"replyworker/internal/deadletter"
	"replyworker/internal/job"
	"replyworker/internal/kafkaio"
	"replyworker/internal/stacktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var failedAt = time.Date(2026, 11, 23, 16, 0, 0, 123456789, time.FixedZone("", 8*3600))

func delivery(headers ...job.Header) *job.Delivery {
	return &job.Delivery{
		Source: job.Source{Topic: "reply-jobs", Partition: 3, Offset: 1041, Timestamp: failedAt},
		Key:    []byte("key"), Value: []byte(`{"not":"valid`), Headers: headers,
	}
}

func rejected() job.Result {
	return job.Result{
		Status: job.StatusFailed, Reason: job.ReasonRejected, Attempts: 2, MaybeSent: true, Detail: "refused: 参数错误",
		Answer:     job.Answer{Host: "primary", HTTPStatus: 400, Code: "PARAM_ERROR", Message: "参数错误", RequestID: "08F5"},
		FinishedAt: failedAt,
	}
}

func header(key, value string) job.Header { return job.Header{Key: key, Value: []byte(value)} }

func TestHeaders(t *testing.T) {
	t.Parallel()
	m := deadletter.Message(delivery(header("mine", "1"), job.Header{Key: "null"}, header("mine", "2")), rejected(), "group")
	require.Equal(t, kafkaio.AnyPartition, m.Partition)
	require.Equal(t, []job.Header{
		header("mine", "1"),
		{Key: "null"},
		header("mine", "2"),
		header("__dlq.errors.topic", "reply-jobs"), header("__dlq.errors.partition", "3"),
		header("__dlq.errors.offset", "1041"), header("__dlq.errors.group", "group"),
		header("__dlq.errors.message", "refused: 参数错误"), header("dlq-reason", "rejected"),
		header("dlq-attempts", "2"), header("dlq-maybe-sent", "true"), header("dlq-http-status", "400"),
		header("dlq-error-code", "PARAM_ERROR"), header("dlq-request-id", "08F5"),
		header("dlq-failed-at", "2026-11-23T08:00:00.123456789Z"),
		header("dlq-first-failed-at", "2026-11-23T08:00:00.123456789Z"), header("dlq-enqueued-at", "2026-11-23T08:00:00.123Z"), header("dlq-replay-count", "0"),
	}, m.Headers)
	m = deadletter.Message(delivery(), job.Result{Reason: job.ReasonInvalidJob, FinishedAt: failedAt}, "group")
	for _, h := range m.Headers {
		require.NotContains(t, []string{"dlq-http-status", "dlq-error-code", "dlq-request-id"}, h.Key, "there was no answer")
	}
}

// A letter made of a replayed letter has each header once, and remembers when it all began.
func TestHeadersAreReplacedNotRepeated(t *testing.T) {
	t.Parallel()
	first := deadletter.Message(delivery(header("mine", "1")), rejected(), "group")
	again := rejected()
	again.FinishedAt = failedAt.Add(time.Hour)
	replayed := append(slices.Clone(first.Headers), header("dlq-replay-count", "3"), header("dlq-replay-id", "r"),
		header("dlq-value-omitted", "9"), header("dlq-headers-omitted", "9"))
	m := deadletter.Message(delivery(replayed...), again, "other")
	count := map[string]int{}
	value := map[string]string{}
	for _, h := range m.Headers {
		count[h.Key]++
		value[h.Key] = string(h.Value)
	}
	for key, n := range count {
		require.Equal(t, 1, n, key)
	}
	require.Equal(t, "2026-11-23T08:00:00.123456789Z", value["dlq-first-failed-at"])
	require.Equal(t, "2026-11-23T09:00:00.123456789Z", value["dlq-failed-at"])
	require.Equal(t, "3", value["dlq-replay-count"])
	require.Equal(t, "r", value["dlq-replay-id"], "the letter's own replay is told by it")
	require.Equal(t, "other", value["__dlq.errors.group"])
	require.Equal(t, "1", value["mine"])
	require.NotContains(t, value, "dlq-value-omitted", "this letter has its value")
	require.NotContains(t, value, "dlq-headers-omitted")
}

// What a producer writes into our headers must not end in a letter that nobody can read or publish.
func TestForgedHeaders(t *testing.T) {
	t.Parallel()
	m := deadletter.Message(delivery(
		header("dlq-first-failed-at", strings.Repeat("x", 1<<20)), header("dlq-replay-count", "-7"),
	), rejected(), "group")
	for _, h := range m.Headers {
		switch h.Key {
		case "dlq-first-failed-at":
			require.Equal(t, "2026-11-23T08:00:00.123456789Z", string(h.Value))
		case "dlq-replay-count":
			require.Equal(t, "0", string(h.Value))
		}
	}
}

func TestTheMessageIsBounded(t *testing.T) {
	t.Parallel()
	for _, detail := range []string{
		strings.Repeat("x", 1024), strings.Repeat("x", 1025), strings.Repeat("误", 400), "x" + strings.Repeat("误", 400),
		strings.Repeat("x", 1023) + "😀", "broken \xff\xfe", strings.Repeat("\xff", 2000), "",
	} {
		r := rejected()
		r.Detail = detail
		for _, h := range deadletter.Message(delivery(), r, "g").Headers {
			if h.Key != "__dlq.errors.message" {
				continue
			}
			require.LessOrEqual(t, len(h.Value), 1024)
			require.True(t, utf8.Valid(h.Value))
			if utf8.ValidString(detail) {
				require.True(t, strings.HasPrefix(detail, string(h.Value)))
				require.Greater(t, len(h.Value)+utf8.UTFMax, min(len(detail), 1024), "no more is cut than must be")
			}
		}
	}
}

// TestLettersOnTheirTopic reads back with another client what was written: bytes untouched, null and
// empty told apart, and what is too large for the topic cut down, step by step.
func TestLettersOnTheirTopic(t *testing.T) {
	t.Parallel()
	const limit = 8192
	kafka := stacktest.NewKafka(t, map[string]int{"letters": 1})
	topic := kafkaio.NewPublisher(kafka.Product(), kafka.Topic("letters"), limit)
	t.Cleanup(topic.Close)
	p := deadletter.NewPublisher(topic, "group")

	large := bytes.Repeat([]byte("x"), limit)
	binary := []byte("\x00\xff\xfe")
	rows := []struct {
		name        string
		d           job.Delivery
		key, value  []byte
		own         []kgo.RecordHeader
		omitted     string
		headersGone string
	}{
		{name: "as it was", d: job.Delivery{Key: binary, Value: binary}, key: binary, value: binary},
		{name: "null key and value", d: job.Delivery{}},
		{name: "empty key and value", d: job.Delivery{Key: []byte{}, Value: []byte{}}, key: []byte{}, value: []byte{}},
		{
			name: "headers", d: job.Delivery{Key: []byte("k"), Headers: []job.Header{
				{Key: "null"}, {Key: "empty", Value: []byte{}}, {Key: "", Value: binary}, {Key: "twice", Value: []byte("1")}, {Key: "twice"},
			}}, key: []byte("k"),
			own: []kgo.RecordHeader{{Key: "null"}, {Key: "empty", Value: []byte{}}, {Value: binary}, {Key: "twice", Value: []byte("1")}, {Key: "twice"}},
		},
		{
			name: "too large", d: job.Delivery{Key: []byte("k"), Value: large, Headers: []job.Header{{Key: "mine", Value: []byte("1")}}},
			key: []byte("k"), own: []kgo.RecordHeader{{Key: "mine", Value: []byte("1")}}, omitted: "8192",
		},
		{
			name: "headers too large", d: job.Delivery{Key: []byte("k"), Value: []byte("v"), Headers: []job.Header{{Key: "mine", Value: large}}},
			key: []byte("k"), omitted: "1", headersGone: "1",
		},
		{name: "key too large", d: job.Delivery{Key: large, Value: []byte("v")}, omitted: "1", headersGone: "0"},
	}
	for _, row := range rows {
		row.d.Source = delivery().Source
		require.NoError(t, p.Publish(t.Context(), &row.d, rejected()), row.name)
	}
	reader := kafka.Client(kgo.ConsumeTopics(kafka.Topic("letters")), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	var records []*kgo.Record
	for len(records) < len(rows) {
		f := reader.PollFetches(t.Context())
		require.NoError(t, f.Err())
		records = append(records, f.Records()...)
	}
	for i, row := range rows {
		r := records[i]
		require.Equal(t, row.key, r.Key, row.name)
		require.Equal(t, row.value, r.Value, row.name)
		require.WithinDuration(t, time.Now(), r.Timestamp, time.Minute, row.name)
		var own []kgo.RecordHeader
		failure := map[string]string{}
		for _, h := range r.Headers {
			if strings.HasPrefix(h.Key, "dlq-") || strings.HasPrefix(h.Key, "__dlq.") {
				require.NotContains(t, failure, h.Key, row.name)
				failure[h.Key] = string(h.Value)
			} else {
				own = append(own, h)
			}
		}
		require.Equal(t, row.own, own, row.name)
		require.Equal(t, "rejected", failure["dlq-reason"], row.name)
		require.Equal(t, row.omitted, failure["dlq-value-omitted"], row.name)
		require.Equal(t, row.headersGone, failure["dlq-headers-omitted"], row.name)
	}
}
