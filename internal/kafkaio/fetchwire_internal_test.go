package kafkaio

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"runtime"
	"testing"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/fetch"
	"github.com/stretchr/testify/require"
)

func setOf(values ...string) protocol.RecordSet {
	var records []kafka.Record
	for _, v := range values {
		records = append(records, kafka.Record{Value: kafka.NewBytes([]byte(v))})
	}
	return protocol.RecordSet{Version: 2, Records: protocol.NewRecordReader(records...)}
}

// batchOf makes a batch of records as a broker keeps it, whose first record has the offset given.
func batchOf(t testing.TB, offset int64, values ...string) []byte {
	t.Helper()
	var wire bytes.Buffer
	set := setOf(values...)
	_, err := set.WriteTo(&wire)
	require.NoError(t, err)
	batch := wire.Bytes()[4:] // without the set's size
	binary.BigEndian.PutUint64(batch, uint64(offset))
	return batch
}

// answerOf makes the body of a broker's answer with kafka-go.
func answerOf(t testing.TB, version int16, p fetch.ResponsePartition, records []byte) []byte {
	t.Helper()
	var wire bytes.Buffer
	p.RecordSet = setOf("its records, which kafka-go cannot write at an offset")
	require.NoError(t, protocol.WriteResponse(&wire, version, 1, &fetch.Response{
		ThrottleTimeMs: 7, Topics: []fetch.ResponseTopic{{Topic: "jobs", Partitions: []fetch.ResponsePartition{p}}},
	}))
	body := wire.Bytes()[8:] // without its size and id
	body = body[:len(body)-4-len(batchOf(t, 0, "its records, which kafka-go cannot write at an offset"))]
	body = binary.BigEndian.AppendUint32(body, uint32(len(records)))
	return append(body, records...)
}

func TestAFetchAnswerIsReadInEveryVersion(t *testing.T) {
	t.Parallel()
	records := batchOf(t, 5, "a", "b")
	for version := int16(minFetch); version <= maxFetch; version++ {
		body := answerOf(t, version, fetch.ResponsePartition{
			Partition: 3, ErrorCode: 6, HighWatermark: 1 << 40, LastStableOffset: 2, LogStartOffset: 1,
			AbortedTransactions: []fetch.ResponseTransaction{{ProducerID: 9, FirstOffset: 4}, {ProducerID: 10, FirstOffset: 5}},
		}, records)
		a, err := readFetchAnswer(body, version)
		require.NoError(t, err, "version %d", version)
		require.Equal(t, &fetchAnswer{throttleMS: 7, partitions: 1, partition: fetchPartition{
			errorCode: 6, highWatermark: 1 << 40, records: records,
			aborted: []fetch.ResponseTransaction{{ProducerID: 9, FirstOffset: 4}, {ProducerID: 10, FirstOffset: 5}},
		}}, a, "version %d", version)
		for n := range body {
			_, err := readFetchAnswer(body[:n], version)
			require.ErrorIs(t, err, errShortAnswer, "version %d, cut off after %d bytes", version, n)
		}
	}
}

func values(p Page) (all []string) {
	for _, r := range p.Records {
		all = append(all, fmt.Sprintf("%d:%s", r.Source.Offset, r.Value))
	}
	return all
}

func TestBatchesAreReadOneAfterAnother(t *testing.T) {
	t.Parallel()
	f := &Fetcher{Topic: "jobs"}
	whole := bytes.Join([][]byte{batchOf(t, 5, "a", "b"), batchOf(t, 9, "c"), batchOf(t, 12, "d", "e")}, nil)
	read := func(records []byte, offset int64, most int) Page {
		t.Helper()
		p, err := f.read(&fetchPartition{records: records}, offset, most)
		require.NoError(t, err)
		return p
	}
	p := read(whole, 6, 100)
	require.Equal(t, []string{"6:b", "9:c", "12:d", "13:e"}, values(p))
	require.EqualValues(t, 14, p.Next)
	p = read(whole, 5, 2)
	require.Equal(t, []string{"5:a", "6:b"}, values(p))
	require.EqualValues(t, 7, p.Next)
	p = read(whole[:len(whole)-1], 5, 100)
	require.Equal(t, []string{"5:a", "6:b", "9:c"}, values(p), "the last batch is cut off")
	require.EqualValues(t, 10, p.Next)
	p = read(whole, 20, 100)
	require.Empty(t, p.Records)
	require.EqualValues(t, 21, p.Next, "an offset that compaction took from the end of its batch is passed over")

	// A batch of which compaction has left the first record only.
	compacted := batchOf(t, 5, "a")
	binary.BigEndian.PutUint32(compacted[batchLastDelta:], 6)
	require.EqualValues(t, 12, endOf(compacted))
}

// What is before a batch that is damaged is not lost, and the damaged one is not passed over.
func TestADamagedBatchEndsAPage(t *testing.T) {
	t.Parallel()
	f := &Fetcher{Topic: "jobs"}
	good, bad := batchOf(t, 5, "a"), batchOf(t, 6, "b")
	bad[len(bad)-1] ^= 1
	answer := func(records ...[]byte) *fetchAnswer {
		return &fetchAnswer{partitions: 1, partition: fetchPartition{records: bytes.Join(records, nil)}}
	}
	p, err := f.pageOf(answer(good, bad), 5, 100)
	require.NoError(t, err)
	require.Equal(t, []string{"5:a"}, values(p))
	require.EqualValues(t, 6, p.Next)
	_, err = f.pageOf(answer(bad, good), 6, 100)
	require.ErrorContains(t, err, "read jobs/0: batch of records: crc32 checksum mismatch")
	p, err = f.pageOf(answer(batchOf(t, 2, "old"), bad), 6, 100)
	require.Error(t, err, "a batch from before the wanted offset, then the damaged one: %+v", p)
	short := batchOf(t, 5, "a")
	binary.BigEndian.PutUint32(short[8:], 3)
	_, err = f.pageOf(answer(short), 5, 100)
	require.ErrorContains(t, err, "a batch of records has 15 bytes")
}

// A backlog of jobs that were produced one at a time took a hundred times its size in memory: kafka-go
// reads each batch into a page of 64 KiB, and all of an answer before the first is used.
func TestAnAnswerOfManySmallBatchesTakesLittleMemory(t *testing.T) { //nolint:paralleltest // it looks at what the process allocates
	const jobs = 2000
	job := string(bytes.Repeat([]byte("x"), 400))
	var records []byte
	for i := range int64(jobs) {
		records = append(records, batchOf(t, i, job)...)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	p, err := (&Fetcher{Topic: "jobs"}).read(&fetchPartition{records: records}, 0, 2*jobs)
	runtime.ReadMemStats(&after)
	require.NoError(t, err)
	require.Len(t, p.Records, jobs)
	perJob := (after.TotalAlloc - before.TotalAlloc) / jobs
	t.Logf("%d bytes allocated for each job of %d bytes", perJob, len(job))
	// A page for each would be 64 KiB. The race detector makes pools forget every fourth.
	require.Less(t, perJob, uint64(32<<10), "bytes allocated for each job")
}

func FuzzFetchAnswer(f *testing.F) {
	records := batchOf(f, 5, "a", "b")
	for version := int16(minFetch); version <= maxFetch; version++ {
		f.Add(answerOf(f, version, fetch.ResponsePartition{AbortedTransactions: []fetch.ResponseTransaction{{ProducerID: 1}}}, records), version)
	}
	f.Fuzz(func(t *testing.T, body []byte, version int16) {
		a, err := readFetchAnswer(body, version)
		if err != nil {
			return
		}
		page, err := (&Fetcher{}).pageOf(a, 5, 100)
		if err == nil && page.Next < 5 {
			t.Fatalf("after offset 5 comes %d", page.Next)
		}
	})
}
