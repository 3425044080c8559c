package job

import (
	"slices"
	"strconv"
	"time"
)

// Source is the identity of one job record. Two deliveries of a record have equal sources; two
// records never do, also where the topic was deleted and made anew (Timestamp differs then).
type Source struct {
	Topic     string
	Partition int
	Offset    int64
	// Timestamp is the record's time as Kafka keeps it, of millisecond precision.
	Timestamp time.Time
}

// ID returns the source as one string, "topic/partition/offset/unix-milliseconds": the outcome's
// ce_id and the claim's source.
func (s Source) ID() string {
	b := make([]byte, 0, len(s.Topic)+40)
	b = append(b, s.Topic...)
	b = append(b, '/')
	b = strconv.AppendInt(b, int64(s.Partition), 10)
	b = append(b, '/')
	b = strconv.AppendInt(b, s.Offset, 10)
	b = append(b, '/')
	b = strconv.AppendInt(b, s.Timestamp.UnixMilli(), 10)
	return string(b)
}

// Header is one header of a record. A nil Value is Kafka's null.
type Header struct {
	Key   string
	Value []byte
}

// Delivery is one reading of a job record, with its bytes untouched. A nil Key or Value is Kafka's
// null, an empty one is empty. It is read-only once made.
type Delivery struct {
	Source  Source
	Key     []byte
	Value   []byte
	Headers []Header
}

// Header returns the value of the last header of that name, as Kafka clients do, and whether there
// is one.
func (d *Delivery) Header(name string) (string, bool) {
	for _, h := range slices.Backward(d.Headers) {
		if h.Key == name {
			return string(h.Value), true
		}
	}
	return "", false
}

// Size returns the bytes that the delivery holds in memory, for the buffer's bound.
func (d *Delivery) Size() int {
	n := len(d.Key) + len(d.Value)
	for _, h := range d.Headers {
		n += len(h.Key) + len(h.Value)
	}
	return n
}
