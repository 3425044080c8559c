package pace

import (
	"context"
	"math"
	"sync"
	"time"
)

// Memory is a Store in memory, for tests and simulations.
type Memory struct {
	now func() time.Time

	mu        sync.Mutex
	merchants map[string]*shared
}

// shared is one merchant's pace.
type shared struct {
	version uint64
	learned Learned
	counts  Counts
	free    time.Time // when the next permit is for
	at      time.Time // since when the counts are
	dueAt   time.Time // when to work out the next limit
	used    time.Time
}

// NewMemory makes an empty store with a clock; nil is time.Now.
func NewMemory(now func() time.Time) *Memory {
	if now == nil {
		now = time.Now
	}
	return &Memory{now: now, merchants: map[string]*shared{}}
}

// SharePaces implements Store.
func (m *Memory) SharePaces(_ context.Context, asks []Ask) ([]Share, []error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	shares := make([]Share, len(asks))
	for i := range asks {
		shares[i] = m.share(&asks[i])
	}
	return shares, make([]error, len(asks))
}

func (m *Memory) share(a *Ask) Share {
	now := m.now()
	s := m.merchants[a.MchID]
	if s == nil || now.Sub(s.used) > ForgetAfter {
		s = &shared{at: now}
		m.merchants[a.MchID] = s
	}
	s.used = now
	s.count(a)
	share := Share{Epoch: s.learned.Epoch, Limit: s.learned.Limit, Due: s.due(now)}
	if a.Ceiling > 0 && (share.Limit == 0 || a.Ceiling < share.Limit) {
		share.Limit = a.Ceiling
	}
	if share.Limit > 0 && a.Want > 0 {
		s.grant(now, a.Want, &share)
	}
	return share
}

func (s *shared) count(a *Ask) {
	s.counts.Through += a.Counts.Through
	s.counts.Rate += a.Counts.Rate
	if a.Epoch != s.learned.Epoch {
		return
	}
	if a.Counts.Accepted > 0 {
		s.counts.Row = 0
	}
	s.counts.Row += a.Counts.Row
	s.counts.Accepted += a.Counts.Accepted
	s.counts.Refused += a.Counts.Refused
	s.counts.Held = s.counts.Held || a.Counts.Held
}

func (s *shared) due(now time.Time) *Due {
	c := s.counts
	news := c.Through+c.Accepted+c.Refused > 0 || c.Held
	if !news || now.Before(s.dueAt) && c.Row < ClosedRow {
		return nil
	}
	s.dueAt = now.Add(Tick)
	c.Elapsed = now.Sub(s.at)
	return &Due{Version: s.version, Learned: s.learned, Counts: c}
}

func (s *shared) grant(now time.Time, want int, to *Share) {
	to.Every = time.Duration(float64(time.Second) / to.Limit)
	horizon := Ahead(to.Every)
	if s.free.Before(now) {
		s.free = now
	}
	if latest := now.Add(horizon + to.Every); s.free.After(latest) {
		s.free = latest
	}
	ahead := s.free.Sub(now)
	room := math.Ceil(float64(horizon-ahead) / float64(to.Every))
	to.Permits = int(max(0, min(float64(want), room)))
	to.First = ahead
	s.free = s.free.Add(time.Duration(to.Permits) * to.Every)
	if to.Permits < want {
		to.Wait = max(to.Every, s.free.Sub(now)-horizon)
	}
}

// LearnPaces implements Store.
func (m *Memory) LearnPaces(_ context.Context, lessons []Lesson) []error {
	m.mu.Lock()
	defer m.mu.Unlock()
	errs := make([]error, len(lessons))
	for i := range lessons {
		errs[i] = m.learn(&lessons[i])
	}
	return errs
}

func (m *Memory) learn(l *Lesson) error {
	s := m.merchants[l.MchID]
	if s == nil || s.version != l.Due.Version {
		return ErrOutdated
	}
	s.version++
	s.at = m.now()
	if l.Restart() {
		s.free = s.at
	}
	if l.Next.Epoch != l.Due.Learned.Epoch {
		s.counts = Counts{Through: s.counts.Through}
	} else {
		s.counts.Accepted -= l.Due.Counts.Accepted
		s.counts.Refused -= l.Due.Counts.Refused
		s.counts.Held = false
	}
	s.counts.Through -= l.Due.Counts.Through
	s.counts.Rate = 0
	s.learned = l.Next
	return nil
}
