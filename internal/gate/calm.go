package gate

import "time"

// strangersPace is how many calls per second those merchants make together, right after an outage, of
// which the worker does not know how many they made before it. It is a storm to nobody, and after the
// calm it does not take long to rise.
const strangersPace = 5.0

// calm is the time after an outage in which nobody goes faster than before it.
type calm struct {
	until     time.Time
	strangers int // merchants that nothing is known of
}

// share returns the pace of one of the strangers.
func (c *calm) share() float64 { return max(strangersPace/float64(max(1, c.strangers)), restartFloor) }

// restart begins a calm, for an outage is over.
func (g *Gate) restart(now time.Time) {
	g.calm = calm{until: now.Add(restartCalm)}
	for _, m := range g.merchants {
		if m.asked && !m.ramp.steady.known() {
			g.calm.strangers++
		}
	}
	for _, m := range g.merchants {
		if m.asked || m.ramp.steady.known() {
			m.ramp.restart(now, g.outage, g.calm.share())
		}
	}
}

// calmDown gives a merchant that wants to call the pace that it must begin with: where its jobs come
// for the first time and it is calm, or where it was held because the API was at fault.
func (g *Gate) calmDown(now time.Time, m *merchant) {
	if !m.asked && now.Before(g.calm.until) {
		g.calm.strangers++
		m.ramp.restart(now, now, g.calm.share())
	}
	if !m.asked {
		m.asked = true
		g.askers++
	}
	if m.held != nil {
		m.ramp.restart(now, m.held.Since, strangersPace)
		m.held = nil
	}
}
