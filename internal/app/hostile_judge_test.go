package app_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"

	"replyworker/internal/devstack"
	"replyworker/internal/job"
	"replyworker/internal/outcome"
)

// judge says what is wrong with a site.
func (s *site) judge(t *testing.T) {
	lines, kafka, redis := s.after.since(s.before)
	t.Logf("done %s after; a second: %.1f lines, %.0f requests to kafka, %.0f commands to redis; readyz %d\n%s%s",
		s.took.Round(time.Millisecond), lines, kafka, redis, s.readyStatus, s.readyText, s.log.String())
	require.NoError(t, errors.Join(s.faults...))
	require.LessOrEqual(t, lines, mostLines, "lines logged in a second")
	require.LessOrEqual(t, kafka, mostRequests, "requests to Kafka in a second")
	require.LessOrEqual(t, redis, mostRequests, "commands to Redis in a second")
	if s.row.ready != 0 {
		require.Equal(t, s.row.ready, s.readyStatus)
		require.Contains(t, s.readyText, s.row.readyText)
	}

	s.judgeOutcomes(t)
	s.judgeCalls(t)
	if s.row.check != nil {
		s.row.check(t, s)
	}
}

// judgeOutcomes holds that each job succeeded, once, and that no commit was ahead of the outcomes.
func (s *site) judgeOutcomes(t *testing.T) {
	t.Helper()
	published := map[kadm.Offset]time.Time{} // when the first outcome of a job record came to the topic
	byID := map[string]outcome.Event{}
	records := s.read(t, devstack.TopicOutcomes)
	for _, r := range records {
		var e outcome.Event
		require.NoError(t, json.Unmarshal(r.Value, &e))
		require.Equal(t, job.StatusSucceeded, e.Status, "%+v", e)
		effect, _ := s.stack.Sim.Effect(s.stack.Materials.MchID, e.IdempotentID)
		require.Equal(t, effect.LogID, e.LogID, e.IdempotentID)
		byID[e.IdempotentID] = e
		at := kadm.Offset{Topic: e.Source.Topic, Partition: int32(e.Source.Partition), At: e.Source.Offset}
		if _, again := published[at]; !again {
			published[at] = r.Timestamp
		}
	}
	without := slices.DeleteFunc(slices.Clone(s.ids), func(id string) bool { return byID[id].Status != "" })
	require.Len(t, without, s.row.lost, "jobs without an outcome: %v", without)
	// What is delivered or published again may have a second outcome. That happens to a worker, too, that
	// a busy machine keeps from its heartbeats.
	again := s.count(t, "replyworker_rebalances_total") > 1 || s.count(t, "replyworker_write_errors_total") > 0
	if !s.row.repeats && !again {
		require.Len(t, records, len(s.ids)-s.row.lost, "outcomes, of which each job has one")
	}
	require.Empty(t, s.read(t, devstack.TopicDeadLetters), "dead letters")

	ahead := map[kadm.Offset]bool{}
	for _, c := range s.commits() {
		for offset := range c.at.At {
			at := kadm.Offset{Topic: c.at.Topic, Partition: c.at.Partition, At: offset}
			if when, ended := published[at]; !ended || when.UnixMilli() > c.when.UnixMilli() {
				ahead[at] = true
			}
		}
	}
	require.Len(t, ahead, s.row.lost, "offsets that were committed before there was an outcome: %v", ahead)
}

// judgeCalls holds that each job was sent as often as it may be, and took effect in its turn.
func (s *site) judgeCalls(t *testing.T) {
	t.Helper()
	calls := map[string]int{}
	for _, c := range s.stack.Sim.Calls() {
		calls[c.IdempotentID]++
	}
	order := map[string][]string{}
	for _, e := range s.stack.Sim.Effects() {
		if strings.HasPrefix(e.IdempotentID, s.id+"-") {
			order[e.ComplaintID] = append(order[e.ComplaintID], e.IdempotentID)
		}
	}
	most := 1
	if s.row.restart {
		most = 2
	}
	for _, id := range s.ids {
		require.LessOrEqual(t, calls[id], most, "calls of %s", id)
	}
	for complaint, ids := range order {
		require.True(t, slices.IsSorted(ids), "effects of %s out of order: %v", complaint, ids)
	}
}

// count returns the sum of a counter of the worker.
func (s *site) count(t *testing.T, name string) float64 {
	t.Helper()
	families, err := s.worker.Registry().Gather()
	require.NoError(t, err)
	i := slices.IndexFunc(families, func(f *dto.MetricFamily) bool { return f.GetName() == name })
	require.GreaterOrEqual(t, i, 0, "metric %s", name)
	sum := 0.0
	for _, m := range families[i].GetMetric() {
		sum += m.GetCounter().GetValue()
	}
	return sum
}

// lineLog counts what is logged, save the ends of jobs, and keeps the first of it.
type lineLog struct {
	lines atomic.Int64

	mu   sync.Mutex
	text strings.Builder
}

const keptLog = 16 << 10

func (l *lineLog) Write(p []byte) (int, error) {
	if strings.Contains(string(p), `"job finished"`) {
		return len(p), nil
	}
	l.lines.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.text.Len() < keptLog {
		l.text.Write(p)
	}
	return len(p), nil
}

func (l *lineLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
