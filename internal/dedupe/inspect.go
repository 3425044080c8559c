package dedupe

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Node is what one server that has keys says of itself. What it does not tell is zero.
type Node struct {
	Address string // empty behind Sentinel
	// Untold is why the server does not tell about itself: managed Redis and ACLs may refuse INFO.
	Untold  error
	Version string // such as "redis 7.0.15" or "valkey 8.1.0"
	Role    string // "master" or "slave"
	// Policy is maxmemory-policy; see Evicts.
	Policy     string
	UsedMemory int64 // bytes
	MaxMemory  int64 // bytes; 0 is no limit
	// AppendOnly and Snapshots are the ways of keeping data over a restart, "on" or "off".
	AppendOnly, Snapshots string
	// Unsaved names what the server could not write to its disk the last time.
	Unsaved []string
	// Clock is how far the server's clock is ahead of ours, give or take Round.
	Clock time.Duration
	// Round is how long a question and its answer took.
	Round time.Duration
}

// Inspect asks each server that has keys about itself: one, or in a Cluster every master, by address.
// It changes nothing. Servers that answer and do not tell are no error.
func (s *Store) Inspect(ctx context.Context) ([]Node, error) {
	var mu sync.Mutex
	var nodes []Node
	err := s.step(ctx, opInspect, "", func(ctx context.Context) error {
		return s.eachMaster(ctx, func(ctx context.Context, server redis.Cmdable) error {
			node, err := inspect(ctx, server)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			nodes = append(nodes, node)
			return nil
		})
	})
	slices.SortFunc(nodes, func(a, b Node) int { return strings.Compare(a.Address, b.Address) })
	return nodes, err
}

func inspect(ctx context.Context, server redis.Cmdable) (Node, error) {
	var node Node
	if client, ok := server.(*redis.Client); ok && strings.Contains(client.Options().Addr, ":") {
		node.Address = client.Options().Addr
	}
	began := time.Now()
	theirs, err := server.Time(ctx).Result()
	if err != nil {
		return Node{}, err //nolint:wrapcheck // step wraps it
	}
	node.Round = time.Since(began)
	node.Clock = theirs.Sub(began.Add(node.Round / 2))
	info, err := server.Info(ctx).Result()
	switch code := serverCode(err); {
	case err != nil && code == "":
		return Node{}, err //nolint:wrapcheck // step wraps it
	case err != nil:
		node.Untold = err
		return node, nil //nolint:nilerr // it is in the node: what an ACL forbids to ask is no fault
	}
	node.read(info)
	// Whether snapshots are made only CONFIG tells, which managed Redis keeps to itself.
	if config, err := server.ConfigGet(ctx, "save").Result(); err == nil {
		node.Snapshots = onOff(strings.TrimSpace(config["save"]) != "")
	}
	return node, nil
}

// read takes what INFO tells.
func (n *Node) read(info string) {
	if v := infoField(info, "redis_version"); v != "" {
		n.Version = "redis " + v
	}
	if v := infoField(info, "valkey_version"); v != "" {
		n.Version = "valkey " + v
	}
	n.Role, n.Policy = infoField(info, "role"), infoField(info, "maxmemory_policy")
	n.UsedMemory, _ = strconv.ParseInt(infoField(info, "used_memory"), 10, 64)
	n.MaxMemory, _ = strconv.ParseInt(infoField(info, "maxmemory"), 10, 64)
	if v := infoField(info, "aof_enabled"); v != "" {
		n.AppendOnly = onOff(v == "1")
	}
	for field, what := range map[string]string{
		"rdb_last_bgsave_status": "a snapshot", "aof_last_write_status": "its append-only file",
		"aof_last_bgrewrite_status": "a new append-only file",
	} {
		if v := infoField(info, field); v != "" && v != "ok" {
			n.Unsaved = append(n.Unsaved, what)
		}
	}
	slices.Sort(n.Unsaved)
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}
