// Package devstack is a Kafka broker and a Redis inside the process, for the demo and for tests.
// Nothing in it survives the process.
package devstack

import (
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/twmb/franz-go/pkg/kfake"
)

// Kafka is an embedded broker. Close it.
type Kafka struct {
	cluster *kfake.Cluster
	addr    string
	once    sync.Once
}

// KafkaConfig sets an embedded broker up.
type KafkaConfig struct {
	// Port on loopback, 0 for a free one.
	Port int
	// Topics are made at the start, each with its number of partitions.
	Topics map[string]int
}

// StartKafka starts one broker.
func StartKafka(cfg KafkaConfig) (*Kafka, error) {
	opts := []kfake.Opt{
		kfake.NumBrokers(1),
		kfake.GroupMinSessionTimeout(100 * time.Millisecond),
	}
	if cfg.Port != 0 {
		opts = append(opts, kfake.Ports(cfg.Port))
	}
	for topic, partitions := range cfg.Topics {
		opts = append(opts, kfake.SeedTopics(int32(partitions), topic)) //nolint:gosec // A few.
	}
	cluster, err := kfake.NewCluster(opts...)
	if err != nil {
		return nil, fmt.Errorf("embedded kafka: %w", err)
	}
	return &Kafka{cluster: cluster, addr: cluster.ListenAddrs()[0]}, nil
}

// Addr returns the broker's address.
func (k *Kafka) Addr() string { return k.addr }

// Cluster returns the fake cluster, for tests that interfere with requests.
func (k *Kafka) Cluster() *kfake.Cluster { return k.cluster }

// Close stops the broker, once.
func (k *Kafka) Close() { k.once.Do(k.cluster.Close) }

// expiryTick is how often keys are let expire. The library's own way looks at every key with every
// command.
const expiryTick = time.Second

// Redis is an embedded Redis. Close it.
type Redis struct {
	mini *miniredis.Miniredis
	stop chan struct{}
	done sync.WaitGroup
}

// StartRedis starts a Redis on a loopback port, 0 for a free one.
func StartRedis(port int) (*Redis, error) {
	r := &Redis{mini: miniredis.NewMiniRedis(), stop: make(chan struct{})}
	if err := r.mini.StartAddr(net.JoinHostPort("127.0.0.1", fmt.Sprint(port))); err != nil {
		return nil, fmt.Errorf("embedded redis: %w", err)
	}
	r.done.Go(r.expire)
	return r, nil
}

func (r *Redis) expire() {
	tick := time.NewTicker(expiryTick)
	defer tick.Stop()
	for last := time.Now(); ; {
		select {
		case <-r.stop:
			return
		case now := <-tick.C:
			r.mini.FastForward(now.Sub(last))
			last = now
		}
	}
}

// URL returns the address as a redis-url.
func (r *Redis) URL() string { return "redis://" + r.mini.Addr() + "/0" }

// Mini returns the embedded server, for tests that interfere with it.
func (r *Redis) Mini() *miniredis.Miniredis { return r.mini }

// Close stops the server.
func (r *Redis) Close() {
	close(r.stop)
	r.done.Wait()
	r.mini.Close()
}
