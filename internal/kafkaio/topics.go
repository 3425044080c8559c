package kafkaio

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
)

// DefaultMaxMessageBytes is the broker's own default of max.message.bytes.
const DefaultMaxMessageBytes = 1_048_588

// MissingTopicsError says which topics do not exist.
type MissingTopicsError struct{ Topics []string }

func (e *MissingTopicsError) Error() string {
	return "kafka: no topic " + strings.Join(e.Topics, ", ") + " (make it with: worker topics create)"
}

// Partitions returns the number of partitions of each of the topics. Topics that do not exist are a
// *MissingTopicsError.
func (c *Client) Partitions(ctx context.Context, topics ...string) (map[string]int, error) {
	res, err := c.client.Metadata(ctx, &kafka.MetadataRequest{Topics: topics})
	if err != nil {
		return nil, fmt.Errorf("kafka metadata: %w", terse(err))
	}
	found := map[string]int{}
	for _, t := range res.Topics {
		switch {
		case t.Error == nil:
			found[t.Name] = len(t.Partitions)
		case !errors.Is(t.Error, kafka.UnknownTopicOrPartition):
			return nil, fmt.Errorf("kafka metadata of topic %s: %w", t.Name, t.Error)
		}
	}
	var missing []string
	for _, name := range topics {
		if found[name] == 0 {
			missing = append(missing, name)
		}
	}
	if missing != nil {
		return nil, &MissingTopicsError{Topics: missing}
	}
	return found, nil
}

// Topic is a topic to be made.
type Topic struct {
	Name       string
	Partitions int
	Replicas   int // -1 for the broker's default
	Config     map[string]string
}

// CreateTopics makes the topics that do not exist, and returns the names of those it made, sorted.
func (c *Client) CreateTopics(ctx context.Context, topics ...Topic) ([]string, error) {
	req := &kafka.CreateTopicsRequest{}
	for _, t := range topics {
		tc := kafka.TopicConfig{Topic: t.Name, NumPartitions: t.Partitions, ReplicationFactor: t.Replicas}
		for k, v := range t.Config {
			tc.ConfigEntries = append(tc.ConfigEntries, kafka.ConfigEntry{ConfigName: k, ConfigValue: v})
		}
		req.Topics = append(req.Topics, tc)
	}
	res, err := c.client.CreateTopics(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("create topics: %w", terse(err))
	}
	var made []string
	var faults []error
	for name, err := range res.Errors {
		switch {
		case err == nil:
			made = append(made, name)
		case !errors.Is(err, kafka.TopicAlreadyExists):
			faults = append(faults, fmt.Errorf("create topic %s: %w", name, err))
		}
	}
	sort.Strings(made)
	return made, errors.Join(faults...)
}

// MaxMessageBytes returns the topic's max.message.bytes, the broker's default where it cannot be
// read (the right to read a topic's configuration is often kept from clients).
func (c *Client) MaxMessageBytes(ctx context.Context, topic string) int {
	const name = "max.message.bytes"
	config, err := c.TopicConfig(ctx, topic, name)
	if err != nil {
		return DefaultMaxMessageBytes
	}
	if n, err := strconv.Atoi(config[name]); err == nil && n > 0 {
		return n
	}
	return DefaultMaxMessageBytes
}

// TopicConfig reads settings of a topic: those of the names that the broker knows, with the value
// that takes effect.
func (c *Client) TopicConfig(ctx context.Context, topic string, names ...string) (map[string]string, error) {
	res, err := c.client.DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{
		Resources: []kafka.DescribeConfigRequestResource{{
			ResourceType: kafka.ResourceTypeTopic, ResourceName: topic, ConfigNames: names,
		}},
	})
	if err != nil {
		return nil, fmt.Errorf("read configuration of topic %s: %w", topic, terse(err))
	}
	config := map[string]string{}
	for _, r := range res.Resources {
		if r.Error != nil {
			return nil, fmt.Errorf("read configuration of topic %s: %w", topic, r.Error)
		}
		for _, e := range r.ConfigEntries {
			config[e.ConfigName] = e.ConfigValue
		}
	}
	return config, nil
}

// WaitForTopics asks for the topics until they are there, a broker answers that one is not, or ctx
// ends. Its error says what to look at.
func (c *Client) WaitForTopics(ctx context.Context, topics ...string) (map[string]int, error) {
	for {
		partitions, err := c.Partitions(ctx, topics...)
		var missing *MissingTopicsError
		if err == nil || errors.As(err, &missing) {
			return partitions, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("kafka at %s does not answer: %w", strings.Join(c.brokers, ","), err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}
