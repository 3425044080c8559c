package doctor_test

import (
	"crypto/x509"
	"errors"
	"testing"
	"time"

	"replyworker/internal/dedupe"
	"replyworker/internal/doctor"
)

var ofNodes = []string{"version", "eviction", "memory", "persistence", "redis clock"}

func TestRedisIsAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.redis.ping = &dedupe.Error{Op: "ping", Reason: dedupe.ReasonUnavailable, Err: errors.New("connection refused")}
	w.requires(verdict{"redis", doctor.Failed, "connection refused", "check redis-url"}, append(ofNodes, "holds")...)
	w.redis.ping = &dedupe.Error{Op: "ping", Reason: dedupe.ReasonUnavailable, Err: x509.UnknownAuthorityError{}}
	w.requires(verdict{"redis", doctor.Failed, "unknown authority", "check redis-ca-file"}, append(ofNodes, "holds")...)
}

// TestRedisRefusesWrites holds that a server which refuses is asked for more all the same: that may be why.
func TestRedisRefusesWrites(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.redis.ping = &dedupe.Error{Op: "ping", Reason: dedupe.ReasonRefused, Err: errors.New("MISCONF")}
	w.redis.nodes[0].Unsaved = []string{"a snapshot"}
	w.requires(verdict{"persistence", doctor.Failed, "could not write a snapshot to its disk", "the server's log"}, "redis")
	w.redis.inspectErr = w.redis.ping
	w.requires(verdict{"redis", doctor.Failed, "MISCONF", ""}, append(ofNodes, "holds")...)
	w.redis.ping = nil
	w.requires(verdict{"version", doctor.Skipped, "it tells nothing of itself: redis ping", ""}, ofNodes[1:]...)
}

func TestRedisNodes(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		change func(*dedupe.Node)
		want   verdict
		others []string
	}{
		"old": {func(n *dedupe.Node) { n.Version = "redis 5.0.14" }, verdict{
			"version", doctor.Warned,
			"older than Redis 6", "Valkey",
		}, nil},
		"valkey": {func(n *dedupe.Node) { n.Version = "valkey 8.1.0" }, verdict{
			"version", doctor.Passed,
			"valkey 8.1.0 master", "",
		}, nil},
		"evicts": {func(n *dedupe.Node) { n.Policy = "volatile-lru" }, verdict{
			"eviction", doctor.Warned,
			"maxmemory-policy is volatile-lru", "noeviction",
		}, nil},
		"limited": {func(n *dedupe.Node) { n.MaxMemory = 2 << 20 }, verdict{"memory", doctor.Passed, "1.0 MiB of 2.0 MiB", ""}, nil},
		"full": {func(n *dedupe.Node) { n.UsedMemory, n.MaxMemory = 9<<20, 10<<20 }, verdict{
			"memory", doctor.Warned,
			"90 %", "more memory",
		}, nil},
		"snapshots": {
			func(n *dedupe.Node) { n.AppendOnly = "off" },
			verdict{"persistence", doctor.Passed, "snapshots", ""},
			nil,
		},
		"keeps nothing": {
			func(n *dedupe.Node) { n.AppendOnly, n.Snapshots = "off", "off" },
			verdict{"persistence", doctor.Warned, "claims are lost at a restart", "appendonly"},
			nil,
		},
		"may keep nothing": {
			func(n *dedupe.Node) { n.AppendOnly, n.Snapshots = "off", "" },
			verdict{"persistence", doctor.Warned, "whether it makes snapshots", ""},
			nil,
		},
		"a clock that is wrong": {
			func(n *dedupe.Node) { n.Clock = -7 * time.Second },
			verdict{"redis clock", doctor.Warned, "the clock is 7s behind ours", "NTP"},
			nil,
		},
		"a clock that is right for a server far away": {
			func(n *dedupe.Node) { n.Clock, n.Round = 6*time.Second, 2*time.Second },
			verdict{"redis clock", doctor.Passed, "agrees", ""},
			nil,
		},
		"tells nothing": {
			func(n *dedupe.Node) { *n = dedupe.Node{Untold: errors.New("NOPERM"), Round: time.Millisecond} },
			verdict{"version", doctor.Warned, "the server does not tell: NOPERM", "console"},
			[]string{"eviction", "memory", "persistence"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			row.change(&w.redis.nodes[0])
			w.requires(row.want, row.others...)
		})
	}
}

// TestOneOfSeveralMasters holds that in a Cluster the server that is meant is named.
func TestOneOfSeveralMasters(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := w.redis.nodes[0]
	other.Address, other.Policy = "redis-2:6379", "allkeys-lru"
	w.redis.nodes = append(w.redis.nodes, other)
	w.requires(verdict{"eviction", doctor.Warned, "redis-2:6379: maxmemory-policy is allkeys-lru", "noeviction"})
}

// TestTheFullestOfSeveralMasters holds that memory is told of the server that is nearest to its limit.
func TestTheFullestOfSeveralMasters(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.redis.nodes[0].MaxMemory = 2 << 20
	other, unlimited := w.redis.nodes[0], w.redis.nodes[0]
	other.Address, other.MaxMemory = "redis-2:6379", 8<<20
	unlimited.Address, unlimited.MaxMemory = "redis-3:6379", 0
	w.redis.nodes = append(w.redis.nodes, other, unlimited)
	w.requires(verdict{"memory", doctor.Passed, "redis:6379: 1.0 MiB of 2.0 MiB", ""})
}

func TestHolds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.redis.held = map[string]dedupe.Hold{mchID: {Kind: dedupe.HoldCredentials, Code: "SIGN_ERROR", Since: now}}
	w.requires(verdict{"holds", doctor.Warned, mchID + " since 2026-11-23T08:00:00Z (credentials SIGN_ERROR)", "worker holds list"})
	w.redis.holdsErr = &dedupe.Error{Op: "renew_holds", Reason: dedupe.ReasonTimeout}
	w.requires(verdict{"holds", doctor.Failed, "timeout", "redis-url"})
}
