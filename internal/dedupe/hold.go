package dedupe

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/redis/go-redis/v9"
)

const (
	maxHolds  = 1000 // that ListHolds returns
	scanCount = 1000
)

// HoldKind is why a merchant is held.
type HoldKind string

// The kinds of holds.
const (
	HoldCredentials HoldKind = "credentials" // the API refused our credentials, or our clock
	HoldAnswerKey   HoldKind = "answer_key"  // answers are signed with a key that we do not have
	HoldBrake       HoldKind = "brake"       // too many jobs in a row were refused alike
)

// Hold is a merchant whose jobs wait.
type Hold struct {
	MchID   string
	Kind    HoldKind
	Code    string // the error code or cause
	Message string
	Since   time.Time // by Redis' clock
	Probes  int       // probes taken so far
	// NextProbe is how long no probe can start: until the next is due, and while one is out.
	NextProbe time.Duration
	// LastProbe is the complaint whose job probed last; empty before the first probe.
	LastProbe string
}

// HoldRequest says why and how a merchant is to be held.
type HoldRequest struct {
	Kind    HoldKind
	Code    string
	Message string // cut at 512 bytes
	// First is the wait before the first probe; each further wait is twice the one before, up to Max.
	First, Max time.Duration
	// TTL is how long the hold lasts without RenewHolds.
	TTL time.Duration
}

// Hold holds a merchant. Where it is held already that hold stays as it is, with its kind and its
// probes, and is renewed. created tells whether this call made it; after a call whose answer was lost
// and that was repeated it is false.
func (s *Store) Hold(ctx context.Context, mchID string, req HoldRequest) (h Hold, created bool, err error) {
	if err := checkMerchant(opHold, mchID); err != nil {
		return Hold{}, false, err
	}
	if req.Kind == "" || req.First <= 0 || req.Max < req.First || req.TTL < time.Millisecond {
		return Hold{}, false, invalid(opHold, "kind %q, first wait %s, longest %s, lifetime %s",
			req.Kind, req.First, req.Max, req.TTL)
	}
	key := s.holdKey(mchID)
	r, err := s.eval(ctx, opHold, s.scripts.hold, key, string(req.Kind), cut(req.Code),
		cut(req.Message), millis(req.First), millis(req.Max), req.TTL.Milliseconds())
	if err != nil {
		return Hold{}, false, err
	}
	created = r.bool()
	h = r.hold(mchID)
	return h, created, s.done(opHold, key, r)
}

// Probe asks for the probe of a held merchant.
type Probe struct {
	Token     string // NewToken; the same again where the call is repeated
	Complaint string // whose job is to be sent
	// Lease is how long the probe may be out; ProbeDone ends it earlier.
	Lease time.Duration
	// Force takes the probe also where the last one was of the same complaint: for when no other
	// complaint's job is at hand.
	Force bool
}

// ProbeAnswer is the answer to ProbeHold.
type ProbeAnswer struct {
	// Held is false where there is no hold; everything else is zero then.
	Held bool
	// Granted tells that the caller may send one job and then calls ProbeDone or ReleaseHold.
	Granted bool
	// Repeat tells why it is denied: the probe is due, and the last one was of the same complaint.
	Repeat bool
	// Hold is the hold as it is now; its NextProbe is how long to wait where the probe is denied.
	Hold Hold
}

// ProbeHold takes the probe of a held merchant, if it is due and none is out. Only one worker gets it.
func (s *Store) ProbeHold(ctx context.Context, mchID string, p Probe) (ProbeAnswer, error) {
	if err := checkMerchant(opProbeHold, mchID); err != nil {
		return ProbeAnswer{}, err
	}
	if p.Token == "" || p.Lease < time.Millisecond {
		return ProbeAnswer{}, invalid(opProbeHold, "token of %d bytes, lease %s", len(p.Token), p.Lease)
	}
	key := s.holdKey(mchID)
	r, err := s.eval(ctx, opProbeHold, s.scripts.holdProbe, key,
		p.Token, cut(p.Complaint), p.Lease.Milliseconds(), flag(p.Force))
	if err != nil {
		return ProbeAnswer{}, err
	}
	var a ProbeAnswer
	switch word := r.text(); word {
	case "none":
		return a, nil
	case "granted", "denied":
		a = ProbeAnswer{Held: true, Granted: word == "granted", Repeat: r.bool(), Hold: r.hold(mchID)}
	default:
		r.err = fmt.Errorf("%w: %q", errAnswer, word)
	}
	return a, s.done(opProbeHold, key, r)
}

// ProbeDone reports that a probe is over and did not end the hold; the next one may start when it is
// due. It does nothing where that probe is not out any more.
func (s *Store) ProbeDone(ctx context.Context, mchID, token string) error {
	if err := checkMerchant(opProbeDone, mchID); err != nil {
		return err
	}
	_, err := s.eval(ctx, opProbeDone, s.scripts.holdProbeDone, s.holdKey(mchID), token)
	return err
}

// HastenProbe makes the next probe of a held merchant due now, and those after it as close together as
// the first ones: what it is held for has been mended. It does nothing where the brake holds it, which is
// for another cause. held tells whether the merchant is held.
func (s *Store) HastenProbe(ctx context.Context, mchID string) (h Hold, held bool, err error) {
	if err := checkMerchant(opHastenProbe, mchID); err != nil {
		return Hold{}, false, err
	}
	key := s.holdKey(mchID)
	r, err := s.eval(ctx, opHastenProbe, s.scripts.holdHasten, key, string(HoldBrake))
	if err != nil || len(r.fields) == 0 {
		return Hold{}, false, err
	}
	h = r.hold(mchID)
	return h, true, s.done(opHastenProbe, key, r)
}

// RenewHolds reads the holds of merchants and makes each last for ttl from now; with a ttl of zero it
// only reads. Merchants that are not held are not in the answer. After an error it has those that
// could be read.
func (s *Store) RenewHolds(ctx context.Context, mchIDs []string, ttl time.Duration) (map[string]Hold, error) {
	calls := make([]call, len(mchIDs))
	for i, id := range mchIDs {
		if err := checkMerchant(opRenewHolds, id); err != nil {
			return nil, err
		}
		calls[i] = call{key: s.holdKey(id), args: []any{max(0, ttl).Milliseconds()}}
	}
	return s.readHolds(ctx, opRenewHolds, mchIDs, calls)
}

func (s *Store) readHolds(ctx context.Context, op string, mchIDs []string, calls []call) (map[string]Hold, error) {
	holds := make(map[string]Hold)
	var first error
	s.evalAll(ctx, op, s.scripts.holdRenew, calls, func(i int, r *reader, err error) {
		if err == nil && len(r.fields) > 0 {
			h := r.hold(mchIDs[i])
			if err = s.done(op, calls[i].key, r); err == nil {
				holds[h.MchID] = h
			}
		}
		if err != nil && first == nil {
			first = err
		}
	})
	return holds, first
}

// ReleaseHold ends a hold, and tells whether there was one. (After a call whose answer was lost and
// that was repeated it says no.)
func (s *Store) ReleaseHold(ctx context.Context, mchID string) (bool, error) {
	if err := checkMerchant(opReleaseHold, mchID); err != nil {
		return false, err
	}
	var n int64
	key := s.holdKey(mchID)
	err := s.step(ctx, opReleaseHold, key, func(ctx context.Context) error {
		var err error
		n, err = s.client.Del(ctx, key).Result()
		return err //nolint:wrapcheck // step wraps it
	})
	return n > 0, err
}

// ListHolds finds all holds, by merchant id, at most 1000. It walks through all keys of the server, of
// each master in a Cluster, so it is for commands, not for the worker's loop.
func (s *Store) ListHolds(ctx context.Context) ([]Hold, error) {
	keys, err := s.scanHolds(ctx)
	if err != nil {
		return nil, err
	}
	mchIDs := make([]string, len(keys))
	calls := make([]call, len(keys))
	before := s.holdKey("\x00")
	head, tail, _ := strings.Cut(before, "\x00")
	for i, key := range keys {
		mchIDs[i] = strings.TrimSuffix(strings.TrimPrefix(key, head), tail)
		calls[i] = call{key: key, args: []any{0}}
	}
	byID, err := s.readHolds(ctx, opListHolds, mchIDs, calls)
	holds := make([]Hold, 0, len(byID))
	for _, h := range byID {
		holds = append(holds, h)
	}
	slices.SortFunc(holds, func(a, b Hold) int { return strings.Compare(a.MchID, b.MchID) })
	return holds, err
}

// scanHolds has no deadline of its own but that of ctx for the whole; each round has one.
func (s *Store) scanHolds(ctx context.Context) ([]string, error) {
	var mu sync.Mutex
	found := make(map[string]bool) // SCAN may return a key twice
	pattern := globEscaper.Replace(s.cfg.Prefix) + ":hold:{*}"
	scan := func(ctx context.Context, node redis.Cmdable) error {
		var cursor uint64
		for {
			var keys []string
			err := s.step(ctx, opListHolds, "", func(ctx context.Context) error {
				var err error
				keys, cursor, err = node.Scan(ctx, cursor, pattern, scanCount).Result()
				return err //nolint:wrapcheck // step wraps it
			})
			if err != nil {
				return err
			}
			mu.Lock()
			for _, key := range keys {
				if len(found) < maxHolds {
					found[key] = true
				}
			}
			full := len(found) >= maxHolds
			mu.Unlock()
			if cursor == 0 || full {
				return nil
			}
		}
	}
	if err := s.eachMaster(ctx, scan); err != nil {
		return nil, wrap(ctx, opListHolds, "", err)
	}
	keys := make([]string, 0, len(found))
	for key := range found {
		keys = append(keys, key)
	}
	return keys, nil
}

// eachMaster runs do on every server that has keys, in a Cluster on several at once.
func (s *Store) eachMaster(ctx context.Context, do func(context.Context, redis.Cmdable) error) error {
	cluster, ok := s.client.(*redis.ClusterClient)
	if !ok {
		return do(ctx, s.client)
	}
	//nolint:wrapcheck // the caller wraps it
	return cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error { return do(ctx, node) })
}

var globEscaper = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`)

func (r *reader) hold(mchID string) Hold {
	return Hold{
		MchID: mchID, Kind: HoldKind(r.text()), Code: r.text(), Message: r.text(),
		Since: time.UnixMilli(r.int64()).UTC(), Probes: r.int(),
		NextProbe: time.Duration(r.int64()) * time.Millisecond, LastProbe: r.text(),
	}
}

func (s *Store) holdKey(mchID string) string { return s.cfg.Prefix + ":hold:{" + mchID + "}" }

func checkMerchant(op, mchID string) error {
	return Key{MchID: mchID, IdempotentID: "-"}.check(op)
}

// cut shortens text to maxWordBytes without splitting a character.
func cut(text string) string {
	n := maxWordBytes
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}

// millis rounds up, so that a short wait does not become none.
func millis(d time.Duration) int64 { return (d + time.Millisecond - 1).Milliseconds() }

func flag(b bool) string {
	if b {
		return "1"
	}
	return "0"
}
