package kafkaio_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"replyworker/internal/kafkaio"
	"replyworker/internal/stacktest"
)

func TestClusterTellsOfBrokersAndTopics(t *testing.T) {
	t.Parallel()
	k := stacktest.NewKafka(t, map[string]int{"told": 3})
	cluster, err := k.Product().Cluster(t.Context(), k.Topic("told"), k.Topic("missing"))
	require.NoError(t, err)
	require.NotEmpty(t, cluster.ID)
	brokers, err := k.Admin().ListBrokers(t.Context())
	require.NoError(t, err)
	var addresses, wanted []string
	for _, b := range cluster.Brokers {
		addresses = append(addresses, b.Address)
	}
	for _, b := range brokers {
		wanted = append(wanted, net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port))))
	}
	require.ElementsMatch(t, wanted, addresses)

	told := cluster.Topics[k.Topic("told")]
	require.NoError(t, told.Err)
	require.Len(t, told.Partitions, 3)
	for _, p := range told.Partitions {
		require.Equal(t, len(brokers), p.Replicas)
		require.Equal(t, p.Replicas, p.InSync)
		require.GreaterOrEqual(t, p.Leader, 0)
	}
	require.False(t, told.Rights.Lacks(kafkaio.RightRead))
	require.False(t, told.Rights.Lacks(kafkaio.RightWrite))
	var missing *kafkaio.MissingTopicsError
	require.ErrorAs(t, cluster.Topics[k.Topic("missing")].Err, &missing)
}

// TestClusterMakesNoTopics holds that asking for a topic does not make it where brokers make those that
// somebody asks for.
func TestClusterMakesNoTopics(t *testing.T) {
	t.Parallel()
	broker, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.AllowAutoTopicCreation())
	require.NoError(t, err)
	t.Cleanup(broker.Close)
	client := clientOf(t, kafkaio.Config{Brokers: broker.ListenAddrs()})
	for range 2 {
		cluster, err := client.Cluster(t.Context(), "unheard-of")
		require.NoError(t, err)
		require.Error(t, cluster.Topics["unheard-of"].Err)
	}
}

// TestClusterAndRights holds that a topic which may not be looked at is told apart from one that is not
// there, and that a missing right shows without it being tried.
func TestClusterAndRights(t *testing.T) {
	t.Parallel()
	const plain = "PLAIN"
	broker, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "read-only", "hidden"), kfake.EnableACLs(),
		kfake.EnableSASL(), kfake.Superuser(plain, "admin", "admin"), kfake.User(plain, "worker", "secret",
			kfake.ACL{
				Resource: kmsg.ACLResourceTypeTopic, Name: "read-only", Pattern: kmsg.ACLResourcePatternTypeLiteral,
				Operation: kmsg.ACLOperationRead, Allow: true,
			}))
	require.NoError(t, err)
	t.Cleanup(broker.Close)
	client := clientOf(t, kafkaio.Config{
		Brokers: broker.ListenAddrs(), SASLMechanism: plain, SASLUsername: "worker", SASLPassword: "secret",
	})
	cluster, err := client.Cluster(t.Context(), "read-only", "hidden")
	require.NoError(t, err)
	seen := cluster.Topics["read-only"]
	require.NoError(t, seen.Err)
	require.False(t, seen.Rights.Lacks(kafkaio.RightRead))
	require.True(t, seen.Rights.Lacks(kafkaio.RightWrite))
	require.True(t, kafkaio.Denied(cluster.Topics["hidden"].Err), "%v", cluster.Topics["hidden"].Err)
	_, err = client.TopicConfig(t.Context(), "read-only")
	require.True(t, kafkaio.Denied(err), "%v", err)
	_, err = client.Group(t.Context(), "theirs")
	require.True(t, kafkaio.Denied(err), "%v", err)

	require.NoError(t, client.Knock(t.Context(), broker.ListenAddrs()[0]), "knocking needs no login")
	require.True(t, kafkaio.LoginRefused(fmt.Errorf("metadata: %w", kafka.SASLAuthenticationFailed)))
	require.False(t, kafkaio.LoginRefused(fmt.Errorf("metadata: %w", kafka.BrokerNotAvailable)))
}

func clientOf(t *testing.T, cfg kafkaio.Config) *kafkaio.Client {
	t.Helper()
	client, err := kafkaio.NewClient(cfg)
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return client
}

func TestKnock(t *testing.T) {
	t.Parallel()
	k := stacktest.NewKafka(t, nil)
	client := k.Product()
	for _, address := range client.Brokers() {
		require.NoError(t, client.Knock(t.Context(), address))
	}
}

// TestKnockAtOtherDoors holds that what does not serve is told in time, and for what it is.
func TestKnockAtOtherDoors(t *testing.T) {
	t.Parallel()
	client := clientOf(t, kafkaio.Config{Brokers: []string{"127.0.0.1:1"}})
	silent := listen(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	require.Error(t, client.Knock(ctx, silent))
	require.Less(t, time.Since(began), 5*time.Second)

	web := listen(t, func(conn net.Conn) { _, _ = conn.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) })
	require.ErrorIs(t, client.Knock(t.Context(), web), kafkaio.ErrNotKafka)

	var dns *net.DNSError
	require.ErrorAs(t, client.Knock(t.Context(), "no-such-broker.invalid:9092"), &dns)
}

// TestKnockAtABrokerOfAnotherAge holds that a broker which speaks no version of ours is found, though it
// takes connections.
func TestKnockAtABrokerOfAnotherAge(t *testing.T) {
	t.Parallel()
	k := stacktest.NewKafka(t, nil)
	broker := k.Embedded("to be of another age").Cluster()
	broker.ControlKey(int16(kmsg.ApiVersions), func(req kmsg.Request) (kmsg.Response, error, bool) {
		broker.KeepControl()
		res := req.ResponseKind().(*kmsg.ApiVersionsResponse)
		for key := range int16(20) {
			k := kmsg.NewApiVersionsResponseApiKey()
			k.ApiKey, k.MaxVersion = key, 20
			switch kmsg.Key(key) {
			case kmsg.Fetch:
				k.MaxVersion = 3
			case kmsg.JoinGroup:
				k.MinVersion = 6
			case kmsg.Heartbeat:
				continue
			default:
			}
			res.ApiKeys = append(res.ApiKeys, k)
		}
		return res, nil, true
	})
	client := clientOf(t, kafkaio.Config{Brokers: broker.ListenAddrs()})
	var unspoken *kafkaio.UnspokenError
	require.ErrorAs(t, client.Knock(t.Context(), broker.ListenAddrs()[0]), &unspoken)
	require.Equal(t, []string{
		"Fetch in version 4 to 11 (it has 0 to 3)", "JoinGroup in version 1 to 2 (it has 6 to 20)", "Heartbeat",
	}, unspoken.Requests)
}

func TestGroupAndOffsets(t *testing.T) {
	t.Parallel()
	k := stacktest.NewKafka(t, map[string]int{"read": 2})
	client, name, group := k.Product(), k.Topic("read"), k.Group("readers")
	got, err := client.Group(t.Context(), group)
	require.NoError(t, err)
	require.Equal(t, kafkaio.Group{State: kafkaio.GroupDead}, got)

	producer := k.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	for partition, records := range []int{5, 2} {
		for range records {
			r := &kgo.Record{Topic: name, Partition: int32(partition), Value: []byte("x")}
			require.NoError(t, producer.ProduceSync(t.Context(), r).FirstErr())
		}
	}
	offsets := kadm.Offsets{}
	offsets.AddOffset(name, 0, 1, -1)
	require.NoError(t, k.Admin().CommitAllOffsets(t.Context(), group, offsets))
	// Records that retention takes, unread.
	_, err = k.Admin().DeleteRecords(t.Context(), kadm.Offsets{name: {0: {Topic: name, Partition: 0, At: 3}}})
	require.NoError(t, err)

	got, err = client.Group(t.Context(), group)
	require.NoError(t, err)
	require.Equal(t, kafkaio.GroupEmpty, got.State)
	require.Zero(t, got.Members)
	require.False(t, got.Foreign)
	at, err := client.GroupOffsets(t.Context(), group, map[string]int{name: 2})
	require.NoError(t, err)
	require.Equal(t, []kafkaio.PartitionOffsets{
		{Topic: name, Partition: 0, First: 3, End: 5, Committed: 1},
		{Topic: name, Partition: 1, First: 0, End: 2, Committed: -1},
	}, at)
	require.Equal(t, []int64{2, 2, 2, 0}, []int64{at[0].Lag(), at[0].Lost(), at[1].Lag(), at[1].Lost()})
	require.Zero(t, kafkaio.PartitionOffsets{First: 0, End: 2, Committed: 9}.Lag(), "never below zero")
}

// TestGroupOfAnotherProtocol holds that a group is found whose members share by a protocol that this
// program does not speak, and which does not show to those that do not.
func TestGroupOfAnotherProtocol(t *testing.T) {
	t.Parallel()
	k := stacktest.NewKafka(t, map[string]int{"read": 1})
	broker := k.Embedded("to answer as brokers do of a group that it has none of").Cluster()
	broker.ControlKey(int16(kmsg.ListGroups), func(req kmsg.Request) (kmsg.Response, error, bool) {
		broker.KeepControl()
		res := req.ResponseKind().(*kmsg.ListGroupsResponse)
		g := kmsg.NewListGroupsResponseGroup()
		g.Group, g.ProtocolType = "sharers", "share"
		res.Groups = append(res.Groups, g)
		return res, nil, true
	})
	got, err := k.Product().Group(t.Context(), "sharers")
	require.NoError(t, err)
	require.Equal(t, kafkaio.Group{State: kafkaio.GroupDead, Foreign: true, Protocol: "share"}, got)
}

func TestGroupWithMembers(t *testing.T) {
	t.Parallel()
	k := stacktest.NewKafka(t, map[string]int{"read": 1})
	member := k.Client(kgo.ConsumerGroup(k.Group("readers")), kgo.ConsumeTopics(k.Topic("read")))
	require.Eventually(t, func() bool {
		member.PollFetches(shortly(t))
		got, err := k.Product().Group(t.Context(), k.Group("readers"))
		return err == nil && got.Members == 1 && got.State == "Stable" && got.Protocol == "consumer"
	}, time.Minute, 10*time.Millisecond)
}

func shortly(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

// TestGroupWaitsForItsCoordinator holds that a group whose coordinator is on the move is no fault.
func TestGroupWaitsForItsCoordinator(t *testing.T) {
	t.Parallel()
	k := stacktest.NewKafka(t, map[string]int{"read": 1})
	broker := k.Embedded("to move a coordinator").Cluster()
	for _, key := range []kmsg.Key{kmsg.DescribeGroups, kmsg.OffsetFetch} {
		broker.Fault(kfake.Fault{Keys: []kmsg.Key{key}, Err: kerr.NotCoordinator, Count: 2})
	}
	got, err := k.Product().Group(t.Context(), "readers")
	require.NoError(t, err)
	require.Equal(t, kafkaio.GroupDead, got.State)
	at, err := k.Product().GroupOffsets(t.Context(), "readers", map[string]int{k.Topic("read"): 1})
	require.NoError(t, err)
	require.Equal(t, int64(-1), at[0].Committed)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err = faulty(t, kmsg.DescribeGroups, kerr.NotCoordinator).Group(ctx, "readers")
	require.ErrorContains(t, err, "Not Coordinator", "and says what it waited for")
}

// TestGroupErrorsArePassedOn holds that what brokers refuse is not taken for a group that is not there.
func TestGroupErrorsArePassedOn(t *testing.T) {
	t.Parallel()
	for _, key := range []kmsg.Key{kmsg.DescribeGroups, kmsg.OffsetFetch, kmsg.ListOffsets} {
		client := faulty(t, key, kerr.UnknownServerError)
		_, groupErr := client.Group(t.Context(), "readers")
		_, offsetsErr := client.GroupOffsets(t.Context(), "readers", map[string]int{topic: 1})
		require.Equal(t, key == kmsg.DescribeGroups, groupErr != nil, "%v: %v", key, groupErr)
		require.Equal(t, slices.Contains([]kmsg.Key{kmsg.OffsetFetch, kmsg.ListOffsets}, key), offsetsErr != nil, "%v: %v",
			key, offsetsErr)
	}
}
