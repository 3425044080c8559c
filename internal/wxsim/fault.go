package wxsim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Kind is a way of misbehaving.
type Kind string

// The kinds of fault. Kinds, which the control interface shows, says what each does and takes.
const (
	KindStatus           Kind = "status"
	KindHang             Kind = "hang"
	KindReset            Kind = "reset"
	KindPartial          Kind = "partial"
	KindWrongSignature   Kind = "wrong_signature"
	KindStaleSignature   Kind = "stale_signature"
	KindFutureSignature  Kind = "future_signature"
	KindMissingSignature Kind = "missing_signature"
	KindUnknownKey       Kind = "unknown_key"
	KindSignTest         Kind = "sign_test"
	KindNoLogID          Kind = "no_log_id"
	KindGarbageBody      Kind = "garbage_body"
	KindHugeBody         Kind = "huge_body"
	KindTextBody         Kind = "text_body"
	KindSlowBody         Kind = "slow_body"
	KindQuota            Kind = "quota"
	KindLatency          Kind = "latency"
	KindDown             Kind = "down"
)

// KindInfo describes a kind: what it does, and which fields it takes besides name, host and for (and,
// all but "down", the match fields, probability and count).
type KindInfo struct {
	Kind   Kind
	Does   string
	Fields []string
}

// Kinds lists the kinds of fault.
func Kinds() []KindInfo {
	return []KindInfo{
		{
			KindStatus, "answers a status, with the API's error body (502, 503, 504: a gateway's page), unsigned",
			[]string{"status", "code", "message", "body", "content_type", "retry_after", "signed", "after_effect"},
		},
		{
			KindHang, "answers nothing until the client leaves or the fault ends, then resets the connection",
			[]string{"after_effect"},
		},
		{KindReset, "resets the connection", []string{"after_effect"}},
		{KindPartial, "takes effect and closes the connection in the middle of the answer's body", nil},
		{KindWrongSignature, "takes effect; the signature is of other bytes", nil},
		{KindStaleSignature, "takes effect; signed 6 minutes ago", nil},
		{KindFutureSignature, "takes effect; signed 6 minutes from now", nil},
		{KindMissingSignature, "takes effect; no Wechatpay-* headers", nil},
		{KindUnknownKey, "takes effect; signed with a key id that nobody has", []string{"key_id"}},
		{KindSignTest, "takes effect; the signature is the API's WECHATPAY/SIGNTEST/ probe", nil},
		{KindNoLogID, "takes effect; a well-signed body without log_id (nor media_id, nor entries)", []string{"body"}},
		{KindGarbageBody, "takes effect; a well-signed body that is not JSON", nil},
		{KindHugeBody, "takes effect; a well-signed body of bytes (2 MiB), its log_id last", []string{"bytes"}},
		{KindTextBody, "takes effect; a well-signed body of text/plain", []string{"body"}},
		{KindSlowBody, "takes effect; the body comes byte by byte, each after delay", []string{"delay"}},
		{KindQuota, "refuses what exceeds rate calls per second and merchant with 429, before the effect; " +
			"bursts up to burst, or counted in fixed windows", []string{"rate", "burst", "window", "retry_after"}},
		{KindLatency, "delays the effect, or the answer after it, by delay and up to jitter more; a client that leaves " +
			"before the effect prevents it", []string{"delay", "jitter", "after_effect"}},
		{KindDown, "the host refuses connections and resets those it has", nil},
	}
}

// Fault is one misbehaviour. Faults apply to calls that pass every check, in the order in which they
// were set: latencies add up, and of the others the first that fires decides the call's fate.
type Fault struct {
	Kind Kind   `json:"kind"`
	Name string `json:"name,omitempty"` // For Remove; need not be unique.

	// Which calls: an empty field matches every call.
	Host         Host      `json:"host,omitempty"`
	Operation    Operation `json:"operation,omitempty"`
	MchID        string    `json:"mchid,omitempty"`
	ComplaintID  string    `json:"complaint_id,omitempty"`
	IdempotentID string    `json:"idempotent_id,omitempty"`

	// How often: Probability (0 is always) of the matching calls, and no more than Count (0 is no limit)
	// of them. In what Faults returns, Count is what is left.
	Probability float64 `json:"probability,omitempty"`
	Count       int     `json:"count,omitempty"`
	// For is how long it lasts from when it was set; 0 is until it is removed.
	For time.Duration `json:"for,omitempty"`

	// AfterEffect lets a status, hang, reset or latency come after the call took effect, not before.
	AfterEffect bool `json:"after_effect,omitempty"`

	Status      int           `json:"status,omitempty"` // 200 to 599.
	Code        string        `json:"code,omitempty"`
	Message     string        `json:"message,omitempty"`
	Body        string        `json:"body,omitempty"` // Instead of the one that the kind would make.
	ContentType string        `json:"content_type,omitempty"`
	RetryAfter  string        `json:"retry_after,omitempty"` // The header's value, as it is.
	Signed      bool          `json:"signed,omitempty"`
	Delay       time.Duration `json:"delay,omitempty"`
	Jitter      time.Duration `json:"jitter,omitempty"`
	Rate        float64       `json:"rate,omitempty"`   // Calls per second.
	Burst       int           `json:"burst,omitempty"`  // Of a token bucket; 0 is one second's worth, at least 1.
	Window      time.Duration `json:"window,omitempty"` // Fixed windows of this length instead of a bucket.
	Bytes       int           `json:"bytes,omitempty"`
	KeyID       string        `json:"key_id,omitempty"`
}

const maxHugeBody = 64 << 20

// takesEffect reports whether the call is processed before it is misbehaved to.
func (f Fault) takesEffect() bool {
	switch f.Kind {
	case KindStatus, KindHang, KindReset:
		return f.AfterEffect
	case KindQuota, KindDown:
		return false
	case KindPartial, KindWrongSignature, KindStaleSignature, KindFutureSignature, KindMissingSignature, KindUnknownKey,
		KindSignTest, KindNoLogID, KindGarbageBody, KindHugeBody, KindTextBody, KindSlowBody, KindLatency:
	}
	return true
}

// Validate reports every mistake in a fault at once.
func (f Fault) Validate() error {
	known := Kinds()
	at := slices.IndexFunc(known, func(k KindInfo) bool { return k.Kind == f.Kind })
	if at < 0 {
		names := make([]string, len(known))
		for i, k := range known {
			names[i] = string(k.Kind)
		}
		return fmt.Errorf("fault: kind %q is unknown; want one of %s", f.Kind, strings.Join(names, " "))
	}
	var faults []error
	for _, name := range f.fields() {
		if !slices.Contains(known[at].Fields, name) {
			faults = append(faults, fmt.Errorf("%s means nothing for this kind", name))
		}
	}
	faults = append(faults, f.validateScope()...)
	faults = append(faults, f.validateKind()...)
	if len(faults) > 0 {
		return fmt.Errorf("fault %s: %w", f.Kind, errors.Join(faults...))
	}
	return nil
}

// fields names the fields in use that not every kind takes.
func (f Fault) fields() []string {
	var used []string
	note := func(inUse bool, name string) {
		if inUse {
			used = append(used, name)
		}
	}
	note(f.AfterEffect, "after_effect")
	note(f.Status != 0, "status")
	note(f.Code != "", "code")
	note(f.Message != "", "message")
	note(f.Body != "", "body")
	note(f.ContentType != "", "content_type")
	note(f.RetryAfter != "", "retry_after")
	note(f.Signed, "signed")
	note(f.Delay != 0, "delay")
	note(f.Jitter != 0, "jitter")
	note(f.Rate != 0, "rate")
	note(f.Burst != 0, "burst")
	note(f.Window != 0, "window")
	note(f.Bytes != 0, "bytes")
	note(f.KeyID != "", "key_id")
	return used
}

func (f Fault) validateScope() []error {
	var faults []error
	if f.Host != "" && f.Host != Primary && f.Host != Backup {
		faults = append(faults, fmt.Errorf("host %q: want primary, backup, or none for both", f.Host))
	}
	if f.Operation != "" && !slices.Contains(Operations(), f.Operation) {
		faults = append(faults, fmt.Errorf("operation %q: want reply, upload, history, or none for all", f.Operation))
	}
	if f.Probability < 0 || f.Probability > 1 {
		faults = append(faults, fmt.Errorf("probability %v: want 0 to 1", f.Probability))
	}
	if f.Count < 0 {
		faults = append(faults, fmt.Errorf("count %d: must not be negative", f.Count))
	}
	if f.For < 0 || f.Delay < 0 || f.Jitter < 0 || f.Window < 0 {
		faults = append(faults, errors.New("for, delay, jitter, window: must not be negative"))
	}
	scoped := f.Operation != "" || f.MchID != "" || f.ComplaintID != "" || f.IdempotentID != "" || f.Probability != 0 || f.Count != 0
	if f.Kind == KindDown && scoped {
		faults = append(faults, errors.New(
			"operation, mchid, complaint_id, idempotent_id, probability, count: a host is down for all calls"))
	}
	return faults
}

func (f Fault) validateKind() []error {
	var faults []error
	if f.Kind == KindStatus && (f.Status < 200 || f.Status > 599) {
		faults = append(faults, fmt.Errorf("status %d: want 200 to 599", f.Status))
	}
	if f.Kind == KindQuota && f.Rate <= 0 {
		faults = append(faults, fmt.Errorf("rate %v: must be more than 0", f.Rate))
	}
	if f.Kind == KindQuota && (f.Burst < 0 || f.Burst > 0 && f.Window > 0) {
		faults = append(faults, errors.New("burst: must not be negative, nor go with window"))
	}
	if f.Kind == KindLatency && f.Delay == 0 && f.Jitter == 0 {
		faults = append(faults, errors.New("delay or jitter is needed"))
	}
	if f.Kind == KindSlowBody && f.Delay == 0 {
		faults = append(faults, errors.New("delay is needed"))
	}
	if f.Bytes < 0 || f.Bytes > maxHugeBody {
		faults = append(faults, fmt.Errorf("bytes %d: want 0 to %d", f.Bytes, maxHugeBody))
	}
	return faults
}

// plainFault has Fault's fields without its methods; faultJSON writes durations as "1m30s".
type plainFault Fault

type faultJSON struct {
	*plainFault
	For    duration `json:"for,omitempty"`
	Delay  duration `json:"delay,omitempty"`
	Jitter duration `json:"jitter,omitempty"`
	Window duration `json:"window,omitempty"`
}

type duration time.Duration

// MarshalText writes a duration as Go does.
func (d duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads a duration as Go does.
func (d *duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return fmt.Errorf("duration %q: want for example \"500ms\" or \"1m30s\"", b)
	}
	*d = duration(v)
	return nil
}

// MarshalJSON writes durations as text.
func (f Fault) MarshalJSON() ([]byte, error) {
	p := plainFault(f)
	return json.Marshal(faultJSON{ //nolint:wrapcheck // The encoder adds the context.
		plainFault: &p,
		For:        duration(f.For), Delay: duration(f.Delay), Jitter: duration(f.Jitter), Window: duration(f.Window),
	})
}

// UnmarshalJSON reads a fault; an unknown member is an error. It does not validate it.
func (f *Fault) UnmarshalJSON(b []byte) error {
	var p plainFault
	in := faultJSON{plainFault: &p}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&in); err != nil {
		return fmt.Errorf("fault: %w", err)
	}
	*f = Fault(p)
	f.For, f.Delay = time.Duration(in.For), time.Duration(in.Delay)
	f.Jitter, f.Window = time.Duration(in.Jitter), time.Duration(in.Window)
	return nil
}
