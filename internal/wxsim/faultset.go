package wxsim

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// active is a fault in force.
type active struct {
	Fault
	left  int           // Of Count, where there is one.
	quota *quota        // Of KindQuota.
	done  chan struct{} // Closed when the fault is removed or has run its time; not when its count is spent.
	timer *time.Timer
}

func (a *active) spent() bool { return a.Count > 0 && a.left == 0 }

func (a *active) matches(c Call) bool {
	return !a.spent() &&
		(a.Host == "" || a.Host == c.Host) &&
		(a.Operation == "" || a.Operation == c.Operation) &&
		(a.MchID == "" || a.MchID == c.MchID) &&
		(a.ComplaintID == "" || a.ComplaintID == c.ComplaintID) &&
		(a.IdempotentID == "" || a.IdempotentID == c.IdempotentID)
}

// faultSet holds the faults in force, in order.
type faultSet struct {
	dice *dice
	now  func() time.Time

	mu     sync.Mutex
	active []*active
}

func newFaultSet(d *dice, now func() time.Time) *faultSet { return &faultSet{dice: d, now: now} }

// decision is what the faults make of one call: waits, and at most one fault that decides its fate.
type decision struct {
	before, after time.Duration
	fault         *active
}

func (fs *faultSet) decide(c Call) decision {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	var d decision
	for _, a := range fs.active {
		switch {
		case !a.matches(c) || (a.Kind != KindLatency && d.fault != nil):
		case !fs.fires(a, c):
		case a.Kind == KindLatency && a.AfterEffect:
			d.after += a.Delay + fs.dice.upTo(a.Jitter)
		case a.Kind == KindLatency:
			d.before += a.Delay + fs.dice.upTo(a.Jitter)
		default:
			d.fault = a
		}
	}
	return d
}

// fires rolls the dice and counts. A quota is asked last, so that only calls it is meant for use it up.
func (fs *faultSet) fires(a *active, c Call) bool {
	if a.Probability > 0 && fs.dice.float() >= a.Probability {
		return false
	}
	if a.quota != nil && a.quota.allow(c.MchID, fs.now()) {
		return false
	}
	if a.Count > 0 {
		a.left--
	}
	return true
}

func (fs *faultSet) replace(with []*active) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for _, a := range fs.active {
		a.end()
	}
	fs.active = with
}

func (fs *faultSet) add(more []*active) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	// A spent hang stays until it is removed, for calls may still be waiting for that.
	fs.active = slices.DeleteFunc(fs.active, func(a *active) bool {
		if !a.spent() || a.Kind == KindHang {
			return false
		}
		a.end()
		return true
	})
	fs.active = append(fs.active, more...)
}

func (fs *faultSet) remove(which func(*active) bool) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.active = slices.DeleteFunc(fs.active, func(a *active) bool {
		if !which(a) {
			return false
		}
		a.end()
		return true
	})
}

func (a *active) end() {
	close(a.done)
	if a.timer != nil {
		a.timer.Stop()
	}
}

func (fs *faultSet) down(host Host) bool {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return slices.ContainsFunc(fs.active, func(a *active) bool {
		return a.Kind == KindDown && (a.Host == "" || a.Host == host)
	})
}

func (fs *faultSet) list() []Fault {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	out := []Fault{}
	for _, a := range fs.active {
		if a.spent() {
			continue
		}
		f := a.Fault
		f.Count = a.left
		out = append(out, f)
	}
	return out
}

// Faults returns the faults in force, in order, without those whose count is spent.
func (s *Sim) Faults() []Fault { return s.faults.list() }

// Set puts faults in the place of all those in force; none clears them. Nothing changes where one is
// not valid. Another error says that a host could not be brought up again.
func (s *Sim) Set(faults ...Fault) error { return s.arm(faults, s.faults.replace) }

// Add puts faults behind those in force, with the errors of Set.
func (s *Sim) Add(faults ...Fault) error { return s.arm(faults, s.faults.add) }

// Clear removes every fault; a host that was down is up when it returns nil.
func (s *Sim) Clear() error { return s.Set() }

// Remove removes the faults of a name; it is no error if there are none.
func (s *Sim) Remove(name string) error {
	s.change.Lock()
	defer s.change.Unlock()
	s.faults.remove(func(a *active) bool { return a.Name == name })
	return s.switchHosts()
}

func (s *Sim) arm(faults []Fault, enter func([]*active)) error {
	for _, f := range faults {
		if err := f.Validate(); err != nil {
			return err
		}
	}
	s.change.Lock()
	defer s.change.Unlock()
	if s.isClosed() {
		return errClosed
	}
	armed := make([]*active, 0, len(faults))
	for _, f := range faults {
		a := &active{Fault: f, left: f.Count, done: make(chan struct{})}
		if f.Kind == KindQuota {
			a.quota = newQuota(f)
		}
		if f.For > 0 {
			// The callback needs change, which is held until the fault is in the set.
			a.timer = time.AfterFunc(f.For, func() { s.expire(a) })
		}
		armed = append(armed, a)
	}
	enter(armed)
	return s.switchHosts()
}

func (s *Sim) expire(gone *active) {
	s.change.Lock()
	defer s.change.Unlock()
	s.faults.remove(func(a *active) bool { return a == gone })
	if err := s.switchHosts(); err != nil {
		s.cfg.Log.Error().Err(err).Msg("host not up again")
	}
}

func (s *Sim) isClosed() bool {
	s.gate.Lock()
	defer s.gate.Unlock()
	return s.closed
}

// switchHosts brings the servers in line with the faults. The caller holds change.
func (s *Sim) switchHosts() error {
	for _, srv := range s.servers {
		if s.faults.down(srv.host) {
			srv.down()
			continue
		}
		if err := srv.up(); err != nil {
			return fmt.Errorf("host %s: %w", srv.host, err)
		}
	}
	return nil
}
