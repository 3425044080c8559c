package deadletter

import (
	"encoding/binary"
	"strconv"
	"strings"

	"replyworker/internal/job"
)

// family is how one kind of programs names the headers of its dead letters. A name that it does not
// have is empty.
type family struct {
	topic, partition, offset string
	message, class           string
	// binary tells that numbers are big-endian integers, as Spring writes them, and not text.
	binary bool
}

// families are those that are read, ours first. Sources, read 2026-11-25: KIP-1191, KIP-1034, Spring's
// DeadLetterPublishingRecoverer, Kafka Connect's DeadLetterQueueReporter, SmallRye's
// KafkaDeadLetterQueue.
var families = []family{
	{topic: HeaderTopic, partition: HeaderPartition, offset: HeaderOffset, message: HeaderMessage},
	{
		topic: "kafka_dlt-original-topic", partition: "kafka_dlt-original-partition", offset: "kafka_dlt-original-offset",
		message: "kafka_dlt-exception-message", class: "kafka_dlt-exception-fqcn", binary: true,
	},
	{
		topic: "__connect.errors.topic", partition: "__connect.errors.partition", offset: "__connect.errors.offset",
		message: "__connect.errors.exception.message", class: "__connect.errors.exception.class.name",
	},
	{
		topic: "__streams.errors.topic", partition: "__streams.errors.partition", offset: "__streams.errors.offset",
		message: "__streams.errors.message", class: "__streams.errors.exception",
	},
	{
		topic: "dead-letter-topic", partition: "dead-letter-partition", offset: "dead-letter-offset",
		message: "dead-letter-reason", class: "dead-letter-exception-class-name",
	},
}

// failurePrefixes begin the headers of a failure. Frameworks add headers from release to release, so
// they are told by what they begin with.
var failurePrefixes = []string{
	"__dlq.errors.", "dlq-", "kafka_dlt-", "retry_topic-", "__connect.errors.", "__streams.errors.", "dead-letter-",
}

// isFailure says that a header is a dead letter's and not the job's own.
func isFailure(name string) bool {
	for _, prefix := range failurePrefixes {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// unknownPlace is the partition and the offset of a letter that does not tell them.
const unknownPlace = -1

// origin is where a letter's job came from, and what went wrong, as far as its headers go.
type origin struct {
	topic     string
	partition int
	offset    int64
	message   string
	class     string
}

// originOf reads the headers of the first family that names a topic, or says anything.
func originOf(d *job.Delivery) origin {
	o := origin{partition: unknownPlace, offset: unknownPlace}
	for _, f := range families {
		topic, named := d.Header(f.topic)
		message, said := d.Header(f.message)
		if !named && !said {
			continue
		}
		o.topic, o.message = topic, message
		o.class, _ = d.Header(f.class)
		if n, ok := f.number(d, f.partition); ok && n <= 1<<31-1 {
			o.partition = int(n)
		}
		if n, ok := f.number(d, f.offset); ok {
			o.offset = n
		}
		return o
	}
	return o
}

// number reads a header that is not negative.
func (f *family) number(d *job.Delivery, name string) (int64, bool) {
	text, found := d.Header(name)
	var n int64
	switch {
	case !found:
		return 0, false
	case f.binary && len(text) == 4:
		n = int64(int32(binary.BigEndian.Uint32([]byte(text)))) //nolint:gosec // Java's int, as it was written
	case f.binary && len(text) == 8:
		n = int64(binary.BigEndian.Uint64([]byte(text))) //nolint:gosec // Java's long, as it was written
	default:
		var err error
		if n, err = strconv.ParseInt(text, 10, 64); err != nil {
			return 0, false
		}
	}
	return n, n >= 0
}
