package kafkaio

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"strconv"
	"sync/atomic"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/metadata"
)

// Cluster is what a broker says of its cluster.
type Cluster struct {
	ID      string
	Brokers []Broker
	Topics  map[string]TopicState // those that were asked for
}

// Broker is one of a cluster's.
type Broker struct {
	ID      int
	Address string // the one that it advertises: where clients go
}

// TopicState is what a broker says of a topic.
type TopicState struct {
	// Err says that there is none (it is a *MissingTopicsError), or that it may not be looked at.
	Err        error
	Partitions []PartitionState
	Rights     Rights // ours
}

// PartitionState is where the copies of a partition are.
type PartitionState struct {
	ID       int
	Leader   int // -1 where there is none
	Replicas int // copies that there should be
	InSync   int // copies that have all
}

// Right is something that an authorizer of Kafka allows or refuses, by its number in the protocol.
type Right int

// The rights that a worker needs.
const (
	RightRead            Right = 3
	RightWrite           Right = 4
	RightDescribeConfigs Right = 10
)

// Rights are those that we have, a bit for each.
type Rights int32

// unknownRights is what brokers say that do not tell.
const unknownRights Rights = math.MinInt32

// Lacks says that the brokers would refuse what needs that right. Where they do not tell it is false.
func (r Rights) Lacks(right Right) bool {
	return r != unknownRights && r != 0 && r&(1<<right) == 0
}

// Cluster asks a broker, and no cache, for the brokers, and for the state of the topics. It makes no
// topic, also where brokers make those that somebody asks for.
func (c *Client) Cluster(ctx context.Context, topics ...string) (Cluster, error) {
	m, err := c.roundTrip(ctx, &clusterRequest{id: &c.asked, Request: &metadata.Request{
		TopicNames: topics, IncludeTopicAuthorizedOperations: true,
	}})
	if err != nil {
		return Cluster{}, fmt.Errorf("kafka metadata: %w", err)
	}
	res := m.(*clusterAnswer)
	cluster := Cluster{ID: res.ClusterID, Topics: map[string]TopicState{}}
	for _, b := range res.Brokers {
		address := net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port)))
		cluster.Brokers = append(cluster.Brokers, Broker{ID: int(b.NodeID), Address: address})
	}
	for _, t := range res.Topics {
		cluster.Topics[t.Name] = topicState(t)
	}
	return cluster, nil
}

func topicState(t metadata.ResponseTopic) TopicState {
	state := TopicState{Rights: Rights(t.TopicAuthorizedOperations)}
	switch err := kafka.Error(t.ErrorCode); {
	case errors.Is(err, kafka.UnknownTopicOrPartition):
		state.Err = &MissingTopicsError{Topics: []string{t.Name}}
	case t.ErrorCode != 0 && len(t.Partitions) == 0:
		state.Err = fmt.Errorf("topic %s: %w", t.Name, err)
	}
	for _, p := range t.Partitions {
		state.Partitions = append(state.Partitions, PartitionState{
			ID: int(p.PartitionIndex), Leader: int(p.LeaderID), Replicas: len(p.ReplicaNodes), InSync: len(p.IsrNodes),
		})
	}
	return state
}

// clusterRequest is kafka-go's request for metadata, which kafka-go would answer from its cache: that
// knows no topic that we may not look at, and says that it is missing.
//
// It implements protocol.RawExchanger. A connection has one request at a time.
type clusterRequest struct {
	*metadata.Request

	id      *atomic.Int32
	version int16
}

// Required takes the version that was agreed on with the broker.
func (r *clusterRequest) Required(versions map[protocol.ApiKey]int16) bool {
	r.version = versions[protocol.Metadata]
	return true
}

// RawExchange sends the request and reads its answer.
func (r *clusterRequest) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	m, err := protocol.RoundTrip(rw, r.version, r.id.Add(1), clientID, r.Request)
	if err != nil {
		return nil, err //nolint:wrapcheck // the connection's own
	}
	return &clusterAnswer{m.(*metadata.Response)}, nil
}

// clusterAnswer is kafka-go's answer, as a type that it does not take for one of its own.
type clusterAnswer struct{ *metadata.Response }
