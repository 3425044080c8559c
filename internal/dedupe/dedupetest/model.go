package dedupetest

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"replyworker/internal/dedupe"
)

// verdictOf is what a record is told for good.
type verdictOf struct {
	conflict         bool
	state            dedupe.State
	attempts         int
	maybe, published bool
	reason           string
}

// model is a claim as plain Go: what the scripts should do, written a second time.
type model struct {
	now                   time.Duration
	state                 dedupe.State
	token, last           string
	until                 time.Duration // of the lease, or not before
	content, source       string
	attempts              int
	maybe, over, pub      bool
	logID, reason, detail string
	past                  map[string]verdictOf
}

func (m *model) settled() bool { return m.state == dedupe.StateDead || m.state == dedupe.StateExpired }

// reset forgets everything but the verdicts given before.
func (m *model) reset() { *m = model{now: m.now, past: m.past} }

func (m *model) keepVerdict() {
	m.past[m.source] = verdictOf{state: m.state, attempts: m.attempts, maybe: m.maybe, published: m.pub, reason: m.reason}
}

func (m *model) answer(v dedupe.Verdict) dedupe.Claim {
	return dedupe.Claim{
		Verdict: v, Attempts: m.attempts, MaybeSent: m.maybe, TakenOver: m.over, State: m.state, LogID: m.logID,
		Reason: m.reason, Details: m.detail, Published: m.pub, Source: m.source,
	}
}

func (m *model) claim(c dedupe.Claimant, spend int) dedupe.Claim {
	if v, told := m.past[c.Source]; told {
		if v.conflict {
			return m.answer(dedupe.VerdictConflict)
		}
		return dedupe.Claim{
			Verdict: dedupe.VerdictSettled, State: v.state, Attempts: v.attempts, MaybeSent: v.maybe, Reason: v.reason,
			Published: v.published, Source: c.Source,
		}
	}
	own := m.source == c.Source
	same := own || m.content == c.Content
	free := m.state == dedupe.StateNone || m.settled() && !own && (same || !m.maybe)
	switch {
	case free:
		maybe := m.settled() && same && m.maybe
		if m.settled() {
			m.keepVerdict()
		}
		return m.win(c, spend, maybe, false)
	case m.state == dedupe.StateDone && own:
		return m.answer(dedupe.VerdictDone)
	case m.state == dedupe.StateDone && same:
		return m.answer(dedupe.VerdictDuplicate)
	case m.settled() && own:
		return m.answer(dedupe.VerdictSettled)
	case !same || m.settled():
		m.past[c.Source] = verdictOf{conflict: true}
		return m.answer(dedupe.VerdictConflict)
	case m.state == dedupe.StateClaimed && m.token == c.Token:
		m.until = m.now + lease
		return m.answer(dedupe.VerdictWon)
	case m.until > m.now && (m.state == dedupe.StateClaimed || spend > 0):
		busy := m.answer(dedupe.VerdictBusy)
		busy.Wait = m.until - m.now
		return busy
	case m.state == dedupe.StateClaimed:
		return m.win(c, m.attempts+spend, true, true)
	default:
		return m.win(c, m.attempts+spend, m.maybe, false)
	}
}

func (m *model) win(c dedupe.Claimant, attempts int, maybe, over bool) dedupe.Claim {
	m.reset()
	m.state, m.token, m.until, m.content, m.source = dedupe.StateClaimed, c.Token, m.now+lease, c.Content, c.Source
	m.attempts, m.maybe, m.over = attempts, maybe, over
	return m.answer(dedupe.VerdictWon)
}

func (m *model) holds(c dedupe.Claimant) bool {
	return m.state == dedupe.StateClaimed && m.token == c.Token
}

func (m *model) begin(c dedupe.Claimant, known int) (int, error) {
	if !m.holds(c) || m.attempts != known && m.attempts != known+1 {
		return 0, dedupe.ErrLost
	}
	m.attempts, m.until, m.over = known+1, m.now+lease, false
	return m.attempts, nil
}

func (m *model) renew(c dedupe.Claimant) error {
	if !m.holds(c) {
		return dedupe.ErrLost
	}
	m.until = m.now + lease
	return nil
}

func (m *model) change(t dedupe.Tri) {
	if t != dedupe.Keep {
		m.maybe = t == dedupe.Set
	}
}

func (m *model) park(c dedupe.Claimant, p dedupe.Parked) error {
	if m.state == dedupe.StateWaiting && m.last == c.Token {
		return nil
	}
	if !m.holds(c) {
		return dedupe.ErrLost
	}
	m.state, m.token, m.last, m.until, m.over = dedupe.StateWaiting, "", c.Token, m.now+p.Delay, false
	m.attempts = max(0, m.attempts-p.GiveBack)
	m.change(p.MaybeSent)
	return nil
}

func (m *model) fail(c dedupe.Claimant, f dedupe.Failure) error {
	if m.state == f.State && m.last == c.Token {
		return nil
	}
	if !m.holds(c) && (m.state != dedupe.StateWaiting || m.last != c.Token) {
		return dedupe.ErrLost
	}
	m.state, m.token, m.last, m.until, m.over, m.reason, m.pub = f.State, "", c.Token, 0, false, f.Reason, false
	m.change(f.MaybeSent)
	return nil
}

func (m *model) complete(c dedupe.Claimant, d dedupe.Done) dedupe.Completion {
	own := m.source == c.Source
	same := own || m.content == c.Content
	if v, told := m.past[c.Source]; told {
		if v.conflict {
			return dedupe.CompletedConflict
		}
		v.maybe = true
		m.past[c.Source] = v
		m.maybe = m.maybe || same && m.state != dedupe.StateDone
		return dedupe.CompletedSettled
	}
	switch {
	case m.state != dedupe.StateNone && !same:
		return dedupe.CompletedForeign
	case m.state == dedupe.StateDone && !own:
		return dedupe.CompletedByOther
	case m.state == dedupe.StateDone && m.logID != d.LogID:
		return dedupe.CompletedBefore
	case m.state == dedupe.StateDone:
		return dedupe.Completed
	case m.settled() && own:
		m.maybe = true
		if m.logID == "" {
			m.logID = d.LogID
		}
		return dedupe.CompletedSettled
	}
	attempts, maybe := d.Attempts, false
	if m.settled() {
		m.keepVerdict()
	} else {
		attempts, maybe = max(attempts, m.attempts), m.maybe
	}
	m.reset()
	m.state, m.content, m.source = dedupe.StateDone, c.Content, c.Source
	m.logID, m.attempts, m.maybe = d.LogID, attempts, maybe
	m.change(d.MaybeSent)
	return dedupe.Completed
}

func (m *model) publish(source string) {
	if v, told := m.past[source]; told {
		v.published = !v.conflict
		m.past[source] = v
	} else if m.source == source && (m.state == dedupe.StateDone || m.settled()) {
		m.pub = true
	}
}

// history watches what outsiders see, without knowing how claims work.
type history struct {
	holder   string
	until    time.Duration
	logID    string
	verdicts map[string]string // by source
}

// hold notes that token holds the claim from now on.
func (h *history) hold(t require.TestingT, token string, now time.Duration) {
	if token != h.holder {
		require.LessOrEqual(t, h.until, now, "two holders with live leases")
	}
	h.holder, h.until = token, now+lease
}

func (h *history) release(token string) {
	if h.holder == token {
		h.holder, h.until = "", 0
	}
}

func (h *history) told(t require.TestingT, source, verdict string) {
	if before, ok := h.verdicts[source]; ok {
		require.Equal(t, before, verdict, "a record's verdict changed: %s", source)
	}
	h.verdicts[source] = verdict
}

// machine drives a Store and a model side by side.
type machine struct {
	env
	*rapid.T

	outer   *testing.T
	ctx     context.Context //nolint:containedctx // of the test
	m       model
	h       history
	key     dedupe.Key
	tokens  []dedupe.Claimant // every claimant so far; old ones come back late
	records []dedupe.Claimant
}

// testModel makes random steps by several deliveries of several records, old tokens among them, with
// time passing, each step now and then twice, and compares every answer with the model's.
func testModel(t *testing.T, e env) {
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		mc := &machine{env: e, T: rt, outer: t, ctx: t.Context(), key: job}
		mc.key.IdempotentID = "model-" + strconv.Itoa(run)
		mc.m.past, mc.h.verdicts = map[string]verdictOf{}, map[string]string{}
		for i, content := range []string{contentX, contentX, contentX, contentY, contentY} {
			c := record(fmt.Sprintf("jobs/0/%d/1", i), content)
			c.Key = mc.key
			mc.records = append(mc.records, c)
		}
		rt.Repeat(map[string]func(*rapid.T){
			"":      func(*rapid.T) { mc.check() },
			"claim": func(*rapid.T) { mc.claim() }, "reclaim": func(*rapid.T) { mc.reclaim() },
			"begin": func(*rapid.T) { mc.begin() }, "renew": func(*rapid.T) { mc.renew() }, "park": func(*rapid.T) { mc.park() },
			"complete": func(*rapid.T) { mc.complete() }, "fail": func(*rapid.T) { mc.fail() },
			"publish": func(*rapid.T) { mc.publish() }, "advance": func(*rapid.T) { mc.advance() },
		})
		// The key is done with: Advance on a real server moves each one.
		mc.srv.Do(t, "DEL", mc.srv.Prefix()+":job:{"+mc.key.String()+"}")
	})
}

func (mc *machine) times() int { return 1 + rapid.IntRange(0, 3).Draw(mc.T, "repeated")/3 }

// someone is a claimant that there has been, mostly one of the latest.
func (mc *machine) someone() dedupe.Claimant {
	if len(mc.tokens) == 0 {
		mc.Skip("nobody yet")
	}
	late := rapid.IntRange(0, min(6, len(mc.tokens)-1)).Draw(mc.T, "late")
	return mc.tokens[len(mc.tokens)-1-late]
}

func (mc *machine) tri() dedupe.Tri {
	return rapid.SampledFrom([]dedupe.Tri{dedupe.Keep, dedupe.Keep, dedupe.Set, dedupe.Clear}).Draw(mc.T, "maybe sent")
}

func (mc *machine) claim() {
	c := again(rapid.SampledFrom(mc.records).Draw(mc.T, "record"))
	mc.tokens = append(mc.tokens, c)
	mc.claimAs(c)
}

func (mc *machine) reclaim() { mc.claimAs(mc.someone()) }

func (mc *machine) claimAs(c dedupe.Claimant) {
	spend := rapid.IntRange(0, 1).Draw(mc.T, "spend")
	for range mc.times() {
		got, err := mc.Store.Claim(mc.ctx, c, spend)
		require.NoError(mc.T, err)
		want := mc.m.claim(c, spend)
		near(mc.outer, want.Wait, got.Wait)
		got.Wait = want.Wait
		got.Details = want.Details // check looks at them
		require.Equal(mc.T, want, got)
		switch got.Verdict {
		case dedupe.VerdictWon:
			mc.h.hold(mc.T, c.Token, mc.m.now)
		case dedupe.VerdictBusy:
		case dedupe.VerdictSettled:
			mc.h.told(mc.T, c.Source, string(got.State)+" "+got.Reason)
		case dedupe.VerdictDone, dedupe.VerdictDuplicate, dedupe.VerdictConflict:
			mc.h.told(mc.T, c.Source, string(got.Verdict))
		}
	}
}

func (mc *machine) begin() {
	c := mc.someone()
	known := max(0, mc.m.attempts-rapid.IntRange(0, 3).Draw(mc.T, "behind")/2)
	for range mc.times() {
		got, err := mc.Store.Begin(mc.ctx, c, known)
		want, wantErr := mc.m.begin(c, known)
		require.Equal(mc.T, wantErr, err)
		require.Equal(mc.T, want, got)
		if err == nil {
			mc.h.hold(mc.T, c.Token, mc.m.now)
		}
	}
}

func (mc *machine) renew() {
	c := mc.someone()
	err := mc.Store.Renew(mc.ctx, []dedupe.Claimant{c})[0]
	require.Equal(mc.T, mc.m.renew(c), err)
	if err == nil {
		mc.h.hold(mc.T, c.Token, mc.m.now)
	}
}

func (mc *machine) park() {
	c := mc.someone()
	p := dedupe.Parked{
		Delay:    rapid.SampledFrom([]time.Duration{0, 7 * time.Minute, 2 * time.Hour}).Draw(mc.T, "delay"),
		GiveBack: rapid.IntRange(0, 1).Draw(mc.T, "give back"), MaybeSent: mc.tri(),
	}
	for range mc.times() {
		err := mc.Store.Park(mc.ctx, c, p)
		require.Equal(mc.T, mc.m.park(c, p), err)
		if err == nil {
			mc.h.release(c.Token)
		}
	}
}

func (mc *machine) fail() {
	c := mc.someone()
	f := dedupe.Failure{
		State:  rapid.SampledFrom([]dedupe.State{dedupe.StateDead, dedupe.StateExpired}).Draw(mc.T, "state"),
		Reason: rapid.SampledFrom([]string{"rejected", "exhausted"}).Draw(mc.T, "reason"), MaybeSent: mc.tri(),
	}
	for range mc.times() {
		err := mc.Store.Fail(mc.ctx, c, f)
		require.Equal(mc.T, mc.m.fail(c, f), err)
		if err == nil {
			mc.h.release(c.Token)
			mc.h.told(mc.T, c.Source, string(f.State)+" "+mc.m.reason)
		}
	}
}

func (mc *machine) complete() {
	c := mc.someone()
	d := dedupe.Done{
		LogID:   rapid.SampledFrom([]string{"log-1", "log-2"}).Draw(mc.T, "log_id"),
		Details: "some", Attempts: rapid.IntRange(0, 3).Draw(mc.T, "attempts"), MaybeSent: mc.tri(),
	}
	for range mc.times() {
		got, err := mc.Store.Complete(mc.ctx, c, d)
		require.NoError(mc.T, err)
		require.Equal(mc.T, mc.m.complete(c, d), got.Completion)
		if got.Completion == dedupe.Completed {
			mc.h.told(mc.T, c.Source, string(dedupe.VerdictDone))
			mc.h.holder, mc.h.until = "", 0 // whoever held it has lost it
		}
	}
}

func (mc *machine) publish() {
	c := mc.someone()
	require.NoError(mc.T, mc.Store.MarkPublished(mc.ctx, mc.key, c.Source))
	mc.m.publish(c.Source)
}

func (mc *machine) advance() {
	d := rapid.SampledFrom([]time.Duration{5 * time.Minute, lease, 2*time.Hour + time.Minute}).Draw(mc.T, "by")
	mc.m.now += d
	mc.srv.Advance(mc.outer, d)
}

// check compares what Lookup tells after each step.
func (mc *machine) check() {
	rec, found, err := mc.Store.Lookup(mc.ctx, mc.key)
	require.NoError(mc.T, err)
	require.Equal(mc.T, mc.m.state != dedupe.StateNone, found)
	if !found {
		return
	}
	want := dedupe.Record{
		State: mc.m.state, Attempts: mc.m.attempts, MaybeSent: mc.m.maybe, LogID: mc.m.logID, Reason: mc.m.reason,
		Published: mc.m.pub, Source: mc.m.source, Content: mc.m.content,
	}
	if want.State == dedupe.StateDone {
		want.Details = "some"
		if mc.h.logID == "" {
			mc.h.logID = rec.LogID
		}
		require.Equal(mc.T, mc.h.logID, rec.LogID, "the log_id of a success changed")
	} else {
		require.Empty(mc.T, mc.h.logID, "a success was overwritten")
	}
	near(mc.outer, max(0, mc.m.until-mc.m.now), rec.Wait)
	rec.Wait, rec.UpdatedAt = 0, time.Time{}
	require.Equal(mc.T, want, rec)
}
