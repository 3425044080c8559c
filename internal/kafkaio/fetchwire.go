package kafkaio

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/fetch"
)

// fetchRequest is kafka-go's fetch request, whose answer is read here. kafka-go reads an answer into
// pages of 64 KiB, at least one for each batch of records: where producers send jobs one at a time, an
// answer of half a megabyte would take fifty. Here an answer takes its own size, and one page at a time.
//
// It implements protocol.RawExchanger. A connection has one request at a time.
type fetchRequest struct {
	*fetch.Request

	id      int32
	version int16
}

// Required takes the version that was agreed on with the broker.
func (r *fetchRequest) Required(versions map[protocol.ApiKey]int16) bool {
	r.version = versions[protocol.Fetch]
	return true
}

// The versions of the fetch API that can be read: from the first with transactions, to the last before
// the protocol's flexible encoding, which kafka-go does not speak here.
const minFetch, maxFetch = 4, 11

// RawExchange sends the request and reads its answer.
func (r *fetchRequest) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	if r.version < minFetch || r.version > maxFetch {
		return nil, fmt.Errorf("the broker speaks version %d of the fetch API, 4 to 11 are understood", r.version)
	}
	if err := protocol.WriteRequest(rw, r.version, r.id, clientID, r.Request); err != nil {
		return nil, fmt.Errorf("send: %w", err)
	}
	var head [8]byte
	if _, err := io.ReadFull(rw, head[:]); err != nil {
		return nil, err //nolint:wrapcheck // the connection's own
	}
	size, id := binary.BigEndian.Uint32(head[:]), int32(binary.BigEndian.Uint32(head[4:])) //nolint:gosec // as it was sent
	if size < 4 || size > maxAnswer {
		return nil, fmt.Errorf("%w: an answer of %d bytes", ErrNotKafka, size)
	}
	if id != r.id {
		return nil, fmt.Errorf("correlation id mismatch (expected=%d, found=%d)", r.id, id)
	}
	body := make([]byte, size-4)
	if _, err := io.ReadFull(rw, body); err != nil {
		return nil, err //nolint:wrapcheck // the connection's own
	}
	return readFetchAnswer(body, r.version)
}

// fetchAnswer is the answer to a request for one partition.
type fetchAnswer struct {
	throttleMS int32
	errorCode  int16 // of the request
	partitions int   // that are told of
	partition  fetchPartition
}

type fetchPartition struct {
	errorCode     int16
	highWatermark int64
	aborted       []fetch.ResponseTransaction
	records       []byte
}

// ApiKey implements protocol.Message.
func (*fetchAnswer) ApiKey() protocol.ApiKey { return protocol.Fetch } //nolint:staticcheck // kafka-go's name for it

var errShortAnswer = errors.New("the answer is too short for what it says to hold")

// readFetchAnswer reads an answer's body (Kafka protocol, FetchResponse v4 to v11). It keeps body.
func readFetchAnswer(body []byte, version int16) (*fetchAnswer, error) {
	f, a := fields{b: body}, &fetchAnswer{}
	a.throttleMS = f.int32()
	if version >= 7 {
		a.errorCode = f.int16()
		f.int32() // session
	}
	for topics := f.int32(); topics > 0 && !f.short; topics-- {
		f.take(int(f.int16())) // name
		for partitions := f.int32(); partitions > 0 && !f.short; partitions-- {
			a.partitions++
			a.partition = readFetchPartition(&f, version)
		}
	}
	if f.short {
		return nil, errShortAnswer
	}
	return a, nil
}

func readFetchPartition(f *fields, version int16) (p fetchPartition) {
	f.int32() // its number
	p.errorCode = f.int16()
	p.highWatermark = f.int64()
	f.int64() // last stable offset
	if version >= 5 {
		f.int64() // start of the log
	}
	for aborted := f.int32(); aborted > 0 && !f.short; aborted-- {
		p.aborted = append(p.aborted, fetch.ResponseTransaction{ProducerID: f.int64(), FirstOffset: f.int64()})
	}
	if version >= 11 {
		f.int32() // preferred replica
	}
	p.records = f.take(int(f.int32()))
	return p
}

// fields reads an answer's fields. Once it is short, what it reads is 0.
type fields struct {
	b     []byte
	short bool
}

// take returns the next n bytes; null, which is -1, is none.
func (f *fields) take(n int) []byte {
	if n > len(f.b) {
		f.b, f.short = nil, true
	}
	n = max(0, min(n, len(f.b)))
	taken := f.b[:n:n]
	f.b = f.b[n:]
	return taken
}

func (f *fields) int16() int16 {
	if b := f.take(2); len(b) == 2 {
		return int16(binary.BigEndian.Uint16(b)) //nolint:gosec // as it was sent
	}
	return 0
}

func (f *fields) int32() int32 {
	if b := f.take(4); len(b) == 4 {
		return int32(binary.BigEndian.Uint32(b)) //nolint:gosec // as it was sent
	}
	return 0
}

func (f *fields) int64() int64 {
	if b := f.take(8); len(b) == 8 {
		return int64(binary.BigEndian.Uint64(b)) //nolint:gosec // as it was sent
	}
	return 0
}

// Where a batch has what, in all versions of its format, and from version 2 on.
const (
	batchHead      = 12 // first offset and length, which the length does not count
	batchMagic     = 16
	batchLastDelta = 23
	batchLeast     = 27
)

// batches are those of an answer, one after another.
type batches struct {
	left []byte
	copy bytes.Buffer // of one of them, as kafka-go reads it
}

// next returns the next batch, nil where there is none: the last one of an answer may be cut off.
func (b *batches) next() ([]byte, error) {
	if len(b.left) < batchLeast {
		return nil, nil
	}
	length := int32(binary.BigEndian.Uint32(b.left[8:])) //nolint:gosec // as it was sent
	switch n := batchHead + int64(length); {
	case n < batchLeast:
		return nil, fmt.Errorf("a batch of records has %d bytes", n)
	case n > int64(len(b.left)):
		return nil, nil
	default:
		batch := b.left[:n]
		b.left = b.left[n:]
		return batch, nil
	}
}

// read returns the records of a batch, with its checksum checked. They are good until the next read.
func (b *batches) read(batch []byte) ([]protocol.RecordReader, error) {
	b.copy.Reset()
	b.copy.Write(binary.BigEndian.AppendUint32(nil, uint32(len(batch)))) //nolint:gosec // of an answer
	b.copy.Write(batch)
	var set protocol.RecordSet
	if _, err := set.ReadFrom(&b.copy); err != nil {
		return nil, fmt.Errorf("batch of records: %w", err)
	}
	if stream, ok := set.Records.(*protocol.RecordStream); ok {
		return stream.Records, nil
	}
	return nil, nil
}

// endOf returns the offset behind a batch, compacted records included; 0 where its format does not tell.
func endOf(batch []byte) int64 {
	if batch[batchMagic] < 2 {
		return 0
	}
	first := int64(binary.BigEndian.Uint64(batch))                  //nolint:gosec // as it was sent
	delta := int32(binary.BigEndian.Uint32(batch[batchLastDelta:])) //nolint:gosec // as it was sent
	return first + int64(delta) + 1
}
