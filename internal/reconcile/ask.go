package reconcile

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"replyworker/internal/inquiry"
	"replyworker/internal/wxclient"
)

// ask asks for the histories.
func (r *run) ask(ctx context.Context) error {
	order := r.order()
	r.report.Complaints = len(order)
	r.cfg.Asking(len(order))
	away := 0
	unusable := map[string]bool{} // merchants as whom nothing can be asked
	var fault error               // the first for which a complaint could not be asked about, though the API refused nothing
	for _, k := range order {
		if unusable[k.mchID] {
			continue // it was told once; the others are left
		}
		replies, err := r.history(ctx, k)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		away++
		if !passing(err) {
			away = 0
		}
		unusable[k.mchID] = ofMerchant(err)
		if away > 0 || unusable[k.mchID] {
			fault = cmp.Or(fault, err)
		}
		if err == nil {
			err = r.compare(k, replies)
		} else {
			err = r.notAsked(k, err)
		}
		if err != nil || away >= maxAway {
			return cmp.Or(err, fault)
		}
		r.cfg.Asked()
	}
	return fault
}

// order is the complaints that are asked about.
func (r *run) order() []key {
	var order []key
	for k, c := range r.complaints {
		if c.ask {
			order = append(order, k)
		}
	}
	slices.SortFunc(order, func(a, b key) int {
		return cmp.Or(cmp.Compare(a.complaintID, b.complaintID), cmp.Compare(a.mchID, b.mchID))
	})
	return order
}

// passing says that the fault is the hosts', and may be gone later.
func passing(err error) bool {
	e, ok := errors.AsType[*wxclient.Error](err)
	if !ok {
		return false
	}
	switch e.Class {
	case wxclient.ClassHostFailed, wxclient.ClassTransient, wxclient.ClassSlowDown, wxclient.ClassUnknown:
		return !errors.Is(err, wxclient.ErrTooMuch)
	case wxclient.ClassUnknownKey, wxclient.ClassCredentials, wxclient.ClassRefused, wxclient.ClassCanceled:
	}
	return false
}

// ofMerchant says that nothing can be asked as this merchant.
func ofMerchant(err error) bool {
	if _, ok := errors.AsType[*inquiry.UnknownMerchantError](err); ok {
		return true
	}
	e, ok := errors.AsType[*wxclient.Error](err)
	return ok && (e.Class == wxclient.ClassCredentials || e.Class == wxclient.ClassUnknownKey)
}

// history returns the merchant's replies in a complaint's history: their log_ids and times. What else
// stands there, personal data among it, is not kept.
func (r *run) history(ctx context.Context, k key) (map[string]string, error) {
	replies := map[string]string{}
	err := r.cfg.Histories.History(ctx, k.mchID, k.complaintID, func(entries []wxclient.HistoryEntry) error {
		for _, e := range entries {
			if e.OperateType == wxclient.OperateMerchantResponse {
				replies[e.LogID] = e.OperateTime
			}
		}
		return nil
	})
	return replies, err
}

// compare holds a complaint's outcomes and its history against each other.
func (r *run) compare(k key, replies map[string]string) error {
	r.report.Asked++
	r.report.Replies += len(replies)
	c := r.complaints[k]
	for _, o := range c.ours.sorted() {
		_, found := replies[o.LogID]
		switch {
		case !o.check:
		case found:
			r.report.Found++
		default:
			r.report.Missing++
			if err := r.cfg.Find(Finding{
				Kind: Missing, MchID: k.mchID, ComplaintID: k.complaintID, LogID: o.LogID,
				Ours: o,
			}); err != nil {
				return err
			}
		}
	}
	for _, logID := range slices.Sorted(maps.Keys(replies)) {
		if c.ours.find(logID) != nil {
			continue
		}
		if !r.telling(replies[logID]) {
			r.report.Untold++
			continue
		}
		r.report.Unknown++
		if err := r.cfg.Find(Finding{
			Kind: Unknown, MchID: k.mchID, ComplaintID: k.complaintID, LogID: logID,
			OperateTime: replies[logID], MaybeOf: c.maybe,
		}); err != nil {
			return err
		}
	}
	return nil
}

// telling says that a reply of that time would have an outcome among those that were read. A time that
// cannot be read is no excuse.
func (r *run) telling(operateTime string) bool {
	at, err := time.Parse(time.RFC3339, operateTime)
	if err != nil {
		return true
	}
	return !at.Before(r.horizon) && !at.After(r.began.Add(-r.cfg.Settle)) &&
		(r.cfg.Until.IsZero() || at.Before(r.cfg.Until))
}

func (r *run) notAsked(k key, err error) error {
	r.report.NotAsked++
	return r.cfg.Find(Finding{Kind: NotAsked, MchID: k.mchID, ComplaintID: k.complaintID, Err: err})
}
