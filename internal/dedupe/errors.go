package dedupe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/redis/go-redis/v9"
)

// ErrLost says that the claim is not the caller's any more: its lease ran out and another took it, or
// the job was finished by somebody else, or Redis lost it. Claim again before settling anything.
var ErrLost = errors.New("claim lost")

// Reason says in one word why Redis did not do what was asked: a metric label, stable and bounded.
type Reason string

// The reasons of an Error.
const (
	// ReasonUnavailable: no server answered, or it is loading, failing over or full of clients.
	ReasonUnavailable Reason = "unavailable"
	// ReasonTimeout: no answer in time. The step may have been done.
	ReasonTimeout Reason = "timeout"
	// ReasonCanceled: the caller gave up. The step may have been done.
	ReasonCanceled Reason = "canceled"
	// ReasonRefused: the server is there and will not do it: no memory, no disk, no rights, a replica.
	ReasonRefused Reason = "refused"
	// ReasonWrongType: the key holds something that this package did not write, or over which its script
	// stumbles.
	ReasonWrongType Reason = "wrong_type"
	// ReasonProtocol: an answer that this package does not understand. It says nothing about the key.
	ReasonProtocol Reason = "protocol"
	// ReasonInvalid: an argument is against the rules; Redis was not asked.
	ReasonInvalid Reason = "invalid_argument"
)

// Reasons lists every reason, for metrics that are to show zeros.
func Reasons() []Reason {
	return []Reason{
		ReasonUnavailable, ReasonTimeout, ReasonCanceled, ReasonRefused, ReasonWrongType, ReasonProtocol,
		ReasonInvalid,
	}
}

// String returns the reason's word.
func (r Reason) String() string { return string(r) }

// Error is a step that could not be done, or of which it is not known whether it was done. All
// methods of Store return their failures as *Error, save ErrLost.
type Error struct {
	Op     string // the step, one of Ops
	Reason Reason
	Key    string // the Redis key concerned; empty where there is none
	Err    error
}

// Error describes the failure. It never contains a password.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("redis ")
	b.WriteString(e.Op)
	if e.Key != "" {
		fmt.Fprintf(&b, " %q", e.Key)
	}
	b.WriteString(": ")
	b.WriteString(string(e.Reason))
	if e.Err != nil {
		b.WriteString(": ")
		b.WriteString(e.Err.Error())
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Hint says what an operator can look at or do, or "" where nothing is known.
func (e *Error) Hint() string {
	if h, ok := hints[serverCode(e.Err)]; ok {
		return h
	}
	switch e.Reason {
	case ReasonUnavailable, ReasonTimeout:
		return "check redis-url and that Redis runs and can be reached from here"
	case ReasonWrongType:
		return "something else writes keys under redis-prefix; look at the key with TYPE and HGETALL, " +
			"delete it if it is not needed, and give the other program another prefix"
	case ReasonProtocol:
		return "check that redis-url leads to Redis 6 or later, or Valkey, and that what stands before it knows EVALSHA and EVAL"
	default:
		return ""
	}
}

// hints tells for each error code of a server what to do.
var hints = map[string]string{ //nolint:gosec // talks of passwords, has none
	"MISCONF":   "Redis refuses writes because it cannot save to its disk; look at its log and disk space",
	"OOM":       "Redis is at maxmemory; give it more, or shorten claim-retention",
	"READONLY":  "this is a replica; point redis-url at the master, or use redis+sentinel://",
	"NOAUTH":    "Redis wants a password; set redis-password-file",
	"WRONGPASS": "Redis does not take this user or password; check redis-password-file and the user in redis-url",
	"NOPERM": "the Redis user lacks rights; it needs EVALSHA, EVAL, SCAN, INFO, TIME, DEL, SET, GET, PEXPIRE, " +
		"HSET, HGETALL, HMGET and HDEL on redis-prefix",
	"MOVED":     "this is a Redis Cluster; begin redis-url with redis+cluster://, or name several of its nodes, comma-separated",
	"CROSSSLOT": "this is a Redis Cluster behind a proxy that does not know hash tags",
}

// codeReasons sorts the error codes of servers, and those of the scripts. Codes that are not listed
// are ReasonProtocol.
var codeReasons = map[string]Reason{
	"MISCONF": ReasonRefused, "OOM": ReasonRefused, "READONLY": ReasonRefused, "NOAUTH": ReasonRefused,
	"WRONGPASS": ReasonRefused, "NOPERM": ReasonRefused, "NOREPLICAS": ReasonRefused, "DENIED": ReasonRefused,
	"MOVED":   ReasonRefused,
	"LOADING": ReasonUnavailable, "CLUSTERDOWN": ReasonUnavailable, "MASTERDOWN": ReasonUnavailable,
	"TRYAGAIN": ReasonUnavailable, "BUSY": ReasonUnavailable, "ASK": ReasonUnavailable, "UNBLOCKED": ReasonUnavailable,
	"WRONGTYPE": ReasonWrongType, "BADCLAIM": ReasonWrongType, "BADHOLD": ReasonWrongType, "BADPACE": ReasonWrongType,
}

// serverCode returns the error code of a server's answer, or "" where err is no such answer.
func serverCode(err error) string {
	var answer redis.Error
	if err == nil || !errors.As(err, &answer) {
		return ""
	}
	text := answer.Error()
	code, rest, _ := strings.Cut(text, " ")
	if code != "ERR" {
		return strings.TrimPrefix(code, "-")
	}
	// Redis before 7 wraps what a command inside a script said: "ERR Error running script (call to
	// f_...): @user_script:30: -OOM command not allowed ...". The code is still a word of its own.
	if strings.HasPrefix(rest, "Error running script") {
		for word := range strings.FieldsSeq(rest) {
			word = strings.TrimPrefix(word, "-")
			if _, known := codeReasons[word]; known {
				return word
			}
		}
	}
	return code
}

// classify finds the reason of a failed call. caller is the context as it was given, without the
// call's own deadline.
func classify(caller context.Context, err error) Reason {
	var answer redis.Error
	var netErr net.Error
	switch {
	case errors.As(err, &answer):
		if redis.IsMaxClientsError(err) {
			return ReasonUnavailable
		}
		if reason, ok := codeReasons[serverCode(err)]; ok {
			return reason
		}
		if strings.Contains(answer.Error(), "user_script:") { // a fault of Lua's own, with its line
			return ReasonWrongType
		}
		return ReasonProtocol
	case caller.Err() != nil && errors.Is(caller.Err(), context.Canceled), errors.Is(err, context.Canceled):
		return ReasonCanceled
	case errors.Is(err, errAnswer):
		return ReasonProtocol
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, redis.ErrPoolTimeout):
		return ReasonTimeout
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return ReasonUnavailable
	case errors.As(err, &netErr) && netErr.Timeout():
		return ReasonTimeout
	default:
		return ReasonUnavailable
	}
}

// errAnswer marks answers of a shape that the scripts do not give.
var errAnswer = errors.New("unexpected answer")

func invalid(op, format string, args ...any) *Error {
	return &Error{Op: op, Reason: ReasonInvalid, Err: fmt.Errorf(format, args...)}
}
