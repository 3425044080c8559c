//go:build linux

package integration_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"replyworker/test/fleet"
	"replyworker/test/servers"
)

// javaJob is what the Java producer says of a job.
type javaJob struct {
	fate, complaint, id string
	partition           int32
}

// producer is the Java program while it runs.
type producer struct {
	t     *testing.T
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines *bufio.Scanner
	said  bytes.Buffer // on standard error
	jobs  []javaJob
}

func startProducer(t *testing.T, topic string, partitions int32) *producer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	in, err := servers.Install(ctx)
	require.NoError(t, err)
	p := &producer{t: t}
	p.cmd = exec.CommandContext(ctx, in.Java, "-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData",
		"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", filepath.Join(in.KafkaLibs, "*"),
		filepath.Join("java", "TransactionalProducer.java"),
		strings.Join(shared.kafka.Addrs(), ","), topic, strconv.Itoa(int(partitions)))
	p.cmd.Stderr = &p.said
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p.in, err = p.cmd.StdinPipe()
	require.NoError(t, err)
	out, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	p.lines = bufio.NewScanner(out)
	require.NoError(t, p.cmd.Start())
	return p
}

// until reads what the program says up to a line, or to its end where there is no such line.
func (p *producer) until(stop string) {
	p.t.Helper()
	for p.lines.Scan() {
		if p.lines.Text() == stop {
			return
		}
		f := strings.Split(p.lines.Text(), "\t")
		require.Len(p.t, f, 5, "line %q", p.lines.Text())
		partition, err := strconv.ParseInt(f[1], 10, 32)
		require.NoError(p.t, err)
		p.jobs = append(p.jobs, javaJob{fate: f[0], partition: int32(partition), complaint: f[3], id: f[4]})
	}
	require.NoError(p.t, p.lines.Err())
	require.Empty(p.t, stop, "the program has ended: %s", &p.said)
	require.NoError(p.t, p.cmd.Wait(), "%s", &p.said)
}

// ids returns the ids of the jobs with a fate, sorted.
func (p *producer) ids(fate string) []string {
	var found []string
	for _, j := range p.jobs {
		if j.fate == fate {
			found = append(found, j.id)
		}
	}
	slices.Sort(found)
	return found
}

// sent returns the ids that the API has taken, sorted.
func (s *stage) sent() []string {
	var found []string
	for _, e := range s.api.Sim.Effects() {
		found = append(found, e.IdempotentID)
	}
	slices.Sort(found)
	return found
}

// TestJavaTransactions: of a Java producer's jobs those of committed transactions are sent, and no
// others; what is behind an open transaction waits for it. Its control records at the ends of partitions
// are passed. The product's own jobs go to the same partitions.
func TestJavaTransactions(t *testing.T) {
	const partitions = 6
	s := newStage(t, partitions)
	a, b := s.worker(), s.worker()
	s.start(a, b)
	p := startProducer(t, s.topics.Jobs, partitions)

	p.until("open")
	stable := s.reachStable()
	require.NotZero(t, stable, "jobs wait behind the open transaction")
	behind := len(p.ids("committed")) - len(s.sent())
	require.Positive(t, behind, "committed jobs behind the open transaction are sent only after it")
	_, err := io.WriteString(p.in, "go on\n")
	require.NoError(t, err)
	p.until("")

	require.NotEmpty(t, p.ids("aborted"))
	require.NotEmpty(t, p.ids("fenced"))
	committed := p.ids("committed")
	require.NoError(t, s.topics.Drained(t.Context(), patience))
	require.Equal(t, committed, s.sent(), "replies that were sent, and the committed jobs")
	s.noLag(a, b)
	s.endsInControlRecords(partitions)
	s.judge()

	more := s.enqueue(p.jobs)
	require.Len(t, s.judge().EndToEnd, len(committed)+more, "jobs with an outcome")
	s.noLag(a, b)
	s.nothingTwice()
}

// reachStable waits until the group has committed all that an open transaction lets be read, and
// returns how many records are behind that.
func (s *stage) reachStable() (behind int64) {
	s.t.Helper()
	s.await("what is before the open transaction is finished", func() bool {
		committed, err := s.admin().FetchOffsets(s.t.Context(), s.topics.Group)
		require.NoError(s.t, err)
		stable, err := s.admin().ListCommittedOffsets(s.t.Context(), s.topics.Jobs)
		require.NoError(s.t, err)
		ends, err := s.admin().ListEndOffsets(s.t.Context(), s.topics.Jobs)
		require.NoError(s.t, err)
		behind = 0
		reached := true
		ends.Each(func(end kadm.ListedOffset) {
			last, _ := stable.Lookup(end.Topic, end.Partition)
			at, _ := committed.Lookup(end.Topic, end.Partition)
			behind += end.Offset - last.Offset
			reached = reached && at.At == last.Offset
		})
		return reached
	})
	return behind
}

// noLag waits until the workers' own metrics show no lag in any partition.
func (s *stage) noLag(workers ...*fleet.Worker) {
	s.t.Helper()
	s.await("a lag of 0 in every partition", func() bool {
		all := map[int32]int64{}
		for _, w := range workers {
			maps.Copy(all, s.partitionsOf(w))
		}
		return len(all) > 0 && !slices.ContainsFunc(slices.Collect(maps.Values(all)), func(lag int64) bool { return lag != 0 })
	})
}

// endsInControlRecords holds that the last record of each partition is a transaction's commit or abort,
// and that there is each.
func (s *stage) endsInControlRecords(partitions int) {
	s.t.Helper()
	ends, err := s.admin().ListEndOffsets(s.t.Context(), s.topics.Jobs)
	require.NoError(s.t, err)
	last := map[int32]kgo.Offset{}
	ends.Each(func(o kadm.ListedOffset) { last[o.Partition] = kgo.NewOffset().At(o.Offset - 1) })
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{s.topics.Jobs: last}), kgo.KeepControlRecords(),
	}, s.topics.Connect...)...)
	require.NoError(s.t, err)
	defer client.Close()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	const abort, commit = 0, 1
	kinds := map[int32]int{}
	for len(kinds) < partitions {
		fetched := client.PollFetches(ctx)
		require.NoError(s.t, ctx.Err(), "control records at the ends of partitions: %v", kinds)
		fetched.EachRecord(func(r *kgo.Record) {
			require.True(s.t, r.Attrs.IsControl(), "partition %d ends in %q", r.Partition, r.Value)
			kinds[r.Partition] = int(r.Key[3]) // a version and a type, 2 bytes each
		})
	}
	for p, kind := range kinds {
		require.Equal(s.t, map[bool]int{true: commit, false: abort}[p%2 == 0], kind, "partition %d", p)
	}
}

// enqueue lets the product produce jobs for the same complaints, and holds that each goes to the
// partition of Java's. It returns how many there are.
func (s *stage) enqueue(jobs []javaJob) int {
	s.t.Helper()
	want := map[string]int32{}
	var batch bytes.Buffer
	for _, j := range jobs {
		if _, known := want[j.complaint]; !known {
			batch.Write(append(jobValue(j.complaint, "own-"+j.complaint, nil), '\n'))
		}
		want[j.complaint] = j.partition
	}
	file := filepath.Join(s.dir, "jobs.ndjson")
	require.NoError(s.t, os.WriteFile(file, batch.Bytes(), 0o600))
	cmd := exec.CommandContext(s.t.Context(), shared.binary, "enqueue", "-o", "json", file)
	cmd.Env = slices.Concat(s.env, []string{"PATH=" + os.Getenv("PATH")})
	out, err := cmd.Output()
	require.NoError(s.t, err)
	got := map[string]int32{}
	for line := range bytes.Lines(out) {
		var j struct {
			Complaint string `json:"complaint_id"`
			Partition int32  `json:"partition"`
		}
		require.NoError(s.t, json.Unmarshal(line, &j))
		got[j.Complaint] = j.Partition
	}
	require.Equal(s.t, want, got, "partitions of complaints, Java's and those of enqueue")
	return len(want)
}
