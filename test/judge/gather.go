package judge

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Topics is where the records of a run are.
type Topics struct {
	// Client is connected to the brokers; it reads nothing by itself.
	Client *kgo.Client
	// Connect are the options with which others are made.
	Connect                        []kgo.Opt
	Jobs, Outcomes, Letters, Group string
}

// Gather reads all records and offsets. The rest of the evidence is for the caller to add.
func (t Topics) Gather(ctx context.Context) (e Evidence, err error) {
	if e.Committed, e.Ends, err = t.offsets(ctx); err != nil {
		return e, err
	}
	for topic, into := range map[string]*[]*kgo.Record{t.Jobs: &e.Jobs, t.Outcomes: &e.Outcomes, t.Letters: &e.Letters} {
		if *into, err = t.read(ctx, topic); err != nil {
			return e, err
		}
	}
	return e, nil
}

// Drained waits until the group has committed the end of every partition, and says what is missing
// where it does not come to that.
func (t Topics) Drained(ctx context.Context, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for missing := int64(-1); ; {
		committed, ends, err := t.offsets(ctx)
		if err == nil {
			missing = 0
			for p, end := range ends {
				missing += max(0, end-committed[p])
			}
			if missing == 0 {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d records are not finished after %s: %w", missing, patience, errors.Join(err, ctx.Err()))
		case <-time.After(poll):
		}
	}
}

// poll is how often offsets are asked for.
const poll = 200 * time.Millisecond

func (t Topics) offsets(ctx context.Context) (committed, ends map[int32]int64, err error) {
	admin := kadm.NewClient(t.Client)
	committed, ends = map[int32]int64{}, map[int32]int64{}
	got, err := admin.FetchOffsets(ctx, t.Group)
	if err != nil {
		return nil, nil, fmt.Errorf("committed offsets: %w", err)
	}
	for p, o := range got[t.Jobs] {
		committed[p] = o.At
	}
	last, err := admin.ListEndOffsets(ctx, t.Jobs)
	if err = errors.Join(err, last.Error()); err != nil {
		return nil, nil, fmt.Errorf("end offsets: %w", err)
	}
	for p, o := range last[t.Jobs] {
		ends[p] = o.Offset
	}
	return committed, ends, nil
}

// read reads the committed records of a topic, from its beginning to its present end.
func (t Topics) read(ctx context.Context, topic string) ([]*kgo.Record, error) {
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), kgo.FetchMaxBytes(8 << 20),
	}, t.Connect...)...)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", topic, err)
	}
	defer client.Close()
	last, err := kadm.NewClient(client).ListEndOffsets(ctx, topic)
	if err = errors.Join(err, last.Error()); err != nil {
		return nil, fmt.Errorf("read %s: %w", topic, err)
	}
	missing := map[int32]int64{}
	for p, o := range last[topic] {
		if o.Offset > 0 {
			missing[p] = o.Offset - 1
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	var all []*kgo.Record
	for len(missing) > 0 {
		fetched := client.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil, fmt.Errorf("read %s: partitions %v have no end: %w", topic, missing, ctx.Err())
		}
		fetched.EachRecord(func(r *kgo.Record) {
			if !r.Attrs.IsControl() {
				all = append(all, r)
			}
			if to, ok := missing[r.Partition]; ok && r.Offset >= to {
				delete(missing, r.Partition)
			}
		})
	}
	return all, nil
}
