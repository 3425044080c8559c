package processor

import (
	"context"
	"maps"
	"slices"

	"replyworker/internal/wxclient"
)

// roster is who can sign at a time. It is replaced as a whole and never changed: a turn that has begun
// keeps the merchant that it found.
type roster struct {
	merchants    map[string]*wxclient.Merchant
	defaultMchID string
}

// SetMerchants replaces the merchants that can sign, and the one that signs where a job names none.
// Calls that are out end with what they began with. A job that waits and whose merchant is gone ends as
// invalid, as it would if it were read now; schedule.Scheduler.SetGated makes it run.
func (p *Processor) SetMerchants(merchants map[string]*wxclient.Merchant, defaultMchID string) {
	p.roster.Store(&roster{merchants: maps.Clone(merchants), defaultMchID: defaultMchID})
}

// merchant returns the merchant of that id as it is now, nil where there is none.
func (p *Processor) merchant(mchID string) *wxclient.Merchant {
	return p.roster.Load().merchants[mchID]
}

// ids returns the merchants, sorted.
func (r *roster) ids() []string { return slices.Sorted(maps.Keys(r.merchants)) }

// NewKeys says that merchants have got new keys or answer keys. Those of them that are held because of
// their keys are probed at once.
func (p *Processor) NewKeys(ctx context.Context, mchIDs []string) { p.holds.hasten(ctx, mchIDs) }
