package processor

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"replyworker/internal/dedupe"
)

// renewer keeps the claims alive whose calls are out, so that a lease may be shorter than a call.
type renewer struct {
	claims Claims
	every  time.Duration
	log    zerolog.Logger

	mu   sync.Mutex
	held map[string]heldClaim // by token
}

type heldClaim struct {
	dedupe.Claimant
	since time.Time
}

func newRenewer(claims Claims, lease time.Duration, log zerolog.Logger) *renewer {
	return &renewer{claims: claims, every: lease / 3, log: log, held: map[string]heldClaim{}}
}

// hold renews a claim until the returned function is called.
func (r *renewer) hold(c dedupe.Claimant) func() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held[c.Token] = heldClaim{Claimant: c, since: time.Now()}
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.held, c.Token)
	}
}

func (r *renewer) run(ctx context.Context) {
	tick := time.NewTicker(r.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			r.renew(ctx)
		}
	}
}

// renew renews the claims that were claimed before the last round. That a claim is lost is found
// again by the step that holds it, which goes by its token; a call that is out is worth its answer.
func (r *renewer) renew(ctx context.Context) {
	var due []dedupe.Claimant
	r.mu.Lock()
	for _, h := range r.held {
		if time.Since(h.since) >= r.every/2 {
			due = append(due, h.Claimant)
		}
	}
	r.mu.Unlock()
	if len(due) == 0 {
		return
	}
	for i, err := range r.claims.Renew(ctx, due) {
		if errors.Is(err, dedupe.ErrLost) && r.holds(due[i].Token) {
			r.log.Warn().Str("idempotent_id", due[i].IdempotentID).Msg("a claim was lost while its call was out")
		}
	}
}

// holds says whether a claim is still to be renewed: its call may have ended meanwhile, and settled it.
func (r *renewer) holds(token string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, held := r.held[token]
	return held
}
