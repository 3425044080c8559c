package kafkaio

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"replyworker/internal/job"
)

// ErrTooLarge says that a message is larger than its topic takes. Trying again does not help.
var ErrTooLarge = errors.New("message too large for its topic")

// ErrPublisherClosed is returned for what comes after Close.
var ErrPublisherClosed = errors.New("publisher is closed")

const (
	produceTimeout = 10 * time.Second
	// batchOverhead is more than a record batch adds to one record's own bytes.
	batchOverhead = 512
	// recordOverhead is more than one record adds to its bytes, headers aside.
	recordOverhead = 64
	queueLength    = 1024
)

// AnyPartition lets the key choose the partition, as Java's clients do (murmur2).
const AnyPartition = -1

// Message is a record to be published. A nil Key or Value is Kafka's null.
type Message struct {
	Partition int // or AnyPartition
	Key       []byte
	Value     []byte
	Headers   []job.Header
}

func (m *Message) size() int {
	n := recordOverhead + len(m.Key) + len(m.Value)
	for _, h := range m.Headers {
		n += 10 + len(h.Key) + len(h.Value)
	}
	return n
}

// chooser returns how a message's partition is chosen, among so many: the one that it names, or by its
// key, or at random where it has none. One goroutine uses it.
func chooser(partitions int) func(*Message) int {
	all := make([]int, partitions)
	for i := range all {
		all[i] = i
	}
	var balancer kafka.Murmur2Balancer
	return func(m *Message) int {
		if m.Partition != AnyPartition {
			return m.Partition
		}
		return balancer.Balance(kafka.Message{Key: m.Key}, all...)
	}
}

// Publisher publishes to one topic with acks=all. One goroutine sends whatever has gathered during
// the request before, a request per partition: the topic's latency, not a linger, sets the size of
// the batches. It is safe for concurrent use.
type Publisher struct {
	client   *Client
	topic    string
	maxBytes int
	queue    chan *pending
	stop     chan struct{}
	stopOnce sync.Once
	done     chan struct{}

	mu      sync.Mutex
	trouble map[int]*Trouble // by partition, and of all of them under AnyPartition
}

type pending struct {
	msg Message
	ctx context.Context //nolint:containedctx // the caller's, for as long as its message is queued
	err chan error
}

// NewPublisher starts a publisher; maxBytes is the topic's max.message.bytes. Close ends it.
func NewPublisher(c *Client, topic string, maxBytes int) *Publisher {
	p := &Publisher{
		client: c, topic: topic, maxBytes: maxBytes,
		queue: make(chan *pending, queueLength), stop: make(chan struct{}), done: make(chan struct{}),
		trouble: map[int]*Trouble{},
	}
	go p.run()
	return p
}

// Topic returns the topic's name.
func (p *Publisher) Topic() string { return p.topic }

// Publish sends a message and waits until the broker has it. After an error other than ErrTooLarge
// the message may be there all the same.
func (p *Publisher) Publish(ctx context.Context, m Message) error {
	if m.size()+batchOverhead > p.maxBytes {
		return fmt.Errorf("publish to %s: %d bytes, %d allowed: %w", p.topic, m.size()+batchOverhead, p.maxBytes, ErrTooLarge)
	}
	q := &pending{msg: m, ctx: ctx, err: make(chan error, 1)}
	select {
	case p.queue <- q:
	case <-p.stop:
		return ErrPublisherClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case err := <-q.err:
		if err != nil {
			return fmt.Errorf("publish to %s: %w", p.topic, err)
		}
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-p.done:
		return ErrPublisherClosed
	}
}

// Close ends the publisher. What is queued is refused; a request under way is finished.
func (p *Publisher) Close() {
	p.stopOnce.Do(func() { close(p.stop) })
	<-p.done
}

func (p *Publisher) run() {
	defer close(p.done)
	for {
		select {
		case <-p.stop:
			return
		case first := <-p.queue:
			p.send(p.gather(first))
		}
	}
}

// gather takes what is queued, up to a share of what one request may hold.
func (p *Publisher) gather(first *pending) []*pending {
	batch := []*pending{first}
	for bytes := first.msg.size(); bytes < 4*p.maxBytes && len(batch) < queueLength; {
		select {
		case q := <-p.queue:
			if q.ctx.Err() != nil {
				continue // nobody waits for it any more
			}
			batch = append(batch, q)
			bytes += q.msg.size()
		default:
			return batch
		}
	}
	return batch
}

// send publishes a batch and tells everybody in it. A request that hangs is given up after its time.
func (p *Publisher) send(batch []*pending) {
	ctx, cancel := context.WithTimeout(context.Background(), produceTimeout)
	defer cancel()
	partitions, err := p.client.Partitions(ctx, p.topic)
	p.note(AnyPartition, err)
	if err != nil {
		for _, q := range batch {
			q.err <- err
		}
		return
	}
	choose := chooser(partitions[p.topic])
	groups := map[int][]*pending{}
	for _, q := range batch {
		n := choose(&q.msg)
		groups[n] = append(groups[n], q)
	}
	var wg sync.WaitGroup
	for partition, group := range groups {
		wg.Go(func() { p.sendPartition(ctx, partition, group) })
	}
	wg.Wait()
}

// sendPartition publishes a partition's share in order, in requests that the topic takes.
func (p *Publisher) sendPartition(ctx context.Context, partition int, group []*pending) {
	for len(group) > 0 {
		n, bytes := 0, batchOverhead
		for n < len(group) && (n == 0 || bytes+group[n].msg.size() <= p.maxBytes) {
			bytes += group[n].msg.size()
			n++
		}
		err := p.produce(ctx, partition, group[:n])
		if n > 1 && errors.Is(err, ErrTooLarge) {
			// The topic takes less than we were told. Each alone shows which is too large.
			for i := range n {
				group[i].err <- p.produce(ctx, partition, group[i:i+1])
			}
		} else {
			for _, q := range group[:n] {
				q.err <- err
			}
		}
		group = group[n:]
	}
}

func (p *Publisher) produce(ctx context.Context, partition int, group []*pending) error {
	messages := make([]Message, len(group))
	for i, q := range group {
		messages[i] = q.msg
	}
	_, err := p.client.produce(ctx, p.topic, partition, messages)
	if !errors.Is(err, ErrTooLarge) { // which is the message's fault
		p.note(partition, err)
	}
	return err
}

func (p *Publisher) note(partition int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.trouble[partition] == nil {
		p.trouble[partition] = &Trouble{}
	}
	p.trouble[partition].Note(time.Now(), err)
}

// Lasting returns an error where messages could not be published for so long, to a partition or at all.
func (p *Publisher) Lasting(now time.Time, long time.Duration) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range p.trouble {
		if err := t.Lasting(now, long); err != nil {
			return fmt.Errorf("%s cannot be written %w", p.topic, err)
		}
	}
	return nil
}

// produce sends one request, and returns the offset of the first message.
func (c *Client) produce(ctx context.Context, topic string, partition int, messages []Message) (int64, error) {
	records := make([]kafka.Record, len(messages))
	for i, m := range messages {
		records[i] = kafka.Record{Key: kafka.NewBytes(m.Key), Value: kafka.NewBytes(m.Value)}
		for _, h := range m.Headers {
			records[i].Headers = append(records[i].Headers, kafka.Header{Key: h.Key, Value: h.Value})
		}
	}
	res, err := c.client.Produce(ctx, &kafka.ProduceRequest{
		Topic: topic, Partition: partition, RequiredAcks: kafka.RequireAll, Records: kafka.NewRecordReader(records...),
	})
	if err == nil {
		err = res.Error
	}
	if errors.Is(err, kafka.MessageSizeTooLarge) || errors.Is(err, kafka.RecordListTooLarge) {
		return 0, ErrTooLarge // for the topic's max.message.bytes, or its segment.bytes
	}
	err = terse(err)
	if err != nil {
		return 0, err
	}
	return res.BaseOffset, nil
}
