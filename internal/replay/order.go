package replay

import (
	"context"
	"encoding/hex"
	"time"

	"replyworker/internal/deadletter"
)

// clockMargin is how far the clocks of two workers may be apart.
const clockMargin = 5 * time.Minute

// complaintKey names a complaint, by the merchant that signs and the complaint's id.
type complaintKey struct{ mchID, id string }

// jobKey names a job, by the merchant that signs and the idempotent id.
type jobKey struct{ mchID, id string }

// place is where a job record stood, or stands.
type place struct {
	topic     string
	partition int
}

// stand is where a job stood among those of its complaint, before it was replayed.
type stand struct {
	at     place
	offset int64     // -1 where it is not known
	born   time.Time // when it was enqueued, or the earliest time that is known of it
}

// order finds out which letters have been overtaken.
type order struct {
	// originals is where the jobs of the complaints in question stood that failed: a replay puts a job
	// behind those that are later than it.
	originals map[jobKey]stand
	successes *successes
}

// judgeOrder marks what is superseded among the items that would be sent, and what succeeded although
// its claim does not say so.
func (cfg *PlanConfig) judgeOrder(ctx context.Context, p *Plan) error {
	o := &order{originals: map[jobKey]stand{}}
	o.successes = newSuccesses(o)
	since := o.concern(p)
	if len(o.successes.complaints) == 0 {
		return nil
	}
	for _, l := range cfg.Index.Letters {
		o.noteOriginal(cfg, l)
	}
	var err error
	if p.OutcomesFrom, err = o.successes.read(ctx, &cfg.Outcomes, since); err != nil {
		return err
	}
	for i := range p.Items {
		if item := &p.Items[i]; p.orderMatters(item) {
			o.judge(cfg, item)
		}
	}
	return nil
}

// orderMatters says that it matters whether a later reply succeeded. What succeeded itself is only
// answered again.
func (p *Plan) orderMatters(i *Item) bool {
	return i.Verdict != AlreadySucceeded && (p.include[i.Verdict] || i.Verdict == ForgottenMaybeSent)
}

// concern notes whose outcomes matter, and returns the time before which none do: of what is
// forgotten, all.
func (o *order) concern(p *Plan) time.Time {
	var since time.Time
	all := false
	for i := range p.Items {
		item := &p.Items[i]
		if !p.orderMatters(item) {
			continue
		}
		o.successes.concern(item)
		all = all || !item.Claimed
		if t := bornAt(item.Letter); since.IsZero() || t.Before(since) {
			since = t
		}
	}
	if all || since.IsZero() {
		return time.Time{}
	}
	return since.Add(-clockMargin)
}

// bornAt is the earliest time that is known of a letter's job.
func bornAt(l *deadletter.Letter) time.Time {
	if t := l.Source.Timestamp; !t.IsZero() && t.Before(l.FirstFailed) {
		return t
	}
	return l.FirstFailed
}

func (i *Item) complaint() complaintKey { return complaintKey{i.MchID, i.Letter.ComplaintID} }
func (i *Item) job() jobKey             { return jobKey{i.MchID, i.Letter.IdempotentID} }

// noteOriginal notes where the job of a letter stood, unless the letter is of a replay.
func (o *order) noteOriginal(cfg *PlanConfig, l *deadletter.Letter) {
	mchID, known := cfg.Merchant(l.MchID)
	if !known || l.ReplayCount > 0 || o.successes.complaints[complaintKey{mchID, l.ComplaintID}] == nil {
		return
	}
	id, s := jobKey{mchID, l.IdempotentID}, standOf(l)
	if before, found := o.originals[id]; !found || s.born.Before(before.born) {
		o.originals[id] = s
	}
}

func standOf(l *deadletter.Letter) stand {
	return stand{place{l.Source.Topic, l.Source.Partition}, l.Source.Offset, bornAt(l)}
}

// stood is where an item's job stood. A replay of which no earlier letter is kept has stood before the
// place where it failed again.
func (o *order) stood(i *Item) stand {
	s := standOf(i.Letter)
	if i.Letter.ReplayCount == 0 {
		return s
	}
	if original, found := o.originals[i.job()]; found {
		return original
	}
	return s
}

// judge gives an item the verdict that the outcomes make of it.
func (o *order) judge(cfg *PlanConfig, i *Item) {
	if content, found := o.successes.own[i.job()]; found {
		i.Unclear = true
		switch {
		case content != "" && content != hex.EncodeToString(i.Letter.Content[:]):
			i.Verdict = Conflict
			return
		case !i.Claimed:
			i.Verdict = ForgottenMaybeSent
		default: // Redis has lost a part of what it knew
			i.Verdict = MaybeSent
		}
	}
	// To include what is superseded is not to include what only the API's memory keeps from a second
	// effect: that has to be said as well.
	if o.overtaken(i) && (i.Verdict != ForgottenMaybeSent || !cfg.IncludeSuperseded) {
		i.Verdict = Superseded
	}
}

// overtaken says that a later reply to the complaint of an item succeeded: one behind it in its
// partition, or elsewhere one that was enqueued after it was. In its own partition the time decides
// only where the topic has been made anew, so that offsets began again: a reply that stood before it
// was dealt with before it failed, whatever the clock of its producer says.
func (o *order) overtaken(i *Item) bool {
	own, s := i.job(), o.stood(i)
	for at, there := range o.successes.complaints[i.complaint()].places {
		since := s.born
		if at == s.at && s.offset >= 0 {
			if there.last.other(own) > s.offset {
				return true
			}
			since = i.Letter.FirstFailed
		}
		if there.latest.other(own) > since.UnixMilli() {
			return true
		}
	}
	return false
}
