package rebuild_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"replyworker/internal/dedupe"
	"replyworker/internal/devstack"
	"replyworker/internal/kafkaio"
	"replyworker/internal/rebuild"
	"replyworker/internal/stacktest"
)

// BenchmarkRebuild restores claims from the outcomes of a topic, and then finds them present. What it
// says of a Redis is only true of a real one, which TEST_SERVERS names:
//
//	go test ./internal/rebuild -run '^$' -bench Rebuild -benchtime 1x
func BenchmarkRebuild(b *testing.B) {
	const partitions = 8
	n := 100_000
	const topic = devstack.TopicOutcomes
	kafka, err := devstack.StartKafka(devstack.KafkaConfig{Topics: map[string]int{topic: partitions}})
	require.NoError(b, err)
	b.Cleanup(kafka.Close)
	producer, err := kgo.NewClient(kgo.SeedBrokers(kafka.Addr()), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	require.NoError(b, err)
	b.Cleanup(producer.Close)
	client, err := kafkaio.NewClient(kafkaio.Config{Brokers: []string{kafka.Addr()}})
	require.NoError(b, err)
	b.Cleanup(client.Close)
	if os.Getenv(stacktest.Variable) == "" {
		n = 2_000 // an embedded one takes half a millisecond for each
	}
	var records []*kgo.Record
	for i := range n {
		r := succeeded(fmt.Sprintf("30028532021032217000%07d", i))
		r.StartedAt, r.FinishedAt = time.Now(), time.Now()
		d := outcomeOf(b, int64(i), jobOf(b, fmt.Sprintf("550e8400-e29b-41d4-a716-%012d", i), "hello"), r)
		record := &kgo.Record{Topic: topic, Partition: int32(i % partitions), Key: d.Key, Value: d.Value}
		for _, h := range d.Headers {
			record.Headers = append(record.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
		}
		records = append(records, record)
	}
	require.NoError(b, producer.ProduceSync(b.Context(), records...).FirstErr())
	for range b.N {
		store := stacktest.NewRedis(b).Store()
		restored := timed(b, client, store)
		require.EqualValues(b, n, restored.Restored)
		b.ReportMetric(float64(n)/restored.seconds, "restored/s")
		present := timed(b, client, store)
		require.EqualValues(b, n, present.Present)
		b.ReportMetric(float64(n)/present.seconds, "present/s")
	}
}

type timedReport struct {
	rebuild.Report

	seconds float64
}

func timed(b *testing.B, client *kafkaio.Client, store *dedupe.Store) timedReport {
	b.Helper()
	began := time.Now()
	spans, err := client.Spans(b.Context(), devstack.TopicOutcomes, time.Time{})
	require.NoError(b, err)
	report, err := rebuild.Run(b.Context(), rebuild.Config{Outcomes: client, Spans: spans, Claims: store, Patience: patience})
	require.NoError(b, err)
	return timedReport{report, time.Since(began).Seconds()}
}
