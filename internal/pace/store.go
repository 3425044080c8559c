package pace

import (
	"context"
	"errors"
	"time"
)

// Ask is what one worker tells and asks of one merchant's shared pace.
type Ask struct {
	MchID string
	// Epoch is the one that this worker knows, and Counts are the answers since its last Ask. Elapsed is
	// not used: the Store knows.
	Epoch  uint64
	Counts Counts
	// Want is how many permits are asked for, 0 or more.
	Want int
	// Ceiling is a limit in calls/s that somebody has set; 0 for none.
	Ceiling float64
}

// Share is the answer to an Ask.
type Share struct {
	Epoch uint64
	// Limit is in calls/s and at most the ceiling; 0 is no limit, and then no permits are needed.
	Limit float64
	// Permits are granted: for the moment First from now, and for every Every after that.
	Permits      int
	First, Every time.Duration
	// Wait is when to ask again, where fewer permits were granted than wanted.
	Wait time.Duration
	// Due is what the next limit is to be worked out from; nil where that is not this worker's to do.
	Due *Due
}

// Due is what was learned so far, and the answers since.
type Due struct {
	Version uint64
	Learned Learned
	Counts  Counts
}

// Lesson is what one worker worked out from a Due.
type Lesson struct {
	MchID string
	Due   Due
	Next  Learned
}

// Lesson works out what follows.
func (d *Due) Lesson(mchid string) Lesson {
	return Lesson{MchID: mchid, Due: *d, Next: d.Learned.Next(d.Counts)}
}

// Restart says that permits which were granted before are of no use: the API has just closed or opened.
func (l *Lesson) Restart() bool { return l.Next.Closed != l.Due.Learned.Closed }

// Store shares paces among workers. It is safe for concurrent use.
type Store interface {
	// SharePaces tells and asks, each of another merchant. It returns a share or an error for each. An
	// Ask whose answer was lost and that is repeated counts twice, which does little harm: at the worst a
	// limit is cut to what is twice too fast, and so cut again a moment later.
	SharePaces(ctx context.Context, asks []Ask) ([]Share, []error)
	// LearnPaces keeps what was worked out, each of another merchant. It returns an error or nil for each;
	// ErrOutdated where somebody else was first. What is lost is worked out again.
	LearnPaces(ctx context.Context, lessons []Lesson) []error
}

// ErrOutdated says that what a lesson was worked out from is not what is known by now.
var ErrOutdated = errors.New("another worker has worked out the pace")

// What all stores do alike.
const (
	// Tick is how often the next limit is worked out at the most, save where refusals come in a row.
	Tick = 100 * time.Millisecond
	// Permits are granted for so long ahead, or for as many as HorizonPermits in HorizonAtMost, so that of
	// many workers that wait for a slow pace each has its place. Two are always granted ahead.
	Horizon        = 200 * time.Millisecond
	HorizonAtMost  = 5 * time.Second
	HorizonPermits = 10
	// ForgetAfter is how long what was learned outlives its last use.
	ForgetAfter = time.Hour
	// ClosedRow is how many refusals in a row are worked out at once.
	ClosedRow = closedRow
)

// Ahead is how long ahead permits are granted that come every so often.
func Ahead(every time.Duration) time.Duration {
	return max(Horizon, min(HorizonPermits*every, HorizonAtMost), 2*every)
}
