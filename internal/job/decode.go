package job

import (
	"bytes"
	"encoding/json"
	"time"
)

// MaxBytes is the largest value that a job may have: 256 KiB.
const MaxBytes = 256 << 10

// maxPartialBytes bounds an id of an invalid job, which goes into the outcome's key and headers
// although nobody checked it.
const maxPartialBytes = 1024

// Validation says how much of the message's form [Decode] holds a job to: the setting "validation".
// Any value but Lenient is Strict.
type Validation string

const (
	// Strict takes what the API documents and nothing else. It is the default.
	Strict Validation = "strict"
	// Lenient lets three things inside the message through, for the day the API grows: unknown fields
	// with any value, unknown enum values, and characters outside the Basic Multilingual Plane. All
	// else stays: types and lengths of known fields, required ones, no null, no duplicate key, no lone
	// surrogate, the depth. It changes nothing outside the message: an unknown field there is a
	// misspelt one, since it could not reach the API.
	Lenient Validation = "lenient"
)

// Decode reads the value of a job record. The value is one JSON object in UTF-8 of at most [MaxBytes]
// bytes, nested at most 64 levels deep, without duplicate keys (compared after their escapes), nulls,
// lone surrogates, or a byte order mark; the rest of the rules is what [Schema] returns as "job", or
// "job-lenient" for [Lenient]. expires_at is a date-time of RFC 3339; a leap second is the second
// after it. The API decides whether the message's own expired_time is one.
//
// Any error is an [*InvalidError], which lists all problems found at once. Where the value is not
// JSON, the list ends with the place where it stops being so.
//
// The job refers to value, which must not be changed afterwards. Decode takes close to linear time and never
// panics.
func Decode(value []byte, v Validation) (*Job, error) {
	var path [16]step
	w := walker{data: value, lenient: v == Lenient, path: path[:0]}
	switch {
	case value == nil:
		w.fault("is null (a tombstone); must be one JSON object")
	case len(value) == 0:
		w.fault("is empty; must be one JSON object")
	case len(value) > MaxBytes:
		w.fault("has %d bytes; must be at most %d", len(value), MaxBytes)
		w.document()
	default:
		w.document()
	}
	if len(w.problems) > 0 {
		return nil, w.invalid()
	}
	return w.job(), nil
}

// job returns the job of a document without problems.
func (w *walker) job() *Job {
	j := &Job{
		ComplaintID:         w.stringAt(slotComplaintID),
		ComplaintedMchID:    w.stringAt(slotComplaintedMchID),
		IdempotentID:        w.stringAt(slotIdempotentID),
		MchID:               w.stringAt(slotMchID),
		Message:             w.raw(slotMessage),
		ExpiresAt:           w.expiresAt(),
		Labels:              w.labels(),
		rawComplaintedMchID: w.raw(slotComplaintedMchID),
		rawIdempotentID:     w.raw(slotIdempotentID),
	}
	j.Content = content(w.raw(slotComplaintID), j.rawComplaintedMchID, j.Message)
	return j
}

// invalid returns the error, with what can be read of the job.
func (w *walker) invalid() *InvalidError {
	return &InvalidError{
		Problems: w.problems,
		Omitted:  w.omitted,
		Partial: Job{
			ComplaintID:      w.readable(slotComplaintID),
			ComplaintedMchID: w.readable(slotComplaintedMchID),
			IdempotentID:     w.readable(slotIdempotentID),
			MchID:            w.readable(slotMchID),
			Labels:           w.labels(),
		},
	}
}

// raw returns the bytes of a member that is there.
func (w *walker) raw(s slot) []byte {
	p := &w.slots[s]
	return w.data[p.start:p.end:p.end]
}

// stringAt returns the value of a string member, and "" where it is absent or no string.
func (w *walker) stringAt(s slot) string {
	p := &w.slots[s]
	if p.kind != kindString {
		return ""
	}
	return string(unquote(w.data[p.text.start:p.text.end], p.text.escaped))
}

// readable returns the id of an invalid job where it is a well-formed string of bounded length.
func (w *walker) readable(s slot) string {
	p := &w.slots[s]
	cutOff := p.text.end == 0 // the JSON ends in it
	if cutOff || p.repeated || p.text.invalidUTF8 || p.text.loneSurrogate {
		return ""
	}
	if id := w.stringAt(s); len(id) <= maxPartialBytes {
		return id
	}
	return ""
}

func (w *walker) expiresAt() time.Time {
	if w.slots[slotExpiresAt].kind != kindString {
		return time.Time{}
	}
	t, _ := parseTimestamp(w.stringAt(slotExpiresAt)) // checked by the walk
	return t
}

// labels returns the labels where they are wholly valid, and nil where they are not or absent.
func (w *walker) labels() json.RawMessage {
	if p := &w.slots[slotLabels]; !p.valid || p.repeated {
		return nil
	}
	return w.raw(slotLabels)
}

// LabelPairs returns the labels, nil where the job has none. Each call makes the map anew: a job that
// waits keeps the bytes alone, since a map takes more than all the rest of it.
func (j *Job) LabelPairs() map[string]string {
	if j.Labels == nil {
		return nil
	}
	data := j.Labels
	pairs := make(map[string]string, min(bytes.Count(data, []byte{':'}), labelsShape.max))
	name, isName := "", true
	for i := 0; i < len(data); i++ { // outside strings there are only { : , } and white space
		if data[i] != '"' {
			continue
		}
		t, _, _ := scanText(data, i)
		s := string(unquote(data[t.start:t.end], t.escaped))
		if isName {
			name = s
		} else {
			pairs[name] = s
		}
		isName = !isName
		i = t.end
	}
	return pairs
}
