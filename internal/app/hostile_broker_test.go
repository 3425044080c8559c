package app_test

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"replyworker/internal/devstack"
)

// broker is an embedded broker that a test makes misbehave, and a client that is not ours.
type broker struct {
	cluster  *kfake.Cluster
	addr     string
	client   *kgo.Client
	admin    *kadm.Client
	requests atomic.Int64 // all that were asked of it
	wire     wireFault

	commitMu sync.Mutex
	asked    []commit
}

// commit is an offset that somebody asked the broker to commit.
type commit struct {
	at   kadm.Offset
	when time.Time
}

func (b *broker) open(t *testing.T) {
	t.Helper()
	var err error
	b.cluster, err = kfake.NewCluster(kfake.NumBrokers(1), kfake.GroupMinSessionTimeout(100*time.Millisecond),
		kfake.SeedTopics(siteComplaints, devstack.TopicJobs),
		kfake.SeedTopics(1, devstack.TopicOutcomes, devstack.TopicDeadLetters, devstack.TopicResolutions),
		// The topics say when they were given an outcome.
		kfake.BrokerConfigs(map[string]string{"log.message.timestamp.type": "LogAppendTime"}),
		kfake.ListenFn(b.wire.listen))
	require.NoError(t, err)
	t.Cleanup(b.cluster.Close)
	b.addr = b.cluster.ListenAddrs()[0]
	b.client, err = kgo.NewClient(kgo.SeedBrokers(b.addr), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerLinger(0))
	require.NoError(t, err)
	t.Cleanup(b.client.Close)
	b.admin = kadm.NewClient(b.client)
	b.cluster.Control(func(kmsg.Request) (kmsg.Response, error, bool) {
		b.requests.Add(1)
		return nil, nil, false
	})
	b.cluster.ControlKey(int16(kmsg.OffsetCommit), func(r kmsg.Request) (kmsg.Response, error, bool) {
		b.noteCommit(r.(*kmsg.OffsetCommitRequest))
		return nil, nil, false
	})
}

func (b *broker) noteCommit(r *kmsg.OffsetCommitRequest) {
	b.commitMu.Lock()
	defer b.commitMu.Unlock()
	for _, topic := range r.Topics {
		for _, p := range topic.Partitions {
			at := kadm.Offset{Topic: topic.Topic, Partition: p.Partition, At: p.Offset}
			b.asked = append(b.asked, commit{at: at, when: time.Now()})
		}
	}
}

func (b *broker) commits() []commit {
	b.commitMu.Lock()
	defer b.commitMu.Unlock()
	return b.asked
}

// outcomes returns how many outcomes there are, -1 where the broker does not say.
func (b *broker) outcomes(ctx context.Context) int64 {
	ends, err := b.admin.ListEndOffsets(ctx, devstack.TopicOutcomes)
	if err != nil || ends.Error() != nil {
		return -1
	}
	var n int64
	ends.Each(func(o kadm.ListedOffset) { n += o.Offset })
	return n
}

// committed returns the sum of the group's offsets, -1 where the broker does not say.
func (b *broker) committed(ctx context.Context) int64 {
	all, err := b.admin.FetchOffsets(ctx, "replyworker")
	if err != nil || all.Error() != nil {
		return -1
	}
	var n int64
	all.Each(func(o kadm.OffsetResponse) { n += o.At })
	return n
}

// read returns all records of a topic.
func (b *broker) read(t *testing.T, topic string) []*kgo.Record {
	t.Helper()
	ends, err := b.admin.ListEndOffsets(t.Context(), topic)
	require.NoError(t, err)
	left, from := 0, map[int32]kgo.Offset{}
	ends.Each(func(o kadm.ListedOffset) {
		left += int(o.Offset)
		from[o.Partition] = kgo.NewOffset().At(0)
	})
	if left == 0 {
		return nil
	}
	c, err := kgo.NewClient(kgo.SeedBrokers(b.addr), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}))
	require.NoError(t, err)
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var all []*kgo.Record
	for len(all) < left {
		fetches := c.PollFetches(ctx)
		require.NoError(t, ctx.Err(), "reading %s: %d of %d records", topic, len(all), left)
		all = append(all, fetches.Records()...)
	}
	return all
}

// wireFault is what happens to the broker's answers on their way.
type wireFault struct {
	answer atomic.Pointer[func(conn net.Conn, answer []byte) (int, error)] // nil: nothing
}

func (w *wireFault) set(f func(conn net.Conn, answer []byte) (int, error)) { w.answer.Store(&f) }
func (w *wireFault) clear()                                                { w.answer.Store(nil) }

func (w *wireFault) listen(network, address string) (net.Listener, error) {
	l, err := net.Listen(network, address)
	return &faultyListener{Listener: l, faults: w}, err
}

type faultyListener struct {
	net.Listener

	faults *wireFault
}

func (l *faultyListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &faultyConn{Conn: conn, faults: l.faults}, nil
}

// faultyConn is a connection of which each Write is one answer.
type faultyConn struct {
	net.Conn

	faults *wireFault
}

func (c *faultyConn) Write(answer []byte) (int, error) {
	if f := c.faults.answer.Load(); f != nil {
		return (*f)(c.Conn, answer)
	}
	return c.Conn.Write(answer)
}
