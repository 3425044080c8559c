package judge

import (
	"context"
	"fmt"
	"strings"
)

// Redis is where the claims are.
type Redis interface {
	// Master returns the node that has the data.
	Master(ctx context.Context) (int, error)
	// Do sends a node a command and returns the answer as text.
	Do(ctx context.Context, node int, args ...string) (string, error)
}

// Claims returns the state of every claim under the setting redis-prefix, for Evidence.Claims.
func Claims(ctx context.Context, r Redis, prefix string) (map[string]string, error) {
	master, err := r.Master(ctx)
	if err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	const list = `local out = {}
		for _, k in ipairs(redis.call('KEYS', ARGV[1])) do out[#out + 1] = k .. ' ' .. (redis.call('HGET', k, 's') or '?') end
		return table.concat(out, '\n')`
	text, err := r.Do(ctx, master, "EVAL", list, "0", prefix+":job:*")
	if err != nil {
		return nil, fmt.Errorf("claims: %w", err)
	}
	names := map[string]string{"c": "claimed", "w": "waiting", "d": "done", "x": "dead", "e": "expired"}
	found := map[string]string{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		at := strings.LastIndexByte(line, ' ') // an id may have spaces in it
		if at < 0 || names[line[at+1:]] == "" {
			return nil, fmt.Errorf("claims: %q is no claim", line)
		}
		found[line[:at]] = names[line[at+1:]]
	}
	return found, nil
}
