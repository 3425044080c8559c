package cli_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"replyworker/internal/cli"
	"replyworker/internal/dedupe"
	"replyworker/internal/devstack"
	"replyworker/internal/outcome"
	"replyworker/internal/stacktest"
	"replyworker/internal/wxsim"
)

// plant is a stack whose worker runs through the command line, and whose Redis can lose everything.
type plant struct {
	*stacktest.Stack

	t     *testing.T
	redis *miniredis.Miniredis
	env   []string
}

func newPlant(t *testing.T, partitions int) *plant {
	t.Helper()
	stack := stacktest.New(t, partitions)
	return &plant{
		Stack: stack, t: t, redis: stack.Redis.Embedded("to lose everything").Mini(),
		env: append(stack.Env(), "REPLYWORKER_ADMIN_ADDR=127.0.0.1:0"),
	}
}

// start runs a worker until stop is called, or the test ends.
func (p *plant) start(flags ...string) (stop func()) {
	p.t.Helper()
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(p.t.Context()))
	done := make(chan int, 1)
	var log safeBuilder
	go func() {
		done <- cli.Run(ctx, append([]string{"run"}, flags...), p.env, strings.NewReader(""), io.Discard, &log)
	}()
	stop = sync.OnceFunc(func() {
		cancel(cli.ErrInterrupted)
		require.Equal(p.t, 0, <-done, "%s", &log)
	})
	p.t.Cleanup(stop)
	return stop
}

// safeBuilder takes the log of a worker, which many goroutines write.
type safeBuilder struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *safeBuilder) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *safeBuilder) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// enqueue produces jobs, a line each.
func (p *plant) enqueue(lines ...string) {
	p.t.Helper()
	got := runWith(p.t.Context(), p.env, strings.NewReader(strings.Join(lines, "\n")), "enqueue")
	require.Equal(p.t, 0, got.status, got.stderr)
}

// told is an outcome with the identity of its job record.
type told struct {
	outcome.Event

	record string
}

// outcomes waits until there are n outcomes, and no more, and returns them in the order of each partition.
func (p *plant) outcomes(n int) []told {
	p.t.Helper()
	all := p.someOutcomes(n)
	require.Len(p.t, all, n, "outcomes")
	return all
}

// someOutcomes waits until there are n outcomes or more.
func (p *plant) someOutcomes(n int) []told {
	p.t.Helper()
	reader := p.Kafka.Client(kgo.ConsumeTopics(p.Kafka.Topic(devstack.TopicOutcomes)),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	ctx, cancel := context.WithTimeout(p.t.Context(), 60*time.Second)
	defer cancel()
	var all []told
	for len(all) < n && ctx.Err() == nil {
		for _, r := range reader.PollFetches(ctx).Records() {
			var o told
			require.NoError(p.t, json.Unmarshal(r.Value, &o.Event))
			at := slices.IndexFunc(r.Headers, func(h kgo.RecordHeader) bool { return h.Key == "ce_id" })
			o.record = string(r.Headers[at].Value)
			all = append(all, o)
		}
	}
	require.GreaterOrEqual(p.t, len(all), n, "outcomes")
	return all
}

// rebuilt is the line of `dedupe rebuild -o json`, without the time it took.
type rebuilt struct {
	Read, Restored, Present, Disagreeing, Unreadable, Other int

	TooOld int  `json:"too_old"`
	DryRun bool `json:"dry_run"`
}

// rebuildEnv leaves out what the command must not need: merchants and the API.
func (p *plant) rebuildEnv() []string {
	return slices.DeleteFunc(slices.Clone(p.env), func(line string) bool {
		return !strings.HasPrefix(line, "REPLYWORKER_KAFKA_") && !strings.HasPrefix(line, "REPLYWORKER_REDIS_") &&
			!strings.HasPrefix(line, "REPLYWORKER_TOPIC_")
	})
}

func (p *plant) rebuild(flags ...string) rebuilt {
	p.t.Helper()
	got := run(p.t, p.rebuildEnv(), append([]string{"dedupe", "rebuild", "-o", "json"}, flags...)...)
	require.Equal(p.t, 0, got.status, got.stderr)
	var row rebuilt
	require.NoError(p.t, json.Unmarshal([]byte(got.stdout), &row), got.stdout)
	return row
}

func lines(n int, text string) []string {
	var all []string
	for i := range n {
		all = append(all, jobLine(fmt.Sprintf("complaint-%d", i%7), fmt.Sprintf("id-%03d", i), text))
	}
	return all
}

func statuses(all []told) map[string]int {
	count := map[string]int{}
	for _, o := range all {
		count[strings.TrimSuffix(string(o.Status)+" "+string(o.Reason), " ")]++
	}
	return count
}

// TestDedupeRebuild loses Redis, restores it from the outcomes, and holds that every kind of record is
// answered as if nothing had been lost, without a call.
func TestDedupeRebuild(t *testing.T) {
	t.Parallel()
	const n = 25
	p := newPlant(t, 3)
	stop := p.start()
	p.enqueue(lines(n, "hello")...)
	first := map[string]told{}
	for _, o := range p.outcomes(n) {
		first[o.IdempotentID] = o
	}
	require.Len(t, first, n)
	stop()

	p.redis.FlushAll()
	require.Equal(t, rebuilt{Read: n, Restored: n, DryRun: true}, p.rebuild("--dry-run"))
	require.Empty(t, p.redis.Keys(), "it was only asked")
	require.Equal(t, rebuilt{}, p.rebuild("--since", time.Now().Add(time.Hour).Format(time.RFC3339)))
	require.Equal(t, rebuilt{Read: n, Restored: n}, p.rebuild("--since", "1h"))
	require.Equal(t, rebuilt{Read: n, Present: n}, p.rebuild(), "it may be run again")

	calls := len(p.Sim.Calls())
	stop = p.start()
	p.enqueue(lines(n, "hello")...)
	p.enqueue(lines(5, "something else")...)
	p.enqueue(jobLine("complaint-0", "new", "hello"))
	all := p.outcomes(2*n + 6)
	require.Equal(t, map[string]int{"succeeded": n + 1, "duplicate": n, "failed idempotency_conflict": 5}, statuses(all))
	for _, o := range all {
		if o.Status == "duplicate" {
			require.Equal(t, first[o.IdempotentID].LogID, o.LogID)
		}
	}
	require.Len(t, p.Sim.Calls(), calls+1, "only the new job is called for")
	stop()
	require.Equal(t, rebuilt{Read: 2*n + 6, Present: n + 1, Other: n + 5}, p.rebuild())

	// All records are delivered again. Those that succeeded have nothing left to be published.
	p.redis.FlushAll()
	require.Equal(t, rebuilt{Read: 2*n + 6, Restored: n + 1, Other: n + 5}, p.rebuild())
	stop = p.start("--kafka-group", p.Kafka.Group("another"))
	again := p.outcomes(2*n + 6 + n + 5)
	stop()
	require.Len(t, p.Sim.Calls(), calls+1, "nothing is called for")
	verdicts := map[string]string{}
	for _, o := range again {
		verdict := fmt.Sprint(o.Status, o.Reason, o.LogID)
		if before, told := verdicts[o.record]; told {
			require.Equal(t, before, verdict, "record %s contradicts itself", o.record)
		}
		verdicts[o.record] = verdict
	}
	require.Len(t, verdicts, 2*n+6)
	require.Len(t, p.Sim.Effects(), n+1)
}

// TestDedupeRebuildBesideAWorker loses Redis again and again under a worker that is sending, with
// several rebuilds beside it. No reply is sent twice, and nothing is said twice differently.
func TestDedupeRebuildBesideAWorker(t *testing.T) {
	t.Parallel()
	const ids, rounds = 40, 3
	p := newPlant(t, 2)
	require.NoError(t, p.Sim.Set(wxsim.Fault{Kind: wxsim.KindLatency, Delay: 5 * time.Millisecond}))
	stop := p.start("--concurrency", "8")
	for round := range rounds {
		p.enqueue(lines(ids, "hello")...)
		p.someOutcomes(round*ids + ids/2) // the others are under way
		p.redis.FlushAll()
		var both sync.WaitGroup
		for range 2 {
			both.Go(func() { p.rebuild() })
		}
		both.Wait()
	}
	all := p.outcomes(rounds * ids)
	stop()
	records, logIDs := map[string]bool{}, map[string]string{}
	for _, o := range all {
		require.False(t, records[o.record], "two outcomes of record %s", o.record)
		records[o.record] = true
		require.Contains(t, []string{"succeeded", "duplicate"}, string(o.Status))
		if before, known := logIDs[o.IdempotentID]; known {
			require.Equal(t, before, o.LogID, "two log_ids for %s", o.IdempotentID)
		}
		logIDs[o.IdempotentID] = o.LogID
	}
	require.Len(t, logIDs, ids)
	require.Len(t, p.Sim.Effects(), ids, "each reply once")

	last := p.rebuild()
	require.Zero(t, last.Disagreeing)
	require.Equal(t, rounds*ids, last.Read)
	store := p.Redis.Store()
	for id, logID := range logIDs {
		rec, found, err := store.Lookup(t.Context(), dedupe.Key{MchID: p.Materials.MchID, IdempotentID: id})
		require.NoError(t, err)
		require.True(t, found)
		require.Equal(t, dedupe.StateDone, rec.State)
		require.Equal(t, logID, rec.LogID)
	}
}
