// Package rebuild makes the claims of finished jobs anew, after Redis has lost them, from what the
// outcomes say.
//
// Only successes are restored, each by its own record: a claim by another record of the same content
// would answer the one that succeeded as a duplicate, and so contradict its outcome. That is why
// duplicates are of no use here, though they have the log_id.
package rebuild

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"replyworker/internal/dedupe"
	"replyworker/internal/job"
	"replyworker/internal/kafkaio"
)

const (
	// writers is the most partitions that ask Redis at once. Two keep it busy, and workers' claims wait
	// behind them.
	writers = 2
	// maxNotes is the most records of a kind that a Report names.
	maxNotes   = 5
	firstAgain = 100 * time.Millisecond
	lastAgain  = 2 * time.Second
)

// Claims is where the claims are restored: a *dedupe.Store.
type Claims interface {
	Restore(ctx context.Context, successes []dedupe.Success, write bool) []dedupe.RestoreResult
}

// Config says what is read and restored. Everything but DryRun and Progress is needed.
type Config struct {
	Outcomes kafkaio.SpanReader // a *kafkaio.Client
	Spans    []kafkaio.Span     // of the topic of outcomes
	Claims   Claims
	// DryRun only counts what would be restored. A success whose outcome is there twice counts twice.
	DryRun bool
	// Patience is how long Kafka and Redis may be away before Run gives up.
	Patience time.Duration
	// Progress is told how many offsets have been dealt with since it was called last, by several
	// goroutines at once.
	Progress func(passed int64)
}

// Report counts the outcomes that were read. Read is the sum of the others.
type Report struct {
	Read        int64
	Restored    int64 // successes that have a claim now and had none; of a DryRun: that would have one
	Present     int64 // successes whose claim was there
	TooOld      int64 // successes that would be forgotten by now
	Disagreeing int64 // successes whose claim has another log_id or is of other content; it stays
	Unreadable  int64 // records that are no outcome, or whose claim cannot be read
	Other       int64 // outcomes that are no success: duplicate, failed, expired

	// UnreadableNotes and DisagreeingNotes say more of some of them, by partition and offset.
	UnreadableNotes, DisagreeingNotes []Note
}

// Note is what is to be said of one outcome record.
type Note struct {
	Partition int
	Offset    int64
	Text      string
}

// Run reads the spans and restores the claims. It may be run beside workers, beside itself and again.
// After an error the report says how far it came, and what was restored stays.
func Run(ctx context.Context, cfg Config) (Report, error) {
	if cfg.Progress == nil {
		cfg.Progress = func(int64) {}
	}
	r := &run{cfg: cfg, writers: make(chan struct{}, writers)}
	err := kafkaio.ReadSpans(ctx, cfg.Outcomes, cfg.Spans, cfg.Patience,
		func(_ kafkaio.Span, records []job.Delivery, passed int64) error {
			defer cfg.Progress(passed)
			return r.restore(ctx, records)
		})
	for _, notes := range [][]Note{r.report.UnreadableNotes, r.report.DisagreeingNotes} {
		slices.SortFunc(notes, func(a, b Note) int {
			return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
		})
	}
	return r.report, err
}

type run struct {
	cfg     Config
	writers chan struct{}

	mu     sync.Mutex
	report Report
}

// restore deals with records of one partition, in their order.
func (r *run) restore(ctx context.Context, records []job.Delivery) error {
	var successes []dedupe.Success
	var at []job.Source
	for i := range records {
		s, succeeded, err := read(&records[i])
		switch {
		case err != nil:
			r.unreadable(records[i].Source, err)
		case !succeeded:
			r.add(func(report *Report) { report.Other++ })
		default:
			successes, at = append(successes, s), append(at, records[i].Source)
		}
	}
	return r.persist(ctx, successes, at)
}

// persist asks Redis until it has answered for all of the successes, or has been away for too long.
func (r *run) persist(ctx context.Context, successes []dedupe.Success, at []job.Source) error {
	var since time.Time // when Redis went away
	for wait := firstAgain; len(successes) > 0; wait = min(2*wait, lastAgain) {
		failed, err := r.attempt(ctx, successes, at)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !passing(err):
			return err
		case since.IsZero() || len(failed) < len(successes):
			since, wait = time.Now(), firstAgain
		case time.Since(since) >= r.cfg.Patience:
			return err
		}
		for i, f := range failed {
			successes[i], at[i] = successes[f], at[f]
		}
		successes, at = successes[:len(failed)], at[:len(failed)]
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(wait):
		}
	}
	return nil
}

// attempt asks for all of the successes, and returns those for which Redis was away, with the error of
// one of them.
func (r *run) attempt(ctx context.Context, successes []dedupe.Success, at []job.Source) (failed []int, err error) {
	r.writers <- struct{}{} // who has it gives it back soon: the claim store's steps have deadlines
	results := r.cfg.Claims.Restore(ctx, successes, !r.cfg.DryRun)
	<-r.writers
	for i, result := range results {
		switch {
		case result.Err == nil:
			r.count(successes[i], at[i], result)
		case single(result.Err):
			r.unreadable(at[i], result.Err)
		default:
			failed = append(failed, i)
			if err == nil || passing(err) {
				err = result.Err
			}
		}
	}
	return failed, err
}

// single says that an error concerns one success alone.
func single(err error) bool {
	e, ok := errors.AsType[*dedupe.Error](err)
	return ok && (e.Reason == dedupe.ReasonInvalid || e.Reason == dedupe.ReasonWrongType)
}

// passing says that an error may be gone soon.
func passing(err error) bool {
	e, ok := errors.AsType[*dedupe.Error](err)
	return ok && (e.Reason == dedupe.ReasonUnavailable || e.Reason == dedupe.ReasonTimeout)
}

func (r *run) add(change func(*Report)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Read++
	change(&r.report)
}

func (r *run) count(s dedupe.Success, at job.Source, result dedupe.RestoreResult) {
	r.add(func(report *Report) {
		switch result.Restoration {
		case dedupe.Restored:
			report.Restored++
		case dedupe.RestorePresent:
			report.Present++
		case dedupe.RestoreTooOld:
			report.TooOld++
		case dedupe.RestoreDisagrees:
			report.Disagreeing++
			note(&report.DisagreeingNotes, at, disagreement(s, result))
		}
	})
}

func (r *run) unreadable(at job.Source, err error) {
	r.add(func(report *Report) {
		report.Unreadable++
		note(&report.UnreadableNotes, at, err.Error())
	})
}

func note(notes *[]Note, at job.Source, text string) {
	if len(*notes) < maxNotes {
		*notes = append(*notes, Note{Partition: at.Partition, Offset: at.Offset, Text: text})
	}
}

func disagreement(s dedupe.Success, result dedupe.RestoreResult) string {
	text := fmt.Sprintf("%q of merchant %s succeeded with log_id %s, and its claim, of record %s, ",
		s.IdempotentID, s.MchID, s.LogID, result.Source)
	if result.LogID != "" && result.LogID != s.LogID {
		return text + "has log_id " + result.LogID
	}
	return text + "is of other content"
}
