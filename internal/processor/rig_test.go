package processor_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"replyworker/internal/dedupe"
	"replyworker/internal/gate"
	"replyworker/internal/job"
	"replyworker/internal/processor"
	"replyworker/internal/retry"
	"replyworker/internal/schedule"
	"replyworker/internal/wxclient"
)

const (
	testMchID = "1900000001"
	testLease = 150 * time.Millisecond
	patience  = 15 * time.Second
)

// world is what outlives a worker: Redis, the topics, and the API with its ledger.
type world struct {
	t     *testing.T
	redis *miniredis.Miniredis
	store *dedupe.Store

	mu       sync.Mutex
	effects  map[string]string // log_id by merchant and idempotent id
	calls    []call
	outcomes []published
	letters  []published
	finished map[string]int // by source
}

type call struct {
	host    wxclient.Host
	id      string
	body    string
	attempt int // of this id, from 1
}

// published is one outcome or dead letter.
type published struct {
	source string
	job    job.Job
	result job.Result
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, redis: miniredis.RunT(t), effects: map[string]string{}, finished: map[string]int{}}
	w.store = w.open()
	return w
}

func (w *world) open() *dedupe.Store {
	s, err := dedupe.New(dedupe.Config{Server: dedupe.Server{Addrs: []string{w.redis.Addr()}}, Lease: testLease})
	require.NoError(w.t, err)
	w.t.Cleanup(func() { require.NoError(w.t, s.Close()) })
	return s
}

// take makes the reply's effect, once for each id, and returns its log_id.
func (w *world) take(id string) wxclient.Answer {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.effects[id] == "" {
		w.effects[id] = fmt.Sprintf("log-%d-%s", len(w.effects)+1, id)
	}
	return wxclient.Answer{LogID: w.effects[id], HTTPStatus: 200, RequestID: "req-" + id}
}

func (w *world) called(host wxclient.Host, id string, body []byte) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 1
	for _, c := range w.calls {
		if c.id == id {
			n++
		}
	}
	w.calls = append(w.calls, call{host: host, id: id, body: string(body), attempt: n})
	return n
}

func (w *world) callsOf(id string) []call {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(w.calls), func(c call) bool { return c.id != id })
}

func (w *world) outcomesOf(source string) []published {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(w.outcomes), func(p published) bool { return p.source != source })
}

func (w *world) lettersOf(source string) []published {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(w.letters), func(p published) bool { return p.source != source })
}

func (w *world) finishedCount(source string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.finished[source]
}

// claim returns what the store has of an id.
func (w *world) claim(id string) dedupe.Record {
	w.t.Helper()
	r, _, err := w.store.Lookup(context.WithoutCancel(w.t.Context()), dedupe.Key{MchID: testMchID, IdempotentID: id})
	require.NoError(w.t, err)
	return r
}

// eventually polls until the condition holds.
func (w *world) eventually(what string, cond func() bool) {
	w.t.Helper()
	require.Eventually(w.t, cond, patience, 2*time.Millisecond, what)
}

// consistent checks what every reader of the topics relies on: all outcomes of one record say the same.
func (w *world) consistent() {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	first := map[string]job.Result{}
	for _, o := range w.outcomes {
		f, seen := first[o.source]
		if !seen {
			first[o.source] = o.result
			continue
		}
		require.Equal(w.t, f.Status, o.result.Status, "status of the outcomes of %s", o.source)
		require.Equal(w.t, f.Reason, o.result.Reason, "reason of the outcomes of %s", o.source)
		require.Equal(w.t, f.LogID, o.result.LogID, "log_id of the outcomes of %s", o.source)
	}
	for _, l := range w.letters {
		if f, seen := first[l.source]; seen {
			require.Equal(w.t, job.StatusFailed, f.Status, "%s has a dead letter", l.source)
			require.Equal(w.t, l.result.Reason, f.Reason, "%s: letter and outcome", l.source)
		}
	}
}

// fakes are what a test sets of a worker; a nil function is the plain thing.
type fakes struct {
	reply  func(ctx context.Context, c call) (wxclient.Answer, error)
	before func(ctx context.Context, op string) error // every write of the worker, before it is done
	after  func(ctx context.Context, op string) error // and after, when its answer is on the way
	retry  retry.Policy
	brake  int
	noHost bool // no backup
	trips  int  // failures that open a host's breaker
	first  time.Duration
	// looksUp lets the worker look deliveries up before it makes tasks of them.
	looksUp bool
}

// The worker's writes, as hooks know them.
const (
	opClaim     = "claim"
	opBegin     = "begin"
	opReply     = "reply"
	opPark      = "park"
	opComplete  = "complete"
	opFail      = "fail"
	opLetter    = "letter"
	opOutcome   = "outcome"
	opMark      = "mark"
	opFinished  = "finished"
	opRenew     = "renew"
	opHold      = "hold"
	opProbe     = "probe"
	opProbeDone = "probe_done"
	opHolds     = "holds"
	opHasten    = "hasten"
	opRelease   = "release"
)

// worker is a processor with a gate and a scheduler of its own.
type worker struct {
	room room // for calls of the merchant
	*world
	fakes
	gate      *gate.Gate
	processor *processor.Processor
	scheduler *schedule.Scheduler
	session   *schedule.Session
	intake    *processor.Intake
	log       *logBuffer
}

func (w *world) start(f fakes) *worker {
	w.t.Helper()
	if f.retry.Attempts == 0 {
		f.retry = retry.Policy{Initial: time.Millisecond, Max: 4 * time.Millisecond, Attempts: 3}
	}
	if f.trips == 0 {
		f.trips = 1000
	}
	if f.first == 0 {
		f.first = 20 * time.Millisecond
	}
	k := &worker{world: w, fakes: f, log: &logBuffer{}}
	k.gate = gate.New(gate.Config{
		Concurrency: 8, HasBackup: !f.noHost, BreakerFailures: f.trips, BreakerCooldown: 10 * time.Millisecond,
		Jitter: func() float64 { return 0 }, Pace: k.pace,
	})
	store := w.open()
	k.processor = processor.New(processor.Config{
		Merchants: map[string]*wxclient.Merchant{testMchID: {MchID: testMchID}}, DefaultMchID: testMchID,
		Retry: f.retry, Brake: f.brake, Lease: testLease, Claims: claims{k, store}, Holds: holds{k, store}, API: api{k},
		Gate: k.gate, Outcomes: outcomes{k}, Letters: letters{k}, Log: zerolog.New(k.log), Registerer: prometheus.NewRegistry(),
	})
	k.scheduler = schedule.New(schedule.Config{Gate: k.gate, MaxRunning: 32})
	k.session, k.intake = k.scheduler.NewSession(), k.processor.NewIntake()
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.t.Context()))
	var parts sync.WaitGroup
	parts.Go(func() { k.processor.Run(ctx) })
	parts.Go(func() { k.scheduler.Run(ctx) })
	w.t.Cleanup(func() {
		cut, now := context.WithCancel(ctx)
		now()
		k.session.Drain(cut)
		cancel()
		parts.Wait()
	})
	return k
}

// deliver hands a record to the worker.
func (k *worker) deliver(deliveries ...job.Delivery) {
	handed := make([]processor.Handed, len(deliveries))
	for i, d := range deliveries {
		handed[i] = processor.Handed{Delivery: d, Finished: func() {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.finished[d.Source.ID()]++
		}}
	}
	for _, t := range k.intake.Tasks(k.t.Context(), handed) {
		k.session.Add(t)
	}
}

// wait waits until the records are finished.
func (k *worker) wait(deliveries ...job.Delivery) {
	k.t.Helper()
	for _, d := range deliveries {
		k.eventually("finished: "+d.Source.ID()+"\n"+k.log.String(), func() bool { return k.finishedCount(d.Source.ID()) > 0 })
	}
}

// outcome delivers a record, waits for its end and returns its one outcome.
func (k *worker) outcome(d job.Delivery) job.Result {
	k.t.Helper()
	k.deliver(d)
	k.wait(d)
	all := k.outcomesOf(d.Source.ID())
	require.Len(k.t, all, 1, "outcomes of %s", d.Source.ID())
	return all[0].result
}

// succeeds reports a success of another job's call to the gate.
func (k *worker) succeeds(mchid string) {
	g, denial := k.gate.Try(time.Now(), gate.Ask{MchID: mchid, Lane: "another"})
	require.Nil(k.t, denial)
	k.gate.Done(time.Now(), g, gate.Succeeded)
}

func (k *worker) hook(ctx context.Context, op string, do func() error) error {
	if k.before != nil {
		if err := k.before(ctx, op); err != nil {
			return err
		}
	}
	err := do()
	if k.after != nil {
		if lost := k.after(ctx, op); lost != nil {
			return lost
		}
	}
	return err
}

// claims is the store with hooks.
type claims struct {
	k *worker
	s *dedupe.Store
}

func (c claims) Claim(ctx context.Context, who dedupe.Claimant, spend int) (got dedupe.Claim, err error) {
	err = c.k.hook(ctx, opClaim, func() (err error) { got, err = c.s.Claim(ctx, who, spend); return err })
	return got, err
}

func (c claims) Begin(ctx context.Context, who dedupe.Claimant, attempts int) (n int, err error) {
	err = c.k.hook(ctx, opBegin, func() (err error) { n, err = c.s.Begin(ctx, who, attempts); return err })
	return n, err
}

func (c claims) Renew(ctx context.Context, held []dedupe.Claimant) (errs []error) {
	if err := c.k.hook(ctx, opRenew, func() error { errs = c.s.Renew(ctx, held); return nil }); err != nil {
		errs = make([]error, len(held))
		for i := range errs {
			errs[i] = err
		}
	}
	return errs
}

func (c claims) Park(ctx context.Context, who dedupe.Claimant, p dedupe.Parked) error {
	return c.k.hook(ctx, opPark, func() error { return c.s.Park(ctx, who, p) })
}

func (c claims) Complete(ctx context.Context, who dedupe.Claimant, d dedupe.Done) (r dedupe.CompleteResult, err error) {
	err = c.k.hook(ctx, opComplete, func() (err error) { r, err = c.s.Complete(ctx, who, d); return err })
	return r, err
}

func (c claims) Fail(ctx context.Context, who dedupe.Claimant, f dedupe.Failure) error {
	return c.k.hook(ctx, opFail, func() error { return c.s.Fail(ctx, who, f) })
}

// NotePublished writes the note before it returns, so that a test knows when it is there.
func (c claims) NotePublished(key dedupe.Key, source string) {
	ctx := context.Background()
	_ = c.k.hook(ctx, opMark, func() error { return c.s.MarkPublished(ctx, key, source) }) // nobody is told
}

// Finished finds nothing unless the test wants it: most are about claims.
func (c claims) Finished(ctx context.Context, deliveries []dedupe.Delivered) (states []dedupe.State, err error) {
	if !c.k.looksUp {
		return make([]dedupe.State, len(deliveries)), nil
	}
	err = c.k.hook(ctx, opFinished, func() (err error) { states, err = c.s.Finished(ctx, deliveries); return err })
	return states, err
}

// holds is the store's holds with hooks, and with short waits for probes.
type holds struct {
	k *worker
	s *dedupe.Store
}

func (h holds) Hold(ctx context.Context, mchid string, req dedupe.HoldRequest) (got dedupe.Hold, made bool, err error) {
	req.First, req.Max = h.k.first, 2*h.k.first
	err = h.k.hook(ctx, opHold, func() (err error) { got, made, err = h.s.Hold(ctx, mchid, req); return err })
	return got, made, err
}

func (h holds) ProbeHold(ctx context.Context, mchid string, p dedupe.Probe) (a dedupe.ProbeAnswer, err error) {
	err = h.k.hook(ctx, opProbe, func() (err error) { a, err = h.s.ProbeHold(ctx, mchid, p); return err })
	return a, err
}

func (h holds) ProbeDone(ctx context.Context, mchid, token string) error {
	return h.k.hook(ctx, opProbeDone, func() error { return h.s.ProbeDone(ctx, mchid, token) })
}

func (h holds) HastenProbe(ctx context.Context, mchid string) (got dedupe.Hold, held bool, err error) {
	err = h.k.hook(ctx, opHasten, func() (err error) { got, held, err = h.s.HastenProbe(ctx, mchid); return err })
	return got, held, err
}

func (h holds) RenewHolds(ctx context.Context, ids []string, ttl time.Duration) (got map[string]dedupe.Hold, err error) {
	err = h.k.hook(ctx, opHolds, func() (err error) { got, err = h.s.RenewHolds(ctx, ids, ttl); return err })
	return got, err
}

func (h holds) ReleaseHold(ctx context.Context, mchid string) (was bool, err error) {
	err = h.k.hook(ctx, opRelease, func() (err error) { was, err = h.s.ReleaseHold(ctx, mchid); return err })
	return was, err
}

type api struct{ k *worker }

func (a api) Reply(ctx context.Context, host wxclient.Host, _ *wxclient.Merchant, _ string, body []byte) (
	answer wxclient.Answer, err error,
) {
	var b struct {
		ID string `json:"idempotent_id"`
	}
	if err := json.Unmarshal(body, &b); err != nil {
		return answer, err
	}
	n := a.k.called(host, b.ID, body)
	err = a.k.hook(ctx, opReply, func() error {
		if a.k.reply == nil {
			answer = a.k.take(b.ID)
			return nil
		}
		var err error
		answer, err = a.k.reply(ctx, call{host: host, id: b.ID, body: string(body), attempt: n})
		return err
	})
	if e, ok := errors.AsType[*wxclient.Error](err); ok {
		e.Host = host
	}
	return answer, err
}

type outcomes struct{ k *worker }

func (o outcomes) Publish(ctx context.Context, d *job.Delivery, j *job.Job, r job.Result) error {
	return o.k.hook(ctx, opOutcome, func() error {
		o.k.mu.Lock()
		defer o.k.mu.Unlock()
		o.k.outcomes = append(o.k.outcomes, published{source: d.Source.ID(), job: *j, result: r})
		return nil
	})
}

type letters struct{ k *worker }

func (l letters) Publish(ctx context.Context, d *job.Delivery, r job.Result) error {
	return l.k.hook(ctx, opLetter, func() error {
		l.k.mu.Lock()
		defer l.k.mu.Unlock()
		l.k.letters = append(l.k.letters, published{source: d.Source.ID(), result: r})
		return nil
	})
}

// logBuffer keeps what was logged.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// record makes a delivery; its offset is made of its id and complaint, so that equal ones are
// deliveries of one record.
func record(complaint, id string, more map[string]any) job.Delivery {
	m := map[string]any{
		"complaint_id": complaint, "complainted_mchid": "1900012181", "idempotent_id": id,
		"message": map[string]any{"blocks": []any{map[string]any{"type": "TEXT", "text": map[string]any{"text": "hello"}}}},
	}
	maps.Copy(m, more)
	value, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return delivery(id, value)
}

// text is a record's content, for records with another content than record makes.
func text(s string) map[string]any {
	return map[string]any{"message": map[string]any{"custom_data": s}}
}

func delivery(name string, value []byte) job.Delivery {
	sum := sha256.Sum256([]byte(name))
	return job.Delivery{
		Source: job.Source{
			Topic: "jobs", Partition: 1, Offset: int64(sum[0])<<16 | int64(sum[1])<<8 | int64(sum[2]),
			Timestamp: time.Now().Truncate(time.Hour),
		},
		Key: []byte("key"), Value: value,
	}
}

// other is the delivery at another place of the topic: another record.
func other(d job.Delivery) job.Delivery {
	d.Source.Offset += 1 << 30
	return d
}

// fault makes the error of a call.
func fault(class wxclient.Class, status int, code string) *wxclient.Error {
	return &wxclient.Error{Class: class, Status: status, Code: code, Message: "said " + code, RequestID: "req", Sent: true}
}

// unavailable is what the store says when it is away.
func unavailable(op string) error {
	return &dedupe.Error{Op: op, Reason: dedupe.ReasonUnavailable, Err: errors.New("away")}
}

// times returns a hook that fails the first n calls of op with err.
func times(n int, op string, err error) func(context.Context, string) error {
	var mu sync.Mutex
	return func(_ context.Context, got string) error {
		mu.Lock()
		defer mu.Unlock()
		if got != op || n == 0 {
			return nil
		}
		n--
		return err
	}
}

// pace limits the merchant and nobody else.
func (k *worker) pace(mchid string) gate.Pace {
	if mchid != testMchID {
		return nil
	}
	return &k.room
}
