package inquiry

import (
	"context"
	"errors"
	"fmt"

	"replyworker/internal/wxclient"
)

const (
	// maxEntries bounds what is read of one complaint, and the memory for it.
	maxEntries = 20_000
	// maxPages bounds the calls for one complaint: of pages that had to be small, there may be many.
	maxPages = 400
)

// ErrLongHistory says that a complaint's history is longer than what is read of one.
var ErrLongHistory = fmt.Errorf("the history goes on after %d entries or %d pages, and is not read further",
	maxEntries, maxPages)

// entryID tells an entry from others. Entries move to later pages when new ones come before them.
type entryID struct{ logID, time, kind string }

// History asks for all entries of a complaint's negotiation history as the merchant, page by page, and
// calls each with those of a page, in the API's order, none twice. A page that is too large is asked for
// again with half the limit. After an error, or one of each's, which it returns, what each was given
// before is right, but not all.
func (a *Asker) History(
	ctx context.Context, mchID, complaintID string, each func([]wxclient.HistoryEntry) error,
) error {
	m := a.cfg.Merchants[mchID]
	if m == nil {
		return &UnknownMerchantError{mchID}
	}
	seen := map[entryID]bool{}
	limit, offset := wxclient.MaxHistoryLimit, 0
	for range maxPages {
		page, err := try(ctx, a, func(host wxclient.Host) (wxclient.HistoryPage, error) {
			return a.cfg.API.History(ctx, host, m, complaintID, limit, offset)
		})
		if errors.Is(err, wxclient.ErrTooMuch) && limit > 1 {
			limit /= 2
			continue
		}
		if err != nil {
			return err
		}
		offset += len(page.Entries)
		if err := each(unseen(seen, page.Entries)); err != nil {
			return err
		}
		switch {
		case offset >= page.Total:
			return nil
		case len(page.Entries) == 0:
			return fmt.Errorf("the API says that the history has %d entries, and sends none after %d", page.Total, offset)
		case offset >= maxEntries:
			return ErrLongHistory
		}
	}
	return ErrLongHistory
}

// unseen leaves out the entries that were on a page before, and notes the others.
func unseen(seen map[entryID]bool, entries []wxclient.HistoryEntry) []wxclient.HistoryEntry {
	var out []wxclient.HistoryEntry
	for _, e := range entries {
		id := entryID{e.LogID, e.OperateTime, e.OperateType}
		if !seen[id] {
			seen[id] = true
			out = append(out, e)
		}
	}
	return out
}
