package consumer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"replyworker/internal/job"
	"replyworker/internal/kafkaio"
)

const (
	fetchRetryFirst = 100 * time.Millisecond
	fetchRetryMax   = 5 * time.Second
)

// partition fetches one assigned partition and keeps its books, for one generation.
type partition struct {
	fetcher  kafkaio.Fetcher
	tracker  *tracker
	session  Session
	maxJobs  int
	maxBytes int
	log      zerolog.Logger
	warn     zerolog.Sampler // of the warnings that fetching fails
	metrics  *metrics

	trouble       kafkaio.Trouble
	highWatermark atomic.Int64
}

// run fetches and hands over until ctx ends. It never gives up: what a broker says today it may not
// say tomorrow.
func (p *partition) run(ctx context.Context, offset int64) {
	wait := time.Duration(0)
	for ctx.Err() == nil {
		next, err := p.step(ctx, offset)
		if err != nil && ctx.Err() != nil {
			return
		}
		p.trouble.Note(time.Now(), err)
		if err == nil {
			offset, wait = next, 0
			continue
		}
		if wait == 0 || wait >= fetchRetryMax {
			log := p.log.Sample(p.warn)
			log.Warn().Err(err).Int64("offset", offset).Msg("fetch failed; trying again")
		}
		wait = min(max(2*wait, fetchRetryFirst), fetchRetryMax)
		p.metrics.fetchErrors.Inc()
		pause(ctx, wait/2+rand.N(wait/2)) //nolint:gosec // not everybody at once; no secret
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// step fetches one page and hands its records over; next is where to go on.
func (p *partition) step(ctx context.Context, offset int64) (next int64, err error) {
	if offset < 0 { // nothing was ever committed
		first, _, err := p.fetcher.Bounds(ctx)
		if err != nil {
			return offset, err
		}
		p.tracker.skip(first)
		offset = first
	}
	room := p.awaitRoom(ctx)
	if ctx.Err() != nil {
		return offset, ctx.Err()
	}
	page, err := p.fetcher.Fetch(ctx, offset, room)
	if errors.Is(err, kafkaio.ErrOffsetOutOfRange) {
		return p.recover(ctx, offset)
	}
	if err != nil {
		return offset, err
	}
	p.highWatermark.Store(page.HighWatermark)
	for rest := page.Records; len(rest) > 0; {
		if !p.await(ctx, rest[0].Size()) {
			return offset, ctx.Err()
		}
		rest = p.hand(ctx, rest)
	}
	p.tracker.skip(page.Next)
	return page.Next, nil
}

// handAtOnce is for how many records at most the session is called once.
const handAtOnce = 200

// hand hands over the first of the records, for which there is room, and those behind it that there is
// room for as well. It returns the rest.
func (p *partition) hand(ctx context.Context, records []job.Delivery) []job.Delivery {
	var batch []Record
	for i := range records[:min(len(records), handAtOnce)] {
		d := &records[i]
		if i > 0 && !p.tracker.room(d.Size(), p.maxJobs, p.maxBytes) {
			break
		}
		u := p.tracker.add(d.Source.Offset, d.Size())
		batch = append(batch, Record{Delivery: *d, Finished: func() { p.tracker.finish(u) }})
	}
	p.metrics.consumed.Add(float64(len(batch)))
	p.session.Accept(ctx, batch)
	return records[len(batch):]
}

// roomShare says for which part of a partition's share of the buffers a fetch is worth its while: one of
// so many. What waits for long, such as the jobs of a merchant that is held, then leaves the others nearly
// all that it does not take.
const roomShare = 8

// awaitRoom waits until some of the partition's share of the buffers is free, so that a fetch is worth
// its while, and returns for how many records.
func (p *partition) awaitRoom(ctx context.Context) int {
	for {
		jobs, bytes := p.tracker.load()
		if jobs == 0 || (jobs <= p.maxJobs-max(1, p.maxJobs/roomShare) && bytes <= p.maxBytes-p.maxBytes/roomShare) {
			return p.maxJobs - jobs
		}
		select {
		case <-ctx.Done():
			return 0
		case <-p.tracker.freed:
		}
	}
}

// await waits until a record of size fits into the partition's share of the buffers.
func (p *partition) await(ctx context.Context, size int) bool {
	for !p.tracker.room(size, p.maxJobs, p.maxBytes) {
		select {
		case <-ctx.Done():
			return false
		case <-p.tracker.freed:
		}
	}
	return ctx.Err() == nil
}

// recover finds where to go on when the broker no longer has, or never had, the wanted offset.
// Records that retention removed unread are lost to us: they are counted, loudly. An offset past the
// end means that the topic was made anew or its log was cut back; all that is there is read, and
// claims keep what was done before from being done again.
func (p *partition) recover(ctx context.Context, offset int64) (int64, error) {
	first, end, err := p.fetcher.Bounds(ctx)
	if err != nil {
		return offset, err
	}
	switch {
	case offset < first:
		p.metrics.lostRecords.Add(float64(first - offset))
		p.log.Error().Int64("offset", offset).Int64("first", first).Int64("lost", first-offset).
			Msg("retention removed jobs that were never read: raise the topic's retention")
	case offset > end:
		p.log.Error().Int64("offset", offset).Int64("first", first).Int64("end", end).
			Msg("the topic ends before the committed offset: it was made anew or cut back; reading all of it")
		p.tracker.restart(first)
	default:
		// A leader that has just begun may not know of it yet. The fetcher asks again, after a while.
		return offset, fmt.Errorf("offsets %d to %d are there: %w", first, end, kafkaio.ErrOffsetOutOfRange)
	}
	p.tracker.skip(first)
	return first, nil
}

// lag returns the records between the watermark and the end, never negative.
func (p *partition) lag() int64 { return max(0, p.highWatermark.Load()-p.tracker.watermark()) }

// Record is a record on its way to a Session.
type Record struct {
	Delivery job.Delivery
	// Finished is called once the record needs no further delivery; it is never called for one that Drain
	// dropped.
	Finished func()
}

// Session takes the records of one generation.
type Session interface {
	// Accept takes records of one partition, in their order. It waits for none of them to be worked on; it
	// may look them up first, while ctx lasts.
	Accept(ctx context.Context, records []Record)
	// Drain starts nothing more, and returns when all that is under way has ended, or soon after ctx
	// has. It says whether nothing was cut off.
	Drain(ctx context.Context) bool
}
