package outcome

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"replyworker/internal/job"
)

// Parse reads the value of an outcome record. Fields that it does not know are passed over, as every
// reader of the topic should do; those that are missing are empty.
func Parse(value []byte) (Event, error) {
	var e Event
	switch err := json.Unmarshal(value, &e); {
	case len(value) == 0:
		return Event{}, errors.New("it has no value")
	case err != nil:
		return Event{}, fmt.Errorf("it is no outcome: %w", err)
	case e.SchemaVersion != schemaVersion:
		return Event{}, fmt.Errorf("its schema_version is %d, not %d", e.SchemaVersion, schemaVersion)
	case !slices.Contains(job.Statuses(), e.Status):
		return Event{}, fmt.Errorf("its status is %q", e.Status)
	}
	return e, nil
}
