//go:build linux

package stage

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// RedisUse is what Redis has been asked since it started, and what it holds.
type RedisUse struct {
	// Scripts is how many it has run, and Reads how often it has read what came on a connection: the scripts of a
	// pipeline come in one.
	Scripts, Reads float64
	// Bytes is what all keys take, with the tables of keys.
	Bytes float64
}

// Since is what came on top of an earlier use.
func (u RedisUse) Since(before RedisUse) RedisUse {
	return RedisUse{u.Scripts - before.Scripts, u.Reads - before.Reads, u.Bytes - before.Bytes}
}

// RedisUse asks Redis.
func (s *Stage) RedisUse(ctx context.Context) (u RedisUse, err error) {
	for _, section := range []string{"stats", "memory", "commandstats"} {
		text, err := s.redis.Do(ctx, 0, "INFO", section)
		if err != nil {
			return u, fmt.Errorf("redis: %w", err)
		}
		for line := range strings.Lines(text) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
			value, _, _ = strings.Cut(strings.TrimPrefix(value, "calls="), ",")
			n, err := strconv.ParseFloat(value, 64)
			switch {
			case err != nil: // Not all are numbers.
			case name == "total_reads_processed":
				u.Reads = n
			case name == "used_memory":
				u.Bytes = n
			case strings.HasPrefix(name, "cmdstat_eval"):
				u.Scripts += n
			}
		}
	}
	return u, nil
}
