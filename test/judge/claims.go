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
	// In pieces: a long run leaves as many claims as it had jobs, and Redis does nothing else meanwhile.
	const list = `local next = redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', 2000)
		local out = { next[1] }
		for _, k in ipairs(next[2]) do out[#out + 1] = k .. ' ' .. (redis.call('HGET', k, 's') or '?') end
		return table.concat(out, '\n')`
	found := map[string]string{}
	for cursor := "0"; ; {
		text, err := r.Do(ctx, master, "EVAL", list, "0", cursor, prefix+":job:*")
		if err != nil {
			return nil, fmt.Errorf("claims: %w", err)
		}
		next, lines, _ := strings.Cut(text, "\n")
		if err := readClaims(lines, found); err != nil {
			return nil, err
		}
		if cursor = next; cursor == "0" {
			return found, nil
		}
	}
}

// readClaims reads lines of a key and the letter of its state.
func readClaims(lines string, into map[string]string) error {
	names := map[string]string{"c": "claimed", "w": "waiting", "d": "done", "x": "dead", "e": "expired"}
	for line := range strings.Lines(lines) {
		line = strings.TrimSpace(line)
		at := strings.LastIndexByte(line, ' ') // an id may have spaces in it
		if at < 0 || names[line[at+1:]] == "" {
			return fmt.Errorf("claims: %q is no claim", line)
		}
		into[line[:at]] = names[line[at+1:]]
	}
	return nil
}
