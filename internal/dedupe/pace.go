package dedupe

import (
	"context"
	"math"
	"time"
)

// maxRate keeps the arithmetic of the scripts exact: a permit is a microsecond or more.
const maxRate = 1e6

// Pace is a rate that all workers share, with the burst that may start at once.
type Pace struct {
	Rate  float64 // permits per second; more than 0, at most 1e6
	Burst int     // at least 1
}

// TakePace takes up to want permits of a merchant's pace. Where it grants fewer, wait is how long
// until one more can be had. A call whose answer was lost and that is repeated takes twice: the pace
// is slower for that moment, never faster.
func (s *Store) TakePace(
	ctx context.Context, mchID string, p Pace, want int,
) (granted int, wait time.Duration, err error) {
	if err := p.check(opTakePace, mchID); err != nil {
		return 0, 0, err
	}
	if want < 1 {
		return 0, 0, invalid(opTakePace, "permits wanted: %d", want)
	}
	key := s.paceKey(mchID)
	r, err := s.eval(ctx, opTakePace, s.scripts.paceTake, key, p.perPermit(), want, p.Burst)
	if err != nil {
		return 0, 0, err
	}
	granted, wait = r.int(), time.Duration(r.int64())*time.Microsecond
	return granted, wait, s.done(opTakePace, key, r)
}

// ReturnPace gives permits back that were not used. A repeated call may return them twice, which lets
// n calls more start than the rate has, once.
func (s *Store) ReturnPace(ctx context.Context, mchID string, p Pace, n int) error {
	if err := p.check(opReturnPace, mchID); err != nil {
		return err
	}
	if n < 1 {
		return invalid(opReturnPace, "permits returned: %d", n)
	}
	_, err := s.eval(ctx, opReturnPace, s.scripts.paceReturn, s.paceKey(mchID), p.perPermit(), n)
	return err
}

// perPermit is the microseconds that a permit is worth, in as many digits as Lua can read.
func (p Pace) perPermit() float64 { return 1e6 / p.Rate }

func (p Pace) check(op, mchID string) error {
	if err := checkMerchant(op, mchID); err != nil {
		return err
	}
	if !(p.Rate > 0) || p.Rate > maxRate || math.IsInf(p.Rate, 0) || p.Burst < 1 {
		return invalid(op, "rate %g per second, burst %d", p.Rate, p.Burst)
	}
	return nil
}

func (s *Store) paceKey(mchID string) string { return s.cfg.Prefix + ":pace:{" + mchID + "}" }
