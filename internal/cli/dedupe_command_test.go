package cli_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"replyworker/internal/cli"
	"replyworker/internal/dedupe"
	"replyworker/internal/devstack"
	"replyworker/internal/job"
	"replyworker/internal/outcome"
	"replyworker/internal/stacktest"
)

// outcomesTopic is a Kafka with outcomes that the test writes itself, and a Redis.
type outcomesTopic struct {
	t     *testing.T
	kafka *stacktest.Kafka
	redis *stacktest.Redis
	name  string
	env   []string
}

func newOutcomesTopic(t *testing.T, partitions int) *outcomesTopic {
	t.Helper()
	kafka := stacktest.NewKafka(t, map[string]int{devstack.TopicOutcomes: partitions})
	redis, name := stacktest.NewRedis(t), kafka.Topic(devstack.TopicOutcomes)
	return &outcomesTopic{t, kafka, redis, name, append(append(kafka.Env(), redis.Env()...),
		"REPLYWORKER_TOPIC_OUTCOMES="+name, "REPLYWORKER_START_TIMEOUT=1s")}
}

func (o *outcomesTopic) put(records ...*kgo.Record) {
	o.t.Helper()
	client := o.kafka.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	for _, r := range records {
		r.Topic = o.name
	}
	require.NoError(o.t, client.ProduceSync(o.t.Context(), records...).FirstErr())
}

// succeeded is the outcome of the job record at an offset.
func succeeded(t *testing.T, partition int32, offset int64, id, logID string) *kgo.Record {
	t.Helper()
	now := time.Now()
	j, err := job.Decode([]byte(jobLine("c", id, "hello")), job.Strict)
	require.NoError(t, err)
	j.MchID = "1900000001"
	d := &job.Delivery{Source: job.Source{Topic: "reply-jobs", Offset: offset, Timestamp: now}}
	r := job.Result{Status: job.StatusSucceeded, LogID: logID, Attempts: 1, StartedAt: now, FinishedAt: now}
	m, err := outcome.Message(d, outcome.New(d, j, r), "group", now)
	require.NoError(t, err)
	record := &kgo.Record{Partition: partition, Key: m.Key, Value: m.Value}
	for _, h := range m.Headers {
		record.Headers = append(record.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	return record
}

func (o *outcomesTopic) rebuild(args ...string) result {
	o.t.Helper()
	return run(o.t, o.env, append([]string{"dedupe", "rebuild"}, args...)...)
}

func TestDedupeRebuildHelp(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"dedupe", "dedupe rebuild"} {
		got := run(t, nil, append(strings.Fields(command), "--help")...)
		require.Equal(t, 0, got.status, got.stderr)
		golden(t, "help-"+strings.ReplaceAll(command, " ", "-")+".txt", got.stdout)
	}
	require.Contains(t, run(t, nil, "__complete", "dedupe", "").stdout, "rebuild\t")
	require.Contains(t, run(t, nil, "__complete", "dedupe", "rebuild", "--since", "").stdout, ":4")
}

func TestDedupeRebuildWrongUsage(t *testing.T) {
	t.Parallel()
	for _, since := range []string{"yesterday", "-1h", "0s", "2026-11-23", "7"} {
		got := run(t, nil, "dedupe", "rebuild", "--since="+since)
		require.Equal(t, result{2, "", "worker: --since \"" + since + "\" is neither a time nor how long ago it was\n" +
			"hint: give it as 2026-11-23T08:00:00+08:00, or as 36h or 90m\n"}, got)
	}
	require.Equal(t, 2, run(t, nil, "dedupe", "rebuild", "x").status)
	require.Equal(t, 2, run(t, nil, "dedupe").status)
	got := run(t, []string{"REPLYWORKER_CONCURENCY=8"}, "dedupe", "rebuild")
	require.Equal(t, 2, got.status)
	require.Contains(t, got.stderr, "did you mean REPLYWORKER_CONCURRENCY?")
}

func TestDedupeRebuildWithNothingThere(t *testing.T) {
	t.Parallel()
	o := newOutcomesTopic(t, 1)
	got := o.rebuild()
	require.Equal(t, 0, got.status, got.stderr)
	require.Regexp(t, `^READ  RESTORED  PRESENT  TOO OLD  DISAGREEING  UNREADABLE  OTHER  SECONDS
0     0         0        0        0            0           0      \d+\.\d{3}
$`, got.stdout)
	require.Equal(t, "dedupe rebuild: 0 of 0, finished\n", got.stderr)

	got = run(t, append(o.env, "REPLYWORKER_TOPIC_OUTCOMES=elsewhere"), "dedupe", "rebuild")
	require.Equal(t, result{1, "", "worker: kafka: no topic elsewhere (make it with: worker topics create)\n"}, got)
}

// TestDedupeRebuildTellsWhatItCouldNotUse holds what an operator reads, and the exit status.
func TestDedupeRebuildTellsWhatItCouldNotUse(t *testing.T) {
	t.Parallel()
	o := newOutcomesTopic(t, 2)
	old := succeeded(t, 1, 9, "id-9", "log-9")
	old.Headers = nil
	o.put(succeeded(t, 0, 1, "id-1", "log-1"), &kgo.Record{Partition: 0, Value: []byte("hello\x1b[31m")},
		succeeded(t, 0, 2, "id-2", "log-2"), old)
	for range 9 {
		o.put(&kgo.Record{Partition: 1})
	}
	store := o.redis.Store()
	claimed(t, store, "1900000001", "id-2") // of other content
	got := o.rebuild("-o", "json")
	require.Equal(t, 3, got.status)
	require.Regexp(t, `^{"read":13,"restored":1,"present":0,"too_old":0,"disagreeing":1,"unreadable":11,"other":0,`+
		`"seconds":[0-9.]+,"dry_run":false}\n$`, got.stdout)
	said := splitLines(got.stderr)
	require.Len(t, said, 9, got.stderr)
	require.Equal(t, "dedupe rebuild: 13 of 13, finished", said[0])
	warning := "worker: warning: " + o.name + " partition "
	for _, line := range said[1:6] {
		require.True(t, strings.HasPrefix(line, warning), line)
		require.Contains(t, line, " cannot be used: it ")
		require.NotContains(t, line, "\x1b")
	}
	require.Equal(t, "worker: warning: so for 6 more outcomes", said[6])
	require.Equal(t, warning+`0 offset 2 and a claim disagree: "id-2" of merchant 1900000001 succeeded with log_id log-2, `+
		"and its claim, of record reply.jobs-1/3/1041/1795000000000, is of other content", said[7])
	require.True(t, strings.HasPrefix(said[8], `{"error":"11 of 13 outcomes failed","hint":"the others `), said[8])
	require.True(t, strings.HasSuffix(said[8], `"status":3,"faults":[]}`), said[8])

	_, found, err := store.Lookup(t.Context(), dedupe.Key{MchID: "1900000001", IdempotentID: "id-1"})
	require.NoError(t, err)
	require.True(t, found)
	rec, _, err := store.Lookup(t.Context(), dedupe.Key{MchID: "1900000001", IdempotentID: "id-2"})
	require.NoError(t, err)
	require.Equal(t, dedupe.StateClaimed, rec.State, "a claim that is there stays")
}

func TestDedupeRebuildWithNobodyThere(t *testing.T) {
	t.Parallel()
	o := newOutcomesTopic(t, 1)
	o.put(succeeded(t, 0, 1, "id", "log"))
	began := time.Now()
	for _, dry := range []string{"--dry-run=false", "--dry-run"} {
		got := run(t, append(o.env, "REPLYWORKER_REDIS_URL=redis://"+closedAddr(t)), "dedupe", "rebuild", dry)
		require.Equal(t, 1, got.status)
		require.Empty(t, got.stdout)
		require.Contains(t, got.stderr, "unavailable")
		require.Contains(t, got.stderr, "hint: check redis-url and that Redis runs")
		got = run(t, append(o.env, "REPLYWORKER_KAFKA_BROKERS="+closedAddr(t)), "dedupe", "rebuild", dry)
		require.Equal(t, 1, got.status)
		require.Empty(t, got.stdout)
		require.Contains(t, got.stderr, "worker: kafka at 127.0.0.1:")
		require.Contains(t, got.stderr, "hint: check kafka-brokers")
	}
	require.Less(t, time.Since(began), 30*time.Second)
}

// TestDedupeRebuildIsCutOff lets Redis and Kafka go away in the middle, and runs it again.
func TestDedupeRebuildIsCutOff(t *testing.T) {
	t.Parallel()
	o := newOutcomesTopic(t, 1)
	server, broker := o.redis.Embedded("to refuse writes").Mini(), o.kafka.Embedded("to refuse fetch requests").Cluster()
	o.put(succeeded(t, 0, 1, "id", "log"))
	var once sync.Once
	fetched := make(chan struct{})
	broker.ControlKey(int16(kmsg.Fetch), func(kmsg.Request) (kmsg.Response, error, bool) {
		broker.KeepControl()
		once.Do(func() {
			server.SetError("OOM command not allowed when used memory > 'maxmemory'.")
			close(fetched)
		})
		return nil, nil, false
	})
	got := o.rebuild()
	<-fetched
	require.Equal(t, 1, got.status)
	require.Empty(t, got.stdout)
	require.Contains(t, got.stderr, "worker: not finished: 0 outcomes were read; what was restored stays\n")
	require.Contains(t, got.stderr, "OOM")
	require.Contains(t, got.stderr, "hint: Redis is at maxmemory; give it more, or shorten claim-retention; then run it again\n")
	server.SetError("")

	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	var refused atomic.Int64
	broker.ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		broker.KeepControl()
		if refused.Add(1) == 3 {
			cancel(cli.ErrInterrupted)
		}
		res := req.(*kmsg.FetchRequest).ResponseKind().(*kmsg.FetchResponse)
		res.ErrorCode = kerr.UnknownServerError.Code
		return res, nil, true
	})
	got = runWith(ctx, o.env, strings.NewReader(""), "dedupe", "rebuild", "--start-timeout", "1m")
	require.Equal(t, 130, got.status)
	require.Contains(t, got.stderr, "worker: not finished: ")
	require.True(t, strings.HasSuffix(got.stderr, "worker: interrupted\n"), got.stderr)

	got = o.rebuild()
	require.Equal(t, 1, got.status)
	require.Contains(t, got.stderr, "worker: fetch "+o.name+"/0: ")
	require.Contains(t, got.stderr, "; then run it again\n")
}

func TestDedupeRebuildOfManyPartitions(t *testing.T) {
	t.Parallel()
	const partitions, each = 12, 60
	o := newOutcomesTopic(t, partitions)
	var all []*kgo.Record
	for p := range int32(partitions) {
		for i := range each {
			id := fmt.Sprintf("id-%d-%d", p, i)
			all = append(all, succeeded(t, p, int64(i), id, "log-"+id))
		}
	}
	o.put(all...)
	got := o.rebuild("-o", "json")
	require.Equal(t, 0, got.status, got.stderr) // a slow server's answer may be late, and then the claim is present
	require.Contains(t, got.stdout, fmt.Sprintf(`{"read":%d,`, partitions*each))
	require.Contains(t, got.stdout, `"too_old":0,"disagreeing":0,"unreadable":0,"other":0,`)
	require.Equal(t, fmt.Sprintf("dedupe rebuild: %d of %d, finished\n", partitions*each, partitions*each), got.stderr)
	got = o.rebuild("-o", "json")
	require.Contains(t, got.stdout, fmt.Sprintf(`"restored":0,"present":%d,`, partitions*each))
}
