// Package demo is the product in one process: broker, Redis, the API simulator and a worker, with
// jobs flowing, a host failing and coming home, and books that are kept as an outsider would keep
// them, from the topics and the API's own ledger.
package demo

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"replyworker/internal/app"
	"replyworker/internal/config"
	"replyworker/internal/devstack"
	"replyworker/internal/job"
	"replyworker/internal/kafkaio"
)

const (
	// A batch lasts about so long, unless that would be slower or faster than these rates.
	batchLasts         = 6 * time.Second
	slowest, fastest   = 5.0, 400.0
	settleTimeout      = time.Minute      // for the last outcomes of a batch
	interruptedTimeout = 10 * time.Second // the same after Ctrl-C
	pollEvery          = 50 * time.Millisecond
	enqueueTimeout     = 10 * time.Second
	controlTimeout     = 5 * time.Second
)

// Options is what a person can say about a demo.
type Options struct {
	Jobs  int
	Exit  bool      // end when all jobs have
	Input io.Reader // the person's own jobs, NDJSON, instead of made ones; nil for made ones
	Seed  uint64

	KafkaPort, RedisPort               int // 0 for free ones
	PrimaryAddr, BackupAddr, AdminAddr string

	Env      []string  // settings of the worker over the demo's own, as NAME=VALUE
	Stdout   io.Writer // outcomes of the person's own jobs
	Stderr   io.Writer
	Terminal bool // Stderr is one
	Version  string
}

// ErrBooks says that at the end something did not add up.
var ErrBooks = errors.New("the books do not balance")

// Run runs the demo until ctx ends, or with Exit until all jobs have. Its error is ErrBooks where
// something did not add up.
func Run(ctx context.Context, o Options) error {
	began := time.Now()
	stack, err := devstack.Start(devstack.Config{
		KafkaPort: o.KafkaPort, RedisPort: o.RedisPort, PrimaryAddr: o.PrimaryAddr, BackupAddr: o.BackupAddr, Seed: o.Seed,
	})
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	defer stack.Close()
	d := &demo{o: o, stack: stack, books: newBooks(began), screen: newScreen(o.Stderr, o.Terminal, began)}
	return d.run(ctx)
}

type demo struct {
	o      Options
	stack  *devstack.Stack
	books  *books
	screen *screen
	worker *app.Worker
	kafka  *kafkaio.Client

	unprinted atomic.Pointer[error] // the first failure to print an outcome
}

func (d *demo) run(ctx context.Context) error {
	faults := everydayFaults()
	if d.o.Input != nil {
		faults = quietFaults()
	}
	if err := d.stack.Sim.Set(faults...); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	if err := d.build(); err != nil {
		return err
	}
	defer d.kafka.Close()
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	var parts sync.WaitGroup
	defer parts.Wait()
	defer end()
	worked := make(chan error, 1)
	go func() { worked <- d.worker.Run(life) }()
	control, err := d.serveControl(life, &parts)
	if err != nil {
		end()
		return errors.Join(err, <-worked)
	}
	d.banner(control)
	parts.Go(func() { d.readOutcomes(life) })
	parts.Go(func() { d.readLetters(life) })
	parts.Go(func() { d.watch(life) })

	err = d.play(ctx)
	d.screen.end()
	ok := d.summary()
	if err == nil && ok && !d.o.Exit && ctx.Err() == nil && d.unprinted.Load() == nil {
		_, _ = fmt.Fprint(d.o.Stderr, "\n  Everything stays up for you to look at. Ctrl-C ends it.\n")
		<-ctx.Done()
	}
	end()
	if workErr := <-worked; err == nil {
		err = workErr
	}
	parts.Wait()
	if unprinted := d.unprinted.Load(); err == nil && unprinted != nil {
		err = *unprinted
	}
	if err == nil && !ok {
		err = ErrBooks
	}
	return err
}

// build makes the worker, configured the way everybody does it: by the environment.
func (d *demo) build() error {
	env := append(d.stack.Env(),
		"REPLYWORKER_ADMIN_ADDR="+or(d.o.AdminAddr, "127.0.0.1:0"), "REPLYWORKER_RETRY_INITIAL=200ms",
		"REPLYWORKER_REQUEST_TIMEOUT=2s", "REPLYWORKER_BREAKER_COOLDOWN=1s", "REPLYWORKER_LOG_FORMAT=console")
	cfg, err := config.Load(config.Sources{Env: append(env, d.o.Env...)})
	if err != nil {
		return err
	}
	log := app.NewLogger(cfg, d.screen, d.o.Terminal, d.o.Terminal).Level(zerolog.ErrorLevel)
	if d.worker, err = app.New(cfg, d.o.Version, log); err != nil {
		return err
	}
	d.kafka, err = app.Kafka(cfg)
	return err
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// serveControl serves the simulator's faults and ledger over HTTP, for the curious.
func (d *demo) serveControl(ctx context.Context, parts *sync.WaitGroup) (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("demo: %w", err)
	}
	server := &http.Server{Handler: d.stack.Sim.ControlHandler(), ReadHeaderTimeout: controlTimeout}
	parts.Go(func() { _ = server.Serve(l) }) // ends with Close
	parts.Go(func() {
		<-ctx.Done()
		_ = server.Close()
	})
	return "http://" + l.Addr().String(), nil
}

func (d *demo) banner(control string) {
	env := filepath.Join(filepath.Dir(d.stack.Materials.Files.Env), "demo.env")
	text := strings.Join(d.stack.Env(), "\n") + "\n"
	if err := os.WriteFile(env, []byte(text), 0o600); err != nil {
		env = ""
	}
	_, _ = fmt.Fprintf(d.o.Stderr, `
replyworker demo: everything in this process, on loopback; nothing is kept. Not for production.

  Kafka    %s   topics reply-jobs, reply-outcomes, reply-dead-letters
  Redis    %s
  API      %s (primary)  %s (backup), simulated
  Faults   %s/faults   what the simulated API does wrong; change it while it runs
  Worker   http://%s   /readyz /metrics

  look in  kcat -C -b %s -t reply-outcomes -e -f '%%k  %%s\n'
           curl http://%s/readyz
`, d.stack.Kafka.Addr(), d.stack.Redis.URL(), d.stack.Servers.PrimaryURL, d.stack.Servers.BackupURL, control,
		d.worker.AdminAddr(), d.stack.Kafka.Addr(), d.worker.AdminAddr())
	if env != "" {
		_, _ = fmt.Fprintf(d.o.Stderr, "           set -a; . %s; set +a   and then: worker job ID, worker enqueue FILE, ...\n", env)
	}
	_, _ = fmt.Fprintln(d.o.Stderr)
}

// play enqueues the jobs, lets the primary host fail on the way, and waits for the last outcome.
func (d *demo) play(ctx context.Context) error {
	publisher := kafkaio.NewPublisher(d.kafka, devstack.TopicJobs, kafkaio.DefaultMaxMessageBytes)
	defer publisher.Close()
	var err error
	if d.o.Input != nil {
		err = d.enqueueInput(ctx, publisher)
	} else {
		err = d.enqueueMade(ctx, publisher)
	}
	if removeErr := d.stack.Sim.Remove(outageName); err == nil {
		err = removeErr
	}
	if err != nil && ctx.Err() == nil {
		return err
	}
	return d.await(ctx)
}

func (d *demo) enqueueMade(ctx context.Context, p *kafkaio.Publisher) error {
	jobs := madeJobs(d.o.Jobs, d.o.Seed, time.Now())
	rate := min(max(float64(len(jobs))/batchLasts.Seconds(), slowest), fastest)
	tick := time.NewTicker(time.Duration(float64(time.Second) / rate))
	defer tick.Stop()
	down, up := int(outageBegin*float64(len(jobs))), int(outageEnd*float64(len(jobs)))
	for i, r := range jobs {
		switch i {
		case down:
			d.screen.event("the primary host goes down")
			if err := d.stack.Sim.Add(outage()); err != nil {
				return fmt.Errorf("demo: %w", err)
			}
		case up:
			d.screen.event("the primary host is up again")
			if err := d.stack.Sim.Remove(outageName); err != nil {
				return fmt.Errorf("demo: %w", err)
			}
		}
		if err := d.enqueue(ctx, p, r); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
	return nil
}

// enqueueInput sends a person's own lines as they are: one that is no valid job shows what becomes of
// such.
func (d *demo) enqueueInput(ctx context.Context, p *kafkaio.Publisher) error {
	in := bufio.NewScanner(d.o.Input)
	in.Buffer(nil, 2*job.MaxBytes)
	for in.Scan() {
		if len(strings.TrimSpace(in.Text())) == 0 {
			continue
		}
		value := append([]byte(nil), in.Bytes()...)
		r := record{value: value}
		if j, err := job.Decode(value, job.Strict); err == nil {
			r.key = j.ComplaintID
		}
		if err := d.enqueue(ctx, p, r); err != nil {
			return err
		}
	}
	if err := in.Err(); err != nil {
		return fmt.Errorf("input: %w", err)
	}
	return nil
}

func (d *demo) enqueue(ctx context.Context, p *kafkaio.Publisher, r record) error {
	m := kafkaio.Message{Partition: kafkaio.AnyPartition, Value: r.value}
	if r.key != "" {
		m.Key = []byte(r.key)
	}
	// Not cut short by Ctrl-C: nobody would know whether the job is on the topic.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), enqueueTimeout)
	defer cancel()
	if err := p.Publish(ctx, m); err != nil {
		return fmt.Errorf("enqueue: %w", err)
	}
	d.books.enqueue()
	return nil
}

// await waits until every job has its outcome, and every failed one its letter.
func (d *demo) await(ctx context.Context) error {
	timeout := settleTimeout
	if ctx.Err() != nil {
		timeout = interruptedTimeout
	}
	deadline, interrupted := time.After(timeout), ctx.Done()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		if t := d.books.totals(); t.ended() >= t.enqueued && t.letters >= t.failed {
			return nil
		}
		select {
		case <-deadline:
			return nil // the summary says what is missing
		case <-interrupted:
			if timeout == settleTimeout {
				timeout, deadline = interruptedTimeout, time.After(interruptedTimeout)
			}
			interrupted = nil // once is enough
		case <-tick.C:
		}
	}
}

func (d *demo) readOutcomes(ctx context.Context) {
	own := d.o.Input != nil
	_ = d.kafka.Tail(ctx, devstack.TopicOutcomes, func(r job.Delivery) error {
		fresh, err := d.books.outcome(r.Value)
		if err != nil || !fresh || !own {
			return err
		}
		if d.unprinted.Load() != nil {
			return nil // the books are kept all the same
		}
		if _, err := fmt.Fprintf(d.o.Stdout, "%s\n", r.Value); err != nil {
			err = fmt.Errorf("write to stdout: %w", err)
			d.unprinted.Store(&err)
		}
		return nil
	})
}

func (d *demo) readLetters(ctx context.Context) {
	_ = d.kafka.Tail(ctx, devstack.TopicDeadLetters, func(r job.Delivery) error {
		d.books.letter(&r)
		return nil
	})
}

// watch draws the live line, and tells of hosts that go out and come back.
func (d *demo) watch(ctx context.Context) {
	tick := time.NewTicker(lineEvery)
	defer tick.Stop()
	open := map[string]bool{}
	for {
		state, counts := d.worker.State()
		var hosts strings.Builder
		for _, h := range state.Hosts {
			name := h.Host.String()
			if h.Open != open[name] {
				open[name] = h.Open
				if h.Open {
					d.screen.event("the worker takes the " + name + " host out; calls go to the other one")
				} else {
					d.screen.event("the worker brings the " + name + " host back in; calls come home")
				}
			}
			hosts.WriteString("  " + name + " " + map[bool]string{false: "up", true: "OUT"}[h.Open])
		}
		t := d.books.totals()
		d.screen.live(fmt.Sprintf("enqueued %d  succeeded %d  duplicate %d  failed %d  expired %d  | in flight %d  waiting %d |%s",
			t.enqueued, t.succeeded, t.duplicate, t.failed, t.expired, counts.Running, counts.Parked+counts.Waiting, hosts.String()))
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (d *demo) summary() bool {
	effects := map[string]string{}
	for _, e := range d.stack.Sim.Effects() {
		effects[e.MchID+"/"+e.IdempotentID] = e.LogID
	}
	calls := map[string]int{}
	for host, s := range d.stack.Sim.Stats().Hosts {
		calls[string(host)] = int(s.Calls)
	}
	faults := d.books.audit(simLedger(effects))
	if refused := d.stack.Sim.Stats().Refused; len(refused) > 0 && d.o.Input == nil {
		faults = append(faults, fmt.Sprintf("the API found fault with our calls: %v", refused))
	}
	d.books.print(d.o.Stderr, calls, len(effects), faults)
	return len(faults) == 0
}

// simLedger is the simulator's effects, by merchant and idempotent id.
type simLedger map[string]string

func (l simLedger) LogID(mchid, id string) (string, bool) {
	logID, ok := l[mchid+"/"+id]
	return logID, ok
}

func (l simLedger) Len() int { return len(l) }
