package consumer_test

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"replyworker/internal/consumer"
	"replyworker/internal/job"
	"replyworker/internal/stacktest"
)

func TestMain(m *testing.M) {
	flag.Parse()
	// These tests wait most of the time: more at once than there are processors, unless the command line
	// says how many.
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		_ = f.Value.Set("8")
	}
	goleak.VerifyTestMain(m)
}

const (
	topic    = "jobs"    // what the tests call it; kafka.Topic says what the brokers do
	group    = "workers" // likewise, kafka.Group
	patience = 30 * time.Second
	tick     = 10 * time.Millisecond
)

// cluster is a Kafka with a producer that is not ours.
type cluster struct {
	t     *testing.T
	kafka *stacktest.Kafka
	kgo   *kgo.Client
	admin *kadm.Client
}

func newCluster(t *testing.T, partitions int) *cluster {
	t.Helper()
	k := stacktest.NewKafka(t, map[string]int{topic: partitions})
	return &cluster{t: t, kafka: k, kgo: k.Client(kgo.RecordPartitioner(kgo.ManualPartitioner())), admin: k.Admin()}
}

func (c *cluster) produce(partition int32, values ...string) {
	c.t.Helper()
	for _, v := range values {
		r := &kgo.Record{Topic: c.kafka.Topic(topic), Partition: partition, Value: []byte(v)}
		require.NoError(c.t, c.kgo.ProduceSync(c.t.Context(), r).FirstErr())
	}
}

func (c *cluster) committed(partition int32) int64 {
	c.t.Helper()
	all, err := c.admin.FetchOffsets(c.t.Context(), c.kafka.Group(group))
	require.NoError(c.t, err)
	o, ok := all.Lookup(c.kafka.Topic(topic), partition)
	if !ok {
		return -1
	}
	return o.At
}

// member is a running consumer. Its sessions take records into taken, and finish them at once or
// when told.
type member struct {
	*consumer.Consumer
	hold   bool          // finish nothing until released
	drains chan struct{} // a session's Drain waits for it to be closed; nil for at once

	mu       sync.Mutex
	taken    []job.Delivery
	finish   []func()
	sessions int

	cancel context.CancelFunc
	done   chan error
	once   sync.Once
	err    error
}

type memberSession struct{ m *member }

func (s *memberSession) Accept(_ context.Context, records []consumer.Record) {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	for _, r := range records {
		s.m.taken = append(s.m.taken, r.Delivery)
		if s.m.hold {
			s.m.finish = append(s.m.finish, r.Finished)
			continue
		}
		r.Finished()
	}
}

func (s *memberSession) Drain(ctx context.Context) bool {
	if s.m.drains == nil {
		return true
	}
	select {
	case <-s.m.drains:
		return true
	case <-ctx.Done():
		return false
	}
}

func (c *cluster) join(m *member, change func(*consumer.Config)) *member {
	c.t.Helper()
	cfg := consumer.Config{
		Client: c.kafka.Product(), Group: c.kafka.Group(group), Topics: []string{c.kafka.Topic(topic)},
		SessionTimeout: 6 * time.Second,
		DrainTimeout:   5 * time.Second, BufferJobs: 1000, BufferBytes: 1 << 20,
		NewSession: func() consumer.Session {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.sessions++
			return &memberSession{m}
		},
		Log: zerolog.Nop(), Registerer: prometheus.NewRegistry(),
	}
	if change != nil {
		change(&cfg)
	}
	var err error
	m.Consumer, err = consumer.New(cfg)
	require.NoError(c.t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(c.t.Context()))
	m.cancel, m.done = cancel, make(chan error, 1)
	go func() { m.done <- m.Run(ctx) }()
	c.t.Cleanup(func() { _ = m.stop() })
	return m
}

func (m *member) stop() error {
	m.once.Do(func() {
		m.cancel()
		m.err = <-m.done
	})
	return m.err
}

func (m *member) values() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []string
	for _, d := range m.taken {
		all = append(all, string(d.Value))
	}
	return all
}

func (m *member) release(which func(i int) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, f := range m.finish {
		if f != nil && which(i) {
			f()
			m.finish[i] = nil
		}
	}
}

func (m *member) await(t *testing.T, n int) {
	t.Helper()
	require.Eventually(t, func() bool { return len(m.values()) >= n }, patience, tick, "records delivered")
}

func numbers(from, to int) []string {
	var all []string
	for i := from; i < to; i++ {
		all = append(all, fmt.Sprint(i))
	}
	return all
}

func TestFinishedRecordsAreCommittedAndNotDeliveredAgain(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	c.produce(0, numbers(0, 20)...)
	a := c.join(&member{}, nil)
	a.await(t, 20)
	require.NoError(t, a.stop())
	require.EqualValues(t, 20, c.committed(0), "committed offset after a graceful stop")
	c.produce(0, "20")
	b := c.join(&member{}, nil)
	b.await(t, 1)
	require.Equal(t, []string{"20"}, b.values())
}

func TestAnUnfinishedRecordHoldsTheCommit(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	c.produce(0, numbers(0, 10)...)
	a := c.join(&member{hold: true}, nil)
	a.await(t, 10)
	a.release(func(i int) bool { return i != 3 })
	require.Eventually(t, func() bool { return c.committed(0) == 3 }, patience, tick, "commit up to the stuck record")
	require.NoError(t, a.stop())
	b := c.join(&member{}, nil)
	b.await(t, 7)
	require.Equal(t, numbers(3, 10), b.values(), "everything from the stuck record on comes again")
}

func TestAFullShareOfTheBufferPausesItsPartitionOnly(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2)
	c.produce(0, numbers(0, 50)...)
	a := c.join(&member{hold: true}, func(cfg *consumer.Config) { cfg.BufferJobs = 20 })
	a.await(t, 10)
	c.produce(1, "other")
	require.Eventually(t, func() bool { return slices.Contains(a.values(), "other") }, patience, tick)
	require.Len(t, a.values(), 11, "ten of the full partition, one of the other")
	// A fetch waits for half of the share to be free: how many come after one release is its own affair,
	// that all of them come after enough is not.
	require.Eventually(t, func() bool {
		a.release(func(int) bool { return true })
		return len(a.values()) == 51
	}, patience, tick)
}

func TestRecordsOfAbortedTransactionsAreNoJobs(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	tx := c.kafka.Client(kgo.TransactionalID(c.kafka.Group("producer")), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	transaction := func(commit kgo.TransactionEndTry, values ...string) {
		require.NoError(t, tx.BeginTransaction())
		for _, v := range values {
			r := &kgo.Record{Topic: c.kafka.Topic(topic), Value: []byte(v)}
			require.NoError(t, tx.ProduceSync(t.Context(), r).FirstErr())
		}
		require.NoError(t, tx.EndTransaction(t.Context(), commit))
	}
	c.produce(0, "a")
	transaction(kgo.TryAbort, "no-1", "no-2")
	transaction(kgo.TryCommit, "b", "c")
	c.produce(0, "d")
	transaction(kgo.TryAbort, "no-3")
	m := c.join(&member{}, nil)
	m.await(t, 4)
	// The last offsets are an aborted record and two control records: nothing for us, and committed. A
	// broker writes a transaction's control record a little after it has said that the transaction is over.
	const end = 7 + 3 // records, transactions
	require.Eventually(t, func() bool { return c.committed(0) == end }, patience, tick,
		"the watermark moves over what is not ours, to %d", end)
	require.Equal(t, []string{"a", "b", "c", "d"}, m.values())
	require.Eventually(t, func() bool { return m.Partitions()[0].Lag == 0 }, patience, tick)
}

func TestBytesComeAsTheyAre(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	for _, r := range []*kgo.Record{
		{Key: nil, Value: nil},
		{Key: []byte{}, Value: []byte{}},
		{Key: []byte("k"), Value: []byte{0, 255}, Headers: []kgo.RecordHeader{
			{Key: "a", Value: []byte("1")}, {Key: "a", Value: nil}, {Key: "", Value: []byte{}},
		}},
	} {
		r.Topic = c.kafka.Topic(topic)
		require.NoError(t, c.kgo.ProduceSync(t.Context(), r).FirstErr())
	}
	m := c.join(&member{}, nil)
	m.await(t, 3)
	require.Nil(t, m.taken[0].Key)
	require.Nil(t, m.taken[0].Value)
	require.NotNil(t, m.taken[1].Key)
	require.NotNil(t, m.taken[1].Value)
	require.Empty(t, m.taken[1].Value)
	require.Equal(t, []byte{0, 255}, m.taken[2].Value)
	require.Equal(t, []job.Header{{Key: "a", Value: []byte("1")}, {Key: "a"}, {Key: "", Value: []byte{}}}, m.taken[2].Headers)
	require.Equal(t, job.Source{Topic: c.kafka.Topic(topic), Partition: 0, Offset: 2, Timestamp: m.taken[2].Source.Timestamp}, m.taken[2].Source)
	require.WithinDuration(t, time.Now(), m.taken[2].Source.Timestamp, time.Minute)
}

func TestCompressedRecordsAreRead(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	for _, codec := range []kgo.CompressionCodec{
		kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression(),
	} {
		p := c.kafka.Client(kgo.ProducerBatchCompression(codec), kgo.DefaultProduceTopic(c.kafka.Topic(topic)))
		require.NoError(t, p.ProduceSync(t.Context(), kgo.StringRecord("one"), kgo.StringRecord("two")).FirstErr())
	}
	m := c.join(&member{}, nil)
	m.await(t, 8)
	require.Equal(t, []string{"one", "two", "one", "two", "one", "two", "one", "two"}, m.values())
}

func TestWorkersShareThePartitionsAndSkipNothing(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 6)
	stop := make(chan struct{})
	produced := make(chan int)
	go func() {
		for n := 0; ; n++ {
			r := &kgo.Record{Topic: c.kafka.Topic(topic), Partition: int32(n % 6), Value: []byte(fmt.Sprint(n))}
			if c.kgo.ProduceSync(context.Background(), r).FirstErr() != nil {
				panic("produce")
			}
			select {
			case <-stop:
				produced <- n + 1
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	first := c.join(&member{}, nil)
	first.await(t, 50)
	second := c.join(&member{}, nil)
	second.await(t, 50)
	third := c.join(&member{}, nil)
	third.await(t, 50)
	require.NoError(t, first.stop())
	before := len(second.values())
	second.await(t, before+50)
	close(stop)
	n := <-produced
	require.Eventually(t, func() bool {
		seen := map[string]int{}
		for _, m := range []*member{first, second, third} {
			for _, v := range m.values() {
				seen[v]++
			}
		}
		return len(seen) == n
	}, patience, tick, "each record delivered at least once")
	total := len(first.values()) + len(second.values()) + len(third.values())
	require.LessOrEqual(t, total-n, 60, "redeliveries after graceful changes: what was fetched and not yet committed")
}

func TestADrainThatTakesTooLongIsCutOff(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	c.produce(0, "x")
	m := c.join(&member{hold: true, drains: make(chan struct{})}, func(cfg *consumer.Config) {
		cfg.DrainTimeout = 200 * time.Millisecond
	})
	m.await(t, 1)
	require.ErrorIs(t, m.stop(), consumer.ErrCutOff)
	require.LessOrEqual(t, c.committed(0), int64(0), "the record that was cut off is not committed")
}

func TestWhatIsFinishedWhileDrainingIsCommitted(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	c.produce(0, numbers(0, 5)...)
	m := c.join(&member{hold: true, drains: make(chan struct{})}, nil)
	m.await(t, 5)
	m.cancel()
	m.release(func(i int) bool { return i < 3 })
	require.Eventually(t, func() bool { return c.committed(0) == 3 }, patience, tick, "commits go on while draining")
	m.release(func(int) bool { return true })
	close(m.drains)
	require.NoError(t, m.stop())
	require.EqualValues(t, 5, c.committed(0))
}

func TestRecordsThatRetentionTookAreCountedAndTheRestIsRead(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	c.produce(0, numbers(0, 10)...)
	a := c.join(&member{hold: true}, nil)
	a.await(t, 10)
	a.release(func(i int) bool { return i < 2 })
	require.NoError(t, a.stop())
	require.EqualValues(t, 2, c.committed(0))
	var o kadm.Offsets
	o.Add(kadm.Offset{Topic: c.kafka.Topic(topic), Partition: 0, At: 6})
	_, err := c.admin.DeleteRecords(t.Context(), o)
	require.NoError(t, err)
	reg := prometheus.NewRegistry()
	b := c.join(&member{}, func(cfg *consumer.Config) { cfg.Registerer = reg })
	b.await(t, 4)
	require.Equal(t, numbers(6, 10), b.values())
	require.Equal(t, 4, counter(t, reg, "replyworker_lost_records_total"))
}

func counter(t *testing.T, reg *prometheus.Registry, name string) int {
	t.Helper()
	families, err := reg.Gather()
	require.NoError(t, err)
	for _, f := range families {
		if f.GetName() == name {
			return int(f.GetMetric()[0].GetCounter().GetValue())
		}
	}
	require.Fail(t, "no metric "+name)
	return 0
}

func TestATopicMadeAnewIsReadFromItsBeginning(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	c.produce(0, numbers(0, 10)...)
	a := c.join(&member{}, nil)
	a.await(t, 10)
	require.NoError(t, a.stop())
	c.kafka.DeleteTopic(topic)
	c.kafka.CreateTopic(topic, 1, nil)
	fresh := c.kafka.Client(kgo.DefaultProduceTopic(c.kafka.Topic(topic)))
	require.NoError(t, fresh.ProduceSync(t.Context(), kgo.StringRecord("new")).FirstErr())
	b := c.join(&member{}, nil)
	b.await(t, 1)
	require.Equal(t, []string{"new"}, b.values())
}

// TestStoppingDoesNotWaitForACoordinatorThatHangs holds that a worker gets away from a broker that
// takes requests and answers none.
func TestStoppingDoesNotWaitForACoordinatorThatHangs(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	c.produce(0, "x")
	m := c.join(&member{}, nil)
	m.await(t, 1)
	broker := c.kafka.Embedded("to take requests and answer none").Cluster()
	hang := make(chan struct{})
	defer close(hang)
	for _, key := range []kmsg.Key{kmsg.LeaveGroup, kmsg.OffsetCommit, kmsg.Heartbeat} {
		broker.ControlKey(int16(key), func(kmsg.Request) (kmsg.Response, error, bool) {
			broker.KeepControl()
			broker.SleepControl(func() { <-hang })
			return nil, nil, false
		})
	}
	began := time.Now()
	require.NoError(t, m.stop())
	require.Less(t, time.Since(began), 12*time.Second)
}
