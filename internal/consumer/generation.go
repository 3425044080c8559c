package consumer

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"github.com/segmentio/kafka-go"

	"replyworker/internal/kafkaio"
)

var errDrainTimeout = errors.New("drain timeout")

// generation is this member's part of one generation of the group: its partitions, their session
// and their commits. Nothing of it outlives it: a record fetched in one generation never commits in
// another.
type generation struct {
	consumer   *Consumer
	gen        *kafka.Generation
	session    Session
	partitions []*partition
	offsets    []int64 // where each of partitions begins
	log        zerolog.Logger

	drained chan struct{} // closed when all is ended and committed
	clean   bool          // under drained: nothing was cut off
	lost    bool          // under drained: the generation had ended by then

	committed map[string]map[int]int64
	refused   time.Time // since when commits are refused; zero while they are not
	trouble   kafkaio.Trouble
}

func (g *generation) assign() {
	cfg := &g.consumer.cfg
	n := 0
	for _, list := range g.gen.Assignments {
		n += len(list)
	}
	for topic, list := range g.gen.Assignments {
		for _, a := range list {
			share := cfg.BufferBytes / n
			p := &partition{
				fetcher: kafkaio.Fetcher{
					Client: cfg.Client, Topic: topic, Partition: a.ID,
					MaxBytes: min(max(share/16, smallestFetch), largestFetch),
				},
				tracker: newTracker(a.Offset), session: g.session,
				maxJobs: max(1, cfg.BufferJobs/n), maxBytes: share,
				warn:    g.consumer.fetchWarnings,
				log:     g.log.With().Str("topic", topic).Int("partition", a.ID).Logger(),
				metrics: g.consumer.metrics,
			}
			g.partitions = append(g.partitions, p)
			g.offsets = append(g.offsets, a.Offset)
		}
	}
}

// run works until the generation ends or the worker stops, then drains. It returns only after the
// generation has ended: kafka-go ends a generation whose function returns.
func (g *generation) run(ended, running context.Context) {
	fetching, stop := context.WithCancel(ended)
	defer stop()
	var fetchers sync.WaitGroup
	for i, p := range g.partitions {
		fetchers.Go(func() { p.run(fetching, g.offsets[i]) })
	}
	g.work(ended, running)
	stop()
	fetchers.Wait()
	g.drain()
	g.lost = ended.Err() != nil
	close(g.drained)
	<-ended.Done()
}

// work commits now and then until there is a reason to drain.
func (g *generation) work(ended, running context.Context) {
	tick := time.NewTicker(commitInterval)
	defer tick.Stop()
	for {
		select {
		case <-ended.Done():
			return
		case <-running.Done():
			return
		case <-tick.C:
			g.commit(false)
		}
	}
}

// drain lets the session finish, and commits meanwhile: that saves the progress, and keeps the
// membership alive, since kafka-go's heartbeats have stopped where the generation has ended.
func (g *generation) drain() {
	ctx, cancel := context.WithTimeoutCause(context.Background(), g.consumer.cfg.DrainTimeout, errDrainTimeout)
	defer cancel()
	over := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(commitInterval)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-over:
				return
			case <-tick.C:
				g.commit(n%2 == 1)
			}
		}
	})
	g.clean = g.session.Drain(ctx)
	close(over)
	wg.Wait()
	if g.clean { // else the broker is probably the reason, and a commit would wait for it too
		g.commit(false)
	}
	if !g.clean {
		g.log.Warn().Dur("drain_timeout", g.consumer.cfg.DrainTimeout).Msg("drain timeout: what was under way was cut off")
	}
}

// commit commits the watermarks that have moved, or all of them where it is to be a sign of life.
func (g *generation) commit(all bool) {
	offsets := map[string]map[int]int64{}
	for _, p := range g.partitions {
		w := p.tracker.watermark()
		if last, ok := g.committed[p.fetcher.Topic][p.fetcher.Partition]; w < 0 || (!all && ok && last == w) {
			continue
		}
		if offsets[p.fetcher.Topic] == nil {
			offsets[p.fetcher.Topic] = map[int]int64{}
		}
		offsets[p.fetcher.Topic][p.fetcher.Partition] = w
	}
	if len(offsets) == 0 {
		return
	}
	err := g.gen.CommitOffsets(offsets)
	g.trouble.Note(time.Now(), err)
	if err != nil {
		g.consumer.metrics.commits.WithLabelValues("error").Inc()
		g.commitRefused(err, time.Now())
		return
	}
	g.refused = time.Time{}
	g.consumer.metrics.commits.WithLabelValues("ok").Inc()
	if g.committed == nil {
		g.committed = map[string]map[int]int64{}
	}
	for topic, partitions := range offsets {
		if g.committed[topic] == nil {
			g.committed[topic] = map[int]int64{}
		}
		maps.Copy(g.committed[topic], partitions)
	}
}

// commitRefused says so where it lasts. That one is refused while the group rebalances is nothing: what
// is finished will be skipped when it comes again.
func (g *generation) commitRefused(err error, now time.Time) {
	if g.refused.IsZero() {
		g.refused = now
	}
	if now.Sub(g.refused) < refusedPatience {
		g.log.Debug().Err(err).Msg("commit refused")
		return
	}
	g.log.Warn().Err(err).Msg("commits are refused; what is finished comes again, to be skipped")
	g.refused = now // to say it again after as long
}
