package gate_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"replyworker/internal/gate"
	"replyworker/internal/wxclient"
)

// machine does to a gate what jobs, operators and the network may do in any order, and keeps books of
// its own.
type machine struct {
	g           *gate.Gate
	now         time.Time
	concurrency int
	backup      bool
	out         []*outside
	held        map[string]int // which hold, by merchant
	holds       int            // so far
}

// outside is a grant that is out.
type outside struct {
	grant      *gate.Grant
	hostProbe  bool // its host was open when it was let through
	hold       int  // the hold that it probes, 0 for none
	storeProbe bool
	switched   bool // its failure was told by a Switch that said no
	left       bool // by its job, which has a grant of its own
	reserved   bool // it was left, and not switched yet
}

func newMachine(t *rapid.T) *machine {
	m := &machine{now: start, held: map[string]int{}}
	m.concurrency = rapid.IntRange(1, 6).Draw(t, "concurrency")
	m.backup = rapid.Bool().Draw(t, "backup")
	m.g = newGate(gate.Config{
		Concurrency: m.concurrency, HasBackup: m.backup, BreakerFailures: rapid.IntRange(1, 4).Draw(t, "failures"),
		Jitter: func() float64 { return 0.5 },
	})
	return m
}

func (m *machine) open(h wxclient.Host) bool { return m.g.State().Hosts[h].Open }

func drawMerchant(t *rapid.T) string {
	return rapid.SampledFrom([]string{"1", "2"}).Draw(t, "merchant")
}

func (m *machine) try(t *rapid.T) {
	ask := gate.Ask{MchID: drawMerchant(t), Lane: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "lane")}
	grant, denial := m.g.Try(m.now, ask)
	if (grant == nil) == (denial == nil) {
		t.Fatalf("Try(%v) = %v, %v; want exactly one of them", ask, grant, denial)
	}
	if grant == nil {
		if denial.Wait < 0 || (denial.Wait == 0 && len(m.out) == 0) {
			t.Fatalf("Try(%v) says %+v while no grant is out: nothing will tell when to ask again", ask, denial)
		}
		return
	}
	if held := m.held[ask.MchID] > 0; grant.HoldProbe != held {
		t.Fatalf("Try(%v) let a job through, HoldProbe %t, merchant held %t", ask, grant.HoldProbe, held)
	}
	m.out = append(m.out, &outside{
		grant: grant, hostProbe: m.open(grant.Host), hold: m.held[ask.MchID], storeProbe: m.g.StoreIsDown(),
	})
}

func (m *machine) draw(t *rapid.T) *outside {
	if len(m.out) == 0 {
		t.Skip("no grant is out")
	}
	return rapid.SampledFrom(m.out).Draw(t, "grant")
}

func (m *machine) done(t *rapid.T) {
	o := m.draw(t)
	end := gate.HostFailed
	if !o.switched {
		end = rapid.SampledFrom([]gate.End{
			gate.Unused, gate.Succeeded, gate.Answered, gate.SlowDown, gate.HostFailed,
		}).Draw(t, "end")
	} else if rapid.Bool().Draw(t, "unused") {
		end = gate.Unused
	}
	m.giveBack(o, end)
}

func (m *machine) leave(t *rapid.T) {
	o := m.draw(t)
	if o.left {
		t.Skip("its job is gone already")
	}
	better := m.backup && m.open(o.grant.Host) && !m.open(1-o.grant.Host) && !o.reserved
	left, ok := m.g.Leave(m.now, o.grant)
	if ok && !better || (left != nil) != (ok && o.hostProbe) {
		t.Fatalf("Leave = %v, %t of a grant that is a host's probe: %t; better elsewhere: %t", left, ok, o.hostProbe, better)
	}
	o.reserved = o.reserved || ok
	if left != nil {
		o.hostProbe = false
		m.out = append(m.out, &outside{grant: left, hostProbe: true, left: true})
	}
}

func (m *machine) giveBack(o *outside, end gate.End) {
	m.g.Done(m.now, o.grant, end)
	for i := range m.out {
		if m.out[i] == o {
			m.out = append(m.out[:i], m.out[i+1:]...)
			return
		}
	}
}

func (m *machine) switchHost(t *rapid.T) {
	o := m.draw(t)
	if o.switched || o.left {
		t.Skip("it has no host any more, or no job")
	}
	before := o.grant.Host
	if !m.g.Switch(m.now, o.grant) {
		o.switched, o.hostProbe = true, false
		return
	}
	if o.grant.Host == before || !m.backup {
		t.Fatalf("Switch moved a grant from %s to %s, backup %t", before, o.grant.Host, m.backup)
	}
	o.hostProbe, o.reserved = m.open(o.grant.Host), false
}

func (m *machine) setHold(t *rapid.T) {
	id := drawMerchant(t)
	if m.held[id] == 0 {
		m.holds++
		m.held[id] = m.holds
	}
	m.g.SetHold(id, gate.Hold{
		ProbeAt:   m.now.Add(rapid.SampledFrom([]time.Duration{0, time.Second, 30 * time.Second}).Draw(t, "probe in")),
		LastProbe: rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "last probe"),
	})
}

func (m *machine) check(t *rapid.T) {
	s := m.g.State()
	hosts, holds, store, jobs := map[wxclient.Host]int{}, map[int]int{}, 0, 0
	for _, o := range m.out {
		if !o.left {
			jobs++
		}
		if o.hostProbe {
			hosts[o.grant.Host]++
		}
		if o.hold > 0 {
			holds[o.hold]++
		}
		if o.storeProbe {
			store++
		}
	}
	if s.SlotsUsed != jobs || s.SlotsUsed > m.concurrency {
		t.Fatalf("%d slots are used, want %d, one for each job's grant that is out, and %d at most",
			s.SlotsUsed, jobs, m.concurrency)
	}
	if n := len(m.out) - jobs; n > 1 {
		t.Fatalf("%d probes are out that their jobs have left, want 1 at most", n)
	}
	for _, h := range s.Hosts {
		if n := hosts[h.Host]; n > 1 || h.Probing != (n == 1) {
			t.Fatalf("host %s: %d calls that began while it was out, want 1 at most; probing is %t", h.Host, n, h.Probing)
		}
	}
	for hold, n := range holds {
		if n > 1 {
			t.Fatalf("hold %d has %d probes out, want 1 at most", hold, n)
		}
	}
	if m.g.StoreIsDown() && store > 1 {
		t.Fatalf("%d jobs were let through while the claim store was down, want 1 at most", store)
	}
}

// recovers makes every call succeed from now on and checks that each merchant's lanes get through.
func (m *machine) recovers(t *rapid.T, within time.Duration, what string) {
	for _, id := range []string{"1", "2"} {
		for _, lane := range []string{"a", "b"} {
			var denial *gate.Denial
			for end := m.now.Add(within); ; {
				var grant *gate.Grant
				if grant, denial = m.g.Try(m.now, gate.Ask{MchID: id, Lane: lane}); grant != nil {
					m.g.StoreUp()
					m.g.Done(m.now, grant, gate.Succeeded)
					break
				}
				if !m.now.Before(end) || denial.Wait <= 0 {
					t.Fatalf("%s, no grant is out, and lane %s of merchant %s is still denied with %+v after %s; state %+v",
						what, lane, id, denial, within, m.g.State())
				}
				m.now = m.now.Add(denial.Wait)
			}
		}
	}
}

func TestGateKeepsItsPromisesInAnyOrderOfEvents(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := newMachine(t)
		t.Repeat(map[string]func(*rapid.T){
			"try":       m.try,
			"try again": m.try,
			"done":      m.done,
			"switch":    m.switchHost,
			"leave":     m.leave,
			"hold":      m.setHold,
			"clear hold": func(t *rapid.T) {
				id := drawMerchant(t)
				delete(m.held, id)
				m.g.ClearHold(id)
			},
			"store down": func(*rapid.T) { m.g.StoreDown(m.now) },
			"store up": func(*rapid.T) {
				m.g.StoreUp()
				for _, o := range m.out {
					o.storeProbe = false
				}
			},
			"time": func(t *rapid.T) {
				m.now = m.now.Add(time.Duration(rapid.IntRange(1, 40_000).Draw(t, "ms")) * time.Millisecond)
			},
			"": m.check,
		})
		for len(m.out) > 0 {
			m.giveBack(m.out[0], gate.Unused)
			m.check(t)
		}
		m.recovers(t, 5*time.Minute, "holds stay, and every probe succeeds")
		m.g.ClearHold("1")
		m.g.ClearHold("2")
		m.recovers(t, 5*time.Minute, "every fault has ended")
	})
}
