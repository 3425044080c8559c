package kafkaio

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
)

// batchRetryPause is between two tries of a request that the broker may take later.
const batchRetryPause = 200 * time.Millisecond

// Placed is what became of one message of a batch. Err is nil where the broker has it, at Offset.
type Placed struct {
	Partition int
	Offset    int64
	Err       error
}

// Fits says that a topic whose max.message.bytes is maxBytes takes the message.
func (m *Message) Fits(maxBytes int) bool { return m.size()+batchOverhead <= maxBytes }

// PublishBatch publishes messages with acks=all and tells of each what became of it. maxBytes is the
// topic's max.message.bytes. Messages of one partition keep their order: where one of them fails, the
// ones behind it are not sent and have its error. What a broker may take later is tried again until
// ctx ends, so that a message whose answer was lost may be there twice, and one that failed may be
// there all the same.
func (c *Client) PublishBatch(ctx context.Context, topic string, maxBytes int, messages []Message) []Placed {
	b := &batch{client: c, topic: topic, maxBytes: maxBytes, messages: messages, placed: make([]Placed, len(messages))}
	partitions, err := c.WaitForTopics(ctx, topic)
	if err != nil {
		for i := range b.placed {
			b.placed[i].Err = err
		}
		return b.placed
	}
	var wg sync.WaitGroup
	for partition, group := range b.groups(partitions[topic]) {
		wg.Go(func() { b.publishPartition(ctx, partition, group) })
	}
	wg.Wait()
	return b.placed
}

// batch is one call of PublishBatch. Goroutines share it, each with the placed of its own messages.
type batch struct {
	client   *Client
	topic    string
	maxBytes int
	messages []Message
	placed   []Placed
}

// groups returns the indexes of the messages of each partition.
func (b *batch) groups(partitions int) map[int][]int {
	choose := chooser(partitions)
	groups := map[int][]int{}
	for i := range b.messages {
		n := choose(&b.messages[i])
		b.placed[i].Partition = n
		groups[n] = append(groups[n], i)
	}
	return groups
}

// publishPartition publishes a partition's share in order, in requests that the topic takes.
func (b *batch) publishPartition(ctx context.Context, partition int, group []int) {
	most := len(group) // of one request
	for len(group) > 0 {
		n, bytes := 0, batchOverhead
		for n < min(most, len(group)) && (n == 0 || bytes+b.messages[group[n]].size() <= b.maxBytes) {
			bytes += b.messages[group[n]].size()
			n++
		}
		base, err := b.publishRetrying(ctx, partition, group[:n])
		if n > 1 && errors.Is(err, ErrTooLarge) {
			most = 1 // the topic takes less than we were told: each alone shows which is too large
			continue
		}
		if err != nil {
			for _, i := range group {
				b.placed[i].Err = fmt.Errorf("publish to %s: %w", b.topic, err)
			}
			return
		}
		for k, i := range group[:n] {
			b.placed[i].Offset = base + int64(k)
		}
		group = group[n:]
	}
}

// publishRetrying sends one request until it is taken, refused for good, or ctx ends. Its error is
// then that of the last try that told why.
func (b *batch) publishRetrying(ctx context.Context, partition int, group []int) (int64, error) {
	messages := make([]Message, len(group))
	for k, i := range group {
		messages[k] = b.messages[i]
	}
	var told error
	for {
		try, cancel := context.WithTimeout(ctx, produceTimeout)
		base, err := b.client.produce(try, b.topic, partition, messages)
		cancel()
		if err == nil || !mayPass(err) {
			return base, err
		}
		if told == nil || ctx.Err() == nil {
			told = err
		}
		select {
		case <-ctx.Done():
			return 0, told
		case <-time.After(batchRetryPause):
		}
	}
}

// mayPass says that a request may succeed when it is sent again.
func mayPass(err error) bool {
	if errors.Is(err, ErrTooLarge) {
		return false
	}
	if answered, ok := errors.AsType[kafka.Error](err); ok {
		return answered.Temporary()
	}
	return true // no answer: a connection that broke or could not be made
}
