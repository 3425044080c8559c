package app_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"replyworker/internal/devstack"
	"replyworker/internal/wxsim"
)

// ordered checks that each complaint's replies took effect in the order of their jobs.
func (b *bench) ordered(byComplaint map[string][]string) {
	b.t.Helper()
	for complaint, want := range byComplaint {
		var got []string
		for _, e := range b.stack.Sim.Effects() {
			if e.ComplaintID == complaint {
				got = append(got, e.IdempotentID)
			}
		}
		require.Equal(b.t, want, got, "the order of effects of %s", complaint)
	}
}

// TestARestartWithParkedJobs: attempts are remembered, and jobs that wait are not called before
// their time.
func TestARestartWithParkedJobs(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2)
	require.NoError(t, b.stack.Sim.Set(wxsim.Fault{Kind: wxsim.KindStatus, Status: 500}))
	settings := map[string]string{"REPLYWORKER_RETRY_INITIAL": "2s", "REPLYWORKER_RETRY_MAX": "3s"}
	w := b.run(settings)
	jobs := ids("job", 20)
	b.give(jobs...)
	before := map[string]int{} // calls; once each, unless the machine is slow
	b.eventually("each has been tried", func() bool {
		for _, id := range jobs {
			before[id] = len(b.callsOf(id))
		}
		return !slices.Contains(slices.Collect(maps.Values(before)), 0)
	})
	require.NoError(t, w.stop())
	for _, id := range jobs {
		before[id] = len(b.callsOf(id))
	}
	require.NoError(t, b.stack.Sim.Clear())
	w = b.run(settings)
	for id, e := range b.succeeded(jobs) {
		calls := b.callsOf(id)
		require.Len(t, calls, before[id]+1, id)
		require.Equal(t, len(calls), e.Attempts, "attempts of %s are remembered", id)
		require.True(t, e.MaybeSent, id)
		for i := range calls[1:] {
			gap := calls[i+1].Time.Sub(calls[i].Time)
			require.GreaterOrEqual(t, gap, 900*time.Millisecond, "%s was called before its time", id)
		}
	}
	require.NoError(t, w.stop())
}

// TestWorkersComeAndGo: under load one worker joins and another leaves. No job is lost, none is sent
// twice, and each complaint's replies stay in order.
func TestWorkersComeAndGo(t *testing.T) {
	t.Parallel()
	const partitions, jobs, complaints = 4, 400, 40
	b := newBench(t, partitions)
	require.NoError(t, b.stack.Sim.Set(
		wxsim.Fault{Kind: wxsim.KindLatency, Delay: 20 * time.Millisecond, Jitter: 60 * time.Millisecond},
		wxsim.Fault{Kind: wxsim.KindStatus, Status: 500, Probability: 0.05},
		wxsim.Fault{Kind: wxsim.KindReset, Probability: 0.03},
		wxsim.Fault{Kind: wxsim.KindReset, AfterEffect: true, Probability: 0.02},
	))
	settings := map[string]string{"REPLYWORKER_CONCURRENCY": "8", "REPLYWORKER_RETRY_ATTEMPTS": "20"}
	byComplaint := map[string][]string{}
	var all []string
	for i := range jobs {
		c := i % complaints
		complaint, id := fmt.Sprintf("complaint-%02d", c), fmt.Sprintf("job-%03d", i)
		byComplaint[complaint] = append(byComplaint[complaint], id)
		all = append(all, id)
		b.produce(int32(c%partitions), jobValue(complaint, id, "hello", nil))
	}
	done := func() int { return int(b.stack.Sim.Stats().Effects) }
	first := b.run(settings)
	b.eventually("a quarter", func() bool { return done() >= jobs/4 })
	second := b.run(settings)
	b.eventually("a half", func() bool { return done() >= jobs/2 })
	require.NoError(t, first.stop())
	b.eventually("three quarters", func() bool { return done() >= 3*jobs/4 })
	third := b.run(settings)
	b.succeeded(all)
	b.ordered(byComplaint)
	b.eventually("all is committed", func() bool {
		var n int64
		for p := range partitions {
			n += b.committed(int32(p))
		}
		return n == jobs
	})
	require.NoError(t, second.stop())
	require.NoError(t, third.stop())
	require.Zero(t, b.stack.Sim.Stats().Conflicts)
	lost := b.stack.Sim.Stats().Faults[wxsim.KindReset]
	require.LessOrEqual(t, b.stack.Sim.Stats().Repeats, lost, "replies are only sent again where their answer was lost")
	require.EqualValues(t, jobs, b.count(devstack.TopicOutcomes), "nobody was killed: each record has one outcome")
}

// TestWorkersShareTheRate holds that two workers together keep to rate: in no second of the API's
// clock are there more calls than that, the two bursts of a tenth of a second, and as many again that a
// busy machine has held back.
func TestWorkersShareTheRate(t *testing.T) {
	t.Parallel()
	const rate, jobs = 40, 120
	b := newBench(t, 2)
	b.produceAll(jobs, func(i int) []byte { return jobValue(fmt.Sprintf("c%d", i), fmt.Sprintf("id%d", i), "hello", nil) })
	settings := map[string]string{"REPLYWORKER_RATE": "40"}
	b.run(settings)
	b.run(settings)
	b.outcomes(jobs)
	calls := b.stack.Sim.Calls()
	require.GreaterOrEqual(t, len(calls), jobs)
	for i, first := range calls {
		n := 0
		for _, c := range calls[i:] {
			if c.Time.Sub(first.Time) < time.Second {
				n++
			}
		}
		require.LessOrEqual(t, n, rate+4*rate/10, "calls within a second of call %d", i)
	}
}

// produceAll produces n jobs in bulk, over all partitions in turn.
func (b *bench) produceAll(n int, value func(i int) []byte) {
	b.t.Helper()
	records := make([]*kgo.Record, n)
	for i := range records {
		records[i] = &kgo.Record{Topic: b.stack.Kafka.Topic(devstack.TopicJobs), Partition: int32(i % b.partitions), Value: value(i)}
	}
	require.NoError(b.t, b.kafka.ProduceSync(b.t.Context(), records...).FirstErr())
}
