package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"replyworker/internal/dedupe"
)

// The names of Redis' checks.
const (
	checkWrites      = "redis"
	checkVersion     = "version"
	checkEviction    = "eviction"
	checkMemory      = "memory"
	checkPersistence = "persistence"
	checkClock       = "redis clock"
	checkHolds       = "holds"
)

const (
	// oldestRedis is the first major version that the scripts are for.
	oldestRedis = 6
	// redisSkew is more than clocks that are kept right differ. Claims use durations by Redis' own clock;
	// it is who compares their times that is led astray.
	redisSkew = 5 * time.Second
	// memoryFull is the share of maxmemory from which on it is time to do something.
	memoryFull = 0.8
)

func (c Config) redis(ctx context.Context) []Result {
	l := &list{}
	facts := []string{checkVersion, checkEviction, checkMemory, checkPersistence, checkClock}
	store, err := c.Redis()
	if err != nil {
		l.failed(checkWrites, err.Error(), "")
		l.skipped("there is no client for Redis", append(facts, checkHolds)...)
		return *l
	}
	defer func() { _ = store.Close() }() // nothing is lost by it
	ping := store.Ping(ctx)
	if ping != nil {
		l.failed(checkWrites, ping.Error(), redisHint(ping))
		if !answers(ping) {
			l.skipped("Redis does not answer", append(facts, checkHolds)...)
			return *l
		}
	}
	nodes, err := store.Inspect(ctx)
	if ping == nil {
		l.passed(checkWrites, "%s takes what workers write%s", c.Settings.RedisURL, answerTime(nodes))
	}
	switch {
	case err != nil && ping != nil:
		l.skipped("Redis refuses to talk to us", append(facts, checkHolds)...)
		return *l
	case err != nil:
		l.skipped("it tells nothing of itself: "+err.Error(), facts[0])
		l.skipped("it tells nothing of itself", facts[1:]...)
	default:
		judgeNodes(l, nodes)
	}
	c.holds(ctx, l, store)
	return *l
}

// answers says that it was a server that refused, so that more may be learned from it.
func answers(err error) bool {
	e, ok := errors.AsType[*dedupe.Error](err)
	return ok && (e.Reason == dedupe.ReasonRefused || e.Reason == dedupe.ReasonWrongType)
}

func redisHint(err error) string {
	if untrusted(err) {
		return "check redis-ca-file, and that the name in redis-url is one of the certificate's"
	}
	if e, ok := errors.AsType[*dedupe.Error](err); ok {
		return e.Hint()
	}
	return ""
}

func answerTime(nodes []dedupe.Node) string {
	var longest time.Duration
	for _, n := range nodes {
		longest = max(longest, n.Round)
	}
	if longest == 0 {
		return ""
	}
	return fmt.Sprintf(", and answers in %s", longest.Round(10*time.Microsecond))
}

func judgeNodes(l *list, nodes []dedupe.Node) {
	judgeVersion(l, nodes)
	judgeEviction(l, nodes)
	judgeMemory(l, nodes)
	judgePersistence(l, nodes)
	var found findings
	for _, n := range nodes {
		if n.Clock.Abs() > redisSkew+n.Round {
			found.warn(of(nodes, n, "the clock is "+skew(n.Clock)), "set the clocks of both machines by NTP")
		}
	}
	found.end(l, checkClock, "agrees with ours")
}

// of names the server that something is said of, where there are several.
func of(nodes []dedupe.Node, n dedupe.Node, text string) string {
	if len(nodes) > 1 && n.Address != "" {
		return n.Address + ": " + text
	}
	return text
}

// skew words how far another clock is ahead of ours.
func skew(ahead time.Duration) string {
	if ahead < 0 {
		return fmt.Sprintf("%s behind ours", (-ahead).Round(time.Second))
	}
	return fmt.Sprintf("%s ahead of ours", ahead.Round(time.Second))
}

const untold = "the server does not tell"

func judgeVersion(l *list, nodes []dedupe.Node) {
	var found findings
	var versions []string
	for _, n := range nodes {
		switch major, ok := majorVersion(n.Version); {
		case n.Version == "":
			why := untold
			if n.Untold != nil {
				why += ": " + n.Untold.Error()
			}
			found.warn(of(nodes, n, why), "see that it is Redis 6 or later, or Valkey; and see in its console what cannot be checked here")
		case ok && major < oldestRedis:
			found.warn(of(nodes, n, n.Version+" is older than Redis 6"), "run Redis 6 or later, or Valkey")
		}
		versions = append(versions, strings.TrimSpace(n.Version+" "+n.Role))
	}
	slices.Sort(versions)
	text := strings.Join(slices.Compact(versions), ", ")
	if len(nodes) > 1 {
		text = fmt.Sprintf("%d servers: %s", len(nodes), text)
	}
	found.end(l, checkVersion, text)
}

func majorVersion(version string) (int, bool) {
	_, number, _ := strings.Cut(version, " ")
	first, _, _ := strings.Cut(number, ".")
	n, err := strconv.Atoi(first)
	return n, err == nil
}

func judgeEviction(l *list, nodes []dedupe.Node) {
	var found findings
	for _, n := range nodes {
		const hint = "set maxmemory-policy to noeviction"
		switch {
		case n.Policy == "":
			found.warn(of(nodes, n, untold+" its maxmemory-policy"), "see that it is noeviction")
		case dedupe.Evicts(n.Policy):
			found.warn(of(nodes, n,
				"maxmemory-policy is "+n.Policy+": claims are dropped when memory is short, and their jobs may be sent again"), hint)
		}
	}
	found.end(l, checkEviction, "maxmemory-policy is noeviction")
}

func judgeMemory(l *list, nodes []dedupe.Node) {
	var found findings
	text := "no limit (maxmemory is 0)"
	told, fullest := false, -1.0
	for _, n := range nodes {
		told = told || n.UsedMemory > 0
		if n.MaxMemory <= 0 {
			continue
		}
		share := float64(n.UsedMemory) / float64(n.MaxMemory)
		used := of(nodes, n, fmt.Sprintf("%s of %s", mebibytes(n.UsedMemory), mebibytes(n.MaxMemory)))
		if share > fullest {
			fullest, text = share, used
		}
		if share >= memoryFull {
			found.warn(fmt.Sprintf("%s used, %.0f %%: when it is full no job is sent", used, 100*share),
				"give it more memory, or shorten claim-retention")
		}
	}
	if !told {
		l.skipped(untold, checkMemory)
		return
	}
	found.end(l, checkMemory, text)
}

func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

func judgePersistence(l *list, nodes []dedupe.Node) {
	const lost = "after a restart without data duplicates cost a call again; `worker dedupe rebuild` restores the claims"
	var found findings
	var ways []string
	for _, n := range nodes {
		if len(n.Unsaved) > 0 {
			found.fail(of(nodes, n, "it could not write "+strings.Join(n.Unsaved, " and ")+" to its disk"),
				"look at the server's log and its disk")
			continue
		}
		switch {
		case n.AppendOnly == "":
			found.warn(of(nodes, n, untold+" whether it keeps data over a restart"), lost)
		case n.AppendOnly == "on":
			ways = append(ways, "append-only file")
		case n.Snapshots == "on":
			ways = append(ways, "snapshots: the claims since the last one go with a crash")
		case n.Snapshots == "off":
			found.warn(of(nodes, n, "neither an append-only file nor snapshots: claims are lost at a restart"),
				"set appendonly to yes; "+lost)
		default:
			found.warn(of(nodes, n, "no append-only file, and "+untold+" whether it makes snapshots"),
				"see that it keeps data over a restart; "+lost)
		}
	}
	slices.Sort(ways)
	found.end(l, checkPersistence, strings.Join(slices.Compact(ways), ", "))
}

// holds tells which of the merchants are held now.
func (c Config) holds(ctx context.Context, l *list, store Redis) {
	var ids []string
	for _, m := range c.Settings.Merchants {
		if m.MchID != "" {
			ids = append(ids, m.MchID)
		}
	}
	if len(ids) == 0 {
		l.skipped("no merchant is configured", checkHolds)
		return
	}
	const onlyRead = 0 // the time to live that renews nothing
	held, err := store.RenewHolds(ctx, ids, onlyRead)
	if err != nil {
		l.failed(checkHolds, err.Error(), redisHint(err))
		return
	}
	var texts []string
	for _, id := range ids {
		if h, ok := held[id]; ok {
			texts = append(texts, strings.TrimSpace(fmt.Sprintf("%s since %s (%s %s)", id, h.Since.Format(time.RFC3339), h.Kind, h.Code)))
		}
	}
	if len(texts) > 0 {
		l.warned(checkHolds, "held: "+few(texts), "`worker holds list` says why; mend that, and the hold ends by itself")
		return
	}
	l.passed(checkHolds, "no merchant is held")
}
