package wxsim

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"sync"
	"time"
)

// Effect is one reply that took effect: one per mchid and idempotent_id, on whichever host.
type Effect struct {
	Sequence     int64     `json:"sequence"` // From 1, in the order in which effects happened.
	MchID        string    `json:"mchid"`
	IdempotentID string    `json:"idempotent_id"`
	ComplaintID  string    `json:"complaint_id"`
	BodySHA256   string    `json:"body_sha256"` // In hex, of the body bytes as received.
	LogID        string    `json:"log_id"`
	Host         Host      `json:"host"` // Where the first call came in.
	Time         time.Time `json:"time"`
	Calls        int       `json:"calls"`     // Calls with this id and body that were processed, the first one included.
	Conflicts    int       `json:"conflicts"` // Calls with this id and another body or complaint.
}

// Call is one call that has been answered, or left without an answer on purpose.
type Call struct {
	Sequence     int64     `json:"sequence"` // From 1, in the order in which calls arrived.
	Time         time.Time `json:"time"`
	Host         Host      `json:"host"`
	Operation    Operation `json:"operation"` // Empty where the target is none of the API's.
	MchID        string    `json:"mchid"`     // This and the ids below are empty where a check failed before they were known.
	ComplaintID  string    `json:"complaint_id"`
	IdempotentID string    `json:"idempotent_id"`
	Status       int       `json:"status"`  // 0: no answer.
	Refused      string    `json:"refused"` // The code with which a check, not a fault, refused it.
	Fault        Kind      `json:"fault"`   // The fault that decided its fate; latency does not.
	Effect       int64     `json:"effect"`  // The sequence of its effect, new or repeated; 0: none.
}

// HostStats counts one host's calls.
type HostStats struct {
	Calls    int64         `json:"calls"`     // Calls that arrived.
	Effects  int64         `json:"effects"`   // New effects.
	NoAnswer int64         `json:"no_answer"` // Calls that ended without an answer.
	Statuses map[int]int64 `json:"statuses"`  // Answers by status.
}

// Stats are the simulator's counters since it was made.
type Stats struct {
	Calls       int64              `json:"calls"`
	InFlight    int64              `json:"in_flight"`
	MaxInFlight int64              `json:"max_in_flight"`
	Effects     int64              `json:"effects"`
	Repeats     int64              `json:"repeats"`   // Calls that repeated an effect with the same body.
	Conflicts   int64              `json:"conflicts"` // Calls that used an id again with another body or complaint.
	Forgotten   int64              `json:"forgotten"` // Effects dropped because of Config.MaxEffects.
	Uploads     int64              `json:"uploads"`   // Images that were taken.
	Histories   int64              `json:"histories"` // Pages of histories that were made.
	Refused     map[string]int64   `json:"refused"`   // By code, what the checks refused: mistakes of a client.
	Faults      map[Kind]int64     `json:"faults"`    // Calls whose fate a fault decided.
	Hosts       map[Host]HostStats `json:"hosts"`
}

// effect is an Effect as it is kept: a hundred bytes fewer.
type effect struct {
	Effect
	sum [sha256.Size]byte
}

func (e *effect) export() Effect {
	out := e.Effect
	out.BodySHA256 = hex.EncodeToString(e.sum[:])
	return out
}

type effectKey struct{ mchID, idempotentID string }

// ledger keeps effects, the latest calls and the counters.
type ledger struct {
	mu       sync.Mutex
	byKey    map[effectKey]*effect
	effects  *ring[*effect]
	bodies   *bodies
	media    *ring[Media]
	calls    *ring[Call]
	stats    Stats
	sequence int64
}

func newLedger(cfg Config) *ledger {
	return &ledger{
		byKey:   map[effectKey]*effect{},
		effects: newRing[*effect](cfg.MaxEffects),
		bodies:  newBodies(cfg.MaxMessageBytes),
		media:   newRing[Media](cfg.MaxMedia),
		calls:   newRing[Call](cfg.MaxCalls),
		stats: Stats{
			Refused: map[string]int64{},
			Faults:  map[Kind]int64{},
			Hosts: map[Host]HostStats{
				Primary: {Statuses: map[int]int64{}},
				Backup:  {Statuses: map[int]int64{}},
			},
		},
	}
}

func (l *ledger) begin(host Host, now time.Time) Call {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stats.Calls++
	l.stats.InFlight++
	l.stats.MaxInFlight = max(l.stats.MaxInFlight, l.stats.InFlight)
	l.onHost(host, func(h *HostStats) { h.Calls++ })
	return Call{Sequence: l.stats.Calls, Time: now, Host: host}
}

// count changes the counters.
func (l *ledger) count(change func(*Stats)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(&l.stats)
}

// message returns the message of an effect, nil where it is not kept any more.
func (l *ledger) message(sequence int64) json.RawMessage {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bodies.message(sequence)
}

func (l *ledger) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stats.InFlight--
}

// end enters a call's end, before its answer is written: who has read the answer finds it counted.
func (l *ledger) end(c Call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls.push(c)
	if c.Refused != "" {
		l.stats.Refused[c.Refused]++
	}
	if c.Fault != "" {
		l.stats.Faults[c.Fault]++
	}
	l.onHost(c.Host, func(h *HostStats) {
		if c.Status == 0 {
			h.NoAnswer++
			return
		}
		h.Statuses[c.Status]++
	})
}

func (l *ledger) onHost(host Host, change func(*HostStats)) {
	h, known := l.stats.Hosts[host]
	if !known {
		h.Statuses = map[int]int64{}
	}
	change(&h)
	l.stats.Hosts[host] = h
}

// record makes the call's effect or finds the one that its id already has. On a conflict the answer
// is the first effect's log_id too; whether it is given out is the caller's choice.
func (l *ledger) record(c *Call, body []byte) (logID string, conflict bool) {
	sum := sha256.Sum256(body)
	l.mu.Lock()
	defer l.mu.Unlock()
	key := effectKey{mchID: c.MchID, idempotentID: c.IdempotentID}
	e, known := l.byKey[key]
	switch {
	case !known:
		e = l.add(c, key, sum)
		l.bodies.keep(e.Sequence, body)
	case e.sum != sum || e.ComplaintID != c.ComplaintID:
		e.Conflicts++
		l.stats.Conflicts++
		return e.LogID, true
	default:
		e.Calls++
		l.stats.Repeats++
	}
	c.Effect = e.Sequence
	return e.LogID, false
}

func (l *ledger) add(c *Call, key effectKey, sum [sha256.Size]byte) *effect {
	l.sequence++
	e := &effect{sum: sum, Effect: Effect{
		Sequence: l.sequence, MchID: c.MchID, IdempotentID: c.IdempotentID, ComplaintID: c.ComplaintID,
		LogID: fmt.Sprintf("300285%s%07d", c.Time.UTC().Format("20060102150405"), l.sequence),
		Host:  c.Host, Time: c.Time, Calls: 1,
	}}
	if old, full := l.effects.push(e); full {
		delete(l.byKey, effectKey{mchID: old.MchID, idempotentID: old.IdempotentID})
		l.stats.Forgotten++
	}
	l.byKey[key] = e
	l.stats.Effects++
	l.onHost(c.Host, func(h *HostStats) { h.Effects++ })
	return e
}

// Effects returns the effects kept, in the order in which they happened.
func (s *Sim) Effects() []Effect {
	return s.ledger.where(func(*effect) bool { return true })
}

// Effect returns the effect of one id of one merchant, if there is one.
func (s *Sim) Effect(mchID, idempotentID string) (Effect, bool) {
	s.ledger.mu.Lock()
	defer s.ledger.mu.Unlock()
	e, ok := s.ledger.byKey[effectKey{mchID: mchID, idempotentID: idempotentID}]
	if !ok {
		return Effect{}, false
	}
	return e.export(), true
}

// Calls returns the latest calls, in the order in which they ended.
func (s *Sim) Calls() []Call {
	s.ledger.mu.Lock()
	defer s.ledger.mu.Unlock()
	out := make([]Call, 0, s.ledger.calls.len())
	for i := range s.ledger.calls.len() {
		out = append(out, s.ledger.calls.at(i))
	}
	return out
}

// Stats returns a copy of the counters.
func (s *Sim) Stats() Stats {
	s.ledger.mu.Lock()
	defer s.ledger.mu.Unlock()
	out := s.ledger.stats
	out.Refused = maps.Clone(out.Refused)
	out.Faults = maps.Clone(out.Faults)
	out.Hosts = maps.Clone(out.Hosts)
	for host, h := range out.Hosts {
		h.Statuses = maps.Clone(h.Statuses)
		out.Hosts[host] = h
	}
	return out
}

func (l *ledger) where(keep func(*effect) bool) []Effect {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := []Effect{}
	for i := range l.effects.len() {
		if e := l.effects.at(i); keep(e) {
			out = append(out, e.export())
		}
	}
	return out
}

// ring keeps the latest values, up to a limit, and grows only as far as it is used.
type ring[T any] struct {
	limit, first int
	values       []T
}

func newRing[T any](limit int) *ring[T] { return &ring[T]{limit: limit} }

func (r *ring[T]) push(v T) (dropped T, full bool) {
	if len(r.values) < r.limit {
		r.values = append(r.values, v)
		return dropped, false
	}
	dropped, r.values[r.first] = r.values[r.first], v
	r.first = (r.first + 1) % r.limit
	return dropped, true
}

func (r *ring[T]) len() int { return len(r.values) }

func (r *ring[T]) at(i int) T { return r.values[(r.first+i)%len(r.values)] }
