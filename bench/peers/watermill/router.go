package main

import (
	"fmt"
	"time"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"

	"replyworker/bench/peers/signedcall"
)

// partitionKey is the metadata that the publisher takes the record's key from.
const partitionKey = "partition"

// dedupeWindow is how long a job's id is remembered: Watermill's own default.
const dedupeWindow = time.Minute

// kafkaVersion is the protocol that sarama speaks. Watermill's default, 1.0, is of before what Kafka 4 still
// understands (KIP-896: 2.1).
var kafkaVersion = sarama.V2_1_0_0

func newRouter(s signedcall.Settings, client *signedcall.Client, logger watermill.LoggerAdapter) (*message.Router, error) {
	subscriber, err := newSubscriber(s, logger)
	if err != nil {
		return nil, fmt.Errorf("subscriber: %w", err)
	}
	publisher, err := newPublisher(s, logger)
	if err != nil {
		return nil, fmt.Errorf("publisher: %w", err)
	}
	router, err := message.NewRouter(message.RouterConfig{}, logger)
	if err != nil {
		return nil, fmt.Errorf("router: %w", err)
	}
	chain, err := middlewares(s, &deadLetters{Publisher: publisher, outcomes: s.Outcomes})
	if err != nil {
		return nil, err
	}
	router.AddMiddleware(chain...)
	router.AddHandler("reply", s.Topic, subscriber, s.Outcomes, publisher, func(msg *message.Message) ([]*message.Message, error) {
		return reply(client, msg)
	})
	return router, nil
}

// middlewares are run from the first to the last. PoisonQueue stands outside, so that it gets what the
// retries have given up. The Deduplicator stands outside Retry: it enters an id before the handler runs, so
// that inside it would take the second attempt for a duplicate and drop the job. Permanent errors leave from
// within Retry: its ShouldRetry would do, but it advances the backoff each time that it is asked.
func middlewares(s signedcall.Settings, dead message.Publisher) ([]message.HandlerMiddleware, error) {
	exhausted, err := middleware.PoisonQueue(dead, s.Dead)
	if err != nil {
		return nil, fmt.Errorf("poison queue: %w", err)
	}
	refused, err := middleware.PoisonQueueWithFilter(dead, s.Dead, signedcall.IsPermanent)
	if err != nil {
		return nil, fmt.Errorf("poison queue: %w", err)
	}
	seen, err := middleware.NewMapExpiringKeyRepository(dedupeWindow)
	if err != nil {
		return nil, fmt.Errorf("deduplicator: %w", err)
	}
	deduplicator := middleware.Deduplicator{KeyFactory: idempotentID, Repository: seen, Timeout: time.Second}
	retry := middleware.Retry{
		MaxRetries: s.Attempts - 1, InitialInterval: s.RetryInitial, MaxInterval: s.RetryMax,
		Multiplier: 2, RandomizationFactor: 0.5,
	}
	return []message.HandlerMiddleware{
		exhausted, deduplicator.Middleware, retry.Middleware, refused, middleware.Recoverer,
	}, nil
}

// idempotentID is what the Deduplicator goes by. Of a job that cannot be read it is the message's own id, so
// that the handler says what is wrong.
func idempotentID(msg *message.Message) (string, error) {
	job, err := signedcall.ParseJob(msg.Payload)
	if err != nil {
		return "message " + msg.UUID, nil //nolint:nilerr // the handler reports it
	}
	return job.IdempotentID, nil
}

func reply(client *signedcall.Client, msg *message.Message) ([]*message.Message, error) {
	job, err := signedcall.ParseJob(msg.Payload)
	if err != nil {
		return nil, err
	}
	logID, err := client.Send(msg.Context(), job)
	if err != nil {
		return nil, err
	}
	return []*message.Message{outcome(job.IdempotentID, job.Succeeded(logID))}, nil
}

func outcome(key string, value []byte) *message.Message {
	msg := message.NewMessage(watermill.NewUUID(), value)
	msg.Metadata.Set(partitionKey, key)
	return msg
}

// deadLetters publishes a failed outcome beside each dead letter, so that every job has one outcome.
type deadLetters struct {
	message.Publisher
	outcomes string
}

// Publish writes the dead letters, then their outcomes.
func (d *deadLetters) Publish(topic string, msgs ...*message.Message) error {
	if err := d.Publisher.Publish(topic, msgs...); err != nil {
		return err
	}
	for _, msg := range msgs {
		value := signedcall.FailedOutcome(msg.Payload, msg.Metadata.Get(middleware.ReasonForPoisonedKey))
		job, _ := signedcall.ParseJob(msg.Payload) // A job that cannot be read has no key.
		if err := d.Publisher.Publish(d.outcomes, outcome(job.IdempotentID, value)); err != nil {
			return err
		}
	}
	return nil
}

func newSubscriber(s signedcall.Settings, logger watermill.LoggerAdapter) (*kafka.Subscriber, error) {
	cfg := kafka.DefaultSaramaSubscriberConfig()
	cfg.Version = kafkaVersion
	cfg.Consumer.Offsets.Initial = sarama.OffsetOldest
	return kafka.NewSubscriber(kafka.SubscriberConfig{
		Brokers: s.Brokers, ConsumerGroup: s.Group, Unmarshaler: kafka.DefaultMarshaler{}, OverwriteSaramaConfig: cfg,
	}, logger)
}

// newPublisher has the defaults but for acks: of all replicas, as the other peers and replyworker ask for.
func newPublisher(s signedcall.Settings, logger watermill.LoggerAdapter) (*kafka.Publisher, error) {
	cfg := kafka.DefaultSaramaSyncPublisherConfig()
	cfg.Version = kafkaVersion
	cfg.Producer.RequiredAcks = sarama.WaitForAll
	return kafka.NewPublisher(kafka.PublisherConfig{
		Brokers: s.Brokers, OverwriteSaramaConfig: cfg,
		Marshaler: kafka.NewWithPartitioningMarshaler(func(_ string, msg *message.Message) (string, error) {
			return msg.Metadata.Get(partitionKey), nil
		}),
	}, logger)
}
