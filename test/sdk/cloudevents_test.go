package sdk_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/cloudevents/sdk-go/protocol/kafka_sarama/v2"
	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/stretchr/testify/require"

	"replyworker/internal/job"
	"replyworker/internal/kafkaio"
	"replyworker/internal/outcome"
)

const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// read reads a record as the CloudEvents SDK does that comes from Kafka.
func read(t *testing.T, key, value []byte, headers []job.Header) *event.Event {
	t.Helper()
	record := &sarama.ConsumerMessage{Topic: "reply-outcomes", Key: key, Value: value}
	for _, h := range headers {
		record.Headers = append(record.Headers, &sarama.RecordHeader{Key: []byte(h.Key), Value: h.Value})
	}
	message := kafka_sarama.NewMessageFromConsumerMessage(record)
	require.Equal(t, binding.EncodingBinary, message.ReadEncoding())
	e, err := binding.ToEvent(t.Context(), message)
	require.NoError(t, err)
	require.NoError(t, e.Validate())
	return e
}

// published is the record that is published of an end.
func published(t *testing.T, d *job.Delivery, j *job.Job, r job.Result) kafkaio.Message {
	t.Helper()
	m, err := outcome.Message(d, outcome.New(d, j, r), "reply worker", r.FinishedAt)
	require.NoError(t, err)
	return m
}

// ends are a job record, its job, and every status and reason in which it can end.
func ends(t *testing.T) (*job.Delivery, *job.Job, []job.Result) {
	t.Helper()
	at := time.Date(2026, 11, 23, 8, 0, 0, 123e6, time.UTC)
	d := &job.Delivery{
		Source: job.Source{Topic: "reply-jobs", Partition: 3, Offset: 1041, Timestamp: at},
		Headers: []job.Header{
			{Key: "traceparent", Value: []byte(trace)}, {Key: "tracestate", Value: []byte("vendor=1")},
			{Key: "ce_id", Value: []byte("the job's own")}, {Key: "content-type", Value: []byte("text/plain")},
		},
	}
	j, err := job.Decode([]byte(`{"complaint_id":"`+complaintID+`/ \u6295","complainted_mchid":"1900012181",`+
		`"idempotent_id":"550e8400","message":{},"labels":{"team":"\u9000\u6b3e <&>"}}`), job.Strict)
	require.NoError(t, err)
	result := func(s job.Status, r job.Reason) job.Result {
		return job.Result{Status: s, Reason: r, StartedAt: at.Add(12 * time.Millisecond), FinishedAt: at.Add(252 * time.Millisecond)}
	}
	var all []job.Result
	for _, s := range job.Statuses() {
		if s != job.StatusFailed {
			all = append(all, result(s, job.ReasonNone))
			continue
		}
		for _, r := range job.Reasons() {
			all = append(all, result(s, r))
		}
	}
	return d, j, all
}

func TestOutcomesAreCloudEvents(t *testing.T) {
	t.Parallel()
	d, j, results := ends(t)
	for _, r := range results {
		t.Run(string(r.Status)+" "+string(r.Reason), func(t *testing.T) {
			t.Parallel()
			m := published(t, d, j, r)
			e := read(t, m.Key, m.Value, m.Headers)
			require.Equal(t, event.CloudEventsVersionV1, e.SpecVersion())
			require.Equal(t, "reply-jobs/3/1041/1795420800123", e.ID())
			require.Equal(t, "/replyworker/reply%20worker", e.Source())
			require.Equal(t, "replyworker.reply."+string(r.Status)+".v1", e.Type())
			require.Equal(t, complaintID+"/ \u6295", e.Subject())
			require.True(t, r.FinishedAt.Equal(e.Time()), e.Time())
			require.Equal(t, event.ApplicationJSON, e.DataContentType())
			require.Empty(t, e.DataSchema())
			require.ElementsMatch(t, []string{"kafkaoffset", "kafkapartition", "kafkatopic"},
				slices.Collect(maps.Keys(e.Extensions())), "what the SDK adds itself, and no header of ours")
			var got, want outcome.Event
			require.NoError(t, e.DataAs(&got))
			require.NoError(t, json.Unmarshal(m.Value, &want))
			require.Equal(t, want, got)
			require.Equal(t, outcome.New(d, j, r), got)
		})
	}
}

// TestRepeatsAreTheSameEvent: consumers that drop repeats by source and id, as CloudEvents has it, drop
// the repeats of ours.
func TestRepeatsAreTheSameEvent(t *testing.T) {
	t.Parallel()
	d, j, results := ends(t)
	once := published(t, d, j, results[0])
	later := results[0]
	later.FinishedAt = later.FinishedAt.Add(time.Minute)
	again := published(t, d, j, later)
	a, b := read(t, once.Key, once.Value, once.Headers), read(t, again.Key, again.Value, again.Headers)
	require.Equal(t, a.Source()+a.ID(), b.Source()+b.ID())
	other := *d
	other.Source.Offset++
	m := published(t, &other, j, results[0])
	require.NotEqual(t, a.ID(), read(t, m.Key, m.Value, m.Headers).ID())
}

func TestWhatIsNotKnownIsNoAttribute(t *testing.T) {
	t.Parallel()
	d := &job.Delivery{Source: job.Source{Topic: "reply-jobs", Timestamp: time.UnixMilli(-1)}, Key: []byte("\xff")}
	m := published(t, d, &job.Job{}, job.Result{
		Status: job.StatusFailed, Reason: job.ReasonInvalidJob, FinishedAt: time.Now(),
	})
	e := read(t, m.Key, m.Value, m.Headers)
	require.Empty(t, e.Subject())
	require.Equal(t, "reply-jobs/0/0/-1", e.ID())
}

// TestTheCorpusIsCloudEvents: so is all that was ever published.
func TestTheCorpusIsCloudEvents(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../internal/outcome/testdata/corpus/*/*.json")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		value, err := os.ReadFile(file)
		require.NoError(t, err)
		text, err := os.ReadFile(strings.TrimSuffix(file, ".json") + ".headers")
		require.NoError(t, err)
		var headers []job.Header
		for line := range strings.Lines(string(text)) {
			name, text, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
			headers = append(headers, job.Header{Key: name, Value: []byte(text)})
		}
		e := read(t, nil, value, headers)
		var data outcome.Event
		require.NoError(t, e.DataAs(&data), file)
		require.Equal(t, "replyworker.reply."+string(data.Status)+".v1", e.Type(), file)
		require.Equal(t, data.ComplaintID, e.Subject(), file)
	}
}
