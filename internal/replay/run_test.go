package replay_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"replyworker/internal/deadletter"
	"replyworker/internal/job"
	"replyworker/internal/kafkaio"
	"replyworker/internal/replay"
)

// runUntilDeath runs a plan, and says whether the process died of it.
func runUntilDeath(ctx context.Context, cfg replay.RunConfig, items []replay.Item) (report replay.Report, died bool, err error) {
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(death); !ok {
				panic(r)
			}
			died = true
		}
	}()
	report, err = replay.Run(ctx, cfg, items)
	return report, false, err
}

// scene is letters, some of which are to be replayed.
type scene struct {
	letters, partitions int
	selected            map[string]bool
}

// play makes the letters, replays them with a fault at one request, replays what is open then, and holds
// what must be true after that. It returns how many requests the first replay made.
func (s *scene) play(t *testing.T, at int, what fate, interrupt bool) int {
	t.Helper()
	d := newDesk(t, s.partitions)
	for i := range s.letters {
		d.failed(i%s.partitions, fmt.Sprintf("complaint-%d", i%5), idOf(i))
	}
	began := d.kafka.lengths(jobsTopic)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	d.kafka.decide = func(n int, _ string) fate {
		switch {
		case n != at:
			return taken
		case interrupt:
			cancel()
			return taken
		}
		return what
	}
	cfg, items := d.config(s.selected)
	report, died, err := runUntilDeath(ctx, cfg, items)
	requests := d.kafka.requests
	if !died {
		s.checkReport(t, d, report, err, len(items))
	}
	afterFirst := d.kafka.lengths(jobsTopic)
	s.checkRun(t, d, began, afterFirst)

	d.kafka.decide, d.faults = nil, nil
	cfg, items = d.config(s.selected)
	report, err = replay.Run(t.Context(), cfg, items)
	require.NoError(t, err)
	require.Equal(t, replay.Report{Sent: len(items)}, report)
	s.checkRun(t, d, afterFirst, d.kafka.lengths(jobsTopic))
	s.checkEnd(t, d, began)
	return requests
}

// checkReport holds that what is told of a replay is true of the letters.
func (s *scene) checkReport(t *testing.T, d *desk, report replay.Report, err error, items int) {
	t.Helper()
	replayed := 0
	for _, status := range d.statuses() {
		if status == deadletter.StatusReplayed {
			replayed++
		}
	}
	require.LessOrEqual(t, report.Sent, replayed, "what is told to be sent is resolved")
	require.Len(t, d.faults, report.Failed)
	require.Equal(t, report.Sent == items, err == nil && report.Failed == 0)
	for _, id := range d.faults {
		require.True(t, s.selected[id])
	}
}

// checkRun holds that one replay has sent jobs in the order in which they stood.
func (s *scene) checkRun(t *testing.T, d *desk, from, to []int) {
	t.Helper()
	for p := range s.partitions {
		original := d.kafka.sent(jobsTopic, p, 0)
		last := -1
		for _, value := range d.kafka.sent(jobsTopic, p, 0)[from[p]:to[p]] {
			n := slices.Index(original, value)
			require.Greater(t, n, last, "jobs of partition %d out of order", p)
			last = n
		}
	}
}

// checkEnd holds what two replays have done together.
func (s *scene) checkEnd(t *testing.T, d *desk, began []int) {
	t.Helper()
	times := map[string]int{}
	for p := range s.partitions {
		for offset, record := range d.kafka.records[jobsTopic][p][began[p]:] {
			original := d.kafka.records[jobsTopic][p][:began[p]]
			n := slices.IndexFunc(original, func(o job.Delivery) bool { return bytes.Equal(o.Value, record.Value) })
			require.GreaterOrEqual(t, n, 0, "record %d of partition %d came from another partition, or was changed", offset, p)
			require.Equal(t, original[n].Key, record.Key)
			times[string(record.Value)]++
		}
	}
	twice := 0
	statuses := d.statuses()
	for i := range s.letters {
		id := idOf(i)
		sent := times[string(validJob(fmt.Sprintf("complaint-%d", i%5), id))]
		if !s.selected[id] {
			require.Zero(t, sent, "%s was not selected", id)
			require.Equal(t, deadletter.StatusOpen, statuses[id])
			continue
		}
		require.Contains(t, []int{1, 2}, sent, "times that %s was sent", id)
		require.Equal(t, deadletter.StatusReplayed, statuses[id])
		twice += sent - 1
	}
	require.LessOrEqual(t, twice, 200, "a step's jobs are sent again, and no more")
}

// TestReplaysSurviveEveryFault breaks a replay of three steps at each of its requests, in every way, and
// goes on with another replay.
func TestReplaysSurviveEveryFault(t *testing.T) {
	t.Parallel()
	s := &scene{letters: 450, partitions: 2, selected: all(450)}
	delete(s.selected, idOf(0))
	delete(s.selected, idOf(222))
	requests := s.play(t, -1, taken, false)
	require.Equal(t, 18, requests, "three steps, each with three writes to two partitions")
	for at := range requests {
		for _, what := range []fate{refused, answerLost, halfTaken, deadBefore, deadAfter} {
			s.play(t, at, what, false)
		}
		s.play(t, at, taken, true)
	}
}

func TestReplaysSurviveRandomFaults(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		s := &scene{letters: rapid.IntRange(1, 40).Draw(rt, "letters"), partitions: rapid.IntRange(1, 4).Draw(rt, "partitions")}
		s.selected = map[string]bool{}
		for i := range s.letters {
			s.selected[idOf(i)] = rapid.Bool().Draw(rt, "selected")
		}
		s.play(t, rapid.IntRange(0, 12).Draw(rt, "at"), fate(rapid.IntRange(1, 5).Draw(rt, "fate")), rapid.Bool().Draw(rt, "interrupt"))
	})
}

// An interrupted replay brings the step to its end that it has begun, and begins no other.
func TestAnInterruptedReplayEndsBetweenTwoSteps(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 1)
	for i := range 450 {
		d.failed(0, "c", idOf(i))
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	d.kafka.decide = func(n int, _ string) fate {
		if n == 3 { // the second step begins to write
			cancel(enough)
		}
		return taken
	}
	cfg, items := d.config(all(450))
	progress := 0
	cfg.Progress = func(n int) { progress += n }
	report, err := replay.Run(ctx, cfg, items)
	require.ErrorIs(t, err, enough)
	require.Equal(t, replay.Report{Sent: 400}, report)
	require.Equal(t, 400, progress)
	statuses := d.statuses()
	for i := range 450 {
		status := deadletter.StatusReplayed
		if i >= 400 {
			status = deadletter.StatusOpen
		}
		require.Equal(t, status, statuses[idOf(i)])
	}
}

// Where the last write fails, the jobs were sent, and it is told so.
func TestAReplayTellsThatAJobWasSentAllTheSame(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 1)
	d.failed(0, "c", idOf(0))
	d.kafka.decide = func(n int, _ string) fate { return map[int]fate{2: refused}[n] }
	cfg, items := d.config(all(1))
	report, err := replay.Run(t.Context(), cfg, items)
	require.ErrorIs(t, err, replay.ErrNotNoted)
	require.ErrorIs(t, err, errFault)
	require.Equal(t, replay.Report{Failed: 1}, report)
	require.ErrorIs(t, d.errs[0], replay.ErrNotNoted)
	require.Equal(t, map[string]deadletter.Status{idOf(0): deadletter.StatusReplaying}, d.statuses())
}

// A letter that retention has removed is told, and does not keep the others back.
func TestAReplayPassesOverLettersThatAreGone(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 1)
	for i := range 3 {
		d.failed(0, "c", idOf(i))
	}
	cfg, items := d.config(all(3))
	d.kafka.first[lettersTopic] = 1
	report, err := replay.Run(t.Context(), cfg, items)
	require.NoError(t, err)
	require.Equal(t, replay.Report{Sent: 2, Failed: 1}, report)
	require.Equal(t, []string{idOf(0)}, d.faults)
	require.ErrorContains(t, d.errs[0], "letter 0/0: it is not there any more")
}

// Where Kafka is away, the letters are not tried one by one, each as long as Kafka may be away.
func TestAReplayEndsWhereLettersCannotBeRead(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 1)
	for i := range 100 {
		d.failed(0, "c", idOf(i))
	}
	cfg, items := d.config(all(100))
	reads := 0
	d.kafka.reads = func(s kafkaio.Span) error {
		if reads++; s.First >= 14 { // two pages of seven letters come
			return errFault
		}
		return nil
	}
	report, err := replay.Run(t.Context(), cfg, items)
	require.ErrorIs(t, err, errFault)
	require.Equal(t, replay.Report{Sent: 14}, report, "what could be read is sent")
	require.Empty(t, d.faults)
	require.LessOrEqual(t, reads, 4)
}

// Jobs whose topic has fewer partitions by now, or of letters that do not tell where they came from, go
// where their keys belong.
func TestWhereAReplayedJobGoes(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 3)
	d.failed(2, "b", idOf(0)) // by its key it would go to another partition
	d.failed(2, "b", idOf(1))
	m := kafkaio.Message{Key: []byte("b"), Value: validJob("b", idOf(2)), Headers: []job.Header{{Key: "dead-letter-reason", Value: []byte("x")}}}
	d.kafka.append(lettersTopic, 0, morning, &m)
	require.Equal(t, 2, partitionOf([]byte("b"), 3))
	d.kafka.records[jobsTopic][2] = nil
	d.kafka.partitions[jobsTopic] = 2
	cfg, items := d.config(all(3))
	began := d.kafka.lengths(jobsTopic)
	_, err := replay.Run(t.Context(), cfg, items)
	require.NoError(t, err)
	require.Equal(t, 0, partitionOf([]byte("b"), 2))
	require.Len(t, d.kafka.sent(jobsTopic, 0, began[0]), 3)
}

// A step takes no more than 4 MiB of jobs, and one.
func TestAStepOfLargeJobs(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 1)
	const size = 200 << 10
	for i := range 60 {
		d.failed(0, "c", idOf(i))
		letter := &d.kafka.records[lettersTopic][0][i]
		letter.Value = append(letter.Value, bytes.Repeat([]byte(" "), size)...)
	}
	cfg, items := d.config(all(60))
	report, err := replay.Run(t.Context(), cfg, items)
	require.NoError(t, err)
	require.Equal(t, 60, report.Sent)
	require.Greater(t, d.kafka.largest, 4<<20-size, "steps are not smaller than they may be")
	require.LessOrEqual(t, d.kafka.largest, 4<<20+size+1024)
}

// A mended job has its own value, and where its complaint is another one, its own key and partition.
func TestMendedJobs(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 2)
	d.failed(1, "b", idOf(0))
	d.failed(1, "b", idOf(1))
	cfg, items := d.config(all(2))
	items[0].Mended = &replay.Mended{Value: []byte("mended")}
	items[1].Mended = &replay.Mended{Value: []byte("another"), Key: []byte("c")}
	began := d.kafka.lengths(jobsTopic)
	_, err := replay.Run(t.Context(), cfg, items)
	require.NoError(t, err)
	first := d.kafka.records[jobsTopic][1][began[1]]
	require.Equal(t, []string{"b", "mended"}, []string{string(first.Key), string(first.Value)})
	other := d.kafka.records[jobsTopic][partitionOf([]byte("c"), 2)]
	second := other[len(other)-1]
	require.Equal(t, []string{"c", "another"}, []string{string(second.Key), string(second.Value)})
}

func TestWhatIsWrittenOfAReplay(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 1)
	d.failed(0, "c", idOf(0), job.Header{Key: "mine"})
	cfg, items := d.config(all(1))
	_, err := replay.Run(t.Context(), cfg, items)
	require.NoError(t, err)
	x := d.load()
	require.Equal(t, deadletter.Resolution{
		Status: deadletter.StatusReplayed, ReplayID: "r", By: "someone", Note: "why", At: "2026-11-23T09:00:00.000Z",
	}, x.Resolution(x.Letters[0]))
	require.Len(t, d.kafka.records[resolutionsTopic][0], 2)
	sent := d.kafka.records[jobsTopic][0][1]
	require.Equal(t, []job.Header{
		{Key: "mine"},
		{Key: "dlq-replay-count", Value: []byte("1")},
		{Key: "dlq-replay-id", Value: []byte("r")},
		{Key: "dlq-first-failed-at", Value: []byte("2026-11-23T08:01:00Z")},
	}, sent.Headers)
}
