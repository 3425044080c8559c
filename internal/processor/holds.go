package processor

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"replyworker/internal/dedupe"
	"replyworker/internal/gate"
	"replyworker/internal/wxclient"
)

// Holds is what the processor asks of the claim store about held merchants; its methods are
// dedupe.Store's.
type Holds interface {
	Hold(ctx context.Context, mchid string, req dedupe.HoldRequest) (dedupe.Hold, bool, error)
	ProbeHold(ctx context.Context, mchid string, p dedupe.Probe) (dedupe.ProbeAnswer, error)
	ProbeDone(ctx context.Context, mchid, token string) error
	RenewHolds(ctx context.Context, mchids []string, ttl time.Duration) (map[string]dedupe.Hold, error)
	HastenProbe(ctx context.Context, mchid string) (dedupe.Hold, bool, error)
	ReleaseHold(ctx context.Context, mchid string) (bool, error)
}

const (
	holdTTL     = 5 * time.Minute // of a hold whose holders are all gone
	holdRefresh = time.Second
	holdTimeout = 2 * time.Second
	// A probe that was taken and never reported is out for so long: longer than a call may take.
	probeLease = 30 * time.Second

	credentialsFirst = time.Second
	credentialsMax   = 30 * time.Second
	brakeFirst       = 10 * time.Second
	brakeMax         = 2 * time.Minute
)

// keeper keeps the holds of this worker's merchants: what the claim store knows, the gate does too.
type keeper struct {
	store     Holds
	gate      *gate.Gate
	merchants func() []string
	log       zerolog.Logger
	metrics   *metrics
	ended     func(mchid string) // told of every hold that is over, whoever ended it

	mu      sync.Mutex
	unsaved map[string]dedupe.HoldRequest // holds that the store does not know yet
	began   map[string]time.Time          // when this worker held a merchant last
	probes  map[string]string             // tokens of the probes that are out, by merchant
	newKeys map[string]bool               // merchants whose probe is due, which the store does not know yet
}

// newKeeper makes a keeper of the merchants that a function names.
func newKeeper(store Holds, g *gate.Gate, merchants func() []string, log zerolog.Logger, m *metrics) *keeper {
	return &keeper{
		store: store, gate: g, merchants: merchants, log: log, metrics: m, ended: func(string) {},
		unsaved: map[string]dedupe.HoldRequest{}, began: map[string]time.Time{}, probes: map[string]string{},
		newKeys: map[string]bool{},
	}
}

// run keeps the gate up to date until ctx ends.
func (k *keeper) run(ctx context.Context) {
	tick := time.NewTicker(holdRefresh)
	defer tick.Stop()
	for {
		k.refresh(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// refresh saves what is not saved, and tells the gate what the store says: another worker may have
// held a merchant, or an operator let one go.
func (k *keeper) refresh(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, holdTimeout)
	defer cancel()
	k.mu.Lock()
	unsaved, newKeys := maps.Clone(k.unsaved), maps.Clone(k.newKeys)
	k.mu.Unlock()
	for id, req := range unsaved {
		k.save(ctx, id, req)
	}
	for id := range newKeys {
		k.hastenOne(ctx, id)
	}
	asked := time.Now()
	held, err := k.store.RenewHolds(ctx, k.merchants(), holdTTL)
	if err != nil {
		return // as it was; a store that does not answer stops everybody anyway
	}
	for _, id := range k.merchants() { // one may be gone meanwhile
		k.mu.Lock()
		_, isUnsaved := k.unsaved[id]
		since := k.began[id]
		k.mu.Unlock()
		h, isHeld := held[id]
		_, localHeld := k.gate.Held(id)
		switch {
		case isUnsaved || since.After(asked): // the answer is older than the hold
		case isHeld:
			if !localHeld {
				k.log.Warn().Str("mchid", id).Str("kind", string(h.Kind)).Str("code", h.Code).Msg("merchant is held")
			}
			k.gate.SetHold(id, k.localHold(h))
		case localHeld:
			k.letGo(id)
		}
	}
}

// localHold is a hold as the gate knows it. A probe that is due stays due since when it was: the job
// that probed last may go again when no other has taken the probe for a while.
func (k *keeper) localHold(h dedupe.Hold) gate.Hold {
	at := time.Now().Add(h.NextProbe)
	if local, held := k.gate.Held(h.MchID); held && h.NextProbe <= 0 && local.ProbeAt.Before(at) {
		at = local.ProbeAt
	}
	return gate.Hold{
		Kind: string(h.Kind), Code: h.Code, Message: h.Message, Since: h.Since, ProbeAt: at, LastProbe: h.LastProbe,
		Calm: h.Kind == dedupe.HoldBrake,
	}
}

// credentials holds a merchant whose credentials, or whose answer keys, are not good any more.
func (k *keeper) credentials(ctx context.Context, mchid string, e *wxclient.Error) {
	req := dedupe.HoldRequest{
		Kind: dedupe.HoldCredentials, Code: e.Code, Message: e.Message,
		First: credentialsFirst, Max: credentialsMax, TTL: holdTTL,
	}
	if e.Class == wxclient.ClassUnknownKey {
		req.Kind, req.Code = dedupe.HoldAnswerKey, e.KeyID
		req.Message = "answers are signed with key " + e.KeyID + ", which is not configured"
		if e.Err != nil {
			req.Message = e.Err.Error() // which names the keys that are
		}
	}
	k.hold(ctx, mchid, req)
}

// brake holds a merchant of which job after job is refused with one cause.
func (k *keeper) brake(ctx context.Context, mchid, cause string) {
	k.hold(ctx, mchid, dedupe.HoldRequest{
		Kind: dedupe.HoldBrake, Code: cause, Message: "many jobs in a row failed alike: " + cause,
		First: brakeFirst, Max: brakeMax, TTL: holdTTL,
	})
}

// hold holds a merchant: at the gate at once, since more refusals are on their way, then in the store.
func (k *keeper) hold(ctx context.Context, mchid string, req dedupe.HoldRequest) {
	if _, held := k.gate.Held(mchid); held {
		return
	}
	now := time.Now()
	k.gate.SetHold(mchid, gate.Hold{
		Kind: string(req.Kind), Code: req.Code, Message: req.Message, Since: now, ProbeAt: now.Add(req.First),
		Calm: req.Kind == dedupe.HoldBrake,
	})
	k.metrics.holds.WithLabelValues(string(req.Kind)).Inc()
	k.log.Error().Str("mchid", mchid).Str("kind", string(req.Kind)).Str("code", req.Code).Str("cause", req.Message).
		Msg("merchant is held: its jobs wait (worker holds list)")
	k.mu.Lock()
	k.unsaved[mchid], k.began[mchid] = req, now
	k.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, holdTimeout)
	defer cancel()
	k.save(ctx, mchid, req)
}

func (k *keeper) save(ctx context.Context, mchid string, req dedupe.HoldRequest) {
	h, _, err := k.store.Hold(ctx, mchid, req)
	if err != nil {
		return // refresh tries again
	}
	k.mu.Lock()
	delete(k.unsaved, mchid)
	k.mu.Unlock()
	k.gate.SetHold(mchid, k.localHold(h))
}

// hasten lets those of the merchants that are held because of their keys be probed now, and where the
// store does not answer, when it does.
func (k *keeper) hasten(ctx context.Context, mchids []string) {
	k.mu.Lock()
	for _, id := range mchids {
		k.newKeys[id] = true
	}
	k.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, holdTimeout)
	defer cancel()
	for _, id := range mchids {
		k.hastenOne(ctx, id)
	}
}

func (k *keeper) hastenOne(ctx context.Context, mchid string) {
	h, held, err := k.store.HastenProbe(ctx, mchid)
	if err != nil {
		return // refresh tries again
	}
	k.mu.Lock()
	delete(k.newKeys, mchid)
	_, isUnsaved := k.unsaved[mchid]
	k.mu.Unlock()
	if !held || isUnsaved {
		return
	}
	if local, known := k.gate.Held(mchid); known && h.NextProbe <= 0 {
		local.ProbeAt, local.LastProbe = time.Now(), ""
		k.gate.SetHold(mchid, local)
		k.log.Info().Str("mchid", mchid).Msg("the held merchant has new keys: it is probed at once")
	}
}

// mayProbe takes the probe of a held merchant from all workers, for the job of that lane.
func (k *keeper) mayProbe(ctx context.Context, mchid, lane string) bool {
	token := dedupe.NewToken()
	a, err := k.store.ProbeHold(ctx, mchid, dedupe.Probe{Token: token, Complaint: lane, Lease: probeLease, Force: true})
	if err != nil {
		k.delay(mchid)
		return false
	}
	if !a.Held {
		k.mu.Lock()
		_, unsaved := k.unsaved[mchid]
		k.mu.Unlock()
		if !unsaved {
			k.letGo(mchid)
		}
		return true
	}
	k.gate.SetHold(mchid, k.localHold(a.Hold))
	if a.Granted {
		k.mu.Lock()
		k.probes[mchid] = token
		k.mu.Unlock()
	}
	return a.Granted
}

// delay keeps the gate from asking again at once.
func (k *keeper) delay(mchid string) {
	if h, held := k.gate.Held(mchid); held {
		h.ProbeAt = time.Now().Add(time.Second)
		k.gate.SetHold(mchid, h)
	}
}

// probed reports that a probe has come back, however it ended.
func (k *keeper) probed(ctx context.Context, mchid string) {
	k.mu.Lock()
	token := k.probes[mchid]
	delete(k.probes, mchid)
	k.mu.Unlock()
	if token == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), holdTimeout)
	defer cancel()
	if err := k.store.ProbeDone(ctx, mchid, token); err != nil {
		k.log.Debug().Err(err).Str("mchid", mchid).Msg("the end of a probe was not reported; it will lapse")
	}
}

// end lets a merchant go.
func (k *keeper) end(ctx context.Context, mchid string) {
	k.mu.Lock()
	delete(k.unsaved, mchid)
	k.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), holdTimeout)
	defer cancel()
	if _, err := k.store.ReleaseHold(ctx, mchid); err != nil {
		k.log.Debug().Err(err).Str("mchid", mchid).Msg("the end of a hold was not written; another probe will end it")
		return
	}
	k.letGo(mchid)
}

// letGo takes note that a hold is over.
func (k *keeper) letGo(mchid string) {
	k.ended(mchid)
	k.gate.ClearHold(mchid)
	k.log.Info().Str("mchid", mchid).Msg("merchant is let go")
}
