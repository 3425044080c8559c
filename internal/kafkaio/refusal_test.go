package kafkaio_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"replyworker/internal/devstack"
	"replyworker/internal/kafkaio"
)

// faulty returns a broker that answers requests of one kind with an error, and the product's client.
func faulty(t *testing.T, key kmsg.Key, refusal *kerr.Error) *kafkaio.Client {
	t.Helper()
	k, err := devstack.StartKafka(devstack.KafkaConfig{Topics: map[string]int{topic: 1}})
	require.NoError(t, err)
	t.Cleanup(k.Close)
	k.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{key}, Err: refusal, Count: -1})
	c, err := kafkaio.NewClient(kafkaio.Config{Brokers: []string{k.Addr()}})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

// TestWhatIsTooLargeForABroker holds that both errors by which a broker refuses a batch for its size are
// told apart from those that may pass.
func TestWhatIsTooLargeForABroker(t *testing.T) {
	t.Parallel()
	for refusal, tooLarge := range map[*kerr.Error]bool{
		kerr.MessageTooLarge: true, kerr.RecordListTooLarge: true, kerr.InvalidRecord: false, kerr.PolicyViolation: false,
	} {
		p := kafkaio.NewPublisher(faulty(t, kmsg.Produce, refusal), topic, 1<<20)
		err := p.Publish(t.Context(), kafkaio.Message{Partition: kafkaio.AnyPartition, Value: []byte("small")})
		p.Close()
		require.Error(t, err)
		if tooLarge {
			require.ErrorIs(t, err, kafkaio.ErrTooLarge, refusal.Message)
		} else {
			require.NotErrorIs(t, err, kafkaio.ErrTooLarge, refusal.Message)
		}
	}
}

// TestErrorsOfAPartitionNameIt holds that an operator with many partitions learns which is meant.
func TestErrorsOfAPartitionNameIt(t *testing.T) {
	t.Parallel()
	f := kafkaio.Fetcher{Client: faulty(t, kmsg.ListOffsets, kerr.NotLeaderForPartition), Topic: topic, MaxBytes: 1 << 20}
	_, _, err := f.Bounds(t.Context())
	require.ErrorContains(t, err, "offsets of jobs/0: [6] Not Leader")
	f.Client = faulty(t, kmsg.Fetch, kerr.TopicAuthorizationFailed)
	_, err = f.Fetch(t.Context(), 0, 1)
	require.ErrorContains(t, err, "fetch jobs/0: [29] Topic Authorization Failed")
}
