package dedupe

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Success is a job that the API took, as its outcome tells it.
type Success struct {
	Key
	// Source is the record that succeeded, job.Source.ID().
	Source string
	// Content is the SHA-256 of the job's content, as in Claimant.
	Content string
	// LogID is the API's id of the reply; not empty.
	LogID string
	// Attempts and MaybeSent are as in Record.
	Attempts  int
	MaybeSent bool
	// FinishedAt is when the job was finished, by the clock of the worker that did it. Claims last
	// Config.Retention from then on.
	FinishedAt time.Time
}

// Restoration is the answer to Restore.
type Restoration string

// The restorations.
const (
	// Restored: there was no claim, and now this record has succeeded, with its outcome published.
	Restored Restoration = "restored"
	// RestorePresent: there is a claim, and nothing in it is against the success. It stays as it is.
	RestorePresent Restoration = "present"
	// RestoreDisagrees: there is a claim of other content, or with another log_id. It stays as it is.
	RestoreDisagrees Restoration = "disagrees"
	// RestoreTooOld: the claim would be forgotten by now.
	RestoreTooOld Restoration = "too_old"
)

// RestoreResult is the answer to one of the successes given to Restore.
type RestoreResult struct {
	Restoration Restoration // empty where there is an Err
	// Source and LogID are those of the claim that is there; empty with RestoreTooOld.
	Source, LogID string
	// Err is an *Error or nil. After one it is not known whether the claim was restored; a repeat does
	// no harm, and may find it present.
	Err error
}

// Restore makes the claims of jobs that are done where Redis has lost them: where a key has no claim,
// it is done by the success's record from now on, for what is left of the retention. Claims that
// exist stay as they are, in whatever state, so it may run beside workers and beside itself. Where
// write is false it only tells what it would do. The answer has one entry for each success.
//
// Successes of one key are treated in their order; with write false each is told as if it were alone.
func (s *Store) Restore(ctx context.Context, successes []Success, write bool) []RestoreResult {
	results := make([]RestoreResult, len(successes))
	calls := make([]call, 0, len(successes))
	index := make([]int, 0, len(successes))
	retention := s.cfg.Retention.Milliseconds()
	for i := range successes {
		f := &successes[i]
		content, err := f.check()
		if err != nil {
			results[i].Err = err
			continue
		}
		calls = append(calls, call{key: s.jobKey(f.Key), args: []any{
			f.Source, content, f.LogID, f.Attempts, flag(f.MaybeSent), f.FinishedAt.UnixMilli(), retention, flag(write),
		}})
		index = append(index, i)
	}
	for from := 0; from < len(calls); from += restoreBatch {
		batch := calls[from:min(from+restoreBatch, len(calls))]
		s.evalAll(ctx, opRestore, s.scripts.restore, batch, func(i int, r *reader, err error) {
			results[index[from+i]] = s.restored(batch[i].key, r, err)
		})
	}
	return results
}

// restored reads the answer to one restoration.
func (s *Store) restored(key string, r *reader, err error) RestoreResult {
	if err != nil {
		return RestoreResult{Err: err}
	}
	result := RestoreResult{Restoration: r.restoration(), Source: r.text(), LogID: r.text()}
	if err := s.done(opRestore, key, r); err != nil {
		return RestoreResult{Err: err}
	}
	return result
}

func (f *Success) check() (content string, err error) {
	content, err = Claimant{Key: f.Key, Source: f.Source, Content: f.Content}.checkRecord(opRestore)
	switch {
	case err != nil:
		return "", err
	case f.LogID == "" || len(f.LogID) > maxWordBytes:
		return "", invalid(opRestore, "log_id of %d bytes", len(f.LogID))
	case f.Attempts < 0 || f.Attempts > maxAttempts:
		return "", invalid(opRestore, "attempts: %d", f.Attempts)
	case f.FinishedAt.UnixMilli() <= 0 || f.FinishedAt.Year() > maxYear:
		return "", invalid(opRestore, "finished at %s", f.FinishedAt)
	}
	return content, nil
}

const (
	// restoreBatch is the most restorations sent in one go: few, since workers' claims wait behind them.
	restoreBatch = 50
	// The scripts' numbers have at most 15 digits.
	maxAttempts = 1_000_000_000
	maxYear     = 9999
)

func (r *reader) restoration() Restoration {
	v := Restoration(r.text())
	if slices.Contains([]Restoration{Restored, RestorePresent, RestoreDisagrees, RestoreTooOld}, v) {
		return v
	}
	if r.err == nil {
		r.err = fmt.Errorf("%w: unknown restoration %q", errAnswer, v)
	}
	return ""
}
