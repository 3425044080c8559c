package dedupe

import (
	"context"
	"time"
)

// Lock is what Lock found.
type Lock struct {
	// Held says that the caller has it.
	Held bool
	// Owner is who has it else, and Left how long it lasts without being renewed.
	Owner string
	Left  time.Duration
}

// Lock takes a lock that ends by itself after ttl, or renews it where token has it already. Owner is
// for people; it is cut at 512 bytes. After an error it is not known whether it was taken; a repeat
// with the same token does no harm.
func (s *Store) Lock(ctx context.Context, name, token, owner string, ttl time.Duration) (Lock, error) {
	if name == "" || token == "" || ttl < time.Millisecond {
		return Lock{}, invalid(opLock, "lock %q, token of %d bytes, lifetime %s", name, len(token), ttl)
	}
	key := s.lockKey(name)
	r, err := s.eval(ctx, opLock, s.scripts.lock, key, token, cut(owner), ttl.Milliseconds())
	if err != nil {
		return Lock{}, err
	}
	l := Lock{Held: r.bool()}
	if !l.Held {
		l.Owner, l.Left = r.text(), time.Duration(r.int64())*time.Millisecond
	}
	return l, s.done(opLock, key, r)
}

// Unlock gives a lock back, if token has it.
func (s *Store) Unlock(ctx context.Context, name, token string) error {
	_, err := s.eval(ctx, opUnlock, s.scripts.unlock, s.lockKey(name), token)
	return err
}

func (s *Store) lockKey(name string) string { return s.cfg.Prefix + ":lock:{" + name + "}" }
