package servers

import (
	"context"
	"fmt"
	"time"
)

func (r *Redis) node(i int) (*node, error) {
	if i < 0 || i >= len(r.nodes) {
		return nil, fmt.Errorf("redis has no node %d", i)
	}
	return r.nodes[i], nil
}

// Kill ends node i at once and returns when it is gone. It is an error where the node does not run. The
// last two seconds of what a node has acknowledged may be lost: while an fsync is slow, Redis answers
// before it writes. "aof_buffer_length:0" in INFO says that all is written, and the property appendfsync
// "always" writes first.
func (r *Redis) Kill(i int) error {
	n, err := r.node(i)
	if err != nil {
		return err
	}
	return n.process.kill()
}

// stopTimeout is how long a node may take to stop: longer than a master waits for its replicas.
const stopTimeout = 15 * time.Second

// Stop ends node i in good order and returns when it is gone. One that does not end within 15 seconds
// is killed, which is an error.
func (r *Redis) Stop(i int) error {
	n, err := r.node(i)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	return n.process.stop(ctx)
}

// Start starts node i again, with its data and its address, and returns when it answers. In a Cluster
// or behind Sentinel its place among the others may take some seconds more.
func (r *Redis) Start(ctx context.Context, i int) error {
	n, err := r.node(i)
	if err != nil {
		return err
	}
	if err := n.process.start(); err != nil {
		return err
	}
	return n.ready(ctx)
}

// PID returns the process of node i, or 0 where it does not run.
func (r *Redis) PID(i int) int {
	n, err := r.node(i)
	if err != nil {
		return 0
	}
	return n.process.pid()
}

// Do asks node i, at its own address, and returns the answer as text: "" for nil, the elements of an
// array on a line each. An error reply is an error. It follows no redirection.
func (r *Redis) Do(ctx context.Context, i int, args ...string) (string, error) {
	n, err := r.node(i)
	if err != nil {
		return "", err
	}
	answer, err := n.dial.do(ctx, args...)
	if err != nil {
		return "", fmt.Errorf("%s: %w", n.name, err)
	}
	return answer, nil
}

// FlushAll drops all data, on every master.
func (r *Redis) FlushAll(ctx context.Context) error {
	if r.mode == Sentinel {
		master, err := r.Master(ctx)
		if err != nil {
			return err
		}
		_, err = r.Do(ctx, master, "FLUSHALL")
		return err
	}
	for i := range r.data {
		if _, err := r.Do(ctx, i, "FLUSHALL"); err != nil {
			return err
		}
	}
	return nil
}

// Close kills all servers and returns when they are gone. Their folder stays. It may be called twice.
func (r *Redis) Close() {
	r.closing.Do(func() {
		for _, n := range r.nodes {
			if n.process != nil {
				n.process.kill() //nolint:errcheck // it has ended by itself
			}
		}
		r.ports.free()
	})
}
