package dedupe

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Limits of what is kept of a job.
const (
	maxDetailsBytes = 2048
	maxWordBytes    = 512 // of a token, a source, a log_id, a reason
	contentBytes    = 32
)

// Key names a job: the merchant that signs, and the id that the API knows it by.
type Key struct {
	MchID        string // not empty; without colon and braces
	IdempotentID string // not empty
}

// String returns "mchid:idempotent_id".
func (k Key) String() string { return k.MchID + ":" + k.IdempotentID }

// Claimant is one delivery of a job record that wants to work on the job.
type Claimant struct {
	Key
	// Token is this claim's own: NewToken for each call of Claim that is not a mere repetition of the
	// last one. A repetition with the same token is answered as the first call was.
	Token string
	// Source is the record's identity, job.Source.ID().
	Source string
	// Content is the SHA-256 of the job's content, as 64 hexadecimal digits or 32 bytes.
	Content string
}

// NewToken returns a token that nobody has had.
func NewToken() string { return rand.Text() }

// State is how far a job has come.
type State string

// The states of a claim.
const (
	StateNone    State = ""        // no claim
	StateClaimed State = "claimed" // somebody works on it, until the lease ends
	StateWaiting State = "waiting" // given back until the next attempt is due
	StateDone    State = "done"    // the API took it
	StateDead    State = "dead"    // it will not be sent again by itself
	StateExpired State = "expired" // its time passed before it was sent
)

// stateLetters are the states as Redis keeps them.
var stateLetters = map[State]string{
	StateClaimed: "c", StateWaiting: "w", StateDone: "d", StateDead: "x", StateExpired: "e",
}

func (r *reader) state() State {
	letter := r.text()
	if letter == "" {
		return StateNone
	}
	for state, l := range stateLetters {
		if l == letter {
			return state
		}
	}
	if r.err == nil {
		r.err = fmt.Errorf("%w: unknown state %q", errAnswer, letter)
	}
	return StateNone
}

// Verdict is the answer to Claim.
type Verdict string

// The verdicts.
const (
	// VerdictWon: the job is the caller's until the lease ends.
	VerdictWon Verdict = "won"
	// VerdictBusy: another delivery has it, or its next attempt is not due and it was claimed for one.
	// Ask again after Wait.
	VerdictBusy Verdict = "busy"
	// VerdictDone: this very record succeeded before; this is a redelivery.
	VerdictDone Verdict = "done"
	// VerdictDuplicate: another record of the same content succeeded.
	VerdictDuplicate Verdict = "duplicate"
	// VerdictSettled: this very record became dead or expired before.
	VerdictSettled Verdict = "settled"
	// VerdictConflict: the id belongs to other content. This record will get no other verdict.
	VerdictConflict Verdict = "conflict"
)

// Verdicts lists every verdict, for metrics that are to show zeros.
func Verdicts() []Verdict {
	return []Verdict{
		VerdictWon, VerdictBusy, VerdictDone, VerdictDuplicate, VerdictSettled, VerdictConflict,
	}
}

func (r *reader) verdict() Verdict {
	v := Verdict(r.text())
	if slices.Contains(Verdicts(), v) {
		return v
	}
	if r.err == nil {
		r.err = fmt.Errorf("%w: unknown verdict %q", errAnswer, v)
	}
	return v
}

// Claim is what Claim found. Which fields mean something depends on the verdict; the others tell what
// the key holds, for logs.
type Claim struct {
	Verdict Verdict
	// Attempts counts those made, with those just added where the claim was won.
	Attempts int
	// MaybeSent tells that an attempt ended without a clear answer.
	MaybeSent bool
	// TakenOver tells that the holder before was lost; MaybeSent is true then.
	TakenOver bool
	// Wait is how long a busy job should be left alone.
	Wait time.Duration
	// State is the claim's state, with VerdictSettled the one that this record was given.
	State State
	// LogID is the API's id of the reply: with VerdictDone and VerdictDuplicate, and with
	// VerdictSettled where the API was found to have taken the reply nevertheless.
	LogID string
	// Reason and Details are those of a settled claim; Details also of a done one.
	Reason, Details string
	// Published tells that the outcome of this record (or with VerdictDuplicate of the other) is known
	// to be published.
	Published bool
	// Source is the record that has the key.
	Source string
}

// Claim asks for the job and, when it is won, adds spend to its attempts: 1 before a call to the API,
// 0 for none, and then it is won also while its next attempt is not due. After an error it is not known
// whether the claim was won; repeat the call, with the same token, or let the lease run out.
func (s *Store) Claim(ctx context.Context, c Claimant, spend int) (Claim, error) {
	content, err := c.check(opClaim)
	if err != nil {
		return Claim{}, err
	}
	if spend < 0 {
		return Claim{}, invalid(opClaim, "attempts to add are negative: %d", spend)
	}
	key := s.jobKey(c.Key)
	r, err := s.gathered(ctx, opClaim, s.scripts.claim, key,
		c.Token, c.Source, content, spend, s.cfg.Lease.Milliseconds(), s.cfg.Retention.Milliseconds())
	if err != nil {
		return Claim{}, err
	}
	claim := Claim{
		Verdict: r.verdict(), Attempts: r.int(), MaybeSent: r.bool(), TakenOver: r.bool(),
		Wait: time.Duration(r.int64()) * time.Millisecond, State: r.state(), LogID: r.text(), Reason: r.text(),
		Details: r.text(), Published: r.bool(), Source: r.text(),
	}
	return claim, s.done(opClaim, key, r)
}

// Begin writes a further attempt to a held claim, before it is made, and renews the lease. attempts is
// their number as the caller knows it, without this one; Begin returns it with this one. A repeated
// call adds nothing. ErrLost where the claim is not the caller's, or has another number.
func (s *Store) Begin(ctx context.Context, c Claimant, attempts int) (int, error) {
	if _, err := c.check(opBegin); err != nil {
		return 0, err
	}
	key := s.jobKey(c.Key)
	r, err := s.gathered(ctx, opBegin, s.scripts.begin, key,
		c.Token, attempts, s.cfg.Lease.Milliseconds(), s.cfg.Retention.Milliseconds())
	if err != nil {
		return 0, err
	}
	if err := s.held(opBegin, key, r); err != nil {
		return 0, err
	}
	n := r.int()
	return n, s.done(opBegin, key, r)
}

// Renew renews the leases of many claims. The answer has one entry for each: nil where it is held,
// ErrLost where it is not, an *Error where that is not known.
func (s *Store) Renew(ctx context.Context, claimants []Claimant) []error {
	answers := make([]error, len(claimants))
	calls := make([]call, 0, len(claimants))
	index := make([]int, 0, len(claimants))
	lease, retention := s.cfg.Lease.Milliseconds(), s.cfg.Retention.Milliseconds()
	for i, c := range claimants {
		if _, answers[i] = c.check(opRenew); answers[i] == nil {
			calls = append(calls, call{key: s.jobKey(c.Key), args: []any{c.Token, lease, retention}})
			index = append(index, i)
		}
	}
	s.evalAll(ctx, opRenew, s.scripts.renew, calls, func(i int, r *reader, err error) {
		if err == nil {
			err = s.held(opRenew, calls[i].key, r)
		}
		answers[index[i]] = err
	})
	return answers
}

// held reads the first field of the steps that go by token: "ok" or "lost".
func (s *Store) held(op, key string, r *reader) error {
	switch word := r.text(); word {
	case "ok":
		return nil
	case "lost":
		return ErrLost
	default:
		return &Error{Op: op, Reason: ReasonProtocol, Key: key, Err: fmt.Errorf("%w: %q", errAnswer, word)}
	}
}

func (s *Store) jobKey(k Key) string { return s.cfg.Prefix + ":job:{" + k.String() + "}" }

// check refuses what would end in another job's claim or in a hash that cannot be read again. It
// returns the content as bytes.
func (c Claimant) check(op string) (content string, err error) {
	if err := c.Key.check(op); err != nil {
		return "", err
	}
	if c.Token == "" || len(c.Token) > maxWordBytes {
		return "", invalid(op, "token of %d bytes", len(c.Token))
	}
	return c.checkRecord(op)
}

// checkRecord is check for the steps that need no token.
func (c Claimant) checkRecord(op string) (content string, err error) {
	if err := c.Key.check(op); err != nil {
		return "", err
	}
	if c.Source == "" || len(c.Source) > maxWordBytes {
		return "", invalid(op, "source of %d bytes", len(c.Source))
	}
	switch len(c.Content) {
	case contentBytes:
		return c.Content, nil
	case 2 * contentBytes:
		raw, err := hex.DecodeString(c.Content)
		if err != nil {
			return "", invalid(op, "content is not hexadecimal")
		}
		return string(raw), nil
	default:
		return "", invalid(op, "content of %d bytes, not 32, nor 64 hexadecimal digits", len(c.Content))
	}
}

func (k Key) check(op string) error {
	switch {
	case k.MchID == "" || strings.ContainsAny(k.MchID, ":{}"):
		return invalid(op, "merchant id %q is empty or has a colon or a brace", k.MchID)
	case k.IdempotentID == "":
		return invalid(op, "idempotent id is empty")
	case len(k.MchID) > maxWordBytes || len(k.IdempotentID) > maxWordBytes:
		return invalid(op, "merchant id of %d bytes, idempotent id of %d", len(k.MchID), len(k.IdempotentID))
	default:
		return nil
	}
}
