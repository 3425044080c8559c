package job

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// ErrInvalid is what every [InvalidError] unwraps to, for callers that only ask whether the job is
// at fault.
var ErrInvalid = errors.New("job invalid")

const (
	// maxProblems bounds what one job can make us remember; the rest is counted.
	maxProblems = 100
	// maxErrorBytes is what a dead letter's __dlq.errors.message may have.
	maxErrorBytes = 1024
	// maxShown is how many characters of a value or a name are shown.
	maxShown = 64
)

// Problem is one thing that is wrong with a job. It has no reply text in it: of values inside the
// message only those of enum fields are shown.
type Problem struct {
	// Pointer is the RFC 6901 JSON pointer of the value, or of the place where a missing one belongs;
	// "" is the whole value. A name in it of more than 64 characters is cut and ends in "...".
	Pointer string
	// Rule says what was found and what must be, as the rest of a sentence that the pointer begins:
	// "is missing; must be 1 to 64 characters".
	Rule string
}

// String returns the pointer, a colon, and the rule, on one line: characters that do not print are
// escaped.
func (p Problem) String() string {
	pointer := p.Pointer
	if pointer == "" {
		pointer = "the value"
	}
	return oneLine(pointer + ": " + p.Rule)
}

// InvalidError says that a job breaks the contract, with everything that is wrong with it. It will
// never become valid: the job goes to the dead letters.
type InvalidError struct {
	// Problems are in the order of the job's bytes; a missing member comes at the end of its object.
	// At most 100 are listed.
	Problems []Problem
	// Omitted is how many more there are.
	Omitted int
	// Partial has what could be read, for the outcome: ComplaintID, ComplaintedMchID, IdempotentID
	// and MchID where each is one well-formed string of at most 1,024 bytes, also one that breaks
	// another rule (a duplicate key makes an id ambiguous, and it stays empty); Labels where they are
	// wholly valid. Its other fields are zero.
	Partial Job
}

// Unwrap returns [ErrInvalid].
func (e *InvalidError) Unwrap() error { return ErrInvalid }

// Error returns all problems on one line of at most 1,024 bytes, cut where they are more:
//
//	job invalid: 2 problems: /complaint_id: is missing; must be 1 to 64 characters; /message: ...
func (e *InvalidError) Error() string {
	count := len(e.Problems) + e.Omitted
	noun := "problems"
	if count == 1 {
		noun = "problem"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%v: %d %s", ErrInvalid, count, noun)
	separator := ": "
	for i, p := range e.Problems {
		text := separator + p.String()
		separator = "; "
		rest := ""
		if left := count - i - 1; left > 0 {
			rest = fmt.Sprintf("; and %d more", left)
		}
		if b.Len()+len(text)+len(rest) <= maxErrorBytes {
			b.WriteString(text)
			continue
		}
		if i == 0 { // one very long pointer: its beginning is better than nothing
			b.WriteString(cutBytes(text, maxErrorBytes-b.Len()-len(rest)))
			b.WriteString(rest)
			return b.String()
		}
		fmt.Fprintf(&b, "; and %d more", count-i)
		return b.String()
	}
	if e.Omitted > 0 {
		fmt.Fprintf(&b, "; and %d more", e.Omitted)
	}
	return b.String()
}

// cutBytes returns s, or as much of it as fits into limit bytes together with "...".
func cutBytes(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	end := limit - len("...")
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "..."
}

// cutRunes returns s, or its first maxShown characters and "...".
func cutRunes(s string) string {
	n := 0
	for i := range s {
		if n == maxShown {
			return s[:i] + "..."
		}
		n++
	}
	return s
}

// oneLine escapes what would break a line or play tricks on a terminal.
func oneLine(s string) string {
	clean := true
	for _, r := range s {
		clean = clean && strconv.IsPrint(r) && r != utf8.RuneError
	}
	if clean {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case strconv.IsPrint(r):
			b.WriteRune(r)
		case r <= 0xffff:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
	}
	return b.String()
}

// quote returns the beginning of s in quotes, for a rule.
func quote(s string) string {
	return strconv.Quote(cutRunes(s))
}
