package deadletter

import (
	"encoding/json"
	"errors"
	"fmt"

	"replyworker/internal/job"
	"replyworker/internal/kafkaio"
)

// Status is how far a dead letter has been dealt with.
type Status string

// The statuses. All but StatusOpen come from a resolution.
const (
	StatusOpen      Status = "open"
	StatusReplaying Status = "replaying" // a replay began to send it, and did not say that it did
	StatusReplayed  Status = "replayed"
	StatusDiscarded Status = "discarded"
)

// Statuses lists every status.
func Statuses() []Status {
	return []Status{StatusOpen, StatusReplaying, StatusReplayed, StatusDiscarded}
}

// Resolution says what was done about a dead letter: the value of a record of the topic of
// resolutions, whose key is the letter's ID.
type Resolution struct {
	Status Status `json:"status"`
	// LetterTimestamp is the letter's own time, with milliseconds: the resolution holds only for the
	// letter of that time.
	LetterTimestamp string `json:"letter_timestamp"`
	ReplayID        string `json:"replay_id"`
	By              string `json:"by"`
	At              string `json:"at"` // RFC 3339
	Note            string `json:"note"`
}

// concerns says that the resolution is of the letter that stood there at that time.
func (r *Resolution) concerns(p Place) bool {
	return r.LetterTimestamp == p.Timestamp.UTC().Format(timeLayout)
}

// ResolutionMessage makes the record of the resolution of the letter at a place, whose time it fills in.
func ResolutionMessage(p Place, r Resolution) (kafkaio.Message, error) {
	r.LetterTimestamp = p.Timestamp.UTC().Format(timeLayout)
	value, err := json.Marshal(r)
	if err != nil {
		return kafkaio.Message{}, fmt.Errorf("resolution of %s: %w", p.ID, err)
	}
	return kafkaio.Message{Partition: kafkaio.AnyPartition, Key: []byte(p.ID.String()), Value: value}, nil
}

// parseResolution reads a record of the topic of resolutions. A record without a value takes back what
// was said of its letter: it is a resolution whose status is StatusOpen.
func parseResolution(d *job.Delivery) (ID, Resolution, error) {
	id, err := ParseID(string(d.Key))
	if err != nil {
		return ID{}, Resolution{}, err
	}
	if d.Value == nil {
		return id, Resolution{Status: StatusOpen}, nil
	}
	var r Resolution
	if err := json.Unmarshal(d.Value, &r); err != nil {
		return ID{}, Resolution{}, fmt.Errorf("no resolution: %w", err)
	}
	switch r.Status {
	case StatusReplaying, StatusReplayed, StatusDiscarded:
		return id, r, nil
	case StatusOpen:
	}
	return ID{}, Resolution{}, errors.New("no resolution: its status is " + string(r.Status))
}
