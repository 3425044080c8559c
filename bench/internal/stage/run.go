//go:build linux

package stage

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"replyworker/bench/internal/api"
	"replyworker/bench/internal/jobs"
	"replyworker/bench/peers"
	"replyworker/test/fleet"
)

// Run is one run: its own topics, group and keys in Redis, a batch of jobs, and the processes that work on
// them. Close it.
type Run struct {
	*Stage

	// Batch is the run's jobs.
	Batch jobs.Batch
	// API is the primary host.
	API *API

	name     string
	dir      string
	settings []string
	workers  []*fleet.Worker
	peers    []*peers.Process
}

// Params are what a run needs.
type Params struct {
	// Partitions of the jobs topic; 0 is 1.
	Partitions int
	// Jobs and Complaints are as in jobs.Batch.
	Jobs, Complaints int
	// API is which of the stage's APIs is the primary host, from 0. Runs at the same time have one each.
	API int
	// Latency is the API's.
	Latency time.Duration
	// Settings are the workers', NAME=value each, over those that lead to the servers.
	Settings []string
}

// NewRun makes topics and tells the API what is to come.
func (s *Stage) NewRun(ctx context.Context, p Params) (*Run, error) {
	s.runs++
	r := &Run{Stage: s, Batch: jobs.Batch{Run: s.runs, Jobs: p.Jobs, Complaints: p.Complaints}, name: fmt.Sprintf("run-%d", s.runs)}
	r.dir = filepath.Join(s.cfg.Dir, r.name)
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		return nil, fmt.Errorf("run: %w", err)
	}
	var err error
	if r.API, err = s.API(p.API); err != nil {
		return nil, err
	}
	if err := r.API.Begin(ctx, api.Order{Batch: r.Batch, Latency: p.Latency}); err != nil {
		return nil, err
	}
	if err := r.makeTopics(ctx, max(1, p.Partitions)); err != nil {
		return nil, err
	}
	r.settings = slices.Concat(s.kafka.Settings(false), s.redis.Settings(), []string{
		"REPLYWORKER_KAFKA_GROUP=" + r.name, "REPLYWORKER_REDIS_PREFIX=" + r.name,
		"REPLYWORKER_TOPIC_JOBS=" + r.topic(topicJobs), "REPLYWORKER_TOPIC_OUTCOMES=" + r.topic(topicOutcomes),
		"REPLYWORKER_TOPIC_DEAD_LETTERS=" + r.topic(topicLetters), "REPLYWORKER_TOPIC_RESOLUTIONS=" + r.topic(topicMarks),
		"REPLYWORKER_MCHID=" + s.keys.MchID, "REPLYWORKER_CERT_SERIAL=" + s.keys.CertSerial,
		"REPLYWORKER_PRIVATE_KEY_FILE=" + s.keys.Files.MerchantKey,
		"REPLYWORKER_PUBLIC_KEY_ID=" + s.keys.PublicKeyID, "REPLYWORKER_PUBLIC_KEY_FILE=" + s.keys.Files.PublicKey,
		"REPLYWORKER_PRIMARY_URL=" + r.API.URL, "REPLYWORKER_BACKUP_URL=", "REPLYWORKER_START_TIMEOUT=1m",
	}, p.Settings)
	return r, nil
}

const (
	topicJobs     = "jobs"
	topicOutcomes = "outcomes"
	topicLetters  = "dead-letters"
	topicMarks    = "resolutions"
)

func (r *Run) topic(of string) string { return r.name + "-" + of }

func (r *Run) makeTopics(ctx context.Context, partitions int) error {
	topics := []string{r.topic(topicJobs), r.topic(topicOutcomes), r.topic(topicLetters), r.topic(topicMarks)}
	made, err := r.admin().CreateTopics(ctx, int32(partitions), 1, nil, topics...) //nolint:gosec // A few.
	if err == nil {
		err = made.Error()
	}
	if err != nil {
		return fmt.Errorf("make topics: %w", err)
	}
	return nil
}

// Close ends the run's workers and removes its topics and claims.
func (r *Run) Close(ctx context.Context) error {
	for _, w := range r.workers {
		w.Close()
	}
	r.stopPeers()
	topics := []string{r.topic(topicJobs), r.topic(topicOutcomes), r.topic(topicLetters), r.topic(topicMarks)}
	if _, err := r.admin().DeleteTopics(ctx, topics...); err != nil {
		return fmt.Errorf("remove topics: %w", err)
	}
	return r.FlushRedis(ctx)
}

// Worker starts a worker with so many calls at once, and further settings. It is not waited for.
func (r *Run) Worker(concurrency int, settings ...string) (*fleet.Worker, error) {
	env := slices.Concat(r.settings, []string{"REPLYWORKER_CONCURRENCY=" + strconv.Itoa(concurrency)}, settings)
	w, err := fleet.New(r.cfg.Worker, r.dir, len(r.workers), env)
	if err != nil {
		return nil, err
	}
	r.workers = append(r.workers, w)
	return w, w.Start()
}

// Crashed is an error where a worker has ended by itself.
func (r *Run) Crashed() error {
	for i, w := range r.workers {
		if !w.Running() {
			return fmt.Errorf("worker %d ended by itself: %w; its log is %s", i, w.Exit(), w.Log())
		}
	}
	return nil
}

// DeadLetters is how many dead letters there are.
func (r *Run) DeadLetters(ctx context.Context) (int64, error) { return r.records(ctx, topicLetters) }

func (r *Run) records(ctx context.Context, of string) (int64, error) {
	ends, err := r.admin().ListEndOffsets(ctx, r.topic(of))
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return 0, fmt.Errorf("records of %s: %w", of, err)
	}
	var sum int64
	ends.Each(func(o kadm.ListedOffset) { sum += o.Offset })
	return sum, nil
}

// Committed is how many records the group has committed, over all partitions.
func (r *Run) Committed(ctx context.Context) (int64, error) {
	offsets, err := r.admin().FetchOffsets(ctx, r.name)
	if err != nil {
		return 0, fmt.Errorf("committed offsets: %w", err)
	}
	var sum int64
	for o := range maps.Values(offsets[r.topic(topicJobs)]) {
		sum += max(0, o.At)
	}
	return sum, nil
}

// Finished waits until each of so many records has been committed.
func (r *Run) Finished(ctx context.Context, count int, longest time.Duration) error {
	return r.await(ctx, longest, fmt.Sprintf("%d records to be committed", count), func() (bool, error) {
		n, err := r.Committed(ctx)
		return n >= int64(count), err
	})
}

// Shared waits until the group is at rest with so many members.
func (r *Run) Shared(ctx context.Context, members int, longest time.Duration) error {
	return r.await(ctx, longest, fmt.Sprintf("a group of %d members", members), func() (bool, error) {
		groups, err := r.admin().DescribeGroups(ctx, r.name)
		g := groups[r.name]
		return g.State == "Stable" && len(g.Members) == members, err
	})
}

// Joined waits until the group has a member that has partitions.
func (r *Run) Joined(ctx context.Context, longest time.Duration) error {
	return r.Shared(ctx, 1, longest)
}

func (r *Run) await(ctx context.Context, longest time.Duration, what string, there func() (bool, error)) error {
	const pause = 100 * time.Millisecond
	for deadline := time.Now().Add(longest); ; {
		ok, err := there()
		if ok && err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("waited %s for %s: %w", longest, what, errors.Join(err, r.Crashed()))
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}

// NextGroup gives workers that are started from now on a group that has read nothing.
func (r *Run) NextGroup(i int) []string {
	return []string{fmt.Sprintf("REPLYWORKER_KAFKA_GROUP=%s-%d", r.name, i)}
}
