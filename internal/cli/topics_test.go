package cli_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"replyworker/internal/devstack"
)

type topicLine struct {
	Topic      string            `json:"topic"`
	State      string            `json:"state"`
	Partitions int               `json:"partitions"`
	Config     map[string]string `json:"config"`
	Warnings   []string          `json:"warnings"`
}

// topicLines runs `topics create -o json` and returns its lines by topic.
func topicLines(t *testing.T, env []string, flags ...string) (map[string]topicLine, result) {
	t.Helper()
	got := run(t, env, append([]string{"topics", "create", "-o", "json"}, flags...)...)
	lines := map[string]topicLine{}
	for _, text := range splitLines(got.stdout) {
		var line topicLine
		require.NoError(t, json.Unmarshal([]byte(text), &line))
		lines[line.Topic] = line
	}
	return lines, got
}

// describe asks the broker with another client for partitions and configuration.
func describe(t *testing.T, broker *devstack.Kafka, topic string) (partitions int, config map[string]string) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(broker.Addr()))
	require.NoError(t, err)
	defer client.Close()
	meta := kmsg.NewPtrMetadataRequest()
	rt := kmsg.NewMetadataRequestTopic()
	rt.Topic = new(topic)
	meta.Topics = append(meta.Topics, rt)
	found, err := meta.RequestWith(t.Context(), client)
	require.NoError(t, err)
	require.NoError(t, kerr.ErrorForCode(found.Topics[0].ErrorCode), topic)
	req := kmsg.NewPtrDescribeConfigsRequest()
	resource := kmsg.NewDescribeConfigsRequestResource()
	resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeTopic, topic
	req.Resources = append(req.Resources, resource)
	res, err := req.RequestWith(t.Context(), client)
	require.NoError(t, err)
	config = map[string]string{}
	for _, c := range res.Resources[0].Configs {
		if c.Value != nil {
			config[c.Name] = *c.Value
		}
	}
	return len(found.Topics[0].Partitions), config
}

func TestTopicsCreate(t *testing.T) {
	t.Parallel()
	broker, env := startKafka(t, nil)
	lines, got := topicLines(t, env, "--dry-run")
	require.Equal(t, 0, got.status, got.stderr)
	require.Len(t, lines, 4)
	require.Equal(t, "missing", lines["reply-jobs"].State)
	require.Equal(t, "1114124", lines["reply-dead-letters"].Config["max.message.bytes"], "the broker's default and 64 KiB")

	lines, got = topicLines(t, env, "--partitions=3")
	require.Equal(t, 0, got.status, got.stderr)
	require.Empty(t, got.stderr)
	require.Len(t, lines, 4)
	for topic, want := range map[string]map[string]string{
		"reply-jobs":         {"cleanup.policy": "delete", "retention.ms": "604800000", "segment.ms": "43200000"},
		"reply-outcomes":     {"cleanup.policy": "delete", "retention.ms": "2592000000"},
		"reply-dead-letters": {"cleanup.policy": "delete", "retention.ms": "1123200000", "segment.ms": "43200000"},
		"reply-resolutions":  {"cleanup.policy": "compact"},
	} {
		require.Equal(t, "made", lines[topic].State)
		partitions, config := describe(t, broker, topic)
		require.Equal(t, 3, partitions, topic)
		for name, value := range want {
			require.Equal(t, value, config[name], "%s of %s", name, topic)
		}
	}
	_, config := describe(t, broker, "reply-dead-letters")
	require.Equal(t, "1114124", config["max.message.bytes"])

	lines, got = topicLines(t, env)
	require.Equal(t, 0, got.status, got.stderr)
	require.Empty(t, got.stderr, "its own topics are as they should be")
	for topic, line := range lines {
		require.Equal(t, "exists", line.State, topic)
		require.Equal(t, 3, line.Partitions, topic)
	}
}

func TestTopicsCreateTableAndSomeThatExist(t *testing.T) {
	t.Parallel()
	broker, env := startKafka(t, map[string]int{"reply-outcomes": 2})
	require.NoError(t, broker.Cluster().CreateTopic("reply-jobs", 5,
		map[string]string{"max.message.bytes": "2000000", "retention.ms": "86400000"}))
	got := run(t, env, "topics", "create", "--partitions=3")
	require.Equal(t, 0, got.status, got.stderr)
	golden(t, "topics-create.txt", got.stdout)
	_, config := describe(t, broker, "reply-dead-letters")
	require.Equal(t, "2065536", config["max.message.bytes"], "of the real jobs topic and 64 KiB")
}

func TestTopicsCreateWarnsOfWhatWouldGoWrong(t *testing.T) {
	t.Parallel()
	broker, env := startKafka(t, nil)
	for topic, config := range map[string]map[string]string{
		"reply-jobs":         {"cleanup.policy": "compact", "max.message.bytes": "100000", "retention.ms": "-1"},
		"reply-outcomes":     {"cleanup.policy": "compact,delete"},
		"reply-dead-letters": {"max.message.bytes": "100000", "retention.ms": "1209600000"},
		"reply-resolutions":  {"cleanup.policy": "delete"},
	} {
		require.NoError(t, broker.Cluster().CreateTopic(topic, 1, config))
	}
	lines, got := topicLines(t, env)
	require.Equal(t, 0, got.status, got.stderr)
	require.Len(t, lines["reply-jobs"].Warnings, 3)
	golden(t, "topics-warnings.txt", got.stderr)
}

func TestTopicsCreateOfMerchants(t *testing.T) {
	t.Parallel()
	broker, env := startKafka(t, nil)
	file := writeFile(t, "merchants.yaml", "merchants:\n- {mchid: '1900000002', cert-serial: ABCDEF0123, private-key-file: k.pem, "+
		"public-key-id: PUB_KEY_ID_01, public-key-file: p.pem, topic-jobs: jobs-of-two}\n")
	got := run(t, env, "topics", "create", "--merchants-file", file)
	require.Equal(t, 0, got.status, got.stderr)
	partitions, config := describe(t, broker, "jobs-of-two")
	require.Equal(t, 12, partitions)
	require.Equal(t, "604800000", config["retention.ms"])
}

func TestTopicsCreateFails(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ flag, want string }{
		{"--partitions=0", "--partitions 0: must be at least 1"},
		{"--replication-factor=0", "--replication-factor 0: must be at least 1, or -1 for the broker's default"},
		{"--retention-jobs=1s", "--retention-jobs 1s: must be at least 1m"},
		{"--retention-outcomes=1s", "--retention-outcomes 1s: must be at least 1m"},
		{"--retention-dead-letters=336h", "--retention-dead-letters 336h0m0s: records would be kept up to 348h0m0s"},
		{"--claim-retention=48h", "--retention-jobs 168h0m0s: records would be kept up to 180h0m0s, and claim-retention is 48h0m0s"},
	} {
		got := run(t, nil, "topics", "create", tt.flag)
		require.Equal(t, 2, got.status, tt.flag)
		require.Contains(t, got.stderr, tt.want)
	}
	got := run(t, []string{"REPLYWORKER_KAFKA_BROKERS=" + closedAddr(t)}, "topics", "create", "--start-timeout=300ms")
	require.Equal(t, 1, got.status)
	require.Contains(t, got.stderr, "hint: check kafka-brokers")

	_, env := startKafka(t, nil)
	got = run(t, env, "topics", "create", "--replication-factor=3")
	require.Equal(t, 1, got.status, "one broker cannot keep three copies")
	require.Contains(t, got.stderr, "create topic reply-jobs: ")
}

func TestTopicsCreateSaysWhatItMadeWhereTheRestFails(t *testing.T) {
	t.Parallel()
	broker, env := startKafka(t, nil)
	requests := 0
	broker.Cluster().ControlKey(int16(kmsg.CreateTopics), func(req kmsg.Request) (kmsg.Response, error, bool) {
		broker.Cluster().KeepControl()
		if requests++; requests == 1 {
			return nil, nil, false
		}
		res := req.ResponseKind().(*kmsg.CreateTopicsResponse)
		for _, topic := range req.(*kmsg.CreateTopicsRequest).Topics {
			rt := kmsg.NewCreateTopicsResponseTopic()
			rt.Topic, rt.ErrorCode = topic.Topic, kerr.PolicyViolation.Code
			res.Topics = append(res.Topics, rt)
		}
		return res, nil, true
	})
	lines, got := topicLines(t, env)
	require.Equal(t, 3, got.status)
	require.Len(t, lines, 1)
	require.Equal(t, "made", lines["reply-jobs"].State)
	var failure struct {
		Error, Hint string
		Status      int
	}
	require.NoError(t, json.Unmarshal([]byte(got.stderr), &failure))
	require.Contains(t, failure.Error, "3 of 4 topics failed: ")
	require.Contains(t, failure.Error, "create topic reply-dead-letters: ")
	require.Equal(t, 2, strings.Count(failure.Error, "; create topic "), "on one line: %s", got.stderr)
	require.Equal(t, "what was made stays; call it again when the cause is gone", failure.Hint)
	require.Equal(t, 3, failure.Status)
}
