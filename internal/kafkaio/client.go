package kafkaio

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"
)

const (
	dialTimeout = 5 * time.Second
	// requestTimeout bounds a request. kafka-go tells the brokers half of it as the time that they may
	// take, above all to replicate what is published; without it, half a second, after which they say
	// that a record they have taken timed out, and it is published again.
	requestTimeout = 10 * time.Second
	clientID       = "replyworker"
	// metadataTTL is how stale the picture of topics and leaders may be: after a broker's failure
	// requests go astray for so long at most.
	metadataTTL = 2 * time.Second
)

// Config says how brokers are reached.
type Config struct {
	Brokers []string
	TLS     *tls.Config // nil for plain text
	// SASLMechanism is "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512" or empty for none.
	SASLMechanism string
	SASLUsername  string
	SASLPassword  string
}

// Client holds the connections to a Kafka cluster. It is safe for concurrent use.
type Client struct {
	brokers   []string
	addr      net.Addr
	dialer    *kafka.Dialer
	transport *kafka.Transport
	client    *kafka.Client
	fetches   atomic.Int32 // so far: the correlation ids of fetch requests
	asked     atomic.Int32 // so far: those of requests for the cluster
}

// NewClient makes a client. It does not connect.
func NewClient(cfg Config) (*Client, error) {
	if len(cfg.Brokers) == 0 {
		return nil, errors.New("kafka: no brokers are given")
	}
	mechanism, err := saslMechanism(cfg)
	if err != nil {
		return nil, err
	}
	wires := newWireDialer(cfg.TLS)
	transport := &kafka.Transport{
		Dial: wires.dial, DialTimeout: dialTimeout, ClientID: clientID, SASL: mechanism, MetadataTTL: metadataTTL,
	}
	addr := kafka.TCP(cfg.Brokers...)
	return &Client{
		brokers: cfg.Brokers,
		addr:    addr,
		dialer: &kafka.Dialer{
			ClientID: clientID, Timeout: dialTimeout, DialFunc: newSteer(cfg.Brokers, wires.dial).connect, SASLMechanism: mechanism,
		},
		transport: transport,
		client:    &kafka.Client{Addr: addr, Transport: transport, Timeout: requestTimeout},
	}, nil
}

func saslMechanism(cfg Config) (sasl.Mechanism, error) {
	switch cfg.SASLMechanism {
	case "":
		return nil, nil
	case "PLAIN":
		return plain.Mechanism{Username: cfg.SASLUsername, Password: cfg.SASLPassword}, nil
	case "SCRAM-SHA-256":
		return scramMechanism(scram.SHA256, cfg)
	case "SCRAM-SHA-512":
		return scramMechanism(scram.SHA512, cfg)
	}
	return nil, fmt.Errorf("kafka: %q is no SASL mechanism: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512", cfg.SASLMechanism)
}

func scramMechanism(algorithm scram.Algorithm, cfg Config) (sasl.Mechanism, error) {
	m, err := scram.Mechanism(algorithm, cfg.SASLUsername, cfg.SASLPassword)
	if err != nil {
		return nil, fmt.Errorf("kafka: user or password for %s: %w", cfg.SASLMechanism, err)
	}
	return m, nil
}

// Close ends the idle connections.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Brokers returns the bootstrap addresses.
func (c *Client) Brokers() []string { return c.brokers }

// Dialer returns how consumer groups connect.
func (c *Client) Dialer() *kafka.Dialer { return c.dialer }

// roundTrip sends one request of the Kafka protocol and returns its answer.
func (c *Client) roundTrip(ctx context.Context, req kafka.Request) (kafka.Response, error) {
	return c.transport.RoundTrip(ctx, c.addr, req) //nolint:wrapcheck // callers say what they asked for
}

// terse leaves out the name of kafka-go's function, which says nothing to an operator.
func terse(err error) error {
	if err != nil && strings.HasPrefix(err.Error(), "kafka.(*Client)") {
		if inner := errors.Unwrap(err); inner != nil {
			return inner
		}
	}
	return err
}

// Ping asks a broker something that only a broker can answer. (Metadata come from a cache that
// outlives the brokers.)
func (c *Client) Ping(ctx context.Context) error {
	if _, err := c.client.ApiVersions(ctx, &kafka.ApiVersionsRequest{}); err != nil {
		return fmt.Errorf("kafka at %s: %w", strings.Join(c.brokers, ","), terse(err))
	}
	return nil
}
