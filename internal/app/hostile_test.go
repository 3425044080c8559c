package app_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"replyworker/internal/app"
	"replyworker/internal/config"
	"replyworker/internal/consumer"
	"replyworker/internal/devstack"
	"replyworker/internal/wxsim"
)

// hostility is one way in which a server misbehaves, and what may come of it.
type hostility struct {
	name     string
	settings map[string]string
	// early misbehaves from before the worker's start on, not only from when it has jobs in hand.
	early bool
	// begin makes the site's servers misbehave. It returns how they are made to behave again, and how
	// often they have misbehaved.
	begin func(s *site) (end func(), hits func() int64)
	// ready is what /readyz answers meanwhile, and readyText a part of what it says; 0 is anything.
	ready     int
	readyText string
	// alarmAfter is how long Kafka may refuse something before that is so; 0 is what it is in life.
	alarmAfter time.Duration
	// repeats says that outcomes may be there twice: what was answered with an error was done.
	repeats bool
	// lost is how many jobs the broker removes before they are read.
	lost int
	// restart stops the worker while the servers misbehave, and starts another when they behave again. A
	// job that was at the API when the first had to go may be sent a second time.
	restart bool
	// check looks at what else is special.
	check func(t *testing.T, s *site)
}

const (
	// Each site has so many complaints, a partition each, with so many jobs that are there when the
	// servers begin to misbehave, and so many that come while they do.
	siteComplaints, siteEarly, siteLate = 2, 3, 1

	// After settle the first attempts are over; then a site is watched for window.
	settle, window = time.Second, 2 * time.Second
	// most a site may log, ask of its servers, and take of a core, in a second of window.
	mostLines, mostRequests = 3.0, 150.0
	mostCPU                 = raceFactor * 5 * time.Millisecond
	siteDeadline            = 2 * time.Minute
)

// survive runs a worker for each row, all at the same time, while its servers misbehave and after. Each
// job must end once, with one call and one outcome, nothing may be committed before it is finished,
// and nobody may shout or spin.
func survive(t *testing.T, rows []hostility) {
	stack, err := devstack.Start(devstack.Config{Partitions: 1, Seed: 1})
	require.NoError(t, err)
	t.Cleanup(stack.Close)
	require.NoError(t, stack.Sim.Set(wxsim.Fault{Kind: wxsim.KindLatency, Delay: 100 * time.Millisecond}))

	sites := make([]*site, len(rows))
	for i := range rows {
		sites[i] = newSite(t, stack, rows[i], i)
	}
	each := func(do func(s *site)) {
		var all sync.WaitGroup
		for _, s := range sites {
			all.Go(func() { do(s) })
		}
		all.Wait()
	}
	t.Cleanup(func() { each((*site).stop) })

	began := time.Now()
	phase := func(name string) {
		t.Logf("%s: %s", name, time.Since(began).Round(time.Millisecond))
		began = time.Now()
	}
	each((*site).start)
	phase("start")
	idle := cpuOver(t.Context(), window/2)
	each((*site).misbehave)
	phase("misbehave")
	wait(t.Context(), settle)
	each(func(s *site) {
		s.give(siteLate)
		s.asked.Go(s.askReady)
		s.before = s.counts()
	})
	used := cpuOver(t.Context(), window)
	each((*site).behave)
	phase("window")
	each((*site).finish)
	phase("finish")
	each((*site).stop)
	phase("stop")

	for _, s := range sites {
		t.Run(s.row.name, s.judge)
	}
	t.Logf("%d sites: idle %s, misbehaving %s of CPU a second", len(sites), idle, used)
	require.LessOrEqual(t, used, idle+time.Duration(len(sites))*mostCPU,
		"CPU time that all workers take in a second; see which of them asked or logged the most")
}

func TestServersMisbehave(t *testing.T) { survive(t, append(redisRows(), kafkaRows()...)) }

// wait waits for d, in which something is watched that should not happen.
func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// cpuOver returns the CPU time that the process takes in a second, over d.
func cpuOver(ctx context.Context, d time.Duration) time.Duration {
	used, began := cpuTime(), time.Now()
	wait(ctx, d)
	return time.Duration(float64(cpuTime()-used) / time.Since(began).Seconds())
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // it cannot fail
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// site is a worker with a broker and a Redis of its own. What goes wrong on the way is kept for judge.
type site struct {
	row   hostility
	id    string // what its ids begin with
	stack *devstack.Stack
	broker
	redis fakeRedis

	cfg    *config.Config
	worker *app.Worker
	cancel context.CancelFunc
	done   chan error // nil while no worker runs
	log    lineLog

	ctx           context.Context //nolint:containedctx // the test's own
	given         sync.WaitGroup  // jobs on their way to the topic
	asked         sync.WaitGroup  // /readyz
	ids           []string
	end           func()
	hits          func() int64
	before, after counts
	calledThen    int           // jobs at the API when the servers began to behave
	took          time.Duration // from then to the last outcome
	readyStatus   int
	readyText     string

	mu     sync.Mutex
	faults []error
}

// counts is what a site has done so far.
type counts struct {
	at                  time.Time
	lines, kafka, redis int64
}

func (s *site) counts() counts {
	return counts{at: time.Now(), lines: s.log.lines.Load(), kafka: s.broker.requests.Load(), redis: s.redis.requests.Load()}
}

// since returns how many there were in a second.
func (c counts) since(before counts) (lines, kafka, redis float64) {
	seconds := c.at.Sub(before.at).Seconds()
	return float64(c.lines-before.lines) / seconds, float64(c.kafka-before.kafka) / seconds, float64(c.redis-before.redis) / seconds
}

func (s *site) fault(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, fmt.Errorf(format, args...))
}

func newSite(t *testing.T, stack *devstack.Stack, row hostility, n int) *site {
	t.Helper()
	s := &site{row: row, id: fmt.Sprintf("site%02d", n), stack: stack, ctx: t.Context()}
	s.broker.open(t)
	s.redis.open(t)
	env := append(stack.Env(),
		"REPLYWORKER_KAFKA_BROKERS="+s.addr, "REPLYWORKER_REDIS_URL="+s.redis.url(), "REPLYWORKER_ADMIN_ADDR=127.0.0.1:0",
		"REPLYWORKER_RETRY_INITIAL=20ms", "REPLYWORKER_RETRY_MAX=200ms",
		// A machine that is busy with other things as well must not look like a server that is slow.
		"REPLYWORKER_START_TIMEOUT=1m", "REPLYWORKER_REQUEST_TIMEOUT=30s")
	for name, value := range row.settings {
		env = append(env, name+"="+value)
	}
	var err error
	s.cfg, err = config.Load(config.Sources{Env: env})
	require.NoError(t, err)
	return s
}

// start starts the worker, and waits until a first job has ended.
func (s *site) start() {
	if s.row.early {
		s.give(siteEarly)
		s.end, s.hits = s.row.begin(s)
	}
	s.run()
	if !s.row.early {
		s.produce(0, "warm", "warm")
		s.until("the first job has ended", func() bool { return s.outcomes(s.ctx) >= 1 })
	}
}

// run starts a worker.
func (s *site) run() {
	var err error
	s.worker, err = app.New(s.cfg, "test", zerolog.New(&s.log).Level(zerolog.InfoLevel).With().Timestamp().Logger())
	if err != nil {
		s.fault("new worker: %w", err)
		return
	}
	if s.row.alarmAfter > 0 {
		s.worker.AlarmAfter(s.row.alarmAfter)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.ctx))
	done := make(chan error, 1)
	s.cancel, s.done = cancel, done
	go func() { done <- s.worker.Run(ctx) }()
}

// stop stops the worker, if there is one.
func (s *site) stop() {
	if s.done == nil {
		return
	}
	s.cancel()
	select {
	case err := <-s.done:
		if err != nil && !(s.row.restart && errors.Is(err, consumer.ErrCutOff)) {
			s.fault("the worker's own end: %w", err)
		}
	case <-time.After(30 * time.Second):
		s.fault("the worker does not stop")
	}
	s.done = nil
}

// misbehave gives jobs and, when the first of them are at the API, makes the servers misbehave.
func (s *site) misbehave() {
	if s.row.early {
		return
	}
	s.give(siteEarly)
	s.until("jobs are at the API", func() bool { return s.called() > 1 })
	s.end, s.hits = s.row.begin(s)
}

// behave makes the servers behave again, after a last look.
func (s *site) behave() {
	s.after = s.counts()
	s.until("a request that is answered wrongly", func() bool { return s.hits() > 0 })
	s.calledThen = s.called()
	s.asked.Wait()
	if s.row.restart {
		s.stop()
	}
	s.end()
	if s.row.restart {
		s.run()
	}
}

// give produces n jobs of each complaint, in order, without waiting for the broker.
func (s *site) give(n int) {
	for c := range siteComplaints {
		for range n {
			s.produce(int32(c), fmt.Sprintf("c%d", c), fmt.Sprintf("%02d", len(s.ids)))
		}
	}
}

func (s *site) produce(partition int32, complaint, id string) {
	id = s.id + "-" + id
	s.ids = append(s.ids, id)
	s.given.Add(1)
	s.client.Produce(s.ctx, &kgo.Record{
		Topic: devstack.TopicJobs, Partition: partition, Key: []byte(complaint),
		Value: jobValue(s.id+"-"+complaint, id, "hello", nil),
	}, func(_ *kgo.Record, err error) {
		defer s.given.Done()
		if err != nil {
			s.fault("job %s could not be given: %w", id, err)
		}
	})
}

// called returns how many of the site's calls the API has answered or holds.
func (s *site) called() int {
	n := 0
	for _, id := range s.ids {
		if _, taken := s.stack.Sim.Effect(s.stack.Materials.MchID, id); taken {
			n++
		}
	}
	return n
}

// until waits for a condition.
func (s *site) until(what string, cond func() bool) {
	deadline := time.Now().Add(siteDeadline)
	for !cond() {
		if time.Now().After(deadline) || s.ctx.Err() != nil {
			s.fault("not reached: %s", what)
			return
		}
		wait(s.ctx, 20*time.Millisecond)
	}
}

// askReady asks /readyz until it says what it should, for a while.
func (s *site) askReady() {
	for deadline := time.Now().Add(siteDeadline); ; wait(s.ctx, 100*time.Millisecond) {
		s.readyStatus, s.readyText = s.get("/readyz")
		if (s.row.ready == 0 || s.row.ready == s.readyStatus && strings.Contains(s.readyText, s.row.readyText)) || time.Now().After(deadline) {
			return
		}
	}
}

// get asks the admin server.
func (s *site) get(path string) (status int, text string) {
	ctx, cancel := context.WithTimeout(s.ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.worker.AdminAddr()+path, nil)
	if err != nil {
		return 0, err.Error()
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body) // what there is of it
	return resp.StatusCode, string(body)
}

// finish waits until every job has ended.
func (s *site) finish() {
	began := time.Now()
	defer func() { s.took = time.Since(began) }()
	s.given.Wait()
	s.until("an outcome for each job", func() bool { return s.outcomes(s.ctx) >= int64(len(s.ids)-s.row.lost) })
	s.until("all is committed", func() bool { return s.committed(s.ctx) == int64(len(s.ids)) })
}
