package kafkaio

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/describegroups"
)

// The states of a consumer group in which it has no members, as brokers call them.
const (
	GroupEmpty = "Empty"
	GroupDead  = "Dead" // there is none of that name
)

// Group is what the brokers say of a consumer group.
type Group struct {
	State    string
	Protocol string // its type: "consumer", that of Kafka Connect, ...; "" where it never had a member
	Members  int
	// Foreign says that the brokers have a group of that name which the protocol of this program, the
	// classic one, does not show: its members use another.
	Foreign bool
}

// Group asks for the state of a consumer group. One that there is not is GroupDead. Where its coordinator
// is just moving, or is chosen for the first time, it asks again until ctx ends.
func (c *Client) Group(ctx context.Context, name string) (group Group, err error) {
	err = settled(ctx, func() error {
		group, err = c.group(ctx, name)
		return err
	})
	return group, err
}

func (c *Client) group(ctx context.Context, name string) (Group, error) {
	m, err := c.roundTrip(ctx, &describegroups.Request{Groups: []string{name}})
	if err != nil {
		return Group{}, fmt.Errorf("group %s: %w", name, err)
	}
	res := m.(*describegroups.Response)
	if len(res.Groups) != 1 {
		return Group{}, fmt.Errorf("group %s: the broker told of %d groups", name, len(res.Groups))
	}
	g := res.Groups[0]
	if g.ErrorCode != 0 && kafka.Error(g.ErrorCode) != kafka.GroupIdNotFound {
		return Group{}, fmt.Errorf("group %s: %w", name, kafka.Error(g.ErrorCode))
	}
	group := Group{State: g.GroupState, Protocol: g.ProtocolType, Members: len(g.Members)}
	if g.ErrorCode != 0 || g.GroupState == GroupDead {
		group.State = GroupDead
		group.Foreign, group.Protocol = c.listed(ctx, name)
	}
	return group, nil
}

// listed says whether a group of that name is among all groups, and of what type. Where the brokers do
// not tell, it is not.
func (c *Client) listed(ctx context.Context, name string) (bool, string) {
	res, err := c.client.ListGroups(ctx, &kafka.ListGroupsRequest{})
	if err != nil {
		return false, ""
	}
	for _, g := range res.Groups {
		if g.GroupID == name {
			return true, g.ProtocolType
		}
	}
	return false, ""
}

// settled does something until it fails for another reason than a coordinator on the move, or ctx ends.
func settled(ctx context.Context, do func() error) error {
	for {
		err := do()
		moving := errors.Is(err, kafka.NotCoordinatorForGroup) || errors.Is(err, kafka.GroupLoadInProgress) ||
			errors.Is(err, kafka.GroupCoordinatorNotAvailable)
		if !moving {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(spanRetry):
		}
	}
}

// PartitionOffsets is where a group is in a partition.
type PartitionOffsets struct {
	Topic      string
	Partition  int
	First, End int64 // of the records that are there; End is one past the last
	Committed  int64 // -1 where the group has committed none
}

// Lag is the number of offsets that the group has still to read.
func (p PartitionOffsets) Lag() int64 { return max(0, p.End-max(p.First, p.Committed)) }

// Lost is the number of offsets that are gone and that the group has not read.
func (p PartitionOffsets) Lost() int64 {
	if p.Committed < 0 {
		return 0
	}
	return max(0, p.First-p.Committed)
}

// GroupOffsets tells where a group is in topics, of which it is given the numbers of partitions. The
// result is sorted. What is committed is asked first: what comes in meanwhile makes the lag too large
// and never too small. It waits for a coordinator as Group does.
func (c *Client) GroupOffsets(ctx context.Context, group string, topics map[string]int) ([]PartitionOffsets, error) {
	wanted, bounds := map[string][]int{}, map[string][]kafka.OffsetRequest{}
	for topic, partitions := range topics {
		for id := range partitions {
			wanted[topic] = append(wanted[topic], id)
			bounds[topic] = append(bounds[topic], kafka.FirstOffsetOf(id), kafka.LastOffsetOf(id))
		}
	}
	var committed map[string]map[int]int64
	err := settled(ctx, func() (err error) {
		committed, err = c.committed(ctx, group, wanted)
		return err
	})
	if err != nil {
		return nil, err
	}
	found, err := c.client.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: bounds})
	if err != nil {
		return nil, fmt.Errorf("offsets of topics: %w", terse(err))
	}
	var all []PartitionOffsets
	for topic, partitions := range found.Topics {
		for _, p := range partitions {
			if p.Error != nil {
				return nil, fmt.Errorf("offsets of %s/%d: %w", topic, p.Partition, p.Error)
			}
			at := PartitionOffsets{Topic: topic, Partition: p.Partition, First: p.FirstOffset, End: p.LastOffset, Committed: -1}
			if offset, ok := committed[topic][p.Partition]; ok {
				at.Committed = offset
			}
			all = append(all, at)
		}
	}
	slices.SortFunc(all, func(a, b PartitionOffsets) int {
		if a.Topic != b.Topic {
			return strings.Compare(a.Topic, b.Topic)
		}
		return a.Partition - b.Partition
	})
	return all, nil
}

// committed tells what a group has committed, by topic and partition. A group that there is not has
// committed nothing.
func (c *Client) committed(ctx context.Context, group string, of map[string][]int) (map[string]map[int]int64, error) {
	res, err := c.client.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: group, Topics: of})
	if err == nil && !errors.Is(res.Error, kafka.GroupIdNotFound) {
		err = res.Error
	}
	if err != nil {
		return nil, fmt.Errorf("offsets of group %s: %w", group, terse(err))
	}
	committed := map[string]map[int]int64{}
	for topic, partitions := range res.Topics {
		committed[topic] = map[int]int64{}
		for _, p := range partitions {
			if p.Error != nil {
				return nil, fmt.Errorf("offset of group %s in %s/%d: %w", group, topic, p.Partition, p.Error)
			}
			committed[topic][p.Partition] = p.CommittedOffset
		}
	}
	return committed, nil
}

// Denied says that the brokers refused something for want of a right.
func Denied(err error) bool {
	return errors.Is(err, kafka.TopicAuthorizationFailed) || errors.Is(err, kafka.GroupAuthorizationFailed) ||
		errors.Is(err, kafka.ClusterAuthorizationFailed)
}

// LoginRefused says that the brokers do not take the user, the password or the way to log in.
func LoginRefused(err error) bool {
	return errors.Is(err, kafka.SASLAuthenticationFailed) || errors.Is(err, kafka.UnsupportedSASLMechanism) ||
		errors.Is(err, kafka.IllegalSASLState)
}
