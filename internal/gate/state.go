package gate

import (
	"sort"
	"time"

	"replyworker/internal/wxclient"
)

// State is a picture of the gate, for metrics and people.
type State struct {
	SlotsUsed int
	Slots     int
	Hosts     []HostState
	Merchants []MerchantState
}

// HostState is one host's breaker.
type HostState struct {
	Host    wxclient.Host
	Open    bool
	Probing bool
	Since   time.Time // of the present state; zero since the start
	ProbeAt time.Time // the next probe, where it is open
}

// MerchantState is one merchant's pace and hold.
type MerchantState struct {
	MchID string
	// Pace is the limit that holds at present, in calls/s, 0 for none.
	Pace float64
	Hold *Hold
}

// State returns a picture of this moment.
func (g *Gate) State() State {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := State{SlotsUsed: g.used, Slots: g.cfg.Concurrency}
	for h := range g.hosts {
		b := &g.hosts[h]
		s.Hosts = append(s.Hosts, HostState{
			Host: wxclient.Host(h), Open: b.open, Probing: b.probing, Since: b.since, ProbeAt: b.probeAt,
		})
	}
	for id, m := range g.merchants {
		ms := MerchantState{MchID: id}
		if m.pace != nil {
			ms.Pace = m.pace.Limit()
		}
		if m.ramp.limit > 0 && (ms.Pace == 0 || m.ramp.limit < ms.Pace) {
			ms.Pace = m.ramp.limit
		}
		if m.hold != nil {
			h := m.hold.Hold
			ms.Hold = &h
		}
		s.Merchants = append(s.Merchants, ms)
	}
	sort.Slice(s.Merchants, func(i, j int) bool { return s.Merchants[i].MchID < s.Merchants[j].MchID })
	return s
}
