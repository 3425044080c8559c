package dedupe

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// The steps, as Observe and Error name them.
const (
	opClaim       = "claim"
	opBegin       = "begin"
	opRenew       = "renew"
	opPark        = "park"
	opComplete    = "complete"
	opFail        = "fail"
	opPublished   = "published"
	opLookup      = "lookup"
	opFinished    = "finished"
	opRestore     = "restore"
	opHold        = "hold"
	opProbeHold   = "probe_hold"
	opProbeDone   = "probe_done"
	opHastenProbe = "hasten_probe"
	opRenewHolds  = "renew_holds"
	opReleaseHold = "release_hold"
	opListHolds   = "list_holds"
	opSharePace   = "share_pace"
	opLearnPace   = "learn_pace"
	opLock        = "lock"
	opUnlock      = "unlock"
	opPing        = "ping"
	opEviction    = "eviction"
	opInspect     = "inspect"
)

// Ops lists every step, for metrics that are to show zeros.
func Ops() []string {
	return []string{
		opClaim, opBegin, opRenew, opPark, opComplete, opFail, opPublished, opLookup, opFinished, opRestore,
		opHold, opProbeHold, opProbeDone, opHastenProbe, opRenewHolds, opReleaseHold, opListHolds, opSharePace, opLearnPace,
		opLock, opUnlock,
		opPing, opEviction, opInspect,
	}
}

// maxPipeline is the most scripts sent in one go, so that one batch does not hold Redis up.
const maxPipeline = 200

// Store keeps claims, holds and paces in Redis. It is safe for concurrent use. Whoever made it closes
// it, after the last step has returned.
type Store struct {
	cfg     Config
	client  redis.UniversalClient
	scripts scripts
	batches batcher
}

// New makes a Store. It reports all faults of cfg at once, and does not connect: Ping does.
func New(cfg Config) (*Store, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	s := &Store{cfg: cfg, client: connect(cfg), scripts: loadScripts()}
	s.batches.s = s
	return s, nil
}

// Close writes the notes that are to be written, and closes all connections.
func (s *Store) Close() error {
	s.batches.flush()
	if err := s.client.Close(); err != nil {
		return fmt.Errorf("close redis: %w", err)
	}
	return nil
}

// Target names the server, as a URL without credentials.
func (s *Store) Target() string { return s.cfg.Server.String() }

// Lease returns how long a claim holds without renewal.
func (s *Store) Lease() time.Duration { return s.cfg.Lease }

// gathered runs a script on one key, in one go with the steps of other jobs that come at the same time.
func (s *Store) gathered(ctx context.Context, op string, sc *redis.Script, key string, args ...any) (*reader, error) {
	var fields []string
	err := s.step(ctx, op, key, func(ctx context.Context) (err error) {
		fields, err = s.batches.do(ctx, &call{op: op, script: sc, key: key, args: args})
		return err
	})
	return &reader{fields: fields}, err
}

// eval runs a script on one key, alone.
func (s *Store) eval(ctx context.Context, op string, sc *redis.Script, key string, args ...any) (*reader, error) {
	var fields []string
	err := s.step(ctx, op, key, func(ctx context.Context) error {
		var err error
		fields, err = answer(sc.Run(ctx, s.client, []string{key}, args...))
		return err
	})
	return &reader{fields: fields}, err
}

// done turns a fault that the reader met into an Error.
func (s *Store) done(op, key string, r *reader) error {
	if r.err == nil {
		return nil
	}
	return &Error{Op: op, Reason: ReasonProtocol, Key: key, Err: r.err}
}

// step runs one step with its deadline, and reports it. The deadline is there for callers that have
// none: no call may hang.
func (s *Store) step(ctx context.Context, op, key string, do func(context.Context) error) error {
	start := time.Now()
	inner, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	err := do(inner)
	if err != nil {
		err = wrap(ctx, op, key, err)
	}
	s.observe(op, start, err)
	return err
}

func (s *Store) observe(op string, start time.Time, err error) {
	if s.cfg.Observe != nil {
		s.cfg.Observe(op, time.Since(start), err)
	}
}

// evalAll runs a script on many keys, in batches, and calls each with the answers one by one.
func (s *Store) evalAll(
	ctx context.Context, op string, sc *redis.Script, calls []call, each func(i int, r *reader, err error),
) {
	for from := 0; from < len(calls); from += maxPipeline {
		batch := make([]*call, 0, maxPipeline)
		for i := from; i < min(from+maxPipeline, len(calls)); i++ {
			calls[i].op, calls[i].script = op, sc
			batch = append(batch, &calls[i])
		}
		start := time.Now()
		err := s.evalBatch(ctx, batch, func(i int, r *reader, err error) { each(from+i, r, err) })
		s.observe(op, start, err)
	}
}

// evalBatch returns the first failure, for Observe.
func (s *Store) evalBatch(ctx context.Context, batch []*call, each func(i int, r *reader, err error)) (first error) {
	inner, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	s.pipeline(inner, batch)
	for i, c := range batch {
		err := c.err
		if err != nil {
			err = wrap(ctx, c.op, c.key, err)
			if first == nil {
				first = err
			}
		}
		each(i, &reader{fields: c.fields}, err)
	}
	return first
}

// answer reads what a script returned: always a list of strings.
func answer(cmd *redis.Cmd) ([]string, error) {
	value, err := cmd.Result()
	if err != nil {
		return nil, err //nolint:wrapcheck // wrap adds step, reason and key
	}
	list, ok := value.([]any)
	if !ok {
		return nil, fmt.Errorf("%w: a %T", errAnswer, value)
	}
	fields := make([]string, len(list))
	for i, v := range list {
		if fields[i], ok = v.(string); !ok {
			return nil, fmt.Errorf("%w: field %d is a %T", errAnswer, i+1, v)
		}
	}
	return fields, nil
}

func wrap(ctx context.Context, op, key string, err error) error {
	if _, ok := errors.AsType[*Error](err); ok {
		return err
	}
	return &Error{Op: op, Reason: classify(ctx, err), Key: key, Err: err}
}
