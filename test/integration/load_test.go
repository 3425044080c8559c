//go:build linux

package integration_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"replyworker/internal/wxsim"
)

// jobValue makes a job.
func jobValue(complaint, id string, more map[string]any) []byte {
	v := map[string]any{
		"complaint_id": complaint, "complainted_mchid": "1900012181", "idempotent_id": id,
		"message": map[string]any{"blocks": []any{map[string]any{"type": "TEXT", "text": map[string]any{"text": "reply " + id}}}},
	}
	maps.Copy(v, more)
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // it is strings
	}
	return text
}

// produce produces one job and returns when it is acknowledged.
func (s *stage) produce(complaint, id string, more map[string]any) {
	s.t.Helper()
	r := &kgo.Record{Topic: s.topics.Jobs, Key: []byte(complaint), Value: jobValue(complaint, id, more)}
	require.NoError(s.t, s.client.ProduceSync(s.t.Context(), r).FirstErr())
}

// produceTo produces one job into a partition.
func (s *stage) produceTo(partition int32, complaint, id string) {
	s.t.Helper()
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.RecordPartitioner(kgo.ManualPartitioner())}, s.topics.Connect...)...)
	require.NoError(s.t, err)
	defer client.Close()
	r := &kgo.Record{Topic: s.topics.Jobs, Partition: partition, Key: []byte(complaint), Value: jobValue(complaint, id, nil)}
	require.NoError(s.t, client.ProduceSync(s.t.Context(), r).FirstErr())
}

// usual is an API that answers within 100 ms, but for one call in a hundred, which takes seconds.
func usual() []wxsim.Fault {
	return []wxsim.Fault{
		{Kind: wxsim.KindLatency, Delay: 50 * time.Millisecond, Jitter: 50 * time.Millisecond},
		{Kind: wxsim.KindLatency, Delay: 2 * time.Second, Jitter: time.Second, Probability: 0.01},
	}
}

// load is a steady stream of jobs. A few of them come twice.
type load struct {
	s      *stage
	cancel context.CancelFunc
	done   chan struct{}

	mu   sync.Mutex
	born map[string]birth // by id
	err  error
}

// birth is when a job was first produced, and where to, in a load that goes to partitions in turn.
type birth struct {
	born      time.Time
	partition int32
}

// repeats is how many jobs there are to one that is an earlier one again.
const repeats = 50

// load produces rate jobs a second, until it is ended, for complaints that come up again and again.
// Where turns is more than 0, the jobs go to so many partitions in turn, else where their keys belong.
func (s *stage) load(rate int, turns int32) *load {
	s.t.Helper()
	connect := append([]kgo.Opt{kgo.DefaultProduceTopic(s.topics.Jobs), kgo.ProducerLinger(0)}, s.topics.Connect...)
	if turns > 0 {
		connect = append(connect, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	}
	client, err := kgo.NewClient(connect...)
	require.NoError(s.t, err)
	ctx, cancel := context.WithCancel(s.t.Context())
	l := &load{s: s, cancel: cancel, done: make(chan struct{}), born: map[string]birth{}}
	go func() {
		defer close(l.done)
		defer client.Close()
		l.run(ctx, client, rate, turns)
	}()
	s.t.Cleanup(l.end)
	return l
}

func (l *load) run(ctx context.Context, client *kgo.Client, rate int, turns int32) {
	const complaints = 300
	dice := rand.New(rand.NewPCG(1, uint64(rate)))
	start := time.Now()
	timer := time.NewTimer(0)
	var last *kgo.Record
	for i := 0; ; i++ {
		timer.Reset(time.Until(start.Add(time.Second * time.Duration(i) / time.Duration(rate))))
		select {
		case <-ctx.Done():
			l.fail(client.Flush(context.Background()))
			return
		case <-timer.C:
		}
		id, partition := fmt.Sprintf("job-%d", i), int32(0)
		complaint := fmt.Sprintf("complaint-%d", dice.IntN(complaints))
		if turns > 0 {
			partition = int32(i) % turns
			complaint = fmt.Sprintf("complaint-%d-%d", partition, dice.IntN(complaints))
		}
		r := &kgo.Record{Partition: partition, Key: []byte(complaint), Value: jobValue(complaint, id, nil)}
		if last != nil && i%repeats == 0 {
			r = &kgo.Record{Partition: last.Partition, Key: last.Key, Value: last.Value}
		} else {
			l.mu.Lock()
			l.born[id] = birth{time.Now(), partition}
			l.mu.Unlock()
		}
		last = r
		client.Produce(context.Background(), r, func(_ *kgo.Record, err error) { l.fail(err) })
	}
}

func (l *load) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
	}
}

// end ends the stream and returns when every job of it is acknowledged.
func (l *load) end() {
	l.cancel()
	<-l.done
	l.mu.Lock()
	defer l.mu.Unlock()
	require.NoError(l.s.t, l.err, "produce")
}

// all returns the birth of each job, by its id.
func (l *load) all() map[string]birth {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.born)
}
