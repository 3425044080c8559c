//go:build linux

package stage

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"replyworker/bench/peers"
)

// peersDir has the peers' programs.
func (s *Stage) peersDir() string { return filepath.Join(s.cfg.Top, "bench", "peers") }

// BuildPeers builds all peers, once.
func (s *Stage) BuildPeers(ctx context.Context) error {
	if s.peersBuilt {
		return nil
	}
	for _, name := range peers.Names() {
		s.Say("building %s", name)
		if err := peers.Build(ctx, s.peersDir(), name); err != nil {
			return err
		}
	}
	s.peersBuilt = true
	return nil
}

// Peer starts a peer, which must be built, with so many calls at once, on the run's jobs. The run ends it.
func (r *Run) Peer(name string, concurrency int, more ...string) (*peers.Process, error) {
	p, err := peers.Start(r.peersDir(), name, peers.Settings{
		Brokers: r.kafka.Addrs(), Topic: r.topic(topicJobs), Group: r.name, Outcomes: r.topic(topicOutcomes), Dead: r.topic(topicLetters),
		API: r.API.URL, MchID: r.keys.MchID, CertSerial: r.keys.CertSerial, KeyFile: r.keys.Files.MerchantKey,
		AnswerKeyID: r.keys.PublicKeyID, AnswerKeyFile: r.keys.Files.PublicKey, Concurrency: concurrency, RedisURL: r.redisURL(),
	}, r.logs, more...)
	if err != nil {
		return nil, err
	}
	r.peers = append(r.peers, p)
	return p, nil
}

// redisURL is where Redis is, as clients take it.
func (s *Stage) redisURL() string {
	const name = "REPLYWORKER_REDIS_URL="
	lines := s.redis.Settings()
	i := slices.IndexFunc(lines, func(line string) bool { return strings.HasPrefix(line, name) })
	return strings.TrimPrefix(lines[i], name)
}

// stopPeers ends the peers as an operator does. What they have not finished, nobody waits for.
func (r *Run) stopPeers() {
	const grace = 10 * time.Second
	for _, p := range r.peers {
		if err := p.Stop(grace); err != nil {
			r.Say("%v", fmt.Errorf("a peer at its end: %w", err))
		}
	}
}
