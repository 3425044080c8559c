package deadletter_test

import (
	"encoding/binary"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"replyworker/internal/deadletter"
	"replyworker/internal/job"
)

// letterOf makes the record of a letter, as it is read back.
func letterOf(d *job.Delivery, r job.Result) *job.Delivery {
	m := deadletter.Message(d, r, "group")
	return &job.Delivery{
		Source: job.Source{Topic: lettersTopic, Partition: 2, Offset: 7, Timestamp: failedAt.Add(time.Second)},
		Key:    m.Key, Value: m.Value, Headers: m.Headers,
	}
}

func TestALetterIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	for _, reason := range job.Reasons() {
		t.Run(string(reason), func(t *testing.T) {
			t.Parallel()
			r := rejected()
			r.Reason = reason
			d := record(4, header("dlq-replay-count", "2"), header("dlq-replay-id", "r-1"),
				header("dlq-first-failed-at", "2026-11-22T08:00:00Z"))
			l := deadletter.Parse(letterOf(d, r), job.Strict)
			require.NotZero(t, l.Content)
			l.Content = [32]byte{}
			require.Equal(t, deadletter.Letter{
				ID: deadletter.ID{Partition: 2, Offset: 7}, Timestamp: failedAt.Add(time.Second),
				Source: job.Source{Topic: "reply-jobs", Offset: 4, Timestamp: failedAt.Add(-time.Hour).UTC().Truncate(time.Millisecond)},
				Reason: reason, ErrorCode: "PARAM_ERROR", HTTPStatus: 400, Message: "refused: 参数错误", RequestID: "08F5",
				Attempts: 2, MaybeSent: true, FailedAt: failedAt.UTC(), FirstFailed: time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC),
				ReplayCount: 2, ReplayID: "r-1", ComplaintID: "complaint-4", IdempotentID: "id-4", MchID: "1900000001",
				ExpiresAt: time.Date(2026, 12, 1, 4, 0, 0, 0, time.UTC),
			}, l)
		})
	}
}

// javaInt and javaLong are numbers as Spring writes them.
func javaInt(n int32) []byte  { return binary.BigEndian.AppendUint32(nil, uint32(n)) }
func javaLong(n int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }

func TestLettersOfOthers(t *testing.T) {
	t.Parallel()
	enqueued := time.Date(2026, 11, 23, 7, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name    string
		headers []job.Header
		source  job.Source
		message string
		code    string
	}{
		{
			"Spring",
			[]job.Header{
				header("kafka_dlt-original-topic", "jobs"),
				{Key: "kafka_dlt-original-partition", Value: javaInt(300)},
				{Key: "kafka_dlt-original-offset", Value: javaLong(1 << 40)},
				{Key: "kafka_dlt-original-timestamp", Value: javaLong(enqueued.UnixMilli())},
				header("kafka_dlt-exception-fqcn", "java.lang.IllegalStateException"), header("kafka_dlt-exception-message", "no"),
			},
			job.Source{Topic: "jobs", Partition: 300, Offset: 1 << 40, Timestamp: enqueued},
			"no", "java.lang.IllegalStateException",
		},
		{
			"Connect",
			[]job.Header{
				header("__connect.errors.topic", "jobs"), header("__connect.errors.partition", "3"), header("__connect.errors.offset", "77"),
				header("__connect.errors.exception.class.name", "a.B"), header("__connect.errors.exception.message", "no"),
			},
			job.Source{Topic: "jobs", Partition: 3, Offset: 77},
			"no", "a.B",
		},
		{
			"KIP-1034",
			[]job.Header{
				header("__streams.errors.topic", "jobs"), header("__streams.errors.partition", "3"), header("__streams.errors.offset", "77"),
				header("__streams.errors.exception", "a.B"), header("__streams.errors.message", "no"),
			},
			job.Source{Topic: "jobs", Partition: 3, Offset: 77},
			"no", "a.B",
		},
		{
			"KIP-1191",
			[]job.Header{
				header("__dlq.errors.topic", "jobs"), header("__dlq.errors.partition", "3"), header("__dlq.errors.offset", "77"),
				header("__dlq.errors.group", "share"), header("__dlq.errors.message", "no"),
			},
			job.Source{Topic: "jobs", Partition: 3, Offset: 77},
			"no", "",
		},
		{
			"SmallRye",
			[]job.Header{
				header("dead-letter-topic", "jobs"), header("dead-letter-partition", "3"), header("dead-letter-offset", "77"),
				header("dead-letter-reason", "no"), header("dead-letter-exception-class-name", "a.B"),
			},
			job.Source{Topic: "jobs", Partition: 3, Offset: 77},
			"no", "a.B",
		},
		{"only a message", []job.Header{header("dead-letter-reason", "no")}, job.Source{Partition: -1, Offset: -1}, "no", ""},
		{"no headers", nil, job.Source{Partition: -1, Offset: -1}, "", ""},
		{
			"ours before others'",
			[]job.Header{
				header("dead-letter-topic", "elsewhere"), header("dead-letter-offset", "1"),
				header("__dlq.errors.topic", "jobs"), header("__dlq.errors.partition", "3"), header("__dlq.errors.offset", "77"),
			},
			job.Source{Topic: "jobs", Partition: 3, Offset: 77},
			"", "",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := record(4, tt.headers...)
			d.Source = job.Source{Topic: lettersTopic, Partition: 2, Offset: 7, Timestamp: failedAt}
			l := deadletter.Parse(d, job.Strict)
			require.Equal(t, tt.source, l.Source)
			require.Equal(t, tt.message, l.Message)
			require.Equal(t, tt.code, l.ErrorCode)
			require.Equal(t, failedAt, l.FailedAt, "the letter's own time")
			require.Equal(t, failedAt, l.FirstFailed)
			require.Empty(t, l.Reason)
			require.Equal(t, "id-4", l.IdempotentID)
			require.False(t, l.Invalid)
		})
	}
}

// Whatever stands where a number or a time should, a letter is read, and nothing in it is negative but
// an unknown place.
func TestGarbageInTheHeadersOfALetter(t *testing.T) {
	t.Parallel()
	names := []string{
		"__dlq.errors.partition", "__dlq.errors.offset", "dlq-attempts", "dlq-http-status", "dlq-replay-count", "dlq-maybe-sent",
		"dlq-failed-at", "dlq-first-failed-at", "dlq-enqueued-at", "dlq-reason",
	}
	garbage := []string{"", " 1", "-1", "1e3", "0x10", "99999999999999999999", "١", "\xff\xfe", "null", strings.Repeat("9", 1000), "true "}
	for _, name := range names {
		for _, value := range garbage {
			d := letterOf(record(4), rejected())
			d.Headers = append(d.Headers, header(name, value)) // the last one counts
			l := deadletter.Parse(d, job.Strict)
			where := name + "=" + strconv.Quote(value)
			require.GreaterOrEqual(t, min(l.Attempts, l.HTTPStatus, l.ReplayCount), 0, where)
			require.GreaterOrEqual(t, min(l.Source.Offset, int64(l.Source.Partition)), int64(-1), where)
			require.False(t, l.FailedAt.IsZero(), where)
			require.False(t, l.FirstFailed.IsZero(), where)
			require.Equal(t, "id-4", l.IdempotentID, where)
			if name == "__dlq.errors.offset" {
				require.EqualValues(t, -1, l.Source.Offset, where)
			}
			if name == "dlq-failed-at" {
				require.Equal(t, l.Timestamp, l.FailedAt, where)
			}
		}
	}
}

func TestGarbageInSpringsNumbers(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		value := func(name string) job.Header {
			return job.Header{Key: name, Value: rapid.SliceOfN(rapid.Byte(), 0, 9).Draw(t, name)}
		}
		d := record(4, header("kafka_dlt-original-topic", "jobs"), value("kafka_dlt-original-partition"),
			value("kafka_dlt-original-offset"), value("kafka_dlt-original-timestamp"))
		l := deadletter.Parse(d, job.Strict)
		require.GreaterOrEqual(t, l.Source.Offset, int64(-1))
		require.GreaterOrEqual(t, l.Source.Partition, -1)
		require.LessOrEqual(t, l.Source.Partition, 1<<31-1)
		require.True(t, l.Source.Timestamp.IsZero() || l.Source.Timestamp.Year() >= 1970 && l.Source.Timestamp.Year() <= 9999)
	})
}

func TestLettersWithoutAJob(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name       string
		key, value []byte
	}{
		{"value omitted", []byte("k"), nil},
		{"null key and value", nil, nil},
		{"empty", []byte{}, []byte{}},
		{"no JSON", nil, []byte("hello")},
	} {
		d := letterOf(&job.Delivery{Source: record(4).Source, Key: tt.key, Value: tt.value}, rejected())
		d.Headers = append(d.Headers, header("dlq-value-omitted", "300000"))
		l := deadletter.Parse(d, job.Strict)
		require.True(t, l.Invalid, tt.name)
		require.Zero(t, l.Content, tt.name)
		require.Empty(t, l.IdempotentID, tt.name)
		require.Equal(t, job.ReasonRejected, l.Reason, tt.name)
		require.EqualValues(t, 4, l.Source.Offset, tt.name)
	}
	l := deadletter.Parse(letterOf(&job.Delivery{Value: []byte(`{"complaint_id": "c", "idempotent_id": "i", "mchid": "m"}`)}, rejected()),
		job.Strict)
	require.Equal(t, []string{"c", "i", "m"}, []string{l.ComplaintID, l.IdempotentID, l.MchID}, "what can be read of an invalid job")
	require.True(t, l.Invalid)
}

func TestReplayedJobs(t *testing.T) {
	t.Parallel()
	own := []job.Header{header("traceparent", "00-1"), {Key: "null"}, header("twice", "1"), header("twice", "2")}
	for _, key := range [][]byte{nil, {}, []byte("\xff\x00")} {
		first := record(4, own...)
		first.Key = key
		d := letterOf(first, rejected())
		d.Headers = append(d.Headers, header("kafka_dlt-original-topic", "x"), header("__connect.errors.stage", "x"))
		l := deadletter.Parse(d, job.Strict)
		m := deadletter.Replayed(d, &l, "r-1")
		require.Equal(t, key, m.Key)
		require.Equal(t, key == nil, m.Key == nil)
		require.Equal(t, first.Value, m.Value)
		require.Equal(t, append(slices.Clip(own), header("dlq-replay-count", "1"), header("dlq-replay-id", "r-1"),
			header("dlq-first-failed-at", "2026-11-23T08:00:00.123456789Z")), m.Headers)

		// It fails again: the new letter remembers all of it.
		again := rejected()
		again.FinishedAt = failedAt.Add(time.Hour)
		second := &job.Delivery{Source: job.Source{Topic: "reply-jobs", Offset: 9}, Key: m.Key, Value: m.Value, Headers: m.Headers}
		l = deadletter.Parse(letterOf(second, again), job.Strict)
		require.Equal(t, 1, l.ReplayCount)
		require.Equal(t, "r-1", l.ReplayID)
		require.Equal(t, failedAt.UTC(), l.FirstFailed)
		require.Equal(t, failedAt.Add(time.Hour).UTC(), l.FailedAt)
	}
}

func TestIDs(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		id := deadletter.ID{Partition: rapid.IntRange(0, 1<<31-1).Draw(t, "partition"), Offset: rapid.Int64Min(0).Draw(t, "offset")}
		again, err := deadletter.ParseID(id.String())
		require.NoError(t, err)
		require.Equal(t, id, again)
	})
	for _, text := range []string{"", "3", "3/", "/3", "-1/3", "3/-1", "2147483648/1", "1/9223372036854775808", "1/2/3", "a/b", " 1/2"} {
		_, err := deadletter.ParseID(text)
		require.ErrorContains(t, err, "is no dead letter; one is named by its PARTITION/OFFSET", text)
	}
}
