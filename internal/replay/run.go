package replay

import (
	"context"
	"errors"
	"fmt"
	"time"

	"replyworker/internal/deadletter"
	"replyworker/internal/job"
	"replyworker/internal/kafkaio"
)

const (
	batchLetters = 200
	batchBytes   = 4 << 20
	// stepTimeout bounds how long a step that was begun is seen through when the replay is to stop, and
	// noteTimeout how long it may take after that to write what was sent.
	stepTimeout = 20 * time.Second
	noteTimeout = 10 * time.Second
)

// ErrNotNoted says of a job that it was sent, and that its letter does not say so: the letter stays
// open, and a replay sends the job again.
var ErrNotNoted = errors.New("it was sent, but that could not be written down")

// Kafka is where letters are read and jobs are sent: a *kafkaio.Client.
type Kafka interface {
	kafkaio.SpanReader
	Spans(ctx context.Context, topic string, since time.Time) ([]kafkaio.Span, error)
	Partitions(ctx context.Context, topics ...string) (map[string]int, error)
	MaxMessageBytes(ctx context.Context, topic string) int
	PublishBatch(ctx context.Context, topic string, maxBytes int, messages []kafkaio.Message) []kafkaio.Placed
}

// Signature is who resolves letters, and why.
type Signature struct {
	ReplayID string // empty where nothing is replayed
	By, Note string
	Now      func() time.Time
}

// RunConfig says how a plan is run. All but Rate and Progress is needed.
type RunConfig struct {
	Kafka                Kafka
	Index                *deadletter.Index
	Letters, Resolutions string // the topics
	Signature            Signature
	// Rate is how many jobs are sent a second at most; zero is no limit.
	Rate float64
	// Patience is how long Kafka may be away.
	Patience time.Duration
	// Progress is told how many more items have been dealt with.
	Progress func(items int)
	// Fault is told of each job that was not sent, or may not have been, or with ErrNotNoted was.
	Fault func(i *Item, err error)
}

// Report counts what a replay did.
type Report struct {
	Sent   int // their letters are replayed
	Failed int // their letters stay open
}

// Run sends the jobs of items, in their order. After an error the report says how far it came: what was
// sent stays sent, and a letter that was begun stays open. A ctx that ends stops it between two steps.
func Run(ctx context.Context, cfg RunConfig, items []Item) (Report, error) {
	if cfg.Progress == nil {
		cfg.Progress = func(int) {}
	}
	r := &run{cfg: cfg, limits: map[string]int{}}
	if err := r.prepare(ctx, items); err != nil {
		return Report{}, err
	}
	for len(items) > 0 {
		if err := r.pace(ctx); err != nil {
			return r.report, err
		}
		n, err := r.step(ctx, items)
		items = items[n:]
		cfg.Progress(n)
		if err != nil {
			return r.report, err
		}
	}
	return r.report, nil
}

type run struct {
	cfg        RunConfig
	letters    *letters
	partitions map[string]int
	limits     map[string]int // max.message.bytes of the topics
	next       time.Time      // when the rate allows more to be sent
	report     Report
}

func (r *run) prepare(ctx context.Context, items []Item) error {
	first, cancel := context.WithTimeout(ctx, r.cfg.Patience)
	defer cancel()
	topics := []string{r.cfg.Resolutions}
	for i := range items {
		if _, known := r.limits[items[i].Topic]; !known {
			r.limits[items[i].Topic] = r.cfg.Kafka.MaxMessageBytes(first, items[i].Topic)
			topics = append(topics, items[i].Topic)
		}
	}
	r.limits[r.cfg.Resolutions] = r.cfg.Kafka.MaxMessageBytes(first, r.cfg.Resolutions)
	var err error
	if r.partitions, err = r.cfg.Kafka.Partitions(first, topics...); err != nil {
		return err
	}
	spans, err := r.cfg.Kafka.Spans(first, r.cfg.Letters, time.Time{})
	if err != nil {
		return err
	}
	r.letters = newLetters(r.cfg.Kafka, r.cfg.Letters, spans, r.cfg.Patience)
	return nil
}

// pace waits until the rate allows more to be sent. Time that was lost is not made up for: workers and
// today's jobs are never met by more than the rate.
func (r *run) pace(ctx context.Context) error {
	if wait := time.Until(r.next); wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// sending notes that n jobs are sent now.
func (r *run) sending(n int) {
	if r.cfg.Rate > 0 {
		r.next = time.Now().Add(time.Duration(float64(n) / r.cfg.Rate * float64(time.Second)))
	}
}

// batchSize is how many letters a step takes: with a rate, a fifth of a second's.
func (r *run) batchSize() int {
	if r.cfg.Rate > 0 {
		return min(batchLetters, max(1, int(r.cfg.Rate/5)))
	}
	return batchLetters
}

// outgoing is a job on its way.
type outgoing struct {
	item    *Item
	message kafkaio.Message
}

// step sends some of the items, and returns how many it took. Once it has begun to write it ignores
// the end of ctx, so that no letter is left half done, unless the lock is lost.
func (r *run) step(ctx context.Context, items []Item) (int, error) {
	batch, taken, err := r.gather(ctx, items)
	if err != nil || len(batch) == 0 {
		return taken, err
	}
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	begun, cancel := through(ctx, stepTimeout)
	defer cancel()
	if err := r.resolve(begun, batch, deadletter.StatusReplaying); err != nil {
		r.fail(batch, err)
		return taken, err
	}
	r.sending(len(batch))
	sent, err := r.send(begun, batch)
	if len(sent) == 0 {
		return taken, err
	}
	// Where one broker has held the others up, there must be time left for what they have taken.
	last, cancelLast := through(ctx, noteTimeout)
	defer cancelLast()
	if noteErr := r.resolve(last, sent, deadletter.StatusReplayed); noteErr != nil {
		// The claims answer what is sent again.
		noteErr = fmt.Errorf("%w: %w", ErrNotNoted, noteErr)
		r.fail(sent, noteErr)
		return taken, errors.Join(err, noteErr)
	}
	r.report.Sent += len(sent)
	return taken, err
}

func (r *run) fail(batch []outgoing, err error) {
	r.report.Failed += len(batch)
	for _, o := range batch {
		r.cfg.Fault(o.item, err)
	}
}

// gather makes the jobs of the next items. A letter that is not there any more is passed over; an error
// is one that would meet the others too.
func (r *run) gather(ctx context.Context, items []Item) (batch []outgoing, taken int, err error) {
	bytes := 0
	for i := range items {
		if taken >= r.batchSize() || bytes >= batchBytes {
			break
		}
		item := &items[i]
		d, err := r.letters.get(ctx, item.Letter.Place())
		switch {
		case ctx.Err() != nil:
			return nil, 0, context.Cause(ctx)
		case err != nil && !errors.Is(err, errGone) && len(batch) > 0:
			return batch, taken, nil // first those that there are
		case err != nil && !errors.Is(err, errGone):
			return nil, taken, err // it is Kafka, and not this letter
		}
		taken++
		o := outgoing{item: item}
		if err == nil {
			o.message = r.message(d, item)
			if !o.message.Fits(r.limits[item.Topic]) {
				err = fmt.Errorf("letter %s: its job and its headers are too large for %s", item.Letter.ID, item.Topic)
			}
		}
		if err != nil {
			r.fail([]outgoing{o}, err)
			continue
		}
		batch = append(batch, o)
		bytes += d.Size()
	}
	return batch, taken, nil
}

// message makes the job of a letter again: key and value byte for byte, to the partition that it came
// from where that exists.
func (r *run) message(d *job.Delivery, i *Item) kafkaio.Message {
	m := deadletter.Replayed(d, i.Letter, r.cfg.Signature.ReplayID)
	if i.Mended != nil {
		m.Value = i.Mended.Value
	}
	if i.Mended != nil && i.Mended.Key != nil { // another complaint: its own partition
		m.Key = i.Mended.Key
		return m
	}
	if p := i.Letter.Source.Partition; p >= 0 && p < r.partitions[i.Topic] && i.Letter.Source.Topic != "" {
		m.Partition = p
	}
	return m
}

// send publishes the jobs of a batch, and returns those that Kafka has. It returns the first failure.
func (r *run) send(ctx context.Context, batch []outgoing) (sent []outgoing, first error) {
	byTopic := map[string][]int{}
	for i := range batch {
		byTopic[batch[i].item.Topic] = append(byTopic[batch[i].item.Topic], i)
	}
	errs := make([]error, len(batch))
	for topic, indexes := range byTopic {
		messages := make([]kafkaio.Message, len(indexes))
		for k, i := range indexes {
			messages[k] = batch[i].message
		}
		for k, p := range r.cfg.Kafka.PublishBatch(ctx, topic, r.limits[topic], messages) {
			errs[indexes[k]] = p.Err
		}
	}
	for i, err := range errs {
		if err == nil {
			sent = append(sent, batch[i])
			continue
		}
		r.fail(batch[i:i+1], err)
		if first == nil {
			first = err
		}
	}
	return sent, first
}

// resolve writes the resolutions of a batch.
func (r *run) resolve(ctx context.Context, batch []outgoing, status deadletter.Status) error {
	letters := make([]*deadletter.Letter, len(batch))
	for i, o := range batch {
		letters[i] = o.item.Letter
	}
	limit := r.limits[r.cfg.Resolutions]
	return writeResolutions(ctx, r.cfg.Kafka, r.cfg.Index, r.cfg.Resolutions, limit, letters, status, r.cfg.Signature)
}

// writeResolutions writes the resolutions of letters and of their copies. After an error some may be written.
func writeResolutions(
	ctx context.Context, kafka Kafka, x *deadletter.Index, topic string, maxBytes int,
	letters []*deadletter.Letter, status deadletter.Status, by Signature,
) error {
	var messages []kafkaio.Message
	resolution := deadletter.Resolution{
		Status: status, ReplayID: by.ReplayID, By: by.By, Note: by.Note, At: deadletter.FormatTime(by.Now()),
	}
	for _, l := range letters {
		for _, p := range x.Places(l) {
			m, err := deadletter.ResolutionMessage(p, resolution)
			if err != nil {
				return err
			}
			messages = append(messages, m)
		}
	}
	for _, p := range kafka.PublishBatch(ctx, topic, maxBytes, messages) {
		if p.Err != nil {
			return p.Err
		}
	}
	return nil
}

// NewID returns an id of a replay that begins at that time, unlike any other.
func NewID(now time.Time, token string) string {
	return now.UTC().Format("20060102T150405Z") + "-" + token[:min(8, len(token))]
}
