//go:build linux

// Package stage is what a measurement runs on: a real Kafka and a real Redis, APIs that cost nothing, workers
// and others as processes, and topics that are new for each run.
package stage

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"replyworker/bench/internal/api"
	"replyworker/bench/internal/jobs"
	"replyworker/bench/internal/process"
	"replyworker/internal/wxsim"
	"replyworker/test/servers"
)

// Config is what a stage is made of.
type Config struct {
	// Dir takes data and logs. The caller removes it.
	Dir string
	// Top is the folder of the product's module.
	Top string
	// Program is this program, which is the API and the bare client too.
	Program string
	// Worker is the worker's program; empty builds it from Top.
	Worker string
	// Say is told of what takes long.
	Say io.Writer
}

// Stage is what is shared by all measurements. One goroutine at a time makes runs. Close it.
type Stage struct {
	cfg    Config
	kafka  *servers.Kafka
	redis  *servers.Redis
	keys   *wxsim.Materials
	client *kgo.Client
	runs   int
	logs   *os.File
	apis   []*API

	peersBuilt bool
}

// API is one process that is the API.
type API struct {
	api.Client
	*process.Child
}

// apiPatience is for the keys that the first API makes, and for a busy machine.
const apiPatience = time.Minute

// New starts the servers.
func New(ctx context.Context, cfg Config) (s *Stage, err error) {
	s = &Stage{cfg: cfg}
	defer func() {
		if err != nil {
			s.Close()
			s = nil
		}
	}()
	if s.logs, err = os.Create(filepath.Join(cfg.Dir, "processes.log")); err != nil {
		return s, fmt.Errorf("stage: %w", err)
	}
	if s.cfg.Worker == "" {
		if s.cfg.Worker, err = build(ctx, cfg); err != nil {
			return s, err
		}
	}
	s.Say("keys, Kafka and Redis")
	if s.keys, err = wxsim.Prepare(s.keyDir(), wxsim.Params{}); err != nil {
		return s, fmt.Errorf("stage: %w", err)
	}
	if s.kafka, err = servers.StartKafka(ctx, servers.KafkaConfig{Dir: filepath.Join(cfg.Dir, "kafka")}); err != nil {
		return s, fmt.Errorf("stage: %w", err)
	}
	if s.redis, err = servers.StartRedis(ctx, servers.RedisConfig{Dir: filepath.Join(cfg.Dir, "redis")}); err != nil {
		return s, fmt.Errorf("stage: %w", err)
	}
	s.client, err = kgo.NewClient(
		kgo.SeedBrokers(s.kafka.Addrs()...), kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)),
		kgo.MaxBufferedRecords(50_000), kgo.MetadataMinAge(100*time.Millisecond), kgo.UnknownTopicRetries(-1),
	)
	if err != nil {
		return s, fmt.Errorf("stage: %w", err)
	}
	return s, nil
}

// build builds the worker as users do.
func build(ctx context.Context, cfg Config) (string, error) {
	fmt.Fprintln(cfg.Say, "building the worker") //nolint:errcheck // For people.
	program := filepath.Join(cfg.Dir, "worker")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", program, "./cmd/worker") //nolint:gosec // Our own paths.
	cmd.Dir = cfg.Top
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS="+os.Getenv("GOFLAGS")+" -buildvcs=false")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the worker: %w: %s", err, out)
	}
	return program, nil
}

// Say tells people what is going on.
func (s *Stage) Say(format string, args ...any) {
	fmt.Fprintf(s.cfg.Say, time.Now().Format("15:04:05 ")+format+"\n", args...) //nolint:errcheck // For people.
}

func (s *Stage) keyDir() string { return filepath.Join(s.cfg.Dir, "keys") }

// Close ends everything.
func (s *Stage) Close() {
	for _, a := range s.apis {
		if a != nil {
			a.Kill()
		}
	}
	if s.client != nil {
		s.client.Close()
	}
	if s.redis != nil {
		s.redis.Close()
	}
	if s.kafka != nil {
		s.kafka.Close()
	}
	if s.logs != nil {
		_ = s.logs.Close() // Written by the processes themselves.
	}
}

// API returns an API that runs, the i-th from 0. It is started where there is none yet, or no more.
func (s *Stage) API(i int) (*API, error) {
	for len(s.apis) <= i {
		s.apis = append(s.apis, nil)
	}
	if a := s.apis[i]; a != nil && a.Running() {
		return a, nil
	}
	child, err := process.Start("api", nil, s.logs, s.cfg.Program, "api", "-dir", s.keyDir())
	if err != nil {
		return nil, err
	}
	at, err := child.FirstLine(apiPatience)
	if err != nil {
		child.Kill()
		return nil, err
	}
	s.apis[i] = &API{api.Client{URL: at}, child}
	return s.apis[i], nil
}

// Bare starts a bare client on all jobs of a batch.
func (s *Stage) Bare(a *API, b jobs.Batch, concurrency int) (*process.Child, error) {
	return process.Start("bare client", nil, s.logs, s.cfg.Program, "bare", "-dir", s.keyDir(), "-url", a.URL,
		"-run", fmt.Sprint(b.Run), "-jobs", fmt.Sprint(b.Jobs), "-complaints", fmt.Sprint(b.Complaints),
		"-concurrency", fmt.Sprint(concurrency))
}

// ServerPIDs are Kafka's and Redis' processes.
func (s *Stage) ServerPIDs() map[string]int {
	return map[string]int{"kafka": s.kafka.PID(0), "redis": s.redis.PID(0)}
}

func (s *Stage) admin() *kadm.Client { return kadm.NewClient(s.client) }

// FlushRedis forgets all claims.
func (s *Stage) FlushRedis(ctx context.Context) error { return s.redis.FlushAll(ctx) } //nolint:wrapcheck // It says which.
