package reconcile

import (
	"context"
	"errors"
	"fmt"
	"time"

	"replyworker/internal/kafkaio"
	"replyworker/internal/wxclient"
)

const (
	// DefaultMaxKept is about 100 MiB of log_ids with their ids, each of another complaint, and at the
	// published limit of the API a day of calls.
	DefaultMaxKept = 250_000
	// maxMaybe is how many jobs that may have been sent a finding names.
	maxMaybe = 5
	// maxAway is how many complaints in a row the API may fail to answer for before Run gives up.
	maxAway = 3
)

// ErrTooMany says that there are more outcomes than Config.MaxKept.
var ErrTooMany = errors.New("too many outcomes to verify at once")

// Histories is where complaints' histories are asked for: an *inquiry.Asker. It has done what waiting
// and trying again can do.
type Histories interface {
	History(ctx context.Context, mchID, complaintID string, each func([]wxclient.HistoryEntry) error) error
}

// Config says what is verified. Outcomes, Spans, Histories and Find are needed.
type Config struct {
	Outcomes kafkaio.SpanReader
	// Spans are what is read of the topic of outcomes; Kept is all that it holds now, by which it is
	// known what retention has taken.
	Spans, Kept []kafkaio.Span
	Histories   Histories
	// ComplaintID and MchID leave out the outcomes of others. Empty is all.
	ComplaintID, MchID string
	// Since and Until are the time whose outcomes are verified, by when they were finished; zero is no
	// bound. Spans begin at Since and go on after Until, for an outcome may come late.
	Since, Until time.Time
	// Settle is how old a reply has to be to be missed among the outcomes.
	Settle time.Duration
	// MaxKept bounds the log_ids kept in memory. Default DefaultMaxKept.
	MaxKept int
	// Patience is how long Kafka may be away before Run gives up.
	Patience time.Duration
	// Now is the clock. Default time.Now.
	Now func() time.Time

	// Reading is told how many offsets have been read since it was called last, by several goroutines at
	// once. Asking is told how many complaints will be asked about, before the first. Asked is told after
	// each. They may be nil.
	Reading func(passed int64)
	Asking  func(complaints int)
	Asked   func()
	// Find is told each finding. Its error ends Run.
	Find func(Finding) error
}

func (c Config) withDefaults() Config {
	if c.MaxKept == 0 {
		c.MaxKept = DefaultMaxKept
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Reading == nil {
		c.Reading = func(int64) {}
	}
	if c.Asking == nil {
		c.Asking = func(int) {}
	}
	if c.Asked == nil {
		c.Asked = func() {}
	}
	return c
}

// Kind is what a finding is.
type Kind string

// The kinds of finding.
const (
	Missing  Kind = "missing"   // The history does not have the log_id of an outcome.
	Unknown  Kind = "unknown"   // The history has a reply whose log_id no outcome has.
	NotAsked Kind = "not_asked" // The API did not tell the complaint's history.
)

// Finding is one difference between the outcomes and the API.
type Finding struct {
	Kind        Kind
	MchID       string
	ComplaintID string
	LogID       string
	Ours        Ours // of Missing: what the outcome says

	// Of Unknown: when the reply was made, and jobs of the complaint that may have been sent although
	// they have no log_id, some of them. The reply may be one of theirs, or another tool's.
	OperateTime string
	MaybeOf     []string

	Err error // of NotAsked
}

// Report is the books. Complaints is Asked, NotAsked and Left; LogIDs is Found, Missing and Unchecked.
type Report struct {
	Outcomes   int64 // records read
	Unreadable int64 // of them, those that are no outcome
	Taken      int64 // of them, those that are verified: succeeded or duplicate, within the filters
	MaybeSent  int64 // of them, those that failed or expired and may have been sent

	Complaints int // to ask about
	Asked      int // whose history was told
	NotAsked   int // whose history the API refused, or could not tell
	Left       int // that were not come to

	LogIDs    int // different ones of the outcomes that are verified
	Found     int // the history has them
	Missing   int // the history does not
	Unchecked int // of complaints whose history was not told

	Replies int // in the histories
	Unknown int // whose log_id no outcome has, although one should
	Untold  int // whose log_id no outcome has, too old or too young to tell
}

// Run verifies. Its error says why it did not come to its end, or why a complaint could not be asked
// about without the API's having refused it; the report says how far it came, and the findings that were
// told hold.
func Run(ctx context.Context, cfg Config) (Report, error) {
	r := newRun(cfg)
	err := r.gather(ctx)
	if err == nil {
		err = r.ask(ctx)
	}
	r.report.Left = r.report.Complaints - r.report.Asked - r.report.NotAsked
	r.report.Unchecked = r.report.LogIDs - r.report.Found - r.report.Missing
	return r.report, err
}

func tooMany(limit int) error {
	return fmt.Errorf("%w: more than %d log_ids", ErrTooMany, limit)
}
