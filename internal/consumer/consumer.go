package consumer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"github.com/segmentio/kafka-go"

	"replyworker/internal/kafkaio"
)

const (
	heartbeat      = time.Second
	joinBackoff    = 500 * time.Millisecond
	joinPause      = 100 * time.Millisecond // longer by so much each time, up to joinBackoff
	watchInterval  = 3 * time.Second        // what is known of topics is older by kafkaio's 2 s at most
	commitInterval = 500 * time.Millisecond
	drainMargin    = 10 * time.Second // rebalance timeout over drain timeout
	// refusedPatience is for how long commits may be refused before it is worth a warning.
	refusedPatience = 10 * time.Second
	// Of the warnings that fetching fails, there are so many for all partitions together.
	fetchWarningsBurst  = 3
	fetchWarningsPeriod = 5 * time.Second
	// groupTimeout bounds one request to the group's coordinator, leaveTimeout the leaving as a whole, once
	// it can begin: with a broker that hangs, stopping takes drain-timeout and at most 8 s more.
	groupTimeout  = 3 * time.Second
	leaveTimeout  = 5 * time.Second
	smallestFetch = 64 << 10
	largestFetch  = 512 << 10
)

// Config sets a Consumer up.
type Config struct {
	Client *kafkaio.Client
	Group  string
	// Topics are what is read until Rejoin.
	Topics         []string
	SessionTimeout time.Duration
	// DrainTimeout is how long the calls under way may take when partitions are taken away or the
	// worker stops.
	DrainTimeout time.Duration
	// BufferJobs and BufferBytes bound what is fetched and not finished, over all partitions.
	BufferJobs  int
	BufferBytes int
	// NewSession begins the session of a generation.
	NewSession func() Session
	Log        zerolog.Logger
	Registerer prometheus.Registerer
}

// Consumer is a member of the group. Run it once.
type Consumer struct {
	cfg      Config
	metrics  *metrics
	balancer balancer

	fetchWarnings zerolog.Sampler
	joining       kafkaio.Trouble

	changes chan change // of the topics

	mu     sync.Mutex
	gen    *generation // nil while there is none
	joined bool        // a generation has been joined at least once
}

// change is other topics that are to be read.
type change struct {
	topics  []string
	between func()
	done    chan struct{} // closed once between has returned
}

// New makes a Consumer.
func New(cfg Config) (*Consumer, error) {
	c := &Consumer{
		cfg: cfg, metrics: newMetrics(cfg.Registerer),
		// The coordinator may take as long to say no to a join as it has for a rebalance.
		joining:       kafkaio.Trouble{Life: 2 * (groupTimeout + cfg.DrainTimeout + drainMargin + joinBackoff)},
		fetchWarnings: &zerolog.BurstSampler{Burst: fetchWarningsBurst, Period: fetchWarningsPeriod},
		changes:       make(chan change),
	}
	if err := cfg.Registerer.Register(c); err != nil {
		return nil, fmt.Errorf("register metrics of the consumer: %w", err)
	}
	return c, nil
}

// ErrCutOff says that the time to drain was over before what was under way.
var ErrCutOff = errors.New(
	"drain timeout: calls, or outcomes that could not be published, were cut off; their jobs will come again")

// Run consumes until ctx ends, drains, and leaves the group. It returns ErrCutOff where calls had to
// be cut off.
func (c *Consumer) Run(ctx context.Context) error {
	topics := c.cfg.Topics
	for {
		group, err := c.newGroup(topics)
		if err != nil {
			return err
		}
		next, err := c.member(ctx, group)
		if next == nil {
			return err
		}
		c.mu.Lock()
		c.gen = nil
		c.mu.Unlock()
		topics = next.topics
		next.between()
		close(next.done)
	}
}

// Rejoin makes the consumer read other topics: what is under way is drained, it leaves the group, and
// joins it again. between is called when nothing is under way, before anything is read of the topics.
// Rejoin returns once that is done, or with the cause where ctx ends before; then it may be done yet, or
// not. It waits for Run, which must be running. What drain-timeout cuts off comes again.
func (c *Consumer) Rejoin(ctx context.Context, topics []string, between func()) error {
	next := change{topics: slices.Clone(topics), between: between, done: make(chan struct{})}
	select {
	case c.changes <- next:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case <-next.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (c *Consumer) newGroup(topics []string) (*kafka.ConsumerGroup, error) {
	group, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID: c.cfg.Group, Brokers: c.cfg.Client.Brokers(), Dialer: c.cfg.Client.Dialer(), Topics: topics,
		GroupBalancers:    []kafka.GroupBalancer{&c.balancer},
		HeartbeatInterval: heartbeat, SessionTimeout: c.cfg.SessionTimeout,
		RebalanceTimeout: c.cfg.DrainTimeout + drainMargin, JoinGroupBackoff: joinBackoff,
		Timeout: groupTimeout, StartOffset: kafka.FirstOffset,
	})
	if err != nil {
		return nil, fmt.Errorf("consumer group %s: %w", c.cfg.Group, err)
	}
	return group, nil
}

// member is in the group until ctx ends or the topics change, drains, and leaves. next is nil where the
// consumer is to end.
func (c *Consumer) member(ctx context.Context, group *kafka.ConsumerGroup) (next *change, err error) {
	running, stop := context.WithCancel(ctx)
	defer stop()
	nextCtx, stopNext := context.WithCancel(context.WithoutCancel(ctx))
	defer stopNext()
	nextDone := make(chan struct{})
	go func() {
		defer close(nextDone)
		c.join(nextCtx, running, group)
	}()
	select {
	case <-ctx.Done():
	case ch := <-c.changes:
		next = &ch
		c.cfg.Log.Info().Strs("topics", ch.topics).Msg("the topics change: draining, to join the group with them")
		stop()
	}
	drainBy := time.Now().Add(c.cfg.DrainTimeout)
	// The generation that is being worked on drains while its heartbeats go on; only then do we leave.
	clean, joining := c.drainCurrent()
	patience := leaveTimeout
	if joining {
		// The coordinator answers once the others have drained, and only then can kafka-go say that we
		// leave. Going without makes a member of a worker that is gone, and its share of the partitions
		// has nobody for the length of a session.
		patience += max(0, time.Until(drainBy))
	}
	left := make(chan struct{})
	go func() {
		defer close(left)
		_ = group.Close() // always nil
		stopNext()
		<-nextDone
	}()
	select {
	case <-left:
	case <-time.After(patience):
		// A broker that does not answer finds out by itself, after the session timeout.
		c.cfg.Log.Warn().Msg("leaving the consumer group takes too long; going without")
		stopNext()
	}
	switch {
	case ctx.Err() == nil: // what was cut off comes again, to this worker or another
		return next, nil
	case !clean:
		return nil, ErrCutOff
	}
	return nil, nil
}

// join works on one generation after another. kafka-go only goes on while somebody asks for the
// next one, errors included.
func (c *Consumer) join(ctx, running context.Context, group *kafka.ConsumerGroup) {
	var lastErr string
	var wait time.Duration
	for {
		gen, err := group.Next(ctx)
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, kafka.ErrGroupClosed) {
				return
			}
			c.joining.Note(time.Now(), err)
			if text := err.Error(); text != lastErr {
				c.cfg.Log.Warn().Err(err).Msg("joining the consumer group failed; trying again")
				lastErr = text
			}
			// After REBALANCE_IN_PROGRESS kafka-go itself would try again at once, for as long as it takes.
			pause(ctx, wait)
			wait = min(wait+joinPause, joinBackoff)
			continue
		}
		lastErr, wait = "", 0
		c.joining.Note(time.Now(), nil)
		c.begin(running, gen)
	}
}

func (c *Consumer) begin(running context.Context, gen *kafka.Generation) {
	c.metrics.rebalances.Inc()
	g := &generation{
		consumer: c, gen: gen, session: c.cfg.NewSession(), drained: make(chan struct{}),
		log: c.cfg.Log.With().Int32("generation", gen.ID).Logger(),
	}
	g.assign()
	c.mu.Lock()
	c.gen, c.joined = g, true
	c.mu.Unlock()
	g.log.Info().Int("partitions", len(g.partitions)).Msg("joined the consumer group")
	gen.Start(func(ctx context.Context) { g.run(ctx, running) })
	if shared := c.balancer.take(); shared != nil {
		gen.Start(func(ctx context.Context) { c.watch(ctx, shared) })
	}
}

// drainCurrent waits until the generation has drained. It says whether nothing was cut off, and whether
// there is no generation, or none any more, so that the next one is being joined.
func (c *Consumer) drainCurrent() (clean, joining bool) {
	c.mu.Lock()
	g := c.gen
	c.mu.Unlock()
	if g == nil {
		return true, true
	}
	<-g.drained
	return g.clean, g.lost
}

// Joined says whether the worker has joined the group. It stays true through rebalances.
func (c *Consumer) Joined() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.joined
}

// Lasting returns an error where the group could not be joined, a partition not be read, or nothing be
// committed, for so long.
func (c *Consumer) Lasting(now time.Time, long time.Duration) error {
	if err := c.joining.Lasting(now, long); err != nil {
		return fmt.Errorf("group %s: cannot be joined %w", c.cfg.Group, err)
	}
	c.mu.Lock()
	g := c.gen
	c.mu.Unlock()
	if g == nil {
		return nil
	}
	if err := g.trouble.Lasting(now, long); err != nil {
		return fmt.Errorf("group %s: offsets cannot be committed %w", c.cfg.Group, err)
	}
	for _, p := range g.partitions {
		if err := p.trouble.Lasting(now, long); err != nil {
			return fmt.Errorf("%s/%d cannot be read %w", p.fetcher.Topic, p.fetcher.Partition, err)
		}
	}
	return nil
}

// PartitionState is one assigned partition.
type PartitionState struct {
	Topic      string
	Partition  int
	Watermark  int64
	Lag        int64
	Unfinished int
}

// Partitions returns the state of the partitions that are assigned now.
func (c *Consumer) Partitions() []PartitionState {
	c.mu.Lock()
	g := c.gen
	c.mu.Unlock()
	if g == nil {
		return nil
	}
	out := make([]PartitionState, 0, len(g.partitions))
	for _, p := range g.partitions {
		out = append(out, PartitionState{
			Topic: p.fetcher.Topic, Partition: p.fetcher.Partition, Watermark: p.tracker.watermark(),
			Lag: p.lag(), Unfinished: p.tracker.pending(),
		})
	}
	return out
}
