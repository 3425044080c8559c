package app_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"replyworker/internal/dedupe"
	"replyworker/internal/devstack"
	"replyworker/internal/job"
)

const redelivered = 200_000

// BenchmarkRedelivered delivers finished jobs again, as a rebalance before a commit does, and tells how many
// of them a worker in a process of its own passes over in a second. On real servers:
//
//	go run ./test/servers/with -kafka 1 -redis alone -- go test ./internal/app -run '^$' -bench Redelivered -benchtime 1x
func BenchmarkRedelivered(b *testing.B) {
	for range b.N {
		s := newBench(b, 6)
		before := redisMemory(b, s)
		s.finish(redelivered)
		b.ReportMetric((redisMemory(b, s)-before)/redelivered, "redis-B/claim")
		p := startProcess(b, s, buildWorker(b), newQuickAPI(b, s.stack.Materials, 0))
		var began time.Time
		var first float64
		require.Eventually(b, func() bool {
			done := p.metrics().passedOver()
			if first == 0 && done > 0 {
				began, first = time.Now(), done
			}
			return done == redelivered
		}, time.Minute, 10*time.Millisecond)
		b.ReportMetric((redelivered-first)/time.Since(began).Seconds(), "jobs/s")
		b.ReportMetric(1e6*p.cpu().Seconds()/redelivered, "cpu-us/job")
		b.ReportMetric(residentMiB(b, p.pid), "MiB-resident")
		p.kill()
	}
}

// redisMemory is what Redis takes, its own tables of keys included; 0 with an embedded one.
func redisMemory(b *testing.B, s *bench) float64 {
	b.Helper()
	addr := s.redisAddr()
	if addr == "" {
		return 0
	}
	return redisInfo(b, addr, "memory")["used_memory"]
}

// finish produces n jobs and makes Redis know them as finished, and their outcomes as published.
func (b *bench) finish(n int) {
	b.t.Helper()
	store := b.stack.Redis.Store()
	const batch = 5_000
	for from := 0; from < n; from += batch {
		records := make([]*kgo.Record, min(batch, n-from))
		for i := range records {
			records[i] = &kgo.Record{
				Topic: b.stack.Kafka.Topic(devstack.TopicJobs), Partition: int32((from + i) % b.partitions), Value: costValue(from + i),
			}
		}
		require.NoError(b.t, b.kafka.ProduceSync(b.t.Context(), records...).FirstErr())
		successes := make([]dedupe.Success, len(records))
		for i, r := range records {
			j, err := job.Decode(r.Value, job.Strict)
			require.NoError(b.t, err)
			source := job.Source{Topic: r.Topic, Partition: int(r.Partition), Offset: r.Offset, Timestamp: r.Timestamp}
			successes[i] = dedupe.Success{
				Key:    dedupe.Key{MchID: b.stack.Materials.MchID, IdempotentID: j.IdempotentID},
				Source: source.ID(), Content: j.ContentSHA256(), LogID: strconv.Itoa(from + i), Attempts: 1, FinishedAt: time.Now(),
			}
		}
		for _, r := range store.Restore(b.t.Context(), successes, true) {
			require.NoError(b.t, r.Err)
		}
	}
}

// passedOver is how many records the worker has fetched and is through with.
func (m metrics) passedOver() (n float64) {
	for name, v := range m {
		switch {
		case strings.HasPrefix(name, "replyworker_jobs_consumed_total"):
			n += v
		case strings.HasPrefix(name, "replyworker_partition_unfinished_jobs"):
			n -= v
		}
	}
	return n
}
