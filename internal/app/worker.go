package app

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/rs/zerolog"

	"replyworker/internal/config"
	"replyworker/internal/consumer"
	"replyworker/internal/deadletter"
	"replyworker/internal/dedupe"
	"replyworker/internal/gate"
	"replyworker/internal/job"
	"replyworker/internal/kafkaio"
	"replyworker/internal/ops"
	"replyworker/internal/outcome"
	"replyworker/internal/pace"
	"replyworker/internal/processor"
	"replyworker/internal/retry"
	"replyworker/internal/schedule"
	"replyworker/internal/topics"
	"replyworker/internal/wxclient"
)

// alarmAfter is how long Kafka may refuse what is asked of it before /readyz says so: an election of a
// leader, or a broker's restart, is over by then.
const alarmAfter = 30 * time.Second

// topicsSettle is how long topics that were just made may be unknown to some brokers of a cluster.
const topicsSettle = 3 * time.Second

// stuckAfter is how long the dispatcher may be silent before the process counts as stuck.
const stuckAfter = time.Minute

// Worker is the service. Make it with New, run it once.
type Worker struct {
	cfg       *config.Config
	log       zerolog.Logger
	registry  *prometheus.Registry
	kafka     *kafkaio.Client
	store     *dedupe.Store
	api       *wxclient.Client
	merchants atomic.Pointer[merchants] // in use
	reload    *reloader
	admin     *ops.Server

	alarmAfter time.Duration

	gate      *gate.Gate
	scheduler *schedule.Scheduler
	paces     *pace.Pacers

	mu        sync.Mutex
	consumer  *consumer.Consumer // nil until Kafka and Redis have answered
	processor *processor.Processor
	lasting   []lasting
	draining  bool
}

// lasting is a part that knows what of its work has failed for long.
type lasting interface {
	Lasting(now time.Time, long time.Duration) error
}

// New builds a worker. It reads key files and takes the admin address, and connects to nothing.
func New(cfg *config.Config, version string, log zerolog.Logger) (*Worker, error) {
	w := &Worker{cfg: cfg, log: log, registry: prometheus.NewRegistry(), alarmAfter: alarmAfter}
	w.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	var errs [4]error
	all, err := readMerchants(cfg)
	errs[0] = err
	w.merchants.Store(&all)
	w.api, errs[1] = API(cfg, version)
	w.kafka, errs[2] = Kafka(cfg)
	w.store, errs[3] = Redis(cfg)
	if err := errors.Join(errs[:]...); err != nil {
		w.close()
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	w.build(version)
	if err := w.listen(); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

func (w *Worker) close() {
	if w.api != nil {
		w.api.Close()
	}
	if w.kafka != nil {
		w.kafka.Close()
	}
	if w.store != nil {
		_ = w.store.Close() // nothing is lost by it
	}
}

func (w *Worker) build(version string) {
	log := w.log.With().Str("component", "gate").Logger()
	w.paces = pace.NewPacers(w.store, w.cfg.Rate, func() { w.gate.Wake() },
		w.log.With().Str("component", "pace").Logger())
	w.gate = gate.New(gate.Config{
		Pace:        func(mchid string) gate.Pace { return w.paces.New(mchid) },
		Concurrency: w.cfg.Concurrency, HasBackup: w.api.HasBackup(),
		BreakerFailures: w.cfg.BreakerFailures, BreakerCooldown: w.cfg.BreakerCooldown, Jitter: rand.Float64,
		OnBreaker: func(host wxclient.Host, open bool) {
			if open {
				log.Warn().Stringer("host", host).Msg("host is out; its calls go elsewhere")
			} else {
				log.Info().Stringer("host", host).Msg("host is back")
			}
		},
	})
	w.scheduler = schedule.New(schedule.Config{Gate: w.gate, MaxRunning: 4*w.cfg.Concurrency + 64})
	promauto.With(w.registry).NewGaugeVec(prometheus.GaugeOpts{
		Name: "replyworker_build_info", Help: "Always 1; the version is a label.",
	}, []string{"version"}).WithLabelValues(version).Set(1)
	w.registry.MustRegister(&collector{gate: w.gate, scheduler: w.scheduler, merchants: &w.merchants})
	w.reload = newReloader(w)
}

func (w *Worker) listen() error {
	token, err := w.cfg.ReadSecret("admin-token-file")
	if err != nil {
		return err
	}
	w.admin, err = ops.Listen(ops.Config{
		Addr: w.cfg.AdminAddr, Token: token.Reveal(), Gatherer: w.registry, Alive: w.alive, Checks: w.checks(),
		Log: w.log.With().Str("component", "ops").Logger(),
	})
	return err
}

// AdminAddr returns the address of health, metrics and the ops page.
func (w *Worker) AdminAddr() string { return w.admin.Addr() }

// Registry returns the metrics.
func (w *Worker) Registry() *prometheus.Registry { return w.registry }

// State returns a picture of the gate and of the jobs in hand.
func (w *Worker) State() (gate.State, schedule.Counts) { return w.gate.State(), w.scheduler.Counts() }

// ErrConfig marks an error of the configuration that shows when its files are read.
var ErrConfig = errors.New("configuration")

// ErrStart marks an error of the start: a broker, a Redis or a topic that is not there.
var ErrStart = errors.New("cannot start")

// Run starts everything, works until ctx ends, drains, and stops everything. Its error is an ErrStart,
// or consumer.ErrCutOff where the time to drain was too short.
func (w *Worker) Run(ctx context.Context) error {
	defer w.close()
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	var parts sync.WaitGroup
	defer parts.Wait()
	defer end()
	parts.Go(func() {
		if err := w.admin.Run(life); err != nil {
			w.log.Error().Err(err).Msg("admin server ended")
		}
	})
	p, err := w.start(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil // stopped before it began
		}
		return err
	}
	defer p.close()
	parts.Go(func() { p.processor.Run(life) })
	parts.Go(func() { w.scheduler.Run(life) })
	parts.Go(func() { w.paces.Run(life) })
	parts.Go(func() { w.reload.run(ctx) })
	all := *w.merchants.Load()
	w.tell(w.log, all, all.ids())
	w.log.Info().Str("admin", w.AdminAddr()).Strs("topics", w.cfg.JobsTopics()).Str("signing", wxclient.SigningLibrary()).
		Msg("working")
	drain := make(chan struct{})
	undone := context.AfterFunc(ctx, func() { defer close(drain); w.drain() })
	err = w.consumer.Run(ctx)
	if !undone() {
		<-drain
	}
	w.log.Info().Msg("stopped")
	return err
}

// drain takes note that the worker is to stop, and says so: until the calls under way have ended, nothing
// else does.
func (w *Worker) drain() {
	w.mu.Lock()
	w.draining = true
	w.mu.Unlock()
	w.log.Info().Dur("drain_timeout", w.cfg.DrainTimeout).Msg("draining")
}

// pipeline is what needs Kafka to be there before it can be built.
type pipeline struct {
	processor         *processor.Processor
	outcomes, letters *kafkaio.Publisher
}

func (p *pipeline) close() {
	p.outcomes.Close()
	p.letters.Close()
}

// start waits for Kafka and Redis, and builds the rest.
func (w *Worker) start(ctx context.Context) (*pipeline, error) {
	ctx, cancel := context.WithTimeout(ctx, w.cfg.StartTimeout)
	defer cancel()
	if err := w.waitForRedis(ctx); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStart, err)
	}
	if err := w.waitForTopics(ctx, topics.Names(w.cfg)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStart, err)
	}
	w.warnOfEviction(ctx)
	p := &pipeline{
		outcomes: kafkaio.NewPublisher(w.kafka, w.cfg.TopicOutcomes, w.kafka.MaxMessageBytes(ctx, w.cfg.TopicOutcomes)),
		letters:  kafkaio.NewPublisher(w.kafka, w.cfg.TopicDeadLetters, w.kafka.MaxMessageBytes(ctx, w.cfg.TopicDeadLetters)),
	}
	p.processor = processor.New(w.processorConfig(p))
	c, err := consumer.New(consumer.Config{
		Client: w.kafka, Group: w.cfg.KafkaGroup, Topics: w.cfg.JobsTopics(), SessionTimeout: w.cfg.KafkaSessionTimeout,
		DrainTimeout: w.cfg.DrainTimeout, BufferJobs: w.cfg.BufferJobs, BufferBytes: int(w.cfg.BufferBytes),
		NewSession: func() consumer.Session { return session{p.processor.NewIntake(), w.scheduler.NewSession()} },
		Log:        w.log.With().Str("component", "consumer").Logger(), Registerer: w.registry,
	})
	if err != nil {
		p.close()
		return nil, err
	}
	w.mu.Lock()
	w.consumer, w.processor, w.lasting = c, p.processor, []lasting{c, p.outcomes, p.letters}
	w.mu.Unlock()
	return p, nil
}

func (w *Worker) processorConfig(p *pipeline) processor.Config {
	def, _ := w.cfg.DefaultMerchant()
	return processor.Config{
		Merchants: w.merchants.Load().signers(), DefaultMchID: def.MchID, Validation: job.Validation(w.cfg.Validation),
		Retry: retry.Policy{Initial: w.cfg.RetryInitial, Max: w.cfg.RetryMax, Attempts: w.cfg.RetryAttempts},
		Brake: w.cfg.Brake, Lease: w.cfg.ClaimLease, Claims: w.store, Holds: w.store, API: w.api, Gate: w.gate,
		Outcomes: outcome.NewPublisher(p.outcomes, w.cfg.KafkaGroup),
		Letters:  deadletter.NewPublisher(p.letters, w.cfg.KafkaGroup),
		Log:      w.log.With().Str("component", "processor").Logger(), Registerer: w.registry,
	}
}

func (w *Worker) waitForRedis(ctx context.Context) error {
	for {
		err := w.store.Ping(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("redis at %s does not answer: %w", w.cfg.RedisURL, err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// waitForTopics waits until a broker answers. That topics are missing it believes after a while.
func (w *Worker) waitForTopics(ctx context.Context, topics []string) error {
	settled := time.Now().Add(topicsSettle)
	for {
		_, err := w.kafka.WaitForTopics(ctx, topics...)
		if _, missing := errors.AsType[*kafkaio.MissingTopicsError](err); !missing || time.Now().After(settled) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (w *Worker) warnOfEviction(ctx context.Context) {
	policy, err := w.store.EvictionPolicy(ctx)
	if err == nil && dedupe.Evicts(policy) {
		w.log.Warn().Str("maxmemory_policy", policy).
			Msg("redis may drop claims when memory is short: set its maxmemory-policy to noeviction")
	}
}

// session joins a generation's records with the scheduler.
type session struct {
	intake *processor.Intake
	*schedule.Session
}

// Accept implements consumer.Session.
func (s session) Accept(ctx context.Context, records []consumer.Record) {
	handed := make([]processor.Handed, len(records))
	for i, r := range records {
		handed[i] = processor.Handed(r)
	}
	for _, t := range s.intake.Tasks(ctx, handed) {
		s.Add(t)
	}
}
