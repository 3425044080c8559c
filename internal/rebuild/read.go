package rebuild

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"replyworker/internal/dedupe"
	"replyworker/internal/job"
	"replyworker/internal/outcome"
)

const hashDigits = 64

// read makes a success of an outcome record. succeeded is false where the outcome is none. Limits of
// lengths are the claim store's affair.
func read(d *job.Delivery) (s dedupe.Success, succeeded bool, err error) {
	e, err := outcome.Parse(d.Value)
	switch {
	case err != nil:
		return s, false, err
	case e.Status != job.StatusSucceeded:
		return s, false, nil
	case len(e.ContentSHA256) != hashDigits:
		return s, false, fmt.Errorf("its content_sha256 has %d digits, not %d", len(e.ContentSHA256), hashDigits)
	}
	source, err := sourceOf(d, e.Source)
	if err != nil {
		return s, false, err
	}
	finished, err := time.Parse(time.RFC3339Nano, e.FinishedAt)
	if err != nil {
		return s, false, fmt.Errorf("its finished_at is %q", e.FinishedAt)
	}
	return dedupe.Success{
		Key: dedupe.Key{MchID: e.MchID, IdempotentID: e.IdempotentID}, Source: source, Content: e.ContentSHA256,
		LogID: e.LogID, Attempts: e.Attempts, MaybeSent: e.MaybeSent, FinishedAt: finished,
	}, true, nil
}

// sourceOf returns the identity of the job record. The event's source lacks the record's timestamp, so
// it is the ce_id, which has to be of the record that the source names.
func sourceOf(d *job.Delivery, s outcome.Source) (string, error) {
	id, found := d.Header("ce_id")
	if !found {
		return "", errors.New("it has no ce_id header")
	}
	record := fmt.Sprintf("%s/%d/%d/", s.Topic, s.Partition, s.Offset)
	timestamp, ours := strings.CutPrefix(id, record)
	if _, err := strconv.ParseInt(timestamp, 10, 64); err != nil || !ours {
		return "", fmt.Errorf("its ce_id %q is not of the record that its source names", id)
	}
	return id, nil
}
