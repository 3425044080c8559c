package dedupe

import (
	"context"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// Ping tells whether Redis does what a Store needs, by trying each command on a key of its own, writes
// among them: a server that cannot save to its disk, or has no memory left, or is a replica, still
// answers PING.
func (s *Store) Ping(ctx context.Context) error {
	key := s.cfg.Prefix + ":ping"
	r, err := s.eval(ctx, opPing, s.scripts.ping, key)
	if err != nil {
		return err
	}
	return s.held(opPing, key, r)
}

// EvictionPolicy returns the server's maxmemory-policy, in a Cluster the first that evicts. It is read
// from INFO, since managed Redis refuses CONFIG, and is "" where the server does not tell.
func (s *Store) EvictionPolicy(ctx context.Context) (string, error) {
	var mu sync.Mutex
	var policy string
	err := s.step(ctx, opEviction, "", func(ctx context.Context) error {
		return s.eachMaster(ctx, func(ctx context.Context, node redis.Cmdable) error {
			info, err := node.Info(ctx, "memory").Result()
			if _, known := codeReasons[serverCode(err)]; err != nil && (known || serverCode(err) == "") {
				return err //nolint:wrapcheck // step wraps it
			}
			// Any other error code is of a server that has no such section: it does not tell.
			mu.Lock()
			defer mu.Unlock()
			if !Evicts(policy) {
				policy = infoField(info, "maxmemory_policy")
			}
			return nil
		})
	})
	return policy, err
}

// Evicts tells whether a server with this policy may drop claims when memory is short. All keys have
// a time to live, so the volatile policies do too.
func Evicts(policy string) bool { return policy != "" && policy != "noeviction" }

func infoField(info, name string) string {
	for line := range strings.Lines(info) {
		if key, value, found := strings.Cut(strings.TrimSpace(line), ":"); found && key == name {
			return value
		}
	}
	return ""
}
