package stacktest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"replyworker/internal/devstack"
)

// Stack is all that a worker needs around it.
type Stack struct {
	*devstack.API

	Kafka *Kafka
	Redis *Redis
}

// New starts a Stack whose topics, those of devstack, have so many partitions each. It ends with the
// test.
func New(t testing.TB, partitions int) *Stack {
	t.Helper()
	api, err := devstack.StartAPI(devstack.Config{Seed: 1})
	require.NoError(t, err)
	t.Cleanup(api.Close)
	return &Stack{API: api, Kafka: NewKafka(t, devstack.Topics(partitions)), Redis: NewRedis(t)}
}

// Group is the group of a Stack's workers.
const Group = "replyworker"

// Env returns the environment that makes a worker use the stack.
func (s *Stack) Env() []string {
	env := append(append(s.API.Env(), s.Kafka.Env()...), s.Redis.Env()...)
	return append(env,
		kafkaPrefix+"GROUP="+s.Kafka.Group(Group),
		"REPLYWORKER_TOPIC_JOBS="+s.Kafka.Topic(devstack.TopicJobs),
		"REPLYWORKER_TOPIC_OUTCOMES="+s.Kafka.Topic(devstack.TopicOutcomes),
		"REPLYWORKER_TOPIC_DEAD_LETTERS="+s.Kafka.Topic(devstack.TopicDeadLetters),
		"REPLYWORKER_TOPIC_RESOLUTIONS="+s.Kafka.Topic(devstack.TopicResolutions))
}
