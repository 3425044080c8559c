//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"replyworker/internal/wxsim"
	"replyworker/test/fleet"
	"replyworker/test/judge"
	"replyworker/test/netfault"
	"replyworker/test/servers"
)

const (
	topicJobs    = "reply-jobs"
	topicResults = "reply-outcomes"
	topicLetters = "reply-dead-letters"
	topicMarks   = "reply-resolutions"
	group        = "replyworker"
	partitions   = 12
	redisPrefix  = "replyworker"

	sessionTimeout = 6 * time.Second
	claimLease     = 4 * time.Second
)

// arena is all that a run needs: three brokers, a Redis with Sentinel, the simulated API, a proxy
// before each, and the workers. Close it.
type arena struct {
	dir     string
	kafka   *servers.Kafka
	redis   *servers.Redis
	sim     *wxsim.Sim
	workers []*fleet.Worker
	topics  judge.Topics

	brokers, stores, hosts []*netfault.Proxy

	losses []judge.Span // Of the Redis lane alone.
}

// newArena starts everything but the workers.
func newArena(ctx context.Context, dir string) (a *arena, err error) {
	a = &arena{dir: dir}
	defer func() {
		if err != nil {
			a.close()
		}
	}()
	a.kafka, err = servers.StartKafka(ctx, servers.KafkaConfig{
		Dir: filepath.Join(dir, "kafka"), Brokers: 3, Proxy: a.proxy(&a.brokers),
	})
	if err != nil {
		return a, fmt.Errorf("kafka: %w", err)
	}
	a.redis, err = servers.StartRedis(ctx, servers.RedisConfig{
		Dir: filepath.Join(dir, "redis"), Mode: servers.Sentinel, Secure: true, Proxy: a.proxy(&a.stores),
	})
	if err != nil {
		return a, fmt.Errorf("redis: %w", err)
	}
	return a, a.createTopics(ctx)
}

// proxy returns what puts a proxy before an address, and keeps it in the list.
func (a *arena) proxy(list *[]*netfault.Proxy) func(name, upstream string) (string, error) {
	return func(_, upstream string) (string, error) {
		p, err := netfault.Listen(upstream)
		if err != nil {
			return "", err
		}
		*list = append(*list, p)
		return p.Addr(), nil
	}
}

func (a *arena) createTopics(ctx context.Context) error {
	connect := []kgo.Opt{kgo.SeedBrokers(a.kafka.Addrs()...)}
	client, err := kgo.NewClient(connect...)
	if err != nil {
		return fmt.Errorf("admin client: %w", err)
	}
	a.topics = judge.Topics{
		Client: client, Connect: connect, Jobs: topicJobs, Outcomes: topicResults, Letters: topicLetters, Group: group,
	}
	two := "2"
	made, err := kadm.NewClient(client).CreateTopics(ctx, partitions, 3, map[string]*string{"min.insync.replicas": &two},
		topicJobs, topicResults, topicLetters, topicMarks)
	if err != nil {
		return fmt.Errorf("create topics: %w", err)
	}
	return made.Error() //nolint:wrapcheck // It names the topic.
}

// startAPI starts the simulator behind proxies and returns the settings that a worker needs for it.
func (a *arena) startAPI(seed uint64) ([]string, error) {
	api, err := fleet.StartAPI(fleet.APIConfig{Dir: filepath.Join(a.dir, "api"), Seed: seed, Proxy: a.proxy(&a.hosts)})
	if err != nil {
		return nil, err
	}
	a.sim = api.Sim
	return api.Settings, nil
}

// startWorkers starts n workers and waits until each is ready.
func (a *arena) startWorkers(ctx context.Context, binary string, n int, seed uint64) error {
	env, err := a.startAPI(seed)
	if err != nil {
		return err
	}
	env = append(env, a.redis.Settings()...)
	env = append(env, "REPLYWORKER_KAFKA_BROKERS="+strings.Join(a.kafka.ProxiedAddrs(), ","),
		"REPLYWORKER_KAFKA_SESSION_TIMEOUT="+sessionTimeout.String(), "REPLYWORKER_CLAIM_LEASE="+claimLease.String(),
		"REPLYWORKER_REQUEST_TIMEOUT=2s", "REPLYWORKER_DRAIN_TIMEOUT=5s", "REPLYWORKER_RETRY_INITIAL=100ms",
		"REPLYWORKER_RETRY_MAX=3s", "REPLYWORKER_BREAKER_COOLDOWN=500ms", "REPLYWORKER_LOG_FORMAT=json",
		"REPLYWORKER_START_TIMEOUT=1m")
	for i := range n {
		w, err := fleet.New(binary, a.dir, i, env)
		if err != nil {
			return err
		}
		a.workers = append(a.workers, w)
		if err := w.Start(); err != nil {
			return err
		}
	}
	for i, w := range a.workers {
		if err := w.Ready(ctx); err != nil {
			return fmt.Errorf("worker %d: %w", i, err)
		}
	}
	return nil
}

// heal ends what may be left of any trouble.
func (a *arena) heal(ctx context.Context) error {
	for _, list := range [][]*netfault.Proxy{a.brokers, a.stores, a.hosts} {
		for _, p := range list {
			p.Set(netfault.Pass, 0)
		}
	}
	if err := a.sim.Clear(); err != nil {
		return fmt.Errorf("api: %w", err)
	}
	return errors.Join(a.kafka.Ready(ctx), a.crashed())
}

// crashed says which workers are gone although nobody ended them.
func (a *arena) crashed() error {
	var faults []error
	for i, w := range a.workers {
		w.Lock()
		if !w.Running() {
			faults = append(faults, fmt.Errorf("worker %d ended by itself: %w", i, w.Exit()))
		}
		w.Unlock()
	}
	return errors.Join(faults...)
}

func (a *arena) close() {
	for _, w := range a.workers {
		w.Close()
	}
	if a.sim != nil {
		_ = a.sim.Close() // It has nothing to say.
	}
	for _, list := range [][]*netfault.Proxy{a.brokers, a.stores, a.hosts} {
		for _, p := range list {
			p.Close()
		}
	}
	if a.topics.Client != nil {
		a.topics.Client.Close()
	}
	if a.redis != nil {
		a.redis.Close()
	}
	if a.kafka != nil {
		a.kafka.Close()
	}
}

// logs returns the files with what the workers said.
func (a *arena) logs() []string {
	var names []string
	for _, w := range a.workers {
		names = append(names, w.Log())
	}
	return names
}

// secrets are texts that must stand in nothing that a worker says.
func (a *arena) secrets() ([]string, error) {
	found := []string{planted, "PLANTED-CUSTOM-DATA", "BEGIN PRIVATE KEY", "BEGIN RSA PRIVATE KEY"}
	for _, line := range a.redis.Settings() {
		if file, ok := strings.CutPrefix(line, "REPLYWORKER_REDIS_PASSWORD_FILE="); ok {
			text, err := os.ReadFile(file)
			if err != nil {
				return nil, fmt.Errorf("redis password: %w", err)
			}
			found = append(found, strings.TrimSpace(string(text)))
		}
	}
	return found, nil
}
