package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"replyworker/internal/cli"
	"replyworker/internal/devstack"
	"replyworker/internal/job"
)

// runWith is run with standard input and a context.
func runWith(ctx context.Context, env []string, stdin io.Reader, args ...string) result {
	var stdout, stderr bytes.Buffer
	status := cli.Run(ctx, args, env, stdin, &stdout, &stderr)
	return result{status, stdout.String(), stderr.String()}
}

// startKafka starts a broker and returns it with the environment that makes a command use it.
func startKafka(t *testing.T, topics map[string]int) (*devstack.Kafka, []string) {
	t.Helper()
	broker, err := devstack.StartKafka(devstack.KafkaConfig{Topics: topics})
	require.NoError(t, err)
	t.Cleanup(broker.Close)
	return broker, []string{"REPLYWORKER_KAFKA_BROKERS=" + broker.Addr()}
}

// closedAddr is an address where nobody listens.
func closedAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, ln.Close()) }()
	return ln.Addr().String()
}

// readTopic reads n records and nothing more.
func readTopic(t *testing.T, broker *devstack.Kafka, topic string, n int) []*kgo.Record {
	t.Helper()
	reader, err := kgo.NewClient(kgo.SeedBrokers(broker.Addr()), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(50*time.Millisecond))
	require.NoError(t, err)
	defer reader.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var all []*kgo.Record
	for len(all) < n && ctx.Err() == nil {
		all = append(all, reader.PollFetches(ctx).Records()...)
	}
	require.Len(t, all, n, "records on %s", topic)
	return all
}

// jobLine is a job on one line, as its producer wrote it: with a space that must survive.
func jobLine(complaint, id, text string) string {
	return fmt.Sprintf(`{"complaint_id": %q, "complainted_mchid":"1900012181", "idempotent_id":%q, `+
		`"message": {"blocks":[{"type":"TEXT","text":{"text":%q}}]}}`, complaint, id, text)
}

func jobLines(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(jobLine(fmt.Sprintf("complaint-%d", i%7), fmt.Sprintf("id-%05d", i), "hello") + "\n")
	}
	return b.String()
}

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// refuseProduce answers the produce requests from the first-th on with an error, after calling seen.
func refuseProduce(broker *devstack.Kafka, first int64, code *kerr.Error, seen func(n int64)) {
	var count atomic.Int64
	broker.Cluster().ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		broker.Cluster().KeepControl()
		n := count.Add(1)
		if seen != nil {
			seen(n)
		}
		if n < first {
			return nil, nil, false
		}
		produce := req.(*kmsg.ProduceRequest)
		res := produce.ResponseKind().(*kmsg.ProduceResponse)
		for _, t := range produce.Topics {
			rt := kmsg.NewProduceResponseTopic()
			rt.Topic, rt.TopicID = t.Topic, t.TopicID
			for _, p := range t.Partitions {
				rp := kmsg.NewProduceResponseTopicPartition()
				rp.Partition, rp.ErrorCode = p.Partition, code.Code
				rt.Partitions = append(rt.Partitions, rp)
			}
			res.Topics = append(res.Topics, rt)
		}
		return res, nil, true
	})
}

func TestEnqueueProducesEveryJobAsItWasWritten(t *testing.T) {
	t.Parallel()
	broker, env := startKafka(t, map[string]int{"reply-jobs": 5})
	const n = 2500 // several batches
	lines := strings.Split(strings.TrimSuffix(jobLines(n), "\n"), "\n")
	input := "\ufeff" + strings.Join(lines[:3], "\r\n") + "\r\n\n  \n" + strings.Join(lines[3:], "\n") // no line end at the end
	got := runWith(t.Context(), env, strings.NewReader(input), "enqueue", "-o", "json")
	require.Equal(t, 0, got.status, got.stderr)
	require.Contains(t, got.stderr, "enqueue: 2500 of 2500, finished\n")

	records := map[string]*kgo.Record{}
	last := map[string]string{}
	for _, r := range readTopic(t, broker, "reply-jobs", n) {
		records[fmt.Sprintf("%d/%d", r.Partition, r.Offset)] = r
		require.Less(t, last[string(r.Key)], string(r.Value), "the complaint's jobs are out of order")
		last[string(r.Key)] = string(r.Value)
	}
	rows := strings.Split(strings.TrimSuffix(got.stdout, "\n"), "\n")
	require.Len(t, rows, n)
	for i, text := range rows {
		var row struct {
			Line              int
			IdempotentID      string `json:"idempotent_id"`
			ComplaintID       string `json:"complaint_id"`
			Topic             string
			Partition, Offset int64
			MchID             *string `json:"mchid"`
		}
		require.NoError(t, json.Unmarshal([]byte(text), &row))
		r := records[fmt.Sprintf("%d/%d", row.Partition, row.Offset)]
		require.NotNil(t, r, "no record where %s says", text)
		require.Equal(t, lines[i], string(r.Value))
		require.Equal(t, row.ComplaintID, string(r.Key))
		require.Equal(t, fmt.Sprintf("id-%05d", i), row.IdempotentID)
		require.Equal(t, "reply-jobs", row.Topic)
		line := i + 1
		if i >= 3 {
			line += 2 // two lines are blank
		}
		require.Equal(t, line, row.Line)
	}
}

func TestEnqueueOneDocumentOfSeveralLines(t *testing.T) {
	t.Parallel()
	broker, env := startKafka(t, map[string]int{"reply-jobs": 1})
	var pretty bytes.Buffer
	require.NoError(t, json.Indent(&pretty, []byte(jobLine("c", "i", "t")), "", "  "))
	got := runWith(t.Context(), env, nil, "enqueue", writeFile(t, "job.json", "\n"+pretty.String()+"\n"))
	require.Equal(t, 0, got.status, got.stderr)
	require.Equal(t, "TOPIC       JOBS\nreply-jobs  1\n", got.stdout)
	require.Equal(t, pretty.String(), string(readTopic(t, broker, "reply-jobs", 1)[0].Value))

	got = runWith(t.Context(), env, nil, "enqueue", writeFile(t, "broken.json", "\n\n{\n  \"complaint_id\": 1,\n"))
	require.Equal(t, 1, got.status)
	require.Contains(t, got.stderr, "line 3: /complaint_id: ", "it is one document, which begins on line 3")
}

func TestEnqueueRefusesTheBatchWithEveryProblem(t *testing.T) {
	t.Parallel()
	input := jobLine("c1", "i1", "one") + "\n" +
		`{"complaint_id":"c2","idempotent_id":"i2","message":{"blocks":[{"type":"SONG"}]},"colour":1}` + "\n" +
		"\n" +
		"not json\n" +
		jobLine("c1", "i1", "one") + "\n" +
		jobLine("c1", "i1", "another") + "\n" +
		`{"complaint_id":"` + strings.Repeat("x", job.MaxBytes) + `"}` + "\n" +
		strings.Repeat("y", 400<<10) + "\n"
	// No broker: what is wrong is told before one is asked.
	got := runWith(t.Context(), []string{"REPLYWORKER_KAFKA_BROKERS=" + closedAddr(t)}, strings.NewReader(input), "enqueue", "-")
	require.Equal(t, 1, got.status, got.stderr)
	require.Empty(t, got.stdout)
	golden(t, "enqueue-problems.txt", got.stderr)
}

func TestEnqueueValidationMerchantsAndTheirTopics(t *testing.T) {
	t.Parallel()
	broker, env := startKafka(t, map[string]int{"reply-jobs": 2, "jobs-of-two": 2})
	merchants := "merchants:\n"
	for _, m := range []string{"1900000001", "1900000002"} {
		merchants += fmt.Sprintf("- {mchid: '%s', cert-serial: ABCDEF0123, private-key-file: k.pem, "+
			"public-key-id: PUB_KEY_ID_01, public-key-file: p.pem", m)
		if m == "1900000002" {
			merchants += ", topic-jobs: jobs-of-two"
		}
		merchants += "}\n"
	}
	env = append(env, "REPLYWORKER_MERCHANTS_FILE="+writeFile(t, "merchants.yaml", merchants))
	of := func(mchID, id string) string {
		return strings.TrimSuffix(jobLine("c", id, "t"), "}") + `,"mchid":"` + mchID + `"}` + "\n"
	}
	got := runWith(t.Context(), env, strings.NewReader(of("1900000003", "a")+jobLine("c", "b", "t")+"\n"), "enqueue")
	require.Equal(t, 1, got.status)
	require.Contains(t, got.stderr, "line 1: /mchid: is \"1900000003\", which is not a configured merchant\n")
	require.Contains(t, got.stderr, "line 2: /mchid: is missing; must be there, since no merchant is configured as the default\n")

	env = append(env, "REPLYWORKER_MCHID=1900000001")
	input := jobLine("c", "a", "t") + "\n" + of("1900000002", "a") + of("1900000001", "b")
	got = runWith(t.Context(), env, strings.NewReader(input), "enqueue", "--dry-run")
	require.Equal(t, 0, got.status, got.stderr)
	require.Equal(t, "LINE  IDEMPOTENT_ID  COMPLAINT_ID  MCHID       TOPIC\n"+
		"1     a              c             1900000001  reply-jobs\n"+
		"2     a              c             1900000002  jobs-of-two\n"+
		"3     b              c             1900000001  reply-jobs\n", got.stdout)
	require.Equal(t, "worker: 3 jobs are valid; nothing was produced\n", got.stderr, "one id of two merchants is two jobs")

	got = runWith(t.Context(), env, strings.NewReader(input), "enqueue")
	require.Equal(t, 0, got.status, got.stderr)
	require.Equal(t, "TOPIC        JOBS\njobs-of-two  1\nreply-jobs   2\n", got.stdout)
	readTopic(t, broker, "reply-jobs", 2)
	readTopic(t, broker, "jobs-of-two", 1)

	grown := strings.ReplaceAll(jobLine("c", "x", "t"), `"type":"TEXT"`, `"new":1,"type":"TEXT"`)
	require.Equal(t, 1, runWith(t.Context(), env, strings.NewReader(grown), "enqueue", "--dry-run").status)
	got = runWith(t.Context(), env, strings.NewReader(grown), "enqueue", "--dry-run", "--validation=lenient", "-o", "json")
	require.Equal(t, 0, got.status, got.stderr)
	require.JSONEq(t, `{"line":1,"idempotent_id":"x","complaint_id":"c","mchid":"1900000001","topic":"reply-jobs"}`, got.stdout)
}

func TestEnqueueSaysHowFarItCame(t *testing.T) {
	t.Parallel()
	broker, env := startKafka(t, map[string]int{"reply-jobs": 1})
	refuseProduce(broker, 2, kerr.TopicAuthorizationFailed, nil)
	file := writeFile(t, "jobs.ndjson", jobLines(1500))
	got := run(t, env, "enqueue", file)
	require.Equal(t, 3, got.status)
	require.Contains(t, got.stderr, "worker: 500 of 1500 jobs failed: publish to reply-jobs: ")
	require.Contains(t, got.stderr, "hint: go on with --from-line 1001; a job that is produced twice is sent once\n")
	require.Len(t, readTopic(t, broker, "reply-jobs", 1000), 1000)

	got = run(t, env, "enqueue", file, "--from-line=1001")
	require.Equal(t, 1, got.status)
	require.Contains(t, got.stderr, "worker: no job is known to be produced: publish to reply-jobs: ")
}

func TestEnqueueGoesOnFromALine(t *testing.T) {
	t.Parallel()
	broker, env := startKafka(t, map[string]int{"reply-jobs": 1})
	got := run(t, env, "enqueue", writeFile(t, "jobs.ndjson", jobLines(30)), "--from-line=29", "-o=json")
	require.Equal(t, 0, got.status, got.stderr)
	require.Contains(t, got.stdout, `{"line":29,"idempotent_id":"id-00028"`)
	require.Contains(t, got.stderr, "enqueue: 2 of 2, finished\n")
	readTopic(t, broker, "reply-jobs", 2)
	got = run(t, env, "enqueue", writeFile(t, "jobs.ndjson", jobLines(30)), "--from-line=31")
	require.Equal(t, 0, got.status)
	require.Contains(t, got.stderr, "nothing was produced")
}

func TestEnqueueInterruptedFinishesWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	broker, env := startKafka(t, map[string]int{"reply-jobs": 1})
	ctx, cancel := context.WithCancelCause(t.Context())
	refuseProduce(broker, 99, kerr.UnknownServerError, func(int64) { cancel(cli.ErrInterrupted) })
	got := runWith(ctx, env, nil, "enqueue", writeFile(t, "jobs.ndjson", jobLines(3500)))
	require.Equal(t, 130, got.status)
	require.Contains(t, got.stderr, "worker: 1000 of 3500 jobs were produced\nworker: interrupted\n"+
		"hint: go on with --from-line 1001; a job that is produced twice is sent once\n")
	readTopic(t, broker, "reply-jobs", 1000)
}

func TestEnqueueInterruptedWhileItReads(t *testing.T) {
	t.Parallel()
	r, w := io.Pipe()
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		_, _ = io.WriteString(w, jobLines(3))
		cancel(cli.ErrInterrupted)
	}()
	got := runWith(ctx, nil, r, "enqueue", "--dry-run")
	require.Equal(t, result{130, "", "worker: interrupted\n"}, got)
	require.NoError(t, w.Close()) // ends the read that was under way
}

func TestEnqueueWithoutATopicOrABroker(t *testing.T) {
	t.Parallel()
	_, env := startKafka(t, map[string]int{"other": 1})
	got := runWith(t.Context(), env, strings.NewReader(jobLines(1)), "enqueue")
	require.Equal(t, result{1, "", "worker: kafka: no topic reply-jobs (make it with: worker topics create)\n"}, got)

	got = runWith(t.Context(), []string{"REPLYWORKER_KAFKA_BROKERS=" + closedAddr(t)}, strings.NewReader(jobLines(1)),
		"enqueue", "--start-timeout=500ms")
	require.Equal(t, 1, got.status)
	require.Contains(t, got.stderr, "does not answer")
	require.Contains(t, got.stderr, "connection refused")
	require.Contains(t, got.stderr, "hint: check kafka-brokers")
}

func TestEnqueueRefusesJobsThatTheTopicDoesNotTake(t *testing.T) {
	t.Parallel()
	broker, env := startKafka(t, nil)
	require.NoError(t, broker.Cluster().CreateTopic("reply-jobs", 1, map[string]string{"max.message.bytes": "1500"}))
	input := jobLines(2) + jobLine("c", "large", strings.Repeat("x", 1500)) + "\n"
	got := runWith(t.Context(), env, strings.NewReader(input), "enqueue")
	require.Equal(t, 1, got.status)
	require.Contains(t, got.stderr, "line 3: has 1640 bytes, too many for topic reply-jobs, whose max.message.bytes is 1500\n")
	require.Contains(t, got.stderr, "worker: standard input: 1 of 3 jobs too large; nothing was produced\n")
	got = runWith(t.Context(), env, strings.NewReader(jobLines(2)), "enqueue")
	require.Equal(t, 0, got.status, got.stderr)
	readTopic(t, broker, "reply-jobs", 2)
}

func TestEnqueueLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	before, err := filepath.Glob(filepath.Join(os.TempDir(), "replyworker-enqueue-*"))
	require.NoError(t, err)
	got := runWith(t.Context(), nil, strings.NewReader(jobLines(3)), "enqueue", "--dry-run")
	require.Equal(t, 0, got.status, got.stderr)
	after, err := filepath.Glob(filepath.Join(os.TempDir(), "replyworker-enqueue-*"))
	require.NoError(t, err)
	require.Empty(t, slices.DeleteFunc(after, func(path string) bool { return slices.Contains(before, path) }))
}

func TestEnqueueInputThatIsNone(t *testing.T) {
	t.Parallel()
	got := run(t, nil, "enqueue")
	require.Equal(t, result{0, "", "worker: no job in standard input; nothing was produced\n"}, got)
	got = run(t, nil, "enqueue", "none.ndjson")
	require.Equal(t, result{1, "", "worker: open none.ndjson: no such file or directory\n"}, got)
	got = run(t, nil, "enqueue", t.TempDir())
	require.Equal(t, 1, got.status)
	require.Contains(t, got.stderr, "is a folder")
	require.Equal(t, 2, run(t, nil, "enqueue", "a", "b").status)
	require.Equal(t, 2, run(t, nil, "enqueue", "--from-line=0").status)
	got = runWith(t.Context(), nil, strings.NewReader("["+jobLine("c", "i", "t")+"]"), "enqueue")
	require.Equal(t, 1, got.status)
	require.Contains(t, got.stderr, "`jq -c '.[]'` of an array")
}
