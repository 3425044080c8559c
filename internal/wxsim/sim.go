package wxsim

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// Host is one of the API's two hosts.
type Host string

// The API's hosts.
const (
	Primary Host = "primary"
	Backup  Host = "backup"
)

// ConflictRule says what a repeat of an idempotent_id with another body gets. The API does not
// document it, so that clients should cope with either.
type ConflictRule string

// The rules for a repeat with another body. Neither makes a second effect.
const (
	ConflictRefuse    ConflictRule = "refuse"      // 400 INVALID_REQUEST.
	ConflictSameLogID ConflictRule = "same_log_id" // The first effect's answer, as if nothing were wrong.
)

// MerchantKey is what the API knows of a merchant that may call it.
type MerchantKey struct {
	Serial string         // Serial is the number of its API certificate.
	Key    *rsa.PublicKey // Key is its public key.
}

// Config is what a Sim needs. Merchants, AnswerKeyID and AnswerKey are required.
type Config struct {
	// Merchants maps each known mchid to its key.
	Merchants map[string]MerchantKey
	// AnswerKeyID is the id of the key that answers are signed with, or the serial of a platform
	// certificate, in hexadecimal; calls must name it in their Wechatpay-Serial header. AddAnswerKey adds
	// further ones.
	AnswerKeyID string
	// AnswerKey signs the answers. Its size decides what a call costs: 2048 bits as the real one's.
	AnswerKey *rsa.PrivateKey
	// Now is the simulator's clock: of the timestamps that it checks and signs, of effects and of
	// quotas. Default time.Now. It must be safe for concurrent use.
	Now func() time.Time
	// Seed makes the choices of probability and jitter repeatable. Zero is a seed like any other.
	Seed uint64
	// MaxEffects bounds the effects kept. Default 500,000. Beyond it the oldest are forgotten and
	// counted in Stats.Forgotten; a repeat of a forgotten id makes a new effect.
	MaxEffects int
	// MaxCalls bounds the calls that Calls returns, the latest ones. Default 10,000.
	MaxCalls int
	// MaxMessageBytes bounds the bodies of replies that are kept, so that a history can show their
	// messages: the latest ones. Default 8 MiB; a history shows older effects without their message.
	MaxMessageBytes int
	// MaxMedia bounds the uploads that are remembered, the latest ones. Their bytes are not kept.
	// Default 1,000.
	MaxMedia int
	// MaxHistoryBytes is the largest page of a history; one that would be larger is refused, as the API
	// does. Default 1 MiB.
	MaxHistoryBytes int
	// Conflict is the rule for a repeat with another body. Default ConflictRefuse.
	Conflict ConflictRule
	// Lenient lets unknown members, unknown enum values and characters outside the Basic Multilingual
	// Plane inside "message" through, as an API would that has grown.
	Lenient bool
	// Log gets one debug line per call. The zero value logs nothing.
	Log zerolog.Logger
}

const (
	defaultMaxEffects      = 500_000
	defaultMaxCalls        = 10_000
	defaultMaxMessageBytes = 8 << 20
	defaultMaxMedia        = 1_000
	defaultMaxHistoryBytes = 1 << 20
)

func (c Config) withDefaults() Config {
	if c.Now == nil {
		c.Now = time.Now
	}
	for _, d := range []struct {
		value     *int
		otherwise int
	}{
		{&c.MaxEffects, defaultMaxEffects},
		{&c.MaxCalls, defaultMaxCalls},
		{&c.MaxMessageBytes, defaultMaxMessageBytes},
		{&c.MaxMedia, defaultMaxMedia},
		{&c.MaxHistoryBytes, defaultMaxHistoryBytes},
	} {
		if *d.value == 0 {
			*d.value = d.otherwise
		}
	}
	if c.Conflict == "" {
		c.Conflict = ConflictRefuse
	}
	c.Merchants = maps.Clone(c.Merchants)
	return c
}

func (c Config) validate() error {
	var faults []error
	if len(c.Merchants) == 0 {
		faults = append(faults, errors.New("merchants: at least one is needed"))
	}
	for id, m := range c.Merchants {
		if id == "" || m.Serial == "" || m.Key == nil {
			faults = append(faults, fmt.Errorf("merchants: %q needs an id, a serial and a key", id))
		}
	}
	if c.AnswerKeyID == "" || c.AnswerKey == nil {
		faults = append(faults, errors.New("answer key: both id and key are needed"))
	}
	if min(c.MaxEffects, c.MaxCalls, c.MaxMessageBytes, c.MaxMedia, c.MaxHistoryBytes) < 0 {
		faults = append(faults, errors.New(
			"max effects, max calls, max message bytes, max media, max history bytes: must not be negative"))
	}
	if c.Conflict != ConflictRefuse && c.Conflict != ConflictSameLogID {
		faults = append(faults, fmt.Errorf("conflict: unknown rule %q", c.Conflict))
	}
	return errors.Join(faults...)
}

// Sim is the simulator: both hosts, their common ledger and the faults in force. It is safe for
// concurrent use. Whoever made it closes it.
type Sim struct {
	cfg     Config
	body    *schema
	keys    *keyring
	ledger  *ledger
	faults  *faultSet
	dice    *dice
	closing chan struct{}

	change  sync.Mutex // Held while faults change and hosts go up or down, so that they agree.
	servers []*hostServer

	gate   sync.Mutex // Orders the last calls.Add before Close's calls.Wait.
	closed bool
	calls  sync.WaitGroup
}

// New makes a simulator. It starts nothing; every fault of cfg is reported at once.
func New(cfg Config) (*Sim, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("simulator: %w", err)
	}
	d := newDice(cfg.Seed)
	return &Sim{
		cfg:     cfg,
		body:    replySchema(),
		keys:    newKeyring(cfg),
		ledger:  newLedger(cfg),
		faults:  newFaultSet(d, cfg.Now),
		dice:    d,
		closing: make(chan struct{}),
	}, nil
}

// Close ends every fault, stops the servers that Listen started and waits until the last call and
// connection is gone. What the ledger holds can still be read.
func (s *Sim) Close() error {
	s.gate.Lock()
	already := s.closed
	s.closed = true
	if !already {
		close(s.closing)
	}
	s.gate.Unlock()

	s.change.Lock()
	s.faults.replace(nil)
	servers := s.servers
	s.servers = nil
	s.change.Unlock()

	for _, srv := range servers {
		srv.close()
	}
	s.calls.Wait()
	return nil
}

// Handler serves one host over a server of the caller's. Faults that break connections need a server
// of HTTP/1.1; a host that is down resets the connection after the request, for a listener is not
// the handler's to close (Listen does that).
func (s *Sim) Handler(host Host) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, host) })
}

func (s *Sim) enter() bool {
	s.gate.Lock()
	defer s.gate.Unlock()
	if s.closed {
		return false
	}
	s.calls.Add(1)
	return true
}

// serve is one call's way: read, check, misbehave or take effect, answer. Checks come before faults,
// so that a client's mistake shows even while the host misbehaves.
func (s *Sim) serve(w http.ResponseWriter, r *http.Request, host Host) {
	if !s.enter() {
		reset(w)
		return
	}
	defer s.calls.Done()
	c := &exchange{sim: s, w: w, r: r, call: s.ledger.begin(host, s.cfg.Now())}
	defer s.ledger.leave()

	body, err := readBody(w, r)
	if err != nil {
		c.refuse(errorAnswer(http.StatusBadRequest, codeParam, "请求体过大或不完整", nil))
		return
	}
	c.asked = request{Request: r, body: body, call: &c.call}
	if refusal := s.check(&c.asked); refusal != nil {
		c.refuse(*refusal)
		return
	}
	c.run(s.faults.decide(c.call))
}

// exchange is one call that has been let in, with its answer to be.
type exchange struct {
	sim   *Sim
	w     http.ResponseWriter
	r     *http.Request
	asked request
	call  Call
}

func (c *exchange) run(d decision) {
	var fault Fault
	if d.fault != nil {
		fault = d.fault.Fault
		c.call.Fault = fault.Kind
	}
	if !c.sim.sleep(c.r.Context(), d.before) {
		c.drop()
		return
	}
	if d.fault != nil && !fault.takesEffect() {
		c.misbehave(d.fault, nil)
		return
	}
	body, refusal := c.takeEffect()
	if !c.sim.sleep(c.r.Context(), d.after) {
		c.drop()
		return
	}
	switch {
	case refusal != nil:
		c.write(*refusal, signing{})
	case d.fault != nil:
		c.misbehave(d.fault, body)
	default:
		c.write(jsonAnswer(http.StatusOK, body), signing{})
	}
}

// takeEffect does what the call is for, and returns its right answer's body.
func (c *exchange) takeEffect() (body []byte, refusal *answer) {
	switch c.call.Operation {
	case OperationUpload:
		return mediaBody(c.sim.ledger.keep(&c.call, c.asked.upload)), nil
	case OperationHistory:
		return c.sim.history(&c.call, c.asked.page)
	case OperationReply:
	}
	logID, conflict := c.sim.ledger.record(&c.call, c.asked.body)
	if conflict && c.sim.cfg.Conflict == ConflictRefuse {
		a := errorAnswer(http.StatusBadRequest, codeInvalidRequest, "idempotent_id已被使用,且请求参数与首次请求不一致",
			&errorDetail{Field: "/idempotent_id", Issue: "used before with another body", Location: "body"})
		return nil, &a
	}
	return logIDBody(logID), nil
}

// sleep waits and reports whether the call should go on; it should not when its client has left.
func (s *Sim) sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	case <-s.closing:
		return false
	}
}
