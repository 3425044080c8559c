package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"replyworker/internal/app"
	"replyworker/internal/config"
	"replyworker/internal/devstack"
	"replyworker/internal/outcome"
	"replyworker/internal/stacktest"
)

// patience is how long to wait for what comes within seconds on a machine that is not busy.
const patience = time.Minute

// bench is a stack with a producer and a reader of outcomes and dead letters. Its methods call topics
// by devstack's names, whatever the brokers do.
type bench struct {
	t          testing.TB
	stack      *stacktest.Stack
	kafka      *kgo.Client
	partitions int
}

func newBench(t testing.TB, partitions int) *bench {
	t.Helper()
	stack := stacktest.New(t, partitions)
	client := stack.Kafka.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	return &bench{t: t, stack: stack, kafka: client, partitions: partitions}
}

// worker is a running worker; stop drains it and returns what Run did.
type worker struct {
	*app.Worker
	cancel context.CancelFunc
	done   chan error
	once   sync.Once
	err    error
}

func (w *worker) stop() error {
	w.once.Do(func() {
		w.cancel()
		w.err = <-w.done
	})
	return w.err
}

// run starts a worker with the settings given over those of the stack.
func (b *bench) run(settings map[string]string) *worker {
	b.t.Helper()
	env := append(b.stack.Env(),
		"REPLYWORKER_ADMIN_ADDR=127.0.0.1:0", "REPLYWORKER_RETRY_INITIAL=20ms", "REPLYWORKER_RETRY_MAX=200ms",
		"REPLYWORKER_BREAKER_COOLDOWN=200ms", "REPLYWORKER_REQUEST_TIMEOUT=1s", "REPLYWORKER_DRAIN_TIMEOUT=5s",
		"REPLYWORKER_KAFKA_SESSION_TIMEOUT=6s")
	for name, value := range settings {
		env = append(env, name+"="+value)
	}
	cfg, err := config.Load(config.Sources{Env: env})
	require.NoError(b.t, err)
	out := io.Discard
	if testing.Verbose() {
		out = zerolog.NewTestWriter(b.t)
	}
	w, err := app.New(cfg, "test", zerolog.New(out).Level(zerolog.DebugLevel).With().Timestamp().Logger())
	require.NoError(b.t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(b.t.Context()))
	w.ReloadEvery(50 * time.Millisecond)
	r := &worker{Worker: w, cancel: cancel, done: make(chan error, 1)}
	go func() { r.done <- w.Run(ctx) }()
	b.t.Cleanup(func() { _ = r.stop() })
	return r
}

// job makes a job's value.
func jobValue(complaint, id, text string, more map[string]any) []byte {
	m := map[string]any{
		"complaint_id": complaint, "complainted_mchid": "1900012181", "idempotent_id": id,
		"message": map[string]any{"blocks": []any{map[string]any{"type": "TEXT", "text": map[string]any{"text": text}}}},
	}
	maps.Copy(m, more)
	b, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return b
}

// produce writes records to the jobs topic and returns their offsets.
func (b *bench) produce(partition int32, values ...[]byte) []int64 {
	b.t.Helper()
	var offsets []int64
	for _, v := range values {
		r := &kgo.Record{Topic: devstack.TopicJobs, Partition: partition, Key: []byte("key"), Value: v}
		offsets = append(offsets, b.produceRecord(r))
	}
	return offsets
}

func (b *bench) produceRecord(r *kgo.Record) int64 {
	b.t.Helper()
	r.Topic = b.stack.Kafka.Topic(r.Topic)
	out, err := b.kafka.ProduceSync(b.t.Context(), r).First()
	require.NoError(b.t, err)
	return out.Offset
}

// read reads a topic from its beginning until enough says so or the time is over.
func (b *bench) read(topic string, enough func([]*kgo.Record) bool) []*kgo.Record {
	b.t.Helper()
	c := b.stack.Kafka.Client(kgo.ConsumeTopics(b.stack.Kafka.Topic(topic)), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer c.Close()
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	defer cancel()
	var all []*kgo.Record
	for !enough(all) {
		f := c.PollFetches(ctx)
		if ctx.Err() != nil {
			break
		}
		all = append(all, f.Records()...)
	}
	return all
}

// outcomes waits for n outcomes and returns them in the order of their arrival.
func (b *bench) outcomes(n int) []outcome.Event {
	b.t.Helper()
	records := b.read(devstack.TopicOutcomes, func(r []*kgo.Record) bool { return len(r) >= n })
	require.Len(b.t, records, n, "outcomes on the topic")
	var events []outcome.Event
	for _, r := range records {
		var e outcome.Event
		require.NoError(b.t, json.Unmarshal(r.Value, &e))
		events = append(events, e)
	}
	return events
}

func ids(prefix string, n int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("%s-%03d", prefix, i))
	}
	return out
}
