//go:build linux

package integration_test

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"replyworker/test/judge"
)

// outcome is what a reader of the outcomes sees.
type outcome struct {
	ID       string    `json:"idempotent_id"`
	Status   string    `json:"status"`
	Reason   string    `json:"reason"`
	LogID    string    `json:"log_id"`
	Finished time.Time `json:"finished_at"`
	Source   struct {
		Partition int32 `json:"partition"`
		Offset    int64 `json:"offset"`
	} `json:"source"`
	Seen time.Time `json:"-"` // when the reader had it
}

// tail reads the outcomes of a stage as they come. It is safe for concurrent use.
type tail struct {
	mu  sync.Mutex
	all []outcome
	err error
}

func newTail(t *testing.T, topics judge.Topics) *tail {
	t.Helper()
	client, err := kgo.NewClient(append(slices.Clone(topics.Connect), kgo.ConsumeTopics(topics.Outcomes),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(100*time.Millisecond))...)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	o := &tail{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		o.read(ctx, client)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		client.Close()
		require.NoError(t, o.err, "an outcome that is none")
	})
	return o
}

func (o *tail) read(ctx context.Context, client *kgo.Client) {
	for {
		fetched := client.PollFetches(ctx)
		if ctx.Err() != nil {
			return
		}
		now := time.Now()
		fetched.EachRecord(func(r *kgo.Record) {
			seen := outcome{Seen: now}
			err := json.Unmarshal(r.Value, &seen)
			o.mu.Lock()
			defer o.mu.Unlock()
			if err != nil {
				o.err = err
			}
			o.all = append(o.all, seen)
		})
	}
}

// where returns the outcomes that keep says yes to, in the order in which they were seen.
func (o *tail) where(keep func(outcome) bool) []outcome {
	o.mu.Lock()
	defer o.mu.Unlock()
	var found []outcome
	for _, e := range o.all {
		if keep(e) {
			found = append(found, e)
		}
	}
	return found
}

// of returns the outcomes of one id.
func (o *tail) of(id string) []outcome { return o.where(func(e outcome) bool { return e.ID == id }) }

// repeated counts the outcomes beyond the first of their job, by status.
func (o *tail) repeated() map[string]int {
	type record struct {
		partition int32
		offset    int64
	}
	first, again := map[record]bool{}, map[string]int{}
	for _, e := range o.where(func(outcome) bool { return true }) {
		r := record{e.Source.Partition, e.Source.Offset}
		if first[r] {
			again[e.Status]++
		}
		first[r] = true
	}
	return again
}
