//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"replyworker/test/fleet"
	"replyworker/test/judge"
	"replyworker/test/netfault"
)

// evidence gathers all that there is to judge.
func (a *arena) evidence(ctx context.Context) (e judge.Evidence, err error) {
	if e, err = a.topics.Gather(ctx); err != nil {
		return e, err
	}
	e.Effects = a.sim.Effects()
	if err := a.dump("outcomes.ndjson", e.Outcomes); err != nil {
		return e, err
	}
	e.Losses = slices.Clone(a.losses)
	e.Claims, err = judge.Claims(ctx, a.redis, redisPrefix)
	return e, err
}

// dump keeps the values of records beside the logs, for whoever looks into a run.
func (a *arena) dump(name string, records []*kgo.Record) error {
	f, err := os.Create(filepath.Join(a.dir, name))
	if err != nil {
		return fmt.Errorf("dump: %w", err)
	}
	out := bufio.NewWriter(f)
	for _, r := range records {
		_, _ = fmt.Fprintf(out, "%d %s\n", r.Timestamp.UnixMilli(), r.Value) // Flush says it.
	}
	return errors.Join(out.Flush(), f.Close())
}

// leaks compares the worker that has lived through it all with one that was just started.
func (a *arena) leaks(ctx context.Context) (old, fresh fleet.Holdings, err error) {
	young := a.workers[1]
	young.Lock()
	defer young.Unlock()
	if err := young.Stop(); err != nil {
		return old, fresh, err
	}
	if err := young.Start(); err != nil {
		return old, fresh, err
	}
	if err := young.Ready(ctx); err != nil {
		return old, fresh, err
	}
	if err := wait(ctx, idleFor); err != nil {
		return old, fresh, err
	}
	names := a.portNames()
	old, err = a.workers[0].Holdings(ctx, names)
	if err != nil {
		return old, fresh, err
	}
	fresh, err = young.Holdings(ctx, names)
	return old, fresh, err
}

// memory looks at the workers until ctx ends, and returns the most that one of them has had resident.
func (a *arena) memory(ctx context.Context) (most int64) {
	for wait(ctx, time.Second) == nil {
		for _, w := range a.workers {
			w.Lock()
			now, err := w.Memory()
			w.Unlock()
			if err == nil { // else the next look tells
				most = max(most, now)
			}
		}
	}
	return most
}

// portNames tells whom the port of each proxy belongs to.
func (a *arena) portNames() map[int]string {
	names := map[int]string{}
	for name, list := range map[string][]*netfault.Proxy{"Kafka": a.brokers, "Redis": a.stores, "API": a.hosts} {
		for _, p := range list {
			_, text, _ := net.SplitHostPort(p.Addr()) // It is a listener's.
			port, _ := strconv.Atoi(text)
			names[port] = name
		}
	}
	return names
}

// idleFor is longer than an unused connection to the API is kept.
const idleFor = 12 * time.Second

// told searches what the workers said, and what they show, for texts that must not be there. It
// returns where each was found.
func (a *arena) told(ctx context.Context, e judge.Evidence) ([]string, int, error) {
	secrets, err := a.secrets()
	if err != nil {
		return nil, 0, err
	}
	var found []string
	search := func(where, text string) {
		for _, s := range secrets {
			if strings.Contains(text, s) && len(found) < 20 {
				found = append(found, fmt.Sprintf("%q in %s", s, where))
			}
		}
	}
	lines := 0
	for _, name := range a.logs() {
		n, err := eachLine(name, func(line string) { search(name+": "+line, line) })
		if err != nil {
			return nil, 0, err
		}
		lines += n
	}
	for _, w := range a.workers {
		for _, path := range []string{"/metrics", "/readyz"} {
			_, text, err := w.Get(ctx, path)
			if err != nil {
				return nil, 0, err
			}
			search(path, text)
		}
	}
	for _, r := range e.Outcomes {
		search("an outcome", string(r.Value))
	}
	for _, r := range slices.Concat(e.Letters, e.Outcomes) {
		for _, h := range r.Headers {
			search("header "+h.Key, string(h.Value))
		}
	}
	return found, lines, nil
}

func eachLine(name string, do func(string)) (n int, err error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, fmt.Errorf("log: %w", err)
	}
	defer func() { _ = f.Close() }() // It was only read.
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for ; lines.Scan(); n++ {
		do(lines.Text())
	}
	if err := lines.Err(); err != nil {
		return n, fmt.Errorf("log %s: %w", name, err)
	}
	return n, nil
}
