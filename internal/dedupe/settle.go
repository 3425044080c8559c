package dedupe

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Tri is a change to a flag.
type Tri string

// The changes. The zero Tri is Keep.
const (
	Keep  Tri = ""
	Set   Tri = "set"
	Clear Tri = "clear"
)

func (t Tri) check(op string) error {
	if t != Keep && t != Set && t != Clear {
		return invalid(op, "unknown change %q", string(t))
	}
	return nil
}

// arg is the word that the scripts know.
func (t Tri) arg() string {
	if t == Keep {
		return "keep"
	}
	return string(t)
}

// Parked says how a claim is given back.
type Parked struct {
	Delay     time.Duration // until the next attempt; zero or less makes it due at once
	GiveBack  int           // attempts that turned out not to count
	MaybeSent Tri
}

// Park gives a claim back until its next attempt is due; nobody wins it before. ErrLost where it is
// not the caller's. A repeated call changes nothing. Take a new token to claim the job again.
func (s *Store) Park(ctx context.Context, c Claimant, p Parked) error {
	if _, err := c.check(opPark); err != nil {
		return err
	}
	if p.GiveBack < 0 {
		return invalid(opPark, "attempts to give back are negative: %d", p.GiveBack)
	}
	if err := p.MaybeSent.check(opPark); err != nil {
		return err
	}
	key := s.jobKey(c.Key)
	r, err := s.gathered(ctx, opPark, s.scripts.park, key,
		c.Token, max(0, p.Delay).Milliseconds(), p.GiveBack, p.MaybeSent.arg(), s.cfg.Retention.Milliseconds())
	if err != nil {
		return err
	}
	return s.held(opPark, key, r)
}

// Done is what is recorded of a success.
type Done struct {
	LogID string // not empty
	// Details is what the caller wants back with later verdicts: at most 2 KiB of text.
	Details string
	// Attempts as the caller knows them. Recorded where the claim has fewer, or is gone.
	Attempts  int
	MaybeSent Tri
}

// Completion is the answer to Complete.
type Completion string

// The completions.
const (
	// Completed: the job is done by this record, now or by an earlier call with this log_id.
	Completed Completion = "completed"
	// CompletedBefore: it is done by this record already, with another log_id, which stays.
	CompletedBefore Completion = "already"
	// CompletedByOther: another record of the same content did it before.
	CompletedByOther Completion = "duplicate"
	// CompletedSettled: this record had become dead or expired, and that stays its verdict.
	CompletedSettled Completion = "settled"
	// CompletedConflict: this record was told of a conflict before, and that stays its verdict; nothing
	// was written.
	CompletedConflict Completion = "conflict"
	// CompletedForeign: other content has the key; nothing was written.
	CompletedForeign Completion = "foreign"
)

// Completions lists every completion, for metrics that are to show zeros.
func Completions() []Completion {
	return []Completion{
		Completed, CompletedBefore, CompletedByOther, CompletedSettled, CompletedConflict, CompletedForeign,
	}
}

// CompleteResult is the answer to Complete, with what the key holds now.
type CompleteResult struct {
	Completion      Completion
	LogID           string // as recorded, which may not be the one given
	State           State  // with CompletedSettled the one that this record was given
	Reason, Details string // with CompletedSettled those of the verdict
	Attempts        int
	MaybeSent       bool
	Published       bool
	Source          string // the record that has the key
}

// Complete records that the API took the reply. It needs no token, since what the API said is true
// whoever holds the claim by now: it writes over a missing, foreign, dead or expired claim of the same
// content, never over other content, never over another log_id. Repeat it until there is no error.
func (s *Store) Complete(ctx context.Context, c Claimant, d Done) (CompleteResult, error) {
	content, err := c.checkRecord(opComplete)
	if err != nil {
		return CompleteResult{}, err
	}
	if err := d.check(); err != nil {
		return CompleteResult{}, err
	}
	key := s.jobKey(c.Key)
	r, err := s.gathered(ctx, opComplete, s.scripts.complete, key,
		c.Source, content, d.LogID, d.Details, max(0, d.Attempts), d.MaybeSent.arg(), s.cfg.Retention.Milliseconds())
	if err != nil {
		return CompleteResult{}, err
	}
	result := CompleteResult{
		Completion: r.completion(), LogID: r.text(), State: r.state(), Reason: r.text(), Details: r.text(),
		Attempts: r.int(), MaybeSent: r.bool(), Published: r.bool(), Source: r.text(),
	}
	return result, s.done(opComplete, key, r)
}

func (d Done) check() error {
	if d.LogID == "" || len(d.LogID) > maxWordBytes {
		return invalid(opComplete, "log_id of %d bytes", len(d.LogID))
	}
	if len(d.Details) > maxDetailsBytes {
		return invalid(opComplete, "details of %d bytes", len(d.Details))
	}
	return d.MaybeSent.check(opComplete)
}

func (r *reader) completion() Completion {
	c := Completion(r.text())
	if slices.Contains(Completions(), c) {
		return c
	}
	if r.err == nil {
		r.err = fmt.Errorf("%w: unknown completion %q", errAnswer, c)
	}
	return c
}

// Failure is what is recorded of a job that will not be sent again by itself.
type Failure struct {
	State   State  // StateDead or StateExpired
	Reason  string // a word of the caller's, on one line
	Details string // as in Done
	// MaybeSent is the caller's last word on it, for the last attempt is in no other step.
	MaybeSent Tri
}

// Fail settles a claim as dead or expired, not yet published. The holder may, and the last holder of
// a claim that waits (for a job that expires meanwhile); ErrLost for all others. A repeated call finds
// it done.
func (s *Store) Fail(ctx context.Context, c Claimant, f Failure) error {
	if _, err := c.check(opFail); err != nil {
		return err
	}
	if err := f.check(); err != nil {
		return err
	}
	key := s.jobKey(c.Key)
	r, err := s.gathered(ctx, opFail, s.scripts.fail, key,
		c.Token, stateLetters[f.State], f.Reason, f.Details, f.MaybeSent.arg(), s.cfg.Retention.Milliseconds())
	if err != nil {
		return err
	}
	return s.held(opFail, key, r)
}

func (f Failure) check() error {
	switch {
	case f.State != StateDead && f.State != StateExpired:
		return invalid(opFail, "state %q is not dead or expired", f.State)
	case len(f.Reason) > maxWordBytes || strings.ContainsAny(f.Reason, "\n"):
		return invalid(opFail, "reason of %d bytes is too long or not one line", len(f.Reason))
	case len(f.Details) > maxDetailsBytes:
		return invalid(opFail, "details of %d bytes", len(f.Details))
	default:
		return f.MaybeSent.check(opFail)
	}
}

// MarkPublished notes that the outcome of the record source is published, where that record is done,
// dead or expired; elsewhere it does nothing. A redelivery then finds nothing left to publish.
func (s *Store) MarkPublished(ctx context.Context, k Key, source string) error {
	if err := k.check(opPublished); err != nil {
		return err
	}
	_, err := s.gathered(ctx, opPublished, s.scripts.published, s.jobKey(k), source, s.cfg.Retention.Milliseconds())
	return err
}

// NotePublished is MarkPublished for those who need not know when, or whether, the note is written: it
// goes along with other jobs' steps. A note that is lost costs a repeated outcome, should the record
// come again.
func (s *Store) NotePublished(k Key, source string) {
	if err := k.check(opPublished); err != nil {
		s.observe(opPublished, time.Now(), err)
		return
	}
	noted := s.batches.note(&call{
		op: opPublished, script: s.scripts.published, key: s.jobKey(k), args: []any{source, s.cfg.Retention.Milliseconds()},
	})
	if !noted {
		s.observe(opPublished, time.Now(), errNotes)
	}
}

var errNotes = errors.New("too many notes wait to be written")
