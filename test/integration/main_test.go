//go:build linux

package integration_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"replyworker/test/fleet"
	"replyworker/test/servers"
)

// ground is what all tests share: the servers and the binary.
type ground struct {
	dir    string
	kafka  *servers.Kafka
	redis  *servers.Redis
	binary string
}

// shared is nil where the real servers are not asked for.
var shared *ground

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if os.Getenv("TEST_REAL") != "1" {
		return m.Run() // each test says that it is skipped
	}
	g, err := prepare()
	defer g.close()
	if err != nil {
		fmt.Fprintln(os.Stderr, "integration:", err)
		return 1
	}
	shared = g
	return m.Run()
}

// prepare starts the servers and builds the binary, side by side. What it returns is to be closed, also
// where it fails.
func prepare() (*ground, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "integration-")
	if err != nil {
		return &ground{}, err
	}
	g := &ground{dir: dir}
	var errKafka, errRedis, errBuild error
	var wg sync.WaitGroup
	wg.Go(func() {
		g.kafka, errKafka = servers.StartKafka(ctx, servers.KafkaConfig{Dir: filepath.Join(dir, "kafka"), Brokers: 3})
	})
	wg.Go(func() {
		g.redis, errRedis = servers.StartRedis(ctx, servers.RedisConfig{Dir: filepath.Join(dir, "redis")})
	})
	wg.Go(func() { g.binary, errBuild = fleet.Build(ctx, dir) })
	wg.Wait()
	return g, errors.Join(errKafka, errRedis, errBuild)
}

func (g *ground) close() {
	if g.kafka != nil {
		g.kafka.Close()
	}
	if g.redis != nil {
		g.redis.Close()
	}
	if g.dir != "" {
		_ = os.RemoveAll(g.dir) // it is in the system's folder for temporary files
	}
}
