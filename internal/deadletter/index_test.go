package deadletter_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/deadletter"
	"replyworker/internal/job"
	"replyworker/internal/kafkaio"
)

func TestCopiesOfOneJobRecordAreOneLetter(t *testing.T) {
	t.Parallel()
	for _, firstRead := range []int{0, 1} {
		t.Run(fmt.Sprintf("partition %d is read first", firstRead), func(t *testing.T) {
			t.Parallel()
			k := newTopics(2)
			one := k.putLetter(0, failedAt, record(1))
			k.putLetter(0, failedAt, record(2))
			copied := k.putLetter(0, failedAt.Add(time.Minute), record(1))  // a redelivery
			elsewhere := k.putLetter(1, failedAt.Add(time.Hour), record(1)) // the topic has got more partitions
			read := make(chan struct{})
			k.gate = func(s kafkaio.Span) {
				if s.Topic == lettersTopic && s.Partition != firstRead {
					<-read
				}
			}
			k.after = func(s kafkaio.Span) {
				if s.Topic == lettersTopic && s.Partition == firstRead {
					close(read)
				}
			}
			x := k.load(t)
			require.Equal(t, []string{"0/0", "0/1"}, ids(x.Letters))
			require.Equal(t, one, x.Places(x.Letters[0])[0], "its own place comes first")
			require.ElementsMatch(t, []deadletter.Place{one, copied, elsewhere}, x.Places(x.Letters[0]))
			for _, id := range []string{"0/0", "0/2", "1/0"} {
				parsed, err := deadletter.ParseID(id)
				require.NoError(t, err)
				l, found := x.Find(parsed)
				require.True(t, found, id)
				require.Same(t, x.Letters[0], l, id)
			}
			_, found := x.Find(deadletter.ID{Partition: 1, Offset: 1})
			require.False(t, found)
		})
	}
}

func TestWhatIsOneJobRecord(t *testing.T) {
	t.Parallel()
	other := func(change func(*job.Delivery)) *job.Delivery {
		d := record(1)
		change(d)
		return d
	}
	for _, tt := range []struct {
		name    string
		d       *job.Delivery
		letters int
	}{
		{"the same", record(1), 1},
		{"another offset", other(func(d *job.Delivery) { d.Source.Offset = 2 }), 2},
		{"another partition", other(func(d *job.Delivery) { d.Source.Partition = 2 }), 2},
		{"another topic", other(func(d *job.Delivery) { d.Source.Topic = "urgent" }), 2},
		{"the topic was made anew", other(func(d *job.Delivery) { d.Source.Timestamp = failedAt }), 2},
		{"its value did not fit the second time", other(func(d *job.Delivery) { d.Value = nil }), 1},
		{"its key did not fit the second time", other(func(d *job.Delivery) { d.Key = nil }), 1},
	} {
		k := newTopics(1)
		k.putLetter(0, failedAt, record(1))
		k.putLetter(0, failedAt, tt.d)
		require.Len(t, k.load(t).Letters, tt.letters, tt.name)
	}
}

// Letters of others tell less of where they came from. Where that is not enough to say that two are
// one, they are two.
func TestLettersOfUnknownRecordsAreNotMerged(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		headers []job.Header
		value   []byte // of the second
		letters int
	}{
		{"nothing is known", nil, validJob(1), 2},
		{"no partition", []job.Header{header("dead-letter-topic", "jobs"), header("dead-letter-offset", "1")}, validJob(1), 2},
		{"no offset", []job.Header{header("dead-letter-topic", "jobs"), header("dead-letter-partition", "1")}, validJob(1), 2},
		{
			"no time, the same job",
			[]job.Header{header("dead-letter-topic", "jobs"), header("dead-letter-partition", "1"), header("dead-letter-offset", "1")},
			validJob(1), 1,
		},
		{
			"no time, another job: the topic was made anew",
			[]job.Header{header("dead-letter-topic", "jobs"), header("dead-letter-partition", "1"), header("dead-letter-offset", "1")},
			validJob(2), 2,
		},
	} {
		k := newTopics(1)
		k.put(lettersTopic, 0, failedAt, kafkaio.Message{Value: validJob(1), Headers: tt.headers})
		k.put(lettersTopic, 0, failedAt, kafkaio.Message{Value: tt.value, Headers: tt.headers})
		require.Len(t, k.load(t).Letters, tt.letters, tt.name)
	}
}

func TestTheIndexIsBounded(t *testing.T) {
	t.Parallel()
	k := newTopics(1)
	at := func(limit int) func(*deadletter.LoadConfig) {
		return func(cfg *deadletter.LoadConfig) { cfg.MaxLetters = limit }
	}
	for i := range 4 {
		k.putLetter(0, failedAt, record(i))
	}
	k.putLetter(0, failedAt, record(0)) // copies take memory too
	require.Len(t, k.load(t, at(5)).Letters, 4)
	_, err := k.tryLoad(t, at(4))
	require.ErrorIs(t, err, deadletter.ErrTooMany)
	require.EqualError(t, err, "letters: too many dead letters to be looked at together: there are more than 4")
}

// What a header has may be as large as a record; of a million letters that is not kept.
func TestTextsInTheIndexAreBounded(t *testing.T) {
	t.Parallel()
	k := newTopics(1)
	long := strings.Repeat("误", 1<<16)
	p := k.put(lettersTopic, 0, failedAt, kafkaio.Message{Value: validJob(1), Headers: []job.Header{
		header("__dlq.errors.topic", long), header("__dlq.errors.message", long), header("dlq-error-code", long),
		header("dlq-reason", long), header("dlq-replay-id", long), header("dlq-request-id", long),
	}})
	k.resolve(t, 0, p, deadletter.StatusDiscarded, long)
	x := k.load(t)
	l := x.Letters[0]
	r := x.Resolution(l)
	require.Equal(t, deadletter.StatusDiscarded, r.Status)
	for _, text := range []string{l.Source.Topic, l.Message, l.ErrorCode, string(l.Reason), l.ReplayID, l.RequestID, r.Note} {
		require.LessOrEqual(t, len(text), 1024)
		require.True(t, strings.HasPrefix(long, text), "cut at a character's border")
	}
	require.NotEmpty(t, r.Note)
}

func TestLoadingTellsHowFarItIs(t *testing.T) {
	t.Parallel()
	k := newTopics(3)
	for i := range 20 {
		p := k.putLetter(i%3, failedAt, record(i))
		k.resolve(t, (i+1)%3, p, deadletter.StatusReplaying, "")
	}
	var mu sync.Mutex
	var total, passed int64
	k.load(t, func(cfg *deadletter.LoadConfig) {
		cfg.Start = func(n int64) { total = n }
		cfg.Progress = func(n int64) {
			mu.Lock()
			defer mu.Unlock()
			passed += n
		}
	})
	require.EqualValues(t, 40, total)
	require.EqualValues(t, 40, passed)
}

func TestLoadingEndsWithItsContext(t *testing.T) {
	t.Parallel()
	k := newTopics(1)
	k.putLetter(0, failedAt, record(1))
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	k.gate = func(kafkaio.Span) { cancel(enough) }
	_, err := deadletter.Load(ctx, deadletter.LoadConfig{
		Kafka: k, Letters: lettersTopic, Resolutions: resolutionsTopic, Patience: time.Second,
	})
	require.ErrorIs(t, err, enough)
}

func TestSinceLeavesOutWhatWasWrittenBefore(t *testing.T) {
	t.Parallel()
	k := newTopics(1)
	k.putLetter(0, failedAt.Add(-time.Hour), record(1))
	k.putLetter(0, failedAt.Add(-4*time.Minute), record(2)) // clocks differ
	k.putLetter(0, failedAt, record(3))
	since := func(cfg *deadletter.LoadConfig) { cfg.Since = failedAt }
	require.Equal(t, []string{"0/1", "0/2"}, ids(k.load(t, since).Letters))
}
