package app_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"replyworker/internal/devstack"
	"replyworker/internal/wxsim"
)

// The measures of the project, as ratios where they can be. Run them with
//
//	go test ./internal/app -run '^$' -bench . -benchtime 1x
//
// They say what is, and judge nothing: the machine they run on is shared.

// BenchmarkOnePartition sends jobs of one partition to an API that takes 500 ms, 100 at once: the
// ideal is 200 jobs/s.
func BenchmarkOnePartition(b *testing.B) {
	const jobs, slots = 2_000, 100
	latency := 500 * time.Millisecond
	for range b.N {
		s := newBench(b, 1)
		require.NoError(b, s.stack.Sim.Set(wxsim.Fault{Kind: wxsim.KindLatency, Delay: latency}))
		s.produceAll(jobs, func(i int) []byte { return jobValue(fmt.Sprintf("c%d", i), fmt.Sprintf("id%d", i), "hello", nil) })
		w := s.run(map[string]string{"REPLYWORKER_CONCURRENCY": strconv.Itoa(slots), "REPLYWORKER_REQUEST_TIMEOUT": "10s"})
		s.outcomes(jobs)
		require.NoError(b, w.stop())
		effects := s.stack.Sim.Effects()
		// Calls come in waves, one of all slots every 500 ms: from the first effect of the first wave to
		// the first of the last.
		took := effects[jobs-slots].Time.Sub(effects[0].Time)
		rate := float64(jobs-slots) / took.Seconds()
		ideal := float64(slots) / latency.Seconds()
		b.ReportMetric(rate, "jobs/s")
		b.ReportMetric(100*rate/ideal, "%ideal")
	}
}

// BenchmarkProduceToRequest sends single jobs without other load: how long from the producer's call
// to the API's receipt.
func BenchmarkProduceToRequest(b *testing.B) {
	const jobs = 500
	for range b.N {
		s := newBench(b, 1)
		w := s.run(nil)
		s.produce(0, jobValue("warm-up", "warm-up", "hello", nil))
		s.outcomes(1)
		began := map[string]time.Time{}
		for i := range jobs {
			id := fmt.Sprintf("id%d", i)
			began[id] = time.Now()
			s.produce(0, jobValue(fmt.Sprintf("c%d", i), id, "hello", nil))
			require.Eventually(b, func() bool {
				_, done := s.stack.Sim.Effect(s.stack.Materials.MchID, id)
				return done
			}, 5*time.Second, time.Millisecond)
		}
		require.NoError(b, w.stop())
		var waits []float64
		for _, c := range s.stack.Sim.Calls() {
			if t, ok := began[c.IdempotentID]; ok {
				waits = append(waits, float64(c.Time.Sub(t).Microseconds())/1000)
			}
		}
		slices.Sort(waits)
		b.ReportMetric(waits[len(waits)/2], "p50-ms")
		b.ReportMetric(waits[len(waits)*99/100], "p99-ms")
	}
}

// BenchmarkWaitingJobs lets 200,000 jobs wait for an API that does not answer, and reads the most
// memory that the worker's process has had resident.
func BenchmarkWaitingJobs(b *testing.B) {
	const jobs = 200_000
	binary := buildWorker(b)
	for range b.N {
		s := newBench(b, 6)
		require.NoError(b, s.stack.Sim.Set(wxsim.Fault{Kind: wxsim.KindHang}))
		s.produceAll(jobs, func(i int) []byte { return jobValue(fmt.Sprintf("c%d", i), fmt.Sprintf("id%d", i), "hello", nil) })
		ctx, cancel := context.WithCancel(b.Context())
		cmd := exec.CommandContext(ctx, binary, "run")
		cmd.Env = append(s.stack.Env(), "REPLYWORKER_ADMIN_ADDR=127.0.0.1:0", "REPLYWORKER_REQUEST_TIMEOUT=60s")
		require.NoError(b, cmd.Start())
		// The buffers are full when the first calls hang and the fetchers are paused.
		require.Eventually(b, func() bool { return s.stack.Sim.Stats().InFlight > 0 }, 20*time.Second, 10*time.Millisecond)
		settled, last := 0, -1.0
		require.Eventually(b, func() bool {
			now := residentMiB(b, cmd.Process.Pid)
			if now == last {
				settled++
			} else {
				settled, last = 0, now
			}
			return settled >= 20
		}, time.Minute, 100*time.Millisecond)
		b.ReportMetric(last, "MiB-resident")
		cancel()
		_ = cmd.Wait() // it was killed
	}
}

func buildWorker(b *testing.B) string {
	b.Helper()
	binary := filepath.Join(b.TempDir(), "worker")
	cmd := exec.CommandContext(b.Context(), "go", "build", "-o", binary, "replyworker/cmd/worker")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as the Makefile does
	out, err := cmd.CombinedOutput()
	require.NoError(b, err, string(out))
	return binary
}

// residentMiB is the peak of a process's own resident memory. (ru_maxrss of a child counts what its
// parent had before exec.)
func residentMiB(b *testing.B, pid int) float64 {
	b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(b, err)
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.Atoi(strings.Fields(rest)[0])
			require.NoError(b, err)
			return float64(kib) / 1024
		}
	}
	b.Fatal("no VmHWM: the measure needs Linux")
	return 0
}

// produceAll produces n jobs in bulk, over all partitions in turn.
func (b *bench) produceAll(n int, value func(i int) []byte) {
	b.t.Helper()
	partitions := b.partitions
	records := make([]*kgo.Record, n)
	for i := range records {
		records[i] = &kgo.Record{Topic: b.stack.Kafka.Topic(devstack.TopicJobs), Partition: int32(i % partitions), Value: value(i)}
	}
	require.NoError(b.t, b.kafka.ProduceSync(b.t.Context(), records...).FirstErr())
}
