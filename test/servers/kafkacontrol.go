package servers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// pollInterval is how often a server that starts is asked whether it serves.
const pollInterval = 100 * time.Millisecond

// askTimeout is how long one such question may take: a server that starts may take a connection and
// not answer yet.
const askTimeout = 2 * time.Second

// poll asks until it is told nil. When ctx ends, the error is the last answer.
func poll(ctx context.Context, ask func(ctx context.Context) error) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		once, cancel := context.WithTimeout(ctx, askTimeout)
		err := ask(once)
		cancel()
		var gone *goneError
		if err == nil || errors.As(err, &gone) {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	}
}

// goneError says that a server has ended, so that there is nothing to wait for.
type goneError struct{ err error }

func (e *goneError) Error() string { return e.err.Error() }
func (e *goneError) Unwrap() error { return e.err }

func (k *Kafka) broker(i int) (*broker, error) {
	if i < 0 || i >= len(k.brokers) {
		return nil, fmt.Errorf("kafka has no broker %d", i)
	}
	return k.brokers[i], nil
}

// Kill ends broker i, from 0, at once, as a power failure does, and returns when it is gone. It is an
// error where the broker does not run.
func (k *Kafka) Kill(i int) error {
	b, err := k.broker(i)
	if err != nil {
		return err
	}
	return b.process.kill()
}

// Stop ends broker i in good order: it hands its partitions over first. A broker that still runs when
// ctx ends is killed, which is an error: without a majority of the others it can wait for minutes.
func (k *Kafka) Stop(ctx context.Context, i int) error {
	b, err := k.broker(i)
	if err != nil {
		return err
	}
	return b.process.stop(ctx)
}

// Start starts broker i again, with its data and its addresses, and returns when it serves. Where fewer
// than a majority of the brokers run, none can serve, and Start returns once the process is there.
func (k *Kafka) Start(ctx context.Context, i int) error {
	b, err := k.broker(i)
	if err != nil {
		return err
	}
	if err := b.process.start(); err != nil {
		return err
	}
	if len(k.up()) <= len(k.brokers)/2 {
		return nil
	}
	return poll(ctx, func(ctx context.Context) error { return b.knows(ctx, []*broker{b}) })
}

// PID returns the process of broker i, or 0 where it does not run.
func (k *Kafka) PID(i int) int {
	b, err := k.broker(i)
	if err != nil {
		return 0
	}
	return b.process.pid()
}

// up returns the brokers whose process runs.
func (k *Kafka) up() []*broker {
	return slices.DeleteFunc(slices.Clone(k.brokers), func(b *broker) bool { return b.process.pid() == 0 })
}

// Ready returns when every broker that runs serves and knows every other that runs. It fails where
// none runs, where one ends meanwhile, and when ctx ends.
func (k *Kafka) Ready(ctx context.Context) error {
	up := k.up()
	if len(up) == 0 {
		if len(k.brokers) > 0 {
			if err := k.brokers[0].process.exited(); err != nil {
				return err
			}
		}
		return errors.New("no broker runs")
	}
	return poll(ctx, func(ctx context.Context) error {
		for _, b := range up {
			if err := b.knows(ctx, up); err != nil {
				return err
			}
		}
		return nil
	})
}

// InSync returns when every partition of every topic has all its replicas in sync, so that the next
// broker may be taken away without a pause in writing. It fails when ctx ends.
func (k *Kafka) InSync(ctx context.Context) error {
	return poll(ctx, func(ctx context.Context) error {
		for _, b := range k.up() {
			answer, err := b.metadata(ctx)
			if err != nil {
				return err
			}
			for _, t := range answer.Topics {
				for _, p := range t.Partitions {
					if len(p.ISR) < len(p.Replicas) {
						return fmt.Errorf("%s: partition %d of %s is in sync on %v of %v only",
							b.process.name, p.Partition, *t.Topic, p.ISR, p.Replicas)
					}
				}
			}
		}
		return nil
	})
}

// knows asks a broker whether it serves and has these others among its cluster.
func (b *broker) knows(ctx context.Context, others []*broker) error {
	answer, err := b.metadata(ctx)
	if err != nil {
		return err
	}
	for _, other := range others {
		listed := slices.ContainsFunc(answer.Brokers, func(known kmsg.MetadataResponseBroker) bool {
			return int(known.NodeID) == other.id
		})
		if !listed {
			return fmt.Errorf("%s does not know %s yet", b.process.name, other.process.name)
		}
	}
	return nil
}

// metadata asks this very broker.
func (b *broker) metadata(ctx context.Context) (*kmsg.MetadataResponse, error) {
	if err := b.process.exited(); err != nil {
		return nil, &goneError{err}
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(b.addr(plain)), kgo.DialTimeout(askTimeout), kgo.RequestRetries(0))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", b.process.name, err)
	}
	defer client.Close()
	seed := client.SeedBrokers()[0]
	answer, err := seed.Request(ctx, kmsg.NewPtrMetadataRequest())
	if err != nil {
		return nil, fmt.Errorf("%s does not answer: %w", b.process.name, err)
	}
	metadata, ok := answer.(*kmsg.MetadataResponse)
	if !ok {
		return nil, fmt.Errorf("%s answers with a %T", b.process.name, answer)
	}
	return metadata, nil
}

// Close kills all brokers and returns when they are gone. Their folder stays. It may be called twice.
func (k *Kafka) Close() {
	k.closing.Do(func() {
		for _, b := range k.brokers {
			if b.process != nil {
				b.process.kill() //nolint:errcheck // it has ended by itself
			}
		}
		k.ports.free()
	})
}
