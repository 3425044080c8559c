//go:build linux

package main

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"time"

	"replyworker/internal/wxsim"
	"replyworker/test/judge"
	"replyworker/test/netfault"
)

// run carries a step out and returns when it is over.
func (a *arena) run(ctx context.Context, s Step) error {
	switch s.Lane {
	case Workers:
		return a.troubleWorker(ctx, s)
	case Brokers:
		return a.troubleBroker(ctx, s)
	case Redis:
		return a.troubleRedis(ctx, s)
	case Network:
		return a.troubleNetwork(ctx, s)
	case API:
		return a.troubleAPI(ctx, s)
	}
	return fmt.Errorf("step of an unknown lane: %v", s)
}

// troubleWorker hits one of the workers. The first is only ever paused, so that what leaks in a long
// life can be seen.
func (a *arena) troubleWorker(ctx context.Context, s Step) error {
	n := int(s.Draw % uint64(len(a.workers))) //nolint:gosec // A few.
	if n == 0 && s.Kind != WorkerPause {
		n = 1 + int(s.Draw>>8)%(len(a.workers)-1)
	}
	w := a.workers[n]
	w.Lock()
	defer w.Unlock()
	if !w.Running() {
		return fmt.Errorf("worker %d ended by itself: %w", n, w.Exit())
	}
	switch s.Kind {
	case WorkerPause:
		w.Signal(syscall.SIGSTOP)
		err := wait(ctx, s.For)
		w.Signal(syscall.SIGCONT)
		return err
	case WorkerTerm:
		if err := w.Stop(); err != nil {
			return fmt.Errorf("worker %d: %w", n, err)
		}
	default:
		w.Kill()
	}
	if err := wait(ctx, s.For); err != nil {
		return err
	}
	return w.Start()
}

func (a *arena) troubleBroker(ctx context.Context, s Step) error {
	n := int(s.Draw % 3)
	var err error
	switch s.Kind {
	case BrokerStop:
		err = a.kafka.Stop(ctx, n)
	case BrokerFull:
		err = a.fillDisk(ctx, n, s.For)
	default:
		err = a.kafka.Kill(n)
	}
	if err != nil {
		return fmt.Errorf("broker %d: %w", n, err)
	}
	if err := wait(ctx, s.For); err != nil {
		return err
	}
	if err := a.kafka.Start(ctx, n); err != nil {
		return fmt.Errorf("broker %d: %w", n, err)
	}
	// Nobody takes a second broker down before the first has caught up: that is not what is promised.
	return a.kafka.InSync(ctx)
}

// fillDisk lets no file of the broker grow any more, as on a full disk. The broker gives up its log
// directory and ends; one that does not notice is ended.
func (a *arena) fillDisk(ctx context.Context, n int, d time.Duration) error {
	if err := limitFiles(a.kafka.PID(n), 1); err != nil {
		return err
	}
	if err := wait(ctx, d); err != nil || a.kafka.PID(n) == 0 {
		return err
	}
	if err := a.kafka.Kill(n); err != nil && a.kafka.PID(n) != 0 {
		return err
	}
	return nil
}

// troubleRedis notes the time in which claims may be lost: until one master is left and the others
// follow it, an old master may still take writes that it then forgets.
func (a *arena) troubleRedis(ctx context.Context, s Step) error {
	loss := judge.Span{From: time.Now()}
	err := a.hitRedis(ctx, s)
	if err == nil {
		err = a.oneMaster(ctx)
	}
	loss.To = time.Now()
	a.losses = append(a.losses, loss)
	return err
}

func (a *arena) hitRedis(ctx context.Context, s Step) error {
	if s.Kind == RedisFlush {
		return a.redis.FlushAll(ctx)
	}
	if s.Kind == RedisFailover {
		return a.redis.Failover(ctx)
	}
	master, err := a.redis.Master(ctx)
	if err != nil {
		return fmt.Errorf("redis: %w", err)
	}
	if s.Kind == RedisStop {
		err = a.redis.Stop(master)
	} else {
		err = a.redis.Kill(master)
	}
	if err != nil {
		return fmt.Errorf("redis %d: %w", master, err)
	}
	if err := wait(ctx, s.For); err != nil {
		return err
	}
	return a.redis.Start(ctx, master)
}

// oneMaster waits until all nodes but one follow that one, as far as the network lets them.
func (a *arena) oneMaster(ctx context.Context) error {
	const patience = time.Minute
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		following := 0
		for i := range a.redis.Nodes() {
			said, err := a.redis.Do(ctx, i, "INFO", "replication")
			if err == nil && strings.Contains(said, "master_link_status:up") {
				following++
			}
		}
		if following == a.redis.Nodes()-1 {
			return nil
		}
		if err := wait(ctx, 100*time.Millisecond); err != nil {
			return fmt.Errorf("redis: %d of %d nodes follow a master after %s", following, a.redis.Nodes(), patience)
		}
	}
}

func (a *arena) troubleNetwork(ctx context.Context, s Step) error {
	mode := map[Kind]netfault.Mode{
		CutKafka: netfault.Refuse, CutRedis: netfault.Refuse, CutAPI: netfault.Refuse,
		StallKafka: netfault.Stall, StallRedis: netfault.Stall, StallAPI: netfault.Stall,
		SlowKafka: netfault.Slow, SlowRedis: netfault.Slow, SlowAPI: netfault.Slow,
	}[s.Kind]
	links := a.brokers
	switch s.Kind { //nolint:exhaustive // The kinds of this lane.
	case CutRedis, StallRedis, SlowRedis:
		links = a.stores
	case CutAPI, StallAPI, SlowAPI:
		links = a.hosts
	}
	// One link, or all of them.
	if n := int(s.Draw % uint64(len(links)+1)); n < len(links) { //nolint:gosec // A few.
		links = links[n : n+1]
	}
	for _, l := range links {
		l.Set(mode, time.Duration(20+s.Draw>>8%80)*time.Millisecond)
	}
	err := wait(ctx, s.For)
	for _, l := range links {
		l.Set(netfault.Pass, 0)
	}
	return err
}

func (a *arena) troubleAPI(ctx context.Context, s Step) error {
	faults := apiFaults(s)
	for i := range faults {
		faults[i].For = s.For
	}
	if err := a.sim.Add(faults...); err != nil {
		return fmt.Errorf("%s: %w", s.Kind, err)
	}
	return wait(ctx, s.For)
}

// apiFaults says what a kind is in the simulator's words.
func apiFaults(s Step) []wxsim.Fault {
	const third = 1.0 / 3
	pick := func(n int) int { return int(s.Draw>>4) % n }
	some := func(kinds ...wxsim.Kind) []wxsim.Fault {
		return []wxsim.Fault{{Kind: kinds[pick(len(kinds))], Probability: third}}
	}
	status := func(code int, probability float64) wxsim.Fault {
		return wxsim.Fault{Kind: wxsim.KindStatus, Status: code, Probability: probability}
	}
	switch s.Kind { //nolint:exhaustive // The kinds of this lane.
	case PrimaryDown:
		return []wxsim.Fault{{Kind: wxsim.KindDown, Host: wxsim.Primary}}
	case BackupDown:
		return []wxsim.Fault{{Kind: wxsim.KindDown, Host: wxsim.Backup}}
	case BothDown:
		return []wxsim.Fault{{Kind: wxsim.KindDown}}
	case PrimaryHangs:
		return []wxsim.Fault{{Kind: wxsim.KindHang, Host: wxsim.Primary, AfterEffect: pick(2) == 0}}
	case BothHang:
		return []wxsim.Fault{{Kind: wxsim.KindHang, AfterEffect: pick(2) == 0}}
	case BadGateway:
		f := status([]int{502, 503, 504}[pick(3)], 0)
		f.AfterEffect = pick(2) == 0
		return []wxsim.Fault{f}
	case ServerError:
		f := status(500, third)
		f.AfterEffect = pick(2) == 0
		return []wxsim.Fault{f}
	case TooMany:
		f := status(429, 0.2)
		f.RetryAfter = []string{"", "1"}[pick(2)]
		return []wxsim.Fault{f}
	case Quota:
		return []wxsim.Fault{{Kind: wxsim.KindQuota, Rate: 60}}
	case Unauthorized:
		return []wxsim.Fault{status(401, 0)}
	case Forbidden:
		return []wxsim.Fault{status(403, 0)}
	case AnswersLost:
		return []wxsim.Fault{{Kind: wxsim.KindReset, AfterEffect: true, Probability: third}}
	case AnswersCut:
		return some(wxsim.KindPartial)
	case BadSignature:
		return some(wxsim.KindWrongSignature, wxsim.KindMissingSignature, wxsim.KindStaleSignature,
			wxsim.KindFutureSignature, wxsim.KindSignTest)
	case UnknownKey:
		return []wxsim.Fault{{Kind: wxsim.KindUnknownKey}}
	case StrangeBodies:
		if pick(5) == 0 {
			return []wxsim.Fault{{Kind: wxsim.KindSlowBody, Delay: 100 * time.Millisecond, Probability: third}}
		}
		return some(wxsim.KindNoLogID, wxsim.KindGarbageBody, wxsim.KindHugeBody, wxsim.KindTextBody)
	}
	return nil
}
