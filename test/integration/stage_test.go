//go:build linux

package integration_test

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"replyworker/test/fleet"
	"replyworker/test/judge"
)

const (
	tick     = 20 * time.Millisecond
	patience = 60 * time.Second
)

// stage is what one test has for itself on the shared servers: topics, a consumer group, keys in Redis,
// an API, and workers.
type stage struct {
	t       *testing.T
	dir     string
	prefix  string // of the topics, the group and the keys
	env     []string
	api     *fleet.API
	client  *kgo.Client
	topics  judge.Topics
	tail    *tail
	workers []*fleet.Worker
}

// newStage makes the topics, of so many partitions, and starts the API. settings are for every worker,
// over what stands here.
func newStage(t *testing.T, partitions int32, settings ...string) *stage {
	t.Helper()
	if shared == nil {
		t.Skip("it starts real servers: TEST_REAL=1 runs it")
	}
	name := strings.ReplaceAll(t.Name(), "/", "-") + "-" + rand.Text()[:6] // a test may run more than once
	s := &stage{t: t, dir: t.TempDir(), prefix: strings.ToLower(name)}
	var err error
	s.api, err = fleet.StartAPI(fleet.APIConfig{Dir: filepath.Join(s.dir, "api"), Seed: 1})
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.api.Sim.Close() })
	connect := []kgo.Opt{
		kgo.SeedBrokers(shared.kafka.Addrs()...), kgo.MetadataMaxAge(time.Second), kgo.MetadataMinAge(200 * time.Millisecond),
	}
	s.client, err = kgo.NewClient(append(connect, kgo.ProducerLinger(0))...)
	require.NoError(t, err)
	t.Cleanup(s.client.Close)
	s.topics = judge.Topics{
		Client: s.client, Connect: connect, Group: s.prefix,
		Jobs: s.prefix + "-jobs", Outcomes: s.prefix + "-outcomes", Letters: s.prefix + "-letters",
	}
	marks := s.prefix + "-resolutions"
	made, err := s.admin().CreateTopics(t.Context(), partitions, 3, nil, s.topics.Outcomes, s.topics.Letters, marks, s.topics.Jobs)
	require.NoError(t, err)
	require.NoError(t, made.Error())
	s.await("all brokers know the topics", s.known)
	s.env = slices.Concat(shared.kafka.Settings(false), shared.redis.Settings(), s.api.Settings, []string{
		"REPLYWORKER_KAFKA_GROUP=" + s.prefix, "REPLYWORKER_REDIS_PREFIX=" + s.prefix,
		"REPLYWORKER_TOPIC_JOBS=" + s.topics.Jobs, "REPLYWORKER_TOPIC_OUTCOMES=" + s.topics.Outcomes,
		"REPLYWORKER_TOPIC_DEAD_LETTERS=" + s.topics.Letters, "REPLYWORKER_TOPIC_RESOLUTIONS=" + marks,
		"REPLYWORKER_KAFKA_SESSION_TIMEOUT=6s", "REPLYWORKER_CLAIM_LEASE=4s", "REPLYWORKER_DRAIN_TIMEOUT=15s",
		"REPLYWORKER_RETRY_INITIAL=100ms", "REPLYWORKER_RETRY_MAX=2s", "REPLYWORKER_START_TIMEOUT=1m",
		"REPLYWORKER_LOG_FORMAT=json",
	}, settings)
	s.tail = newTail(t, s.topics)
	t.Cleanup(s.tellLogs)
	return s
}

func (s *stage) admin() *kadm.Client { return kadm.NewClient(s.client) }

// known says whether each broker knows the jobs topic, which was made last, with a leader for each
// partition.
func (s *stage) known() bool {
	for _, broker := range s.client.SeedBrokers() {
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = &s.topics.Jobs
		req := kmsg.NewPtrMetadataRequest()
		req.Topics = []kmsg.MetadataRequestTopic{topic}
		res, err := req.RequestWith(s.t.Context(), broker)
		if err != nil || res.Topics[0].ErrorCode != 0 {
			return false
		}
		for _, p := range res.Topics[0].Partitions {
			if p.ErrorCode != 0 {
				return false
			}
		}
	}
	return true
}

// worker prepares a worker, which ends with the test.
func (s *stage) worker(settings ...string) *fleet.Worker {
	s.t.Helper()
	w, err := fleet.New(shared.binary, s.dir, len(s.workers), slices.Concat(s.env, settings))
	require.NoError(s.t, err)
	s.workers = append(s.workers, w)
	s.t.Cleanup(w.Close)
	return w
}

// start starts workers and waits until each is ready.
func (s *stage) start(workers ...*fleet.Worker) {
	s.t.Helper()
	for _, w := range workers {
		require.NoError(s.t, w.Start())
	}
	for _, w := range workers {
		require.NoError(s.t, w.Ready(s.t.Context()))
	}
}

// leave ends workers as an operator does, all at once, and holds that each finished what it had.
func (s *stage) leave(workers ...*fleet.Worker) {
	s.t.Helper()
	ended := make(chan error, len(workers))
	for _, w := range workers {
		go func() { ended <- w.Stop() }()
	}
	for range workers {
		require.NoError(s.t, <-ended)
	}
	for _, w := range workers {
		require.NoError(s.t, w.Exit(), "a worker that was told to end must finish its calls")
	}
}

// await waits for something that must come.
func (s *stage) await(what string, come func() bool) {
	s.t.Helper()
	require.Eventually(s.t, come, patience, tick, "%s", what)
}

// more waits until the API has taken n replies more.
func (s *stage) more(n int64) {
	s.t.Helper()
	until := s.api.Sim.Stats().Effects + n
	s.await(fmt.Sprintf("%d more replies", n), func() bool { return s.api.Sim.Stats().Effects >= until })
}

// judge waits until every job is finished, and holds that no rule is broken.
func (s *stage) judge() *judge.Report {
	s.t.Helper()
	require.NoError(s.t, s.topics.Drained(s.t.Context(), patience))
	s.await("the last call", func() bool { return s.api.Sim.Stats().InFlight == 0 })
	e, err := s.topics.Gather(s.t.Context())
	require.NoError(s.t, err)
	e.Effects = s.api.Sim.Effects()
	e.Claims, err = judge.Claims(s.t.Context(), shared.redis, s.prefix)
	require.NoError(s.t, err)
	r := judge.Judge(e)
	for _, rule := range judge.Rules() {
		for _, sample := range r.Samples[rule] {
			s.t.Errorf("%s: %s", rule, sample)
		}
	}
	require.True(s.t, r.Clean(), "rules that are broken: %v", r.Violations)
	require.Positive(s.t, r.Jobs, "there is something to judge")
	s.t.Logf("%d jobs %v, %d replies, %d calls repeated, %d outcomes repeated", r.Jobs, r.Statuses, r.Effects,
		s.api.Sim.Stats().Repeats, r.Repeated)
	return r
}

// partitionsOf returns which partitions of the jobs topic a worker has, with the lag of each.
func (s *stage) partitionsOf(w *fleet.Worker) map[int32]int64 {
	s.t.Helper()
	_, text, err := w.Get(s.t.Context(), "/metrics")
	require.NoError(s.t, err)
	found := map[int32]int64{}
	line := regexp.MustCompile(`(?m)^replyworker_consumer_lag\{partition="(\d+)",topic="` + regexp.QuoteMeta(s.topics.Jobs) + `"\} (\S+)$`)
	for _, m := range line.FindAllStringSubmatch(text, -1) {
		partition, err := strconv.ParseInt(m[1], 10, 32)
		require.NoError(s.t, err)
		lag, err := strconv.ParseFloat(m[2], 64)
		require.NoError(s.t, err)
		found[int32(partition)] = int64(lag)
	}
	return found
}

// shares waits until the workers are all the members of the group, and have all partitions between
// them. It returns who has which.
func (s *stage) shares(partitions int, workers ...*fleet.Worker) []map[int32]int64 {
	s.t.Helper()
	var each []map[int32]int64
	s.await("all partitions are shared out", func() bool {
		each = nil
		n := 0
		for _, w := range workers {
			has := s.partitionsOf(w)
			n += len(has)
			each = append(each, has)
		}
		// A worker that has lost its partitions shows them until it has others; the broker knows.
		groups, err := s.admin().DescribeGroups(s.t.Context(), s.topics.Group)
		require.NoError(s.t, err)
		g := groups[s.topics.Group]
		return n == partitions && g.State == "Stable" && len(g.Members) == len(workers)
	})
	return each
}

// tellLogs shows the end of what each worker said, where the test has failed. TEST_KEEP names a folder
// that gets all of it.
func (s *stage) tellLogs() {
	keep := os.Getenv("TEST_KEEP")
	for i, w := range s.workers {
		text, err := os.ReadFile(w.Log())
		if err != nil {
			continue
		}
		if keep != "" {
			_ = os.WriteFile(filepath.Join(keep, fmt.Sprintf("%s-%d.log", s.prefix, i)), text, 0o600) // else it is not kept
		}
		if s.t.Failed() {
			lines := slices.DeleteFunc(strings.Split(strings.TrimSpace(string(text)), "\n"), func(line string) bool {
				return strings.Contains(line, `"message":"job finished"`)
			})
			s.t.Logf("the end of worker %d's log, without its jobs:\n%s", i, strings.Join(lines[max(0, len(lines)-15):], "\n"))
		}
	}
}
