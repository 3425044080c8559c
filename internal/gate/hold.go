package gate

import "time"

// Hold is what the gate knows of a held merchant.
type Hold struct {
	// Kind and Code say why: they are the claim store's words, for operators.
	Kind, Code, Message string
	Since               time.Time
	// ProbeAt is when the next probe may go, LastProbe the lane of the one before.
	ProbeAt   time.Time
	LastProbe string
	// Calm says that the API itself was at fault: when the hold ends, the merchant starts no faster
	// than before it.
	Calm bool
}

type hold struct {
	Hold
	probe *Grant // that is out to see whether the merchant must still be held
}

func (h *hold) ready(now time.Time, lane string) (wait time.Duration, everyone, ok bool) {
	if h.probe != nil {
		return 0, true, false
	}
	if now.Before(h.ProbeAt) {
		return h.ProbeAt.Sub(now), true, false
	}
	if lane == h.LastProbe {
		if at := h.ProbeAt.Add(sameLaneGrace); now.Before(at) {
			return at.Sub(now), false, false
		}
	}
	return 0, false, true
}

// SetHold holds a merchant, or takes note of what has become of its hold. A probe that is out stays
// out.
func (g *Gate) SetHold(mchid string, h Hold) {
	g.mu.Lock()
	defer g.mu.Unlock()
	m := g.merchant(mchid)
	if m.hold == nil {
		m.hold = &hold{}
	}
	m.hold.Hold = h
	g.Wake()
}

// ClearHold lets a merchant go on.
func (g *Gate) ClearHold(mchid string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	m := g.merchant(mchid)
	if m.hold != nil && m.hold.Calm {
		m.held = &m.hold.Hold
	}
	m.hold = nil
	g.Wake()
}

// Held returns the merchant's hold, and whether there is one.
func (g *Gate) Held(mchid string) (Hold, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if h := g.merchant(mchid).hold; h != nil {
		return h.Hold, true
	}
	return Hold{}, false
}
