package kafkaio

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"sort"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/fetch"

	"replyworker/internal/job"
)

const (
	fetchWait     = 500 * time.Millisecond // how long a broker waits for records to come
	fetchTimeout  = 10 * time.Second
	readCommitted = 1
	abortMarker   = 0 // the type of a control record that ends an aborted transaction
	noProducer    = -1
	noEpoch       = -1
	noReplica     = -1
	noSession     = -1
)

// ErrOffsetOutOfRange says that the partition does not have the wanted offset, or not any more.
var ErrOffsetOutOfRange = errors.New("offset out of range")

// Page is what one fetch has yielded.
type Page struct {
	// Records are the committed ones at and after the wanted offset.
	Records []job.Delivery
	// Next is the offset to fetch from after this page; there is nothing for us between the last of
	// Records and Next.
	Next int64
	// HighWatermark is the end of the partition.
	HighWatermark int64
}

// Fetcher reads committed records of one partition: no control records, none of aborted transactions,
// and empty keys and values told apart from null ones. kafka-go's own Reader does neither. It is safe
// for concurrent use.
type Fetcher struct {
	Client    *Client
	Topic     string
	Partition int
	// MaxBytes bounds the answer of one fetch; a larger batch comes all the same, alone.
	MaxBytes int
}

// Fetch reads at most maxRecords from offset on, whatever the broker has sent: a small answer may
// hold many compressed ones. Where there is nothing yet it waits a while and returns an empty page. It
// waits, too, as long as a broker asks for that enforces a quota.
func (f *Fetcher) Fetch(ctx context.Context, offset int64, maxRecords int) (Page, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	for {
		res, err := f.ask(ctx, offset)
		if err != nil {
			return Page{}, err
		}
		if res.partitions == 0 && res.throttleMS > 0 {
			if err := f.throttled(ctx, res.throttleMS); err != nil {
				return Page{}, err
			}
			continue
		}
		return f.pageOf(res, offset, maxRecords)
	}
}

// throttled waits for as long as a broker's quota wants, which has sent nothing because of it.
func (f *Fetcher) throttled(ctx context.Context, milliseconds int32) error {
	wait := time.NewTimer(time.Duration(milliseconds) * time.Millisecond)
	defer wait.Stop()
	select {
	case <-ctx.Done():
		return fmt.Errorf("fetch %s/%d: the broker's quota holds it up: %w", f.Topic, f.Partition, ctx.Err())
	case <-wait.C:
		return nil
	}
}

// ask sends one request.
func (f *Fetcher) ask(ctx context.Context, offset int64) (*fetchAnswer, error) {
	partition := int32(f.Partition)                   //nolint:gosec // Kafka's own number, of 32 bits
	maxBytes := int32(min(f.MaxBytes, math.MaxInt32)) //nolint:gosec // it has just been bounded
	m, err := f.Client.roundTrip(ctx, &fetchRequest{id: f.Client.fetches.Add(1), Request: &fetch.Request{
		ReplicaID:      noReplica,
		MaxWaitTime:    int32(fetchWait / time.Millisecond),
		MinBytes:       1,
		MaxBytes:       maxBytes,
		IsolationLevel: readCommitted,
		SessionID:      0,
		SessionEpoch:   noSession,
		Topics: []fetch.RequestTopic{{
			Topic: f.Topic,
			Partitions: []fetch.RequestPartition{{
				Partition: partition, CurrentLeaderEpoch: noEpoch, FetchOffset: offset,
				LogStartOffset: -1, PartitionMaxBytes: maxBytes,
			}},
		}},
	}})
	if err != nil {
		return nil, fmt.Errorf("fetch %s/%d: %w", f.Topic, f.Partition, err)
	}
	return m.(*fetchAnswer), nil
}

// pageOf takes the page out of an answer.
func (f *Fetcher) pageOf(res *fetchAnswer, offset int64, maxRecords int) (Page, error) {
	if res.errorCode != 0 {
		return Page{}, fmt.Errorf("fetch %s/%d: %w", f.Topic, f.Partition, kafka.Error(res.errorCode))
	}
	if res.partitions == 0 {
		return Page{}, fmt.Errorf("fetch %s/%d: the answer has no partition", f.Topic, f.Partition)
	}
	p := &res.partition
	if kafka.Error(p.errorCode) == kafka.OffsetOutOfRange {
		return Page{}, fmt.Errorf("fetch %s/%d from %d: %w", f.Topic, f.Partition, offset, ErrOffsetOutOfRange)
	}
	if p.errorCode != 0 {
		return Page{}, fmt.Errorf("fetch %s/%d: %w", f.Topic, f.Partition, kafka.Error(p.errorCode))
	}
	page, err := f.read(p, offset, maxRecords)
	if err != nil && page.Next == offset {
		return Page{}, fmt.Errorf("read %s/%d: %w", f.Topic, f.Partition, err)
	}
	return page, nil // what is wrong behind it shows again, when it is what the next page begins with
}

// read takes the committed records out of an answer. With an error comes what was before it.
func (f *Fetcher) read(p *fetchPartition, offset int64, maxRecords int) (Page, error) {
	out := Page{Next: offset, HighWatermark: p.highWatermark}
	all, aborted := batches{left: p.records}, newAborted(p.aborted)
	for some := false; len(out.Records) < maxRecords; some = true {
		batch, err := all.next()
		if err != nil {
			return out, err
		}
		if batch == nil {
			if some { // also where their format does not tell of records that compaction took
				out.Next = max(out.Next, offset+1)
			}
			return out, nil
		}
		readers, err := all.read(batch)
		if err != nil {
			return out, err
		}
		for _, r := range readers {
			if err := f.readBatch(r, offset, maxRecords, aborted, &out); err != nil {
				return out, err
			}
		}
		if len(out.Records) < maxRecords { // all of it was read; its last records may have been compacted away
			out.Next = max(out.Next, endOf(batch))
		}
	}
	return out, nil
}

func (f *Fetcher) readBatch(batch protocol.RecordReader, offset int64, maxRecords int, aborted *aborted, out *Page) error {
	drop := false
	switch b := batch.(type) {
	case *protocol.ControlBatch:
		return readControl(b, aborted, out)
	case *protocol.RecordBatch:
		drop = b.Attributes.Transactional() && aborted.has(b.ProducerID, b.BaseOffset)
	}
	for len(out.Records) < maxRecords {
		r, err := batch.ReadRecord()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("next record: %w", err)
		}
		if drop || r.Offset < offset {
			out.Next = max(out.Next, r.Offset+1)
			closeRecord(r)
			continue
		}
		d, err := f.delivery(r)
		if err != nil {
			return err
		}
		out.Next = max(out.Next, r.Offset+1)
		out.Records = append(out.Records, d)
	}
	return nil
}

func readControl(b *protocol.ControlBatch, aborted *aborted, out *Page) error {
	for {
		r, err := b.ReadRecord()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("next control record: %w", err)
		}
		out.Next = max(out.Next, r.Offset+1)
		key, err := readBytes(r.Key) // version and type, 2 bytes each
		closeRecord(r)
		if err != nil {
			return err
		}
		if len(key) >= 4 && binary.BigEndian.Uint16(key[2:]) == abortMarker {
			aborted.end(b.ProducerID)
		}
	}
}

// delivery copies a record out of kafka-go's pages, which are used again.
func (f *Fetcher) delivery(r *protocol.Record) (job.Delivery, error) {
	defer closeRecord(r)
	key, err := readBytes(r.Key)
	if err != nil {
		return job.Delivery{}, err
	}
	value, err := readBytes(r.Value)
	if err != nil {
		return job.Delivery{}, err
	}
	d := job.Delivery{
		Source: job.Source{Topic: f.Topic, Partition: f.Partition, Offset: r.Offset, Timestamp: r.Time},
		Key:    key, Value: value,
	}
	for _, h := range r.Headers {
		d.Headers = append(d.Headers, job.Header{Key: h.Key, Value: h.Value})
	}
	return d, nil
}

// readBytes keeps null (nil) and empty apart.
func readBytes(b protocol.Bytes) ([]byte, error) {
	if b == nil {
		return nil, nil
	}
	out := make([]byte, b.Len())
	if _, err := io.ReadFull(b, out); err != nil {
		return nil, fmt.Errorf("key or value: %w", err)
	}
	return out, nil
}

func closeRecord(r *protocol.Record) {
	if r.Key != nil {
		_ = r.Key.Close() // gives a page back; it cannot fail
	}
	if r.Value != nil {
		_ = r.Value.Close()
	}
}

// aborted knows which of an answer's batches belong to aborted transactions. A broker lists, by
// producer, where such a transaction begins; it goes on to the producer's next abort marker
// (Kafka protocol, FetchResponse.aborted_transactions).
type aborted struct {
	begins []fetch.ResponseTransaction // by first offset
	open   map[int64]bool
}

func newAborted(list []fetch.ResponseTransaction) *aborted {
	a := &aborted{begins: list, open: map[int64]bool{}}
	sort.Slice(a.begins, func(i, j int) bool { return a.begins[i].FirstOffset < a.begins[j].FirstOffset })
	return a
}

func (a *aborted) has(producer, baseOffset int64) bool {
	for len(a.begins) > 0 && a.begins[0].FirstOffset <= baseOffset {
		a.open[a.begins[0].ProducerID] = true
		a.begins = a.begins[1:]
	}
	return producer != noProducer && a.open[producer]
}

func (a *aborted) end(producer int64) { delete(a.open, producer) }

// Bounds returns the first offset that the partition still has and the one past its last.
func (f *Fetcher) Bounds(ctx context.Context) (first, end int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	res, err := f.Client.client.ListOffsets(ctx, &kafka.ListOffsetsRequest{
		Topics: map[string][]kafka.OffsetRequest{
			f.Topic: {kafka.FirstOffsetOf(f.Partition), kafka.LastOffsetOf(f.Partition)},
		},
	})
	if err != nil {
		return 0, 0, fmt.Errorf("offsets of %s/%d: %w", f.Topic, f.Partition, err)
	}
	for _, p := range res.Topics[f.Topic] {
		if p.Partition != f.Partition {
			continue
		}
		if p.Error != nil {
			return 0, 0, fmt.Errorf("offsets of %s/%d: %w", f.Topic, f.Partition, p.Error)
		}
		return p.FirstOffset, p.LastOffset, nil
	}
	return 0, 0, fmt.Errorf("offsets of %s/%d: the answer has no partition", f.Topic, f.Partition)
}
