package replay

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"replyworker/internal/deadletter"
	"replyworker/internal/dedupe"
)

// DefaultMaxReplays is how often a job is replayed.
const DefaultMaxReplays = 3

// claimBatch is how many claims are looked up at once.
const claimBatch = 1000

// Claims is where the jobs' claims are looked up: a *dedupe.Store.
type Claims interface {
	LookupAll(ctx context.Context, keys []dedupe.Key) []dedupe.LookupResult
}

// PlanConfig says how a plan is made. All but the flags is needed.
type PlanConfig struct {
	Claims   Claims
	Outcomes Outcomes
	// Index has the letters, also those that are not replayed.
	Index *deadletter.Index
	// JobsTopics are those that jobs may be sent to; the first is for letters that do not tell theirs.
	JobsTopics []string
	// Merchant returns the merchant that signs a job that names this one, or none, and false where it is
	// not configured.
	Merchant func(mchID string) (string, bool)
	Now      time.Time
	// MaxReplays is how often a job may have been replayed at most, this time included.
	MaxReplays                          int
	IncludeSuperseded, IncludeForgotten bool
}

// Item is one letter of a plan.
type Item struct {
	Letter  *deadletter.Letter
	MchID   string // the merchant that signs
	Topic   string // where the job goes
	Verdict Verdict
	// Unclear says that the job may have been sent before, whatever the Verdict.
	Unclear bool
	// Mended is sent in the place of the letter's own job, where it is not nil.
	Mended *Mended
	// Claim is what Redis knows of the job, and Claimed whether it knows anything.
	Claim   dedupe.Record
	Claimed bool
}

// Mended is a job that an operator has changed.
type Mended struct {
	Value []byte
	// Key is the complaint id where the operator changed it; nil is the letter's own key.
	Key []byte
}

// Plan is what a replay of some letters would do.
type Plan struct {
	// Items are in the order in which they are sent: of each partition, that of its offsets.
	Items []Item
	// OutcomesFrom is how far back it was looked for later replies; zero where none had to be.
	OutcomesFrom time.Time

	include map[Verdict]bool
}

// Sent says whether letters of that verdict are sent.
func (p *Plan) Sent(v Verdict) bool { return p.include[v] }

// Counts returns how many letters have each verdict.
func (p *Plan) Counts() map[Verdict]int {
	counts := map[Verdict]int{}
	for i := range p.Items {
		counts[p.Items[i].Verdict]++
	}
	return counts
}

// ToSend returns the items that are sent, in their order.
func (p *Plan) ToSend() []Item {
	return slices.DeleteFunc(slices.Clone(p.Items), func(i Item) bool { return !p.include[i.Verdict] })
}

// Merchants returns the merchants of the items that are sent, sorted.
func (p *Plan) Merchants() []string {
	seen := map[string]bool{}
	var merchants []string
	for i := range p.Items {
		if id := p.Items[i].MchID; p.include[p.Items[i].Verdict] && !seen[id] {
			seen[id] = true
			merchants = append(merchants, id)
		}
	}
	slices.Sort(merchants)
	return merchants
}

// Make plans the replay of some letters. It changes nothing.
func Make(ctx context.Context, cfg PlanConfig, letters []*deadletter.Letter) (*Plan, error) {
	p := &Plan{include: map[Verdict]bool{
		WillBeSent: true, AlreadySucceeded: true, MaybeSent: true, Forgotten: true,
		Superseded: cfg.IncludeSuperseded, ForgottenMaybeSent: cfg.IncludeForgotten,
	}}
	for _, l := range letters {
		p.Items = append(p.Items, cfg.judgeLetter(l))
	}
	slices.SortStableFunc(p.Items, func(a, b Item) int { return compareSources(a.Letter, b.Letter) })
	if err := cfg.judgeClaims(ctx, p.Items); err != nil {
		return nil, err
	}
	return p, cfg.judgeOrder(ctx, p)
}

// compareSources orders letters so that those of one partition come as their jobs did. Partitions
// are mixed, so that they are written side by side.
func compareSources(a, b *deadletter.Letter) int {
	return cmp.Or(
		cmp.Compare(a.Source.Topic, b.Source.Topic),
		cmp.Compare(a.Source.Offset, b.Source.Offset),
		cmp.Compare(a.Source.Partition, b.Source.Partition),
		a.FailedAt.Compare(b.FailedAt),
	)
}

// judgeLetter decides what the letter alone tells. Its Verdict is empty where that is not enough.
func (cfg *PlanConfig) judgeLetter(l *deadletter.Letter) Item {
	item := Item{Letter: l, Topic: l.Source.Topic}
	if item.Topic == "" {
		item.Topic = cfg.JobsTopics[0]
	}
	var known bool
	item.MchID, known = cfg.Merchant(l.MchID)
	switch {
	case cfg.Index.Resolution(l).Status == deadletter.StatusReplayed:
		item.Verdict = Replayed
	case !slices.Contains(cfg.JobsTopics, item.Topic):
		item.Verdict = Elsewhere
	case l.Invalid || !known:
		item.Verdict = Unreadable
	case l.ReplayCount >= cfg.MaxReplays:
		item.Verdict = TooOften
	case !l.ExpiresAt.IsZero() && !cfg.Now.Before(l.ExpiresAt):
		item.Verdict = Expired
	}
	return item
}

// judgeClaims asks Redis about those that are not decided.
func (cfg *PlanConfig) judgeClaims(ctx context.Context, items []Item) error {
	var open []*Item
	for i := range items {
		if items[i].Verdict == "" {
			open = append(open, &items[i])
		}
	}
	for batch := range slices.Chunk(open, claimBatch) {
		keys := make([]dedupe.Key, len(batch))
		for i, item := range batch {
			keys[i] = dedupe.Key{MchID: item.MchID, IdempotentID: item.Letter.IdempotentID}
		}
		for i, result := range cfg.Claims.LookupAll(ctx, keys) {
			if result.Err != nil {
				return fmt.Errorf("claim of letter %s: %w", batch[i].Letter.ID, result.Err)
			}
			batch[i].Claim, batch[i].Claimed = result.Record, result.Found
			batch[i].judgeClaim()
		}
	}
	return nil
}

// judgeClaim says what the worker would answer, as its claim script does.
func (i *Item) judgeClaim() {
	l, c := i.Letter, &i.Claim
	i.Unclear = l.MaybeSent || c.MaybeSent
	same := c.Content == hex.EncodeToString(l.Content[:])
	settled := c.State == dedupe.StateDead || c.State == dedupe.StateExpired
	switch {
	case !i.Claimed && l.MaybeSent:
		i.Verdict = ForgottenMaybeSent
	case !i.Claimed:
		i.Verdict = Forgotten
	case c.State == dedupe.StateDone && same:
		i.Verdict = AlreadySucceeded
	case settled && (same || !c.MaybeSent):
		i.Verdict = WillBeSent
		if l.MaybeSent || c.MaybeSent && same {
			i.Verdict = MaybeSent
		}
	case !same:
		i.Verdict = Conflict
	default:
		i.Verdict = UnderWay
	}
}
