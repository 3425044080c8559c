package deadletter

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// ID is where a letter stands in the topic of dead letters. It is written "PARTITION/OFFSET".
type ID struct {
	Partition int
	Offset    int64
}

// String returns "PARTITION/OFFSET".
func (id ID) String() string { return fmt.Sprintf("%d/%d", id.Partition, id.Offset) }

// ParseID reads "PARTITION/OFFSET".
func ParseID(text string) (ID, error) {
	partition, offset, found := strings.Cut(text, "/")
	p, errPartition := strconv.ParseInt(partition, 10, 32)
	o, errOffset := strconv.ParseInt(offset, 10, 64)
	if !found || errPartition != nil || errOffset != nil || p < 0 || o < 0 {
		return ID{}, fmt.Errorf("%q is no dead letter; one is named by its PARTITION/OFFSET, as in 3/1041", text)
	}
	return ID{Partition: int(p), Offset: o}, nil
}

// Place is one letter's ID and its own time. Where the topic of dead letters was made anew, another
// letter stands at the same ID, with another time.
type Place struct {
	ID        ID
	Timestamp time.Time
}
