package dedupe

import (
	"context"
	"math"
	"strconv"
	"time"

	"replyworker/internal/pace"
)

// maxRate keeps the arithmetic of the scripts exact: a permit is a microsecond or more.
const maxRate = 1e6

// SharePaces implements pace.Store.
func (s *Store) SharePaces(ctx context.Context, asks []pace.Ask) ([]pace.Share, []error) {
	shares, errs := make([]pace.Share, len(asks)), make([]error, len(asks))
	var calls []call
	var index []int
	for i := range asks {
		if errs[i] = checkAsk(&asks[i]); errs[i] == nil {
			calls, index = append(calls, call{key: s.paceKey(asks[i].MchID), args: askArgs(&asks[i])}), append(index, i)
		}
	}
	s.evalAll(ctx, opSharePace, s.scripts.pace, calls, func(i int, r *reader, err error) {
		at := index[i]
		if err == nil {
			shares[at] = r.share()
			err = s.done(opSharePace, calls[i].key, r)
		}
		errs[at] = err
	})
	return shares, errs
}

// LearnPaces implements pace.Store.
func (s *Store) LearnPaces(ctx context.Context, lessons []pace.Lesson) []error {
	errs := make([]error, len(lessons))
	calls := make([]call, len(lessons))
	for i := range lessons {
		calls[i] = call{key: s.paceKey(lessons[i].MchID), args: lessonArgs(&lessons[i])}
	}
	s.evalAll(ctx, opLearnPace, s.scripts.paceLearn, calls, func(i int, r *reader, err error) {
		kept := err == nil && r.bool()
		if err == nil {
			err = s.done(opLearnPace, calls[i].key, r)
		}
		if err == nil && !kept {
			err = pace.ErrOutdated
		}
		errs[i] = err
	})
	return errs
}

func checkAsk(a *pace.Ask) error {
	if err := checkMerchant(opSharePace, a.MchID); err != nil {
		return err
	}
	if a.Want < 0 || !(a.Ceiling >= 0) || a.Ceiling > maxRate {
		return invalid(opSharePace, "%d permits wanted, ceiling of %g calls per second", a.Want, a.Ceiling)
	}
	return nil
}

func askArgs(a *pace.Ask) []any {
	rate := a.Counts.Rate
	if math.IsNaN(rate) || rate < 0 || rate > maxRate {
		rate = 0
	}
	return []any{
		a.Epoch, a.Counts.Accepted, a.Counts.Refused, a.Counts.Row, a.Counts.Through, a.Counts.Held, decimal(rate),
		a.Want, decimal(a.Ceiling), pace.Tick.Microseconds(), pace.Horizon.Microseconds(), pace.HorizonPermits,
		pace.HorizonAtMost.Microseconds(), pace.ClosedRow, pace.ForgetAfter.Milliseconds(),
	}
}

func lessonArgs(l *pace.Lesson) []any {
	counted := &l.Due.Counts
	return []any{
		l.Due.Version, l.Next.Encode(), decimal(l.Next.Limit), l.Next.Epoch, l.Next.Epoch != l.Due.Learned.Epoch, l.Restart(),
		counted.Accepted, counted.Refused, counted.Through, pace.ForgetAfter.Milliseconds(),
	}
}

func (r *reader) share() pace.Share {
	micros := func() time.Duration { return time.Duration(r.int64()) * time.Microsecond }
	s := pace.Share{
		Epoch: r.uint64(), Limit: r.float64(), Permits: r.int(), First: micros(), Every: micros(), Wait: micros(),
	}
	due := r.bool()
	d := pace.Due{Version: r.uint64(), Learned: pace.Decode([]byte(r.text()), s.Epoch)}
	d.Counts = pace.Counts{
		Accepted: r.int(), Refused: r.int(), Row: r.int(), Through: r.int(), Held: r.bool(), Rate: r.float64(), Elapsed: micros(),
	}
	if due {
		s.Due = &d
	}
	return s
}

// decimal writes a number as Lua reads it.
func decimal(n float64) string { return strconv.FormatFloat(n, 'g', -1, 64) }

func (s *Store) paceKey(mchID string) string { return s.cfg.Prefix + ":quota:{" + mchID + "}" }
