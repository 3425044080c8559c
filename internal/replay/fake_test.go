package replay_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"replyworker/internal/job"
	"replyworker/internal/kafkaio"
)

const (
	jobsTopic        = "reply-jobs"
	lettersTopic     = "reply-dead-letters"
	resolutionsTopic = "reply-resolutions"
	outcomesTopic    = "reply-outcomes"
)

// fate is what becomes of one produce request: the share of a partition in a batch.
type fate int

const (
	taken      fate = iota
	refused         // nothing is written
	answerLost      // all is written, and the client does not learn of it
	halfTaken       // the first half is written, and the client learns that the rest is not
	deadBefore      // the process dies before the request
	deadAfter       // and after it was written, before the answer came
)

var errFault = errors.New("the broker is away")

// death is what a process dies of, here a panic.
type death struct{}

// fakeKafka is a Kafka in memory that treats batches as the real client does: what fails may be there all
// the same, and what stands behind it in its partition is not sent.
type fakeKafka struct {
	mu         sync.Mutex
	partitions map[string]int
	first      map[string]int64 // of all partitions of a topic; what is before it, retention has removed
	records    map[string][][]job.Delivery
	pageSize   int

	// decide says what becomes of the n-th request, from 0; nil takes all.
	decide func(n int, topic string) fate
	// reads is called before a span is read.
	reads    func(s kafkaio.Span) error
	requests int
	largest  int                    // bytes of keys and values of a batch
	sentAt   map[string][]time.Time // of each record of a topic
}

func newFakeKafka(partitions int) *fakeKafka {
	k := &fakeKafka{
		partitions: map[string]int{}, records: map[string][][]job.Delivery{}, pageSize: 7, first: map[string]int64{},
		sentAt: map[string][]time.Time{},
	}
	for _, topic := range []string{jobsTopic, lettersTopic, resolutionsTopic, outcomesTopic} {
		k.partitions[topic] = partitions
		k.records[topic] = make([][]job.Delivery, partitions)
	}
	return k
}

// append writes a record and returns its offset.
func (k *fakeKafka) append(topic string, partition int, at time.Time, m *kafkaio.Message) int64 {
	p := &k.records[topic][partition]
	source := job.Source{Topic: topic, Partition: partition, Offset: int64(len(*p)), Timestamp: at.Truncate(time.Millisecond).UTC()}
	*p = append(*p, job.Delivery{Source: source, Key: m.Key, Value: m.Value, Headers: m.Headers})
	return source.Offset
}

func (k *fakeKafka) Spans(_ context.Context, topic string, since time.Time) ([]kafkaio.Span, error) {
	var spans []kafkaio.Span
	for id, records := range k.records[topic] {
		begin := min(k.first[topic], int64(len(records)))
		first := slices.IndexFunc(records[begin:], func(d job.Delivery) bool { return !d.Source.Timestamp.Before(since) })
		if first < 0 {
			first = len(records) - int(begin)
		}
		spans = append(spans, kafkaio.Span{Topic: topic, Partition: id, First: begin + int64(first), End: int64(len(records))})
	}
	return spans, nil
}

func (k *fakeKafka) ReadSpan(
	ctx context.Context, s kafkaio.Span, _ time.Duration, each func([]job.Delivery, int64) error,
) error {
	if k.reads != nil {
		if err := k.reads(s); err != nil {
			return err
		}
	}
	if s.First >= s.End {
		return nil
	}
	records := k.records[s.Topic][s.Partition]
	for page := range slices.Chunk(records[max(s.First, k.first[s.Topic]):s.End], k.pageSize) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := each(page, int64(len(page))); err != nil {
			return err
		}
	}
	return nil
}

func (k *fakeKafka) Partitions(_ context.Context, topics ...string) (map[string]int, error) {
	found := map[string]int{}
	for _, topic := range topics {
		if k.partitions[topic] == 0 {
			return nil, &kafkaio.MissingTopicsError{Topics: []string{topic}}
		}
		found[topic] = k.partitions[topic]
	}
	return found, nil
}

func (*fakeKafka) MaxMessageBytes(context.Context, string) int { return kafkaio.DefaultMaxMessageBytes }

func (k *fakeKafka) PublishBatch(ctx context.Context, topic string, _ int, messages []kafkaio.Message) []kafkaio.Placed {
	k.mu.Lock()
	defer k.mu.Unlock()
	placed := make([]kafkaio.Placed, len(messages))
	groups := map[int][]int{}
	for i := range messages {
		p := messages[i].Partition
		if p == kafkaio.AnyPartition {
			p = partitionOf(messages[i].Key, k.partitions[topic])
		}
		groups[p] = append(groups[p], i)
	}
	bytes := 0
	for _, m := range messages {
		bytes += len(m.Key) + len(m.Value)
	}
	k.largest = max(k.largest, bytes)
	for p := range k.partitions[topic] { // the real client sends them side by side
		if len(groups[p]) > 0 {
			k.request(ctx, topic, p, groups[p], messages, placed)
		}
	}
	return placed
}

// partitionOf need not be what Java does: only the same for the same key.
func partitionOf(key []byte, partitions int) int {
	sum := 0
	for _, b := range key {
		sum += int(b)
	}
	return sum % partitions
}

func (k *fakeKafka) request(
	ctx context.Context, topic string, partition int, group []int, messages []kafkaio.Message, placed []kafkaio.Placed,
) {
	fate := taken
	if k.decide != nil {
		fate = k.decide(k.requests, topic)
	}
	k.requests++
	n, err := len(group), error(nil)
	switch {
	case fate == deadBefore:
		panic(death{})
	case ctx.Err() != nil:
		n, err = 0, ctx.Err()
	case fate == refused:
		n, err = 0, errFault
	case fate == answerLost:
		err = errFault
	case fate == halfTaken:
		n, err = len(group)/2, errFault
	}
	for i, m := range group {
		if i < n {
			placed[m] = kafkaio.Placed{Partition: partition, Offset: k.append(topic, partition, time.Now(), &messages[m])}
			k.sentAt[topic] = append(k.sentAt[topic], time.Now())
		}
		if fate == answerLost || i >= n {
			placed[m].Err = err
		}
	}
	if fate == deadAfter {
		panic(death{})
	}
}

// sent returns the values of a partition of the jobs topic from an offset on.
func (k *fakeKafka) sent(topic string, partition int, from int) []string {
	var values []string
	for _, d := range k.records[topic][partition][from:] {
		values = append(values, string(d.Value))
	}
	return values
}

func (k *fakeKafka) lengths(topic string) []int {
	var n []int
	for _, records := range k.records[topic] {
		n = append(n, len(records))
	}
	return n
}

func validJob(complaint, id string) []byte {
	return fmt.Appendf(nil, `{"complaint_id": %q, "complainted_mchid": "1900012181", "idempotent_id": %q, "message": {"blocks": []}}`,
		complaint, id)
}
