//go:build linux

package integration_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"replyworker/internal/job"
)

// exampleReply is a line of what the examples read.
type exampleReply struct {
	ComplaintID      string `json:"complaint_id"`
	ComplaintedMchID string `json:"complainted_mchid"`
	IdempotentID     string `json:"idempotent_id"`
	Text             string `json:"text"`
}

// exampleReplies has complaints of every length modulo 4 and beyond ASCII, for keys are hashed by their
// bytes, four at a time; each comes twice.
func exampleReplies(language string, n int) []exampleReply {
	var replies []exampleReply
	for i := range n {
		complaint := fmt.Sprintf("complaint-%s%d", strings.Repeat("x", i%5), i%(n/2))
		if i%3 == 0 {
			complaint = "投诉é" + complaint
		}
		replies = append(replies, exampleReply{
			complaint, "1900012181", fmt.Sprintf("%s-%d", language, i), fmt.Sprintf("您好“%d”\n\"quoted\" \\ </script> \u2028", i),
		})
	}
	return replies
}

func inputOf(t *testing.T, replies []exampleReply) string {
	t.Helper()
	var b strings.Builder
	for _, r := range replies {
		line, err := json.Marshal(r)
		require.NoError(t, err)
		b.Write(append(line, '\n'))
	}
	return b.String()
}

// acked are the partition and offset of each idempotent_id that an example has printed.
func acked(t *testing.T, stdout string) map[string]string {
	t.Helper()
	found := map[string]string{}
	for line := range strings.Lines(stdout) {
		f := strings.Fields(line)
		require.Len(t, f, 3, "line %q", line)
		require.NotContains(t, found, f[2], "acknowledged twice")
		found[f[2]] = f[0] + "/" + f[1]
	}
	return found
}

// records returns what is on the jobs topic, by partition and offset.
func (s *stage) records() map[string]*kgo.Record {
	s.t.Helper()
	ends, err := s.admin().ListEndOffsets(s.t.Context(), s.topics.Jobs)
	require.NoError(s.t, err)
	var left int64
	for _, p := range ends[s.topics.Jobs] {
		left += p.Offset
	}
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.ConsumeTopics(s.topics.Jobs), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
	}, s.topics.Connect...)...)
	require.NoError(s.t, err)
	defer client.Close()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	found := map[string]*kgo.Record{}
	for int64(len(found)) < left {
		client.PollFetches(ctx).EachRecord(func(r *kgo.Record) { found[fmt.Sprintf("%d/%d", r.Partition, r.Offset)] = r })
		require.NoError(s.t, ctx.Err(), "%d records of %d", len(found), left)
	}
	return found
}

// ownPartitions lets the product produce for the same complaints, and returns where it puts them.
func (s *stage) ownPartitions(replies []exampleReply) map[string]int32 {
	s.t.Helper()
	var jobs strings.Builder
	for i, r := range replies {
		jobs.Write(append(jobValue(r.ComplaintID, fmt.Sprintf("own-%d", i), nil), '\n'))
	}
	cmd := exec.CommandContext(s.t.Context(), shared.binary, "enqueue", "-o", "json")
	cmd.Env = s.env
	cmd.Stdin = strings.NewReader(jobs.String())
	out, err := cmd.Output()
	require.NoError(s.t, err)
	found := map[string]int32{}
	for line := range strings.Lines(string(out)) {
		var j struct {
			Complaint string `json:"complaint_id"`
			Partition int32  `json:"partition"`
		}
		require.NoError(s.t, json.Unmarshal([]byte(line), &j))
		found[j.Complaint] = j.Partition
	}
	return found
}

// at lets a program use the stage's brokers and topic.
func (s *stage) at(p program) program {
	p.env = append(slices.Clone(p.env),
		"KAFKA_BROKERS="+strings.Join(shared.kafka.Addrs(), ","), "TOPIC_JOBS="+s.topics.Jobs)
	return p
}

// TestExamples: each language's example puts jobs, which the worker takes, where the product itself and Java
// would, and reports what the brokers say. The worker then sends each once.
func TestExamples(t *testing.T) {
	const partitions, n = 7, 80 // not a power of two: else some wrong uses of murmur2 are right
	s := newStage(t, partitions)
	programs := examples(t)
	for language, p := range programs {
		t.Run(language, func(t *testing.T) {
			replies := exampleReplies(language, n)
			p = s.at(p)
			p.in = inputOf(t, replies)
			stdout, stderr, status := p.run(t)
			require.Zero(t, status, "%s", stderr)
			// What a client library says of a retry, on a cluster that has just started, is its own.
			require.NotContains(t, stderr, "not acknowledged")
			where := acked(t, stdout)
			require.Len(t, where, n)

			records := s.records()
			partition := s.ownPartitions(replies)
			used := map[int32]bool{}
			last := map[string]int64{}
			for _, r := range replies {
				record := records[where[r.IdempotentID]]
				require.NotNil(t, record, "no record where %s was acknowledged", r.IdempotentID)
				require.Equal(t, r.ComplaintID, string(record.Key))
				require.Equal(t, partition[r.ComplaintID], record.Partition, "partition of %s, ours and the example's", r.ComplaintID)
				require.Greater(t, record.Offset, last[r.ComplaintID]-1, "replies to a complaint are in their order")
				last[r.ComplaintID], used[record.Partition] = record.Offset, true
				j, err := job.Decode(record.Value, job.Strict)
				require.NoError(t, err, "%s", record.Value)
				require.Equal(t, []string{r.ComplaintID, r.ComplaintedMchID, r.IdempotentID},
					[]string{j.ComplaintID, j.ComplaintedMchID, j.IdempotentID})
				require.Contains(t, textsOf(t, j.Message), r.Text)
			}
			require.Greater(t, len(used), partitions/2)
		})
	}
	w := s.worker()
	s.start(w)
	require.NoError(t, s.topics.Drained(t.Context(), patience))
	taken := s.sent()
	for language := range programs {
		for _, r := range exampleReplies(language, n) {
			require.Contains(t, taken, r.IdempotentID)
		}
	}
	s.judge()
}

func textsOf(t *testing.T, message []byte) []string {
	t.Helper()
	var m struct {
		Blocks []struct{ Text struct{ Text string } }
	}
	require.NoError(t, json.Unmarshal(message, &m))
	var texts []string
	for _, b := range m.Blocks {
		texts = append(texts, b.Text.Text)
	}
	return texts
}

// TestExamplesSayWhatIsNotAcknowledged: where one job is too large for the topic, it is named, and what is
// named and what is acknowledged are all. Where a broker that must keep a copy is down, nothing is
// acknowledged, for the examples ask for every copy, and they give up in time.
func TestExamplesSayWhatIsNotAcknowledged(t *testing.T) {
	s := newStage(t, 3)
	programs := examples(t)
	failing := func(t *testing.T, p program, replies []exampleReply) (where map[string]string, named []string) {
		t.Helper()
		p.in = inputOf(t, replies)
		stdout, stderr, status := p.run(t)
		require.Equal(t, 1, status, "%s", stderr)
		require.Contains(t, stderr, "produce them again, with the same idempotent_id")
		for _, m := range regexp.MustCompile(`(?m)^not acknowledged: (\S+): \S`).FindAllStringSubmatch(stderr, -1) {
			named = append(named, m[1])
		}
		return acked(t, stdout), named
	}
	limit := "2000"
	small := s.topics.Jobs + "-small"
	_, err := s.admin().CreateTopic(t.Context(), 1, 3, map[string]*string{"max.message.bytes": &limit}, small)
	require.NoError(t, err)

	for language, p := range programs {
		t.Run(language+", too large", func(t *testing.T) {
			replies := exampleReplies(language, 6)
			replies[3].Text = incompressible(2000)
			p := s.at(p)
			p.env = append(p.env, "TOPIC_JOBS="+small)
			where, named := failing(t, p, replies)
			require.Contains(t, named, replies[3].IdempotentID)
			for _, r := range replies {
				_, ok := where[r.IdempotentID]
				require.NotEqual(t, ok, slices.Contains(named, r.IdempotentID), "%s is acknowledged or named", r.IdempotentID)
			}
		})
	}
	t.Run("a copy is missing", func(t *testing.T) { s.withoutACopy(t, programs, failing) })
}

// withoutACopy stops a broker, so that a topic which wants every copy has one too few, and runs the programs.
func (s *stage) withoutACopy(
	t *testing.T, programs map[string]program,
	failing func(t *testing.T, p program, replies []exampleReply) (where map[string]string, named []string),
) {
	t.Helper()
	every := "3"
	safe := s.topics.Jobs + "-safe"
	_, err := s.admin().CreateTopic(t.Context(), 1, 3, map[string]*string{"min.insync.replicas": &every}, safe)
	require.NoError(t, err)
	stop, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, shared.kafka.Stop(stop, 2))
	t.Cleanup(func() { // once the programs, side by side, have ended
		start, cancel := context.WithTimeout(context.WithoutCancel(s.t.Context()), 2*time.Minute)
		defer cancel()
		require.NoError(t, shared.kafka.Start(start, 2))
		require.NoError(t, shared.kafka.InSync(start))
	})
	for language, p := range programs {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			replies := exampleReplies(language, 2)
			p := s.at(p)
			p.env = append(p.env, "TOPIC_JOBS="+safe)
			where, named := failing(t, p, replies)
			require.Empty(t, where, "acknowledged without every copy")
			require.Len(t, named, len(replies))
		})
	}
}

// incompressible is a text that stays long in a compressed batch.
func incompressible(characters int) string {
	random := rand.New(rand.NewPCG(1, 2))
	text := make([]rune, characters)
	for i := range text {
		text[i] = rune('一' + random.IntN(20_000))
	}
	return string(text)
}
