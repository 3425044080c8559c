package deadletter

import (
	"strconv"
	"time"

	"replyworker/internal/job"
	"replyworker/internal/kafkaio"
)

// Replayed makes the job of a letter again: its key and value byte for byte, and its own headers with
// those of a replay in the place of the failure's. Its partition is that of its key.
func Replayed(d *job.Delivery, l *Letter, replayID string) kafkaio.Message {
	m := kafkaio.Message{Partition: kafkaio.AnyPartition, Key: d.Key, Value: d.Value}
	for _, h := range d.Headers {
		if !isFailure(h.Key) {
			m.Headers = append(m.Headers, h)
		}
	}
	add := func(key, value string) { m.Headers = append(m.Headers, job.Header{Key: key, Value: []byte(value)}) }
	add(HeaderReplayCount, strconv.Itoa(l.ReplayCount+1))
	add(HeaderReplayID, replayID)
	add(HeaderFirstFailedAt, l.FirstFailed.UTC().Format(time.RFC3339Nano))
	return m
}

// FormatTime writes a time as resolutions have it.
func FormatTime(t time.Time) string { return t.UTC().Format(timeLayout) }
