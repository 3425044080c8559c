package dedupe

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// Delivered is one delivery of a job record, for Finished.
type Delivered struct {
	Key

	Source string // the record's identity, job.Source.ID()
}

// Finished tells of many deliveries which of their records need nothing any more: those that have
// succeeded (StateDone), or are dead (StateDead) or expired (StateExpired), and whose outcomes are known to
// be published. Of all others it says StateNone, whatever the store knows of them: Claim tells more. It
// changes nothing, and costs the server about a tenth of what Claim does. The first failure ends it; what it
// says of the deliveries before that is so.
func (s *Store) Finished(ctx context.Context, deliveries []Delivered) ([]State, error) {
	states := make([]State, len(deliveries))
	for from := 0; from < len(deliveries); from += maxPipeline {
		to := min(from+maxPipeline, len(deliveries))
		err := s.step(ctx, opFinished, "", func(ctx context.Context) error {
			return s.finished(ctx, deliveries[from:to], states[from:to])
		})
		if err != nil {
			return states, err
		}
	}
	return states, nil
}

// finished asks in one go. It runs no script: three fields are to be read, of a key that is to stay as it is.
func (s *Store) finished(ctx context.Context, deliveries []Delivered, states []State) error {
	pipe := s.client.Pipeline()
	cmds := make([]*redis.SliceCmd, len(deliveries))
	for i, d := range deliveries {
		cmds[i] = pipe.HMGet(ctx, s.jobKey(d.Key), "s", "o", "p")
	}
	_, first := pipe.Exec(ctx)
	for i, cmd := range cmds {
		if f := cmd.Val(); len(f) == 3 && f[1] == deliveries[i].Source && f[2] == "1" {
			states[i] = finalState(f[0])
		}
	}
	if serverCode(first) == "WRONGTYPE" {
		return nil // something else is under one of the keys, of which Claim will tell
	}
	return first //nolint:wrapcheck // wrap adds step and reason
}

func finalState(letter any) State {
	for _, state := range []State{StateDone, StateDead, StateExpired} {
		if letter == stateLetters[state] {
			return state
		}
	}
	return StateNone
}
