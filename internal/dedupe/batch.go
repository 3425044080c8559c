package dedupe

import (
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// stalled is how long a batch may be out before another goes beside it: Redis answers in a
	// millisecond or two, so that something is wrong, and what comes now need not wait for it.
	stalled = 10 * time.Millisecond
	// maxBatches is how many batches are out at one time at the most.
	maxBatches = 4
	// noteDelay is how long a note waits for a batch to go along with, and maxNotes how many may wait.
	noteDelay = 5 * time.Millisecond
	maxNotes  = 4096
)

// batcher sends the steps of many jobs in one pipeline: what comes while a batch is out goes with the
// next one. Nobody waits for a batch to fill up. It is safe for concurrent use; its goroutines are there
// only while there is something to send.
type batcher struct {
	s *Store

	mu      sync.Mutex
	waiting []*call
	notes   []*call // calls that nobody waits for
	out     int     // batches
	begun   time.Time
	timer   *time.Timer // of the notes; nil where none is set
	sending sync.WaitGroup
}

// do sends a call with the next batch and waits for its answer, or for the end of ctx. Whether the call
// was made is not known after the latter.
func (b *batcher) do(ctx context.Context, c *call) ([]string, error) {
	c.ctx, c.done = ctx, make(chan struct{})
	b.mu.Lock()
	b.waiting = append(b.waiting, c)
	b.startLocked(false)
	b.mu.Unlock()
	select {
	case <-c.done:
		return c.fields, c.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// note sends a call along with the next batch, or soon, and waits for nothing. It says whether there was
// room for it.
func (b *batcher) note(c *call) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.notes) >= maxNotes {
		return false
	}
	b.notes = append(b.notes, c)
	if b.timer == nil {
		b.timer = time.AfterFunc(noteDelay, func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.timer = nil
			b.startLocked(true)
		})
	}
	return true
}

// startLocked starts a sender where there is something to send and no batch is out, or none that is
// likely to be answered soon. Notes alone are reason enough where due.
func (b *batcher) startLocked(due bool) {
	if len(b.waiting) == 0 && (!due || len(b.notes) == 0) {
		return
	}
	now := time.Now()
	if b.out >= maxBatches || b.out > 0 && now.Sub(b.begun) < stalled {
		return // who is out looks again
	}
	b.out++
	b.begun = now
	b.sending.Go(b.send)
}

// send sends batches until nothing is left.
func (b *batcher) send() {
	for {
		batch := b.take()
		if len(batch) == 0 {
			return
		}
		b.run(batch)
	}
}

// take returns what goes in the next batch. Where it is empty the sender is counted out.
func (b *batcher) take() []*call {
	b.mu.Lock()
	defer b.mu.Unlock()
	var batch []*call
	batch, b.waiting = takeFrom(b.waiting, maxPipeline)
	var notes []*call
	notes, b.notes = takeFrom(b.notes, maxPipeline-len(batch))
	batch = append(batch, notes...)
	if len(batch) == 0 {
		b.out--
		return nil
	}
	b.begun = time.Now()
	return batch
}

// takeFrom takes up to n calls off the front, but none that its caller has given up.
func takeFrom(calls []*call, n int) (taken, rest []*call) {
	for i, c := range calls {
		if len(taken) == n {
			return taken, calls[i:]
		}
		if c.ctx == nil || c.ctx.Err() == nil {
			taken = append(taken, c)
		}
	}
	return taken, nil
}

// run sends one batch and tells everybody in it. It has a time of its own: that one caller gives up is
// nothing to the others.
func (b *batcher) run(batch []*call) {
	ctx, cancel := context.WithTimeout(context.Background(), b.s.cfg.Timeout)
	defer cancel()
	begun := time.Now()
	b.s.pipeline(ctx, batch)
	for _, c := range batch {
		if c.done != nil {
			close(c.done)
			continue
		}
		err := c.err
		if err != nil {
			err = wrap(ctx, c.op, c.key, err)
		}
		b.s.observe(c.op, begun, err)
	}
}

// flush sends the notes that wait, and waits for all that is out.
func (b *batcher) flush() {
	b.mu.Lock()
	b.startLocked(true)
	b.mu.Unlock()
	b.sending.Wait()
}

// call is one run of a script, on one key.
type call struct {
	op     string
	script *redis.Script
	key    string
	args   []any

	// Of a batcher's calls: who waits for them.
	ctx  context.Context //nolint:containedctx // the caller's, for as long as its call is queued
	done chan struct{}   // nil where nobody does

	fields []string
	err    error
}

// pipeline makes the calls in one round trip. In a pipeline there is no falling back from EVALSHA to
// EVAL: what is answered NOSCRIPT goes again, each script once in full and before the others that run it.
// On a cluster those may be on other nodes, so what is left after that runs alone.
func (s *Store) pipeline(ctx context.Context, calls []*call) {
	s.send(ctx, calls, func(c *call, pipe redis.Pipeliner) *redis.Cmd {
		return c.script.EvalSha(ctx, pipe, []string{c.key}, c.args...)
	})
	unknown := unknownScripts(calls)
	if len(unknown) == 0 {
		return
	}
	loaded := map[*redis.Script]bool{}
	s.send(ctx, unknown, func(c *call, pipe redis.Pipeliner) *redis.Cmd {
		if !loaded[c.script] {
			loaded[c.script] = true
			return c.script.Eval(ctx, pipe, []string{c.key}, c.args...)
		}
		return c.script.EvalSha(ctx, pipe, []string{c.key}, c.args...)
	})
	for _, c := range unknownScripts(unknown) {
		c.fields, c.err = answer(c.script.Run(ctx, s.client, []string{c.key}, c.args...))
	}
}

func unknownScripts(calls []*call) (unknown []*call) {
	for _, c := range calls {
		if redis.HasErrorPrefix(c.err, "NOSCRIPT") {
			unknown = append(unknown, c)
		}
	}
	return unknown
}

// send sends the command of each call in one go and reads the answers.
func (s *Store) send(ctx context.Context, calls []*call, command func(*call, redis.Pipeliner) *redis.Cmd) {
	cmds := make([]*redis.Cmd, len(calls))
	pipe := s.client.Pipeline()
	for i, c := range calls {
		cmds[i] = command(c, pipe)
	}
	// The pipeline's error is the first command's that has one; each is looked at below.
	_, _ = pipe.Exec(ctx)
	for i, c := range calls {
		c.fields, c.err = answer(cmds[i])
	}
}
