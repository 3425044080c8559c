// Package doctor checks everything that a worker depends on, and says of each what to do about it. It
// changes nothing but a key of its own in Redis, which lasts half a minute.
//
// A file has the checks of one dependency. Those of different dependencies run side by side; what one
// of them needs comes first, and where that is away the others of it are skipped.
package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"replyworker/internal/config"
	"replyworker/internal/dedupe"
	"replyworker/internal/kafkaio"
	"replyworker/internal/wxclient"
)

// Status is how a check ended.
type Status string

// The ways in which a check ends.
const (
	Passed  Status = "passed"
	Warned  Status = "warned"  // it works, and may not always
	Failed  Status = "failed"  // a worker could not do its work, or has lost some
	Skipped Status = "skipped" // it could not be checked; the detail says why
)

// Statuses lists every status, for counts that are to show zeros.
func Statuses() []Status { return []Status{Passed, Warned, Failed, Skipped} }

// Result is what a check has found.
type Result struct {
	Name   string // unique in one run
	Status Status
	Detail string
	Hint   string // what to do about it; empty where there is nothing to do
}

// Group is the results of one dependency.
type Group struct {
	Title   string
	Results []Result
}

// Kafka is what is asked of Kafka; a *kafkaio.Client.
type Kafka interface {
	Knock(ctx context.Context, address string) error
	Cluster(ctx context.Context, topics ...string) (kafkaio.Cluster, error)
	TopicConfig(ctx context.Context, topic string, names ...string) (map[string]string, error)
	Group(ctx context.Context, name string) (kafkaio.Group, error)
	GroupOffsets(ctx context.Context, group string, topics map[string]int) ([]kafkaio.PartitionOffsets, error)
	Close()
}

// Redis is what is asked of Redis; a *dedupe.Store.
type Redis interface {
	Ping(ctx context.Context) error
	Inspect(ctx context.Context) ([]dedupe.Node, error)
	RenewHolds(ctx context.Context, mchIDs []string, ttl time.Duration) (map[string]dedupe.Hold, error)
	Close() error
}

// API is what is asked of the hosts; a *wxclient.Client.
type API interface {
	Look(ctx context.Context, host wxclient.Host) (wxclient.Sight, error)
	HasBackup() bool
	Close()
}

// Config says what to check, and makes the clients for it. A client that cannot be made is a check that
// failed.
type Config struct {
	Settings *config.Config
	// Kafka makes a client that begins with these brokers.
	Kafka func(brokers []string) (Kafka, error)
	Redis func() (Redis, error)
	API   func() (API, error)
	Now   func() time.Time
}

// Run runs all checks and calls each with the results of one dependency after another, as soon as they
// and those before them are there. Each dependency gets start-timeout.
func Run(ctx context.Context, cfg Config, each func(Group)) {
	groups := []struct {
		title string
		check func(context.Context) []Result
	}{
		{"Configuration", cfg.configuration},
		{"Kafka", cfg.kafka},
		{"Redis", cfg.redis},
		{"Keys", cfg.keys},
		{"Hosts", cfg.hosts},
	}
	limited, cancel := context.WithTimeoutCause(ctx, cfg.Settings.StartTimeout, errTime)
	defer cancel()
	var running sync.WaitGroup
	defer running.Wait()
	done := make([]chan []Result, len(groups))
	for i, g := range groups {
		done[i] = make(chan []Result, 1)
		running.Go(func() { done[i] <- g.check(limited) })
	}
	for i, g := range groups {
		each(Group{g.title, <-done[i]})
	}
}

// errTime is the cause where a dependency's time is over.
var errTime = fmt.Errorf("start-timeout is over: %w", context.DeadlineExceeded)

// sideBySide calls do for each number below n, a few at a time, and returns when all have ended.
func sideBySide(n int, do func(i int)) {
	var running sync.WaitGroup
	free := make(chan struct{}, atOnce)
	for i := range n {
		free <- struct{}{}
		running.Go(func() {
			defer func() { <-free }()
			do(i)
		})
	}
	running.Wait()
}

// list gathers results.
type list []Result

func (l *list) add(name string, status Status, detail, hint string) {
	*l = append(*l, Result{name, status, detail, hint})
}

func (l *list) passed(name, format string, args ...any) {
	l.add(name, Passed, fmt.Sprintf(format, args...), "")
}

func (l *list) warned(name, detail, hint string) { l.add(name, Warned, detail, hint) }
func (l *list) failed(name, detail, hint string) { l.add(name, Failed, detail, hint) }

// skipped skips checks for one reason.
func (l *list) skipped(why string, names ...string) {
	for _, name := range names {
		l.add(name, Skipped, why, "")
	}
}

// findings is what one check has found wrong: the worst makes its status.
type findings struct {
	status       Status
	texts, hints []string
}

func (f *findings) warn(text, hint string) {
	if f.status == "" {
		f.status = Warned
	}
	f.note(text, hint)
}

func (f *findings) fail(text, hint string) {
	f.status = Failed
	f.note(text, hint)
}

func (f *findings) note(text, hint string) {
	f.texts = append(f.texts, text)
	if slices.Contains(f.hints, hint) {
		return
	}
	if hint != "" {
		f.hints = append(f.hints, hint)
	}
}

// end adds the check's result: what was found, or else that it passed.
func (f *findings) end(l *list, name, passed string) {
	if f.status == "" {
		l.add(name, Passed, passed, "")
		return
	}
	l.add(name, f.status, strings.Join(f.texts, "; "), strings.Join(f.hints, "; "))
}

// few joins texts, and leaves those out that are too many to read.
func few(texts []string) string {
	const most = 5
	if len(texts) <= most {
		return strings.Join(texts, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(texts[:most], ", "), len(texts)-most)
}

// count words a number of things.
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
