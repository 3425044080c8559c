//go:build linux

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"replyworker/test/judge"
)

// planted stands in every reply: found in a log, a metric or a header, it is a leak.
const planted = "PLANTED-REPLY-TEXT"

// recent bounds how far back complaints are answered again and ids come again.
const recent = 400

// traffic makes jobs of every sort, the same for the same seed.
type traffic struct {
	dice *rand.Rand
	made int
	last []sample
}

// sample is a job that may come again.
type sample struct{ complaint, id, text string }

func newTraffic(seed uint64) *traffic {
	return &traffic{dice: rand.New(rand.NewPCG(seed, 1<<32))} //nolint:gosec // Test data.
}

// next makes one job record, without its topic.
func (t *traffic) next() *kgo.Record {
	t.made++
	roll := t.dice.IntN(1000)
	if len(t.last) == 0 || roll >= 110 {
		return t.fresh("", "")
	}
	old := t.last[t.dice.IntN(len(t.last))]
	switch {
	case roll < 40: // the same again
		return record(old.complaint, value(old, ""))
	case roll < 55: // the same id, another reply
		old.text += " (changed)"
		return record(old.complaint, value(old, ""))
	case roll < 75:
		return t.invalid(old)
	case roll < 85:
		return t.fresh(time.Now().Add(-time.Minute).Format(time.RFC3339), judge.ExpectExpired)
	default: // may or may not be sent in time
		soon := time.Duration(1+t.dice.IntN(20)) * time.Second
		return t.fresh(time.Now().Add(soon).Format(time.RFC3339Nano), "")
	}
}

func (t *traffic) fresh(expires, expect string) *kgo.Record {
	s := sample{
		complaint: fmt.Sprintf("complaint-%d", t.made-t.dice.IntN(min(t.made, recent))/2),
		id:        fmt.Sprintf("id-%d", t.made),
		text:      fmt.Sprintf("%s 您好 %d", planted, t.made),
	}
	if t.dice.IntN(200) == 0 {
		s.text += strings.Repeat("长", 5000)
	}
	more := ""
	if expires != "" {
		more = fmt.Sprintf(`, "expires_at": %q`, expires)
	}
	if expect == "" {
		t.remember(s)
	}
	r := record(s.complaint, value(s, more))
	if expect != "" {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: judge.Expect, Value: []byte(expect)})
	}
	return r
}

func (t *traffic) remember(s sample) {
	if len(t.last) < recent {
		t.last = append(t.last, s)
		return
	}
	t.last[t.made%recent] = s
}

// invalid makes a record that is no job, in one of the ways of the world.
func (t *traffic) invalid(old sample) *kgo.Record {
	good := value(old, "")
	values := [][]byte{
		nil,
		{},
		[]byte("null"), good[:len(good)/2], append(slices.Clip(good), good...),
		value(old, `, "extra": 1`), []byte(strings.ReplaceAll(string(good), planted, planted+`\ud800`)),
	}
	r := record(old.complaint, values[t.dice.IntN(len(values))])
	r.Headers = append(r.Headers, kgo.RecordHeader{Key: judge.Expect, Value: []byte(judge.ExpectInvalid)})
	return r
}

func record(complaint string, value []byte) *kgo.Record {
	return &kgo.Record{Key: []byte(complaint), Value: value, Headers: []kgo.RecordHeader{
		{Key: "traceparent", Value: []byte("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")},
	}}
}

func value(s sample, more string) []byte {
	return fmt.Appendf(nil, `{"complaint_id": %q, "complainted_mchid": "1900012181", "idempotent_id": %q, `+
		`"message": {"blocks": [{"type": "TEXT", "text": {"text": %q}}], "custom_data": "PLANTED-CUSTOM-DATA"}%s}`,
		s.complaint, s.id, s.text, more)
}

// produce sends n jobs, spread evenly over length. An aborted transaction goes between now and then;
// its jobs are no jobs. It returns when every record is acknowledged.
func produce(ctx context.Context, brokers []string, seed uint64, n int, length time.Duration) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.DefaultProduceTopic(topicJobs),
		kgo.RecordDeliveryTimeout(5*time.Minute), kgo.ProducerLinger(5*time.Millisecond))
	if err != nil {
		return fmt.Errorf("producer: %w", err)
	}
	defer client.Close()
	aborter, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.DefaultProduceTopic(topicJobs),
		kgo.TransactionalID(fmt.Sprint("chaos-", seed)))
	if err != nil {
		return fmt.Errorf("producer: %w", err)
	}
	defer aborter.Close()
	t := newTraffic(seed)
	failed := make(chan error, 1)
	start := time.Now()
	for i := range n {
		due := start.Add(length * time.Duration(i) / time.Duration(n))
		if err := wait(ctx, time.Until(due)); err != nil {
			return err
		}
		client.Produce(ctx, t.next(), func(_ *kgo.Record, err error) {
			if err != nil {
				select {
				case failed <- err:
				default:
				}
			}
		})
		if i%1000 == 500 {
			go abort(ctx, aborter, i) //nolint:contextcheck // It ends with the producer.
		}
	}
	if err := client.Flush(ctx); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	select {
	case err := <-failed:
		return fmt.Errorf("produce: %w", err)
	default:
		return nil
	}
}

// abort produces jobs in a transaction and aborts it. Whether it can is of no importance.
func abort(ctx context.Context, client *kgo.Client, i int) {
	if client.BeginTransaction() != nil {
		return
	}
	for k := range 10 {
		s := sample{fmt.Sprintf("complaint-%d", i-k), fmt.Sprintf("aborted-%d-%d", i, k), planted}
		client.Produce(ctx, record(s.complaint, value(s, "")), nil)
	}
	_ = client.Flush(ctx)
	_ = client.EndTransaction(ctx, kgo.TryAbort)
}

func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
