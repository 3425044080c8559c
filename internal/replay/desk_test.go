package replay_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/deadletter"
	"replyworker/internal/job"
	"replyworker/internal/kafkaio"
	"replyworker/internal/replay"
)

const testMchID = "1900000001"

var morning = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)

// desk is a Kafka with letters, and what is done about them.
type desk struct {
	t      *testing.T
	kafka  *fakeKafka
	faults []string // the letters that were told to have failed
	errs   []error
}

func newDesk(t *testing.T, partitions int) *desk {
	t.Helper()
	return &desk{t: t, kafka: newFakeKafka(partitions)}
}

// failed writes a job and the letter that it became.
func (d *desk) failed(partition int, complaint, id string, headers ...job.Header) deadletter.ID {
	m := kafkaio.Message{Key: []byte(complaint), Value: validJob(complaint, id), Headers: headers}
	offset := d.kafka.append(jobsTopic, partition, morning, &m)
	record := d.kafka.records[jobsTopic][partition][offset]
	letter := deadletter.Message(&record, job.Result{Reason: job.ReasonRejected, FinishedAt: morning.Add(time.Minute)}, "group")
	at := partitionOf(m.Key, d.kafka.partitions[lettersTopic])
	return deadletter.ID{Partition: at, Offset: d.kafka.append(lettersTopic, at, morning.Add(time.Minute), &letter)}
}

func (d *desk) load() *deadletter.Index {
	d.t.Helper()
	x, err := deadletter.Load(d.t.Context(), deadletter.LoadConfig{
		Kafka: d.kafka, Letters: lettersTopic, Resolutions: resolutionsTopic, Patience: time.Second,
	})
	require.NoError(d.t, err)
	return x
}

// config returns how a plan is run, and the items of all letters of those ids that are open, in their order.
func (d *desk) config(selected map[string]bool) (replay.RunConfig, []replay.Item) {
	x := d.load()
	var letters []*deadletter.Letter
	for _, l := range x.Select(&deadletter.Filter{Statuses: []deadletter.Status{deadletter.StatusOpen}}) {
		if selected[l.IdempotentID] {
			letters = append(letters, l)
		}
	}
	plan, err := replay.Make(d.t.Context(), planConfig(x, d.kafka, nobodysClaims{}), letters)
	require.NoError(d.t, err)
	items := plan.ToSend()
	require.Len(d.t, items, len(letters))
	return replay.RunConfig{
		Kafka: d.kafka, Index: x, Letters: lettersTopic, Resolutions: resolutionsTopic, Patience: time.Second,
		Signature: replay.Signature{ReplayID: "r", By: "someone", Note: "why", Now: func() time.Time { return morning.Add(time.Hour) }},
		Fault: func(i *replay.Item, err error) {
			d.faults, d.errs = append(d.faults, i.Letter.IdempotentID), append(d.errs, err)
		},
	}, items
}

// statuses returns the status of every letter, by its idempotent id.
func (d *desk) statuses() map[string]deadletter.Status {
	x := d.load()
	found := map[string]deadletter.Status{}
	for _, l := range x.Letters {
		found[l.IdempotentID] = x.Resolution(l).Status
	}
	return found
}

func all(n int) map[string]bool {
	selected := map[string]bool{}
	for i := range n {
		selected[idOf(i)] = true
	}
	return selected
}

func idOf(i int) string { return fmt.Sprintf("id-%04d", i) }

// planConfig plans with one merchant that signs everything.
func planConfig(x *deadletter.Index, kafka deadletter.Kafka, claims replay.Claims) replay.PlanConfig {
	return replay.PlanConfig{
		Claims: claims, Index: x, JobsTopics: []string{jobsTopic}, Now: morning.Add(time.Hour), MaxReplays: replay.DefaultMaxReplays,
		Merchant: func(mchID string) (string, bool) { return testMchID, mchID == "" || mchID == testMchID },
		Outcomes: replay.Outcomes{
			Kafka: kafka, Topic: outcomesTopic, Patience: time.Second, Start: func(int64) {}, Progress: func(int64) {}, Done: func() {},
		},
	}
}
