package servers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// slots is how many a Cluster has.
const slots = 16384

// join makes a Cluster of the nodes, each master of a third of the slots.
func (r *Redis) join(ctx context.Context) error {
	for i := range r.nodes {
		add := []string{"CLUSTER", "ADDSLOTS"}
		for slot := i * slots / len(r.nodes); slot < (i+1)*slots/len(r.nodes); slot++ {
			add = append(add, strconv.Itoa(slot))
		}
		// With an epoch of its own each, the masters have no conflicts to sort out.
		for _, args := range [][]string{add, {"CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i + 1)}} {
			if _, err := r.Do(ctx, i, args...); err != nil {
				return fmt.Errorf("join the cluster: %w", err)
			}
		}
	}
	for _, n := range r.nodes[1:] {
		host, port := hostPort(n.addr())
		if _, err := r.Do(ctx, 0, "CLUSTER", "MEET", host, port); err != nil {
			return fmt.Errorf("join the cluster: %w", err)
		}
	}
	return poll(ctx, r.covered)
}

// covered says nil when every node knows all others and finds all slots served.
func (r *Redis) covered(ctx context.Context) error {
	for i, n := range r.nodes {
		info, err := r.Do(ctx, i, "CLUSTER", "INFO")
		if err != nil {
			return err
		}
		values := fields(info)
		if values["cluster_state"] != "ok" || values["cluster_known_nodes"] != strconv.Itoa(len(r.nodes)) {
			return fmt.Errorf("%s finds the cluster %s, with %s nodes known",
				n.name, values["cluster_state"], values["cluster_known_nodes"])
		}
	}
	return nil
}

// watched says nil when each sentinel knows the replicas and the other sentinels, and all replicas
// follow.
func (r *Redis) watched(ctx context.Context) error {
	replication, err := r.Do(ctx, 0, "INFO", "replication")
	if err != nil {
		return err
	}
	if online := strings.Count(replication, "state=online"); online != r.data-1 {
		return fmt.Errorf("%s has %d replicas online", r.nodes[0].name, online)
	}
	for i := r.data; i < len(r.nodes); i++ {
		info, err := r.Do(ctx, i, "INFO", "sentinel")
		if err != nil {
			return err
		}
		want := fmt.Sprintf("status=ok,address=%s,slaves=%d,sentinels=%d",
			r.nodes[0].shown(), r.data-1, len(r.nodes)-r.data)
		if !strings.Contains(info, want) {
			return fmt.Errorf("%s knows %q, not %q yet", r.nodes[i].name, fields(info)["master0"], want)
		}
	}
	return nil
}

// fields reads lines name:value.
func fields(info string) map[string]string {
	all := map[string]string{}
	for line := range strings.SplitSeq(info, "\n") {
		if name, value, found := strings.Cut(strings.TrimRight(line, "\r"), ":"); found {
			all[name] = value
		}
	}
	return all
}

// Master returns the data node that is the master now: behind Sentinel, the one that most sentinels
// name, if it says so too. There is none while they fail over. A Cluster has no single one.
func (r *Redis) Master(ctx context.Context) (int, error) {
	switch r.mode {
	case Cluster:
		return 0, errors.New("redis: every node of a Cluster is a master")
	case Sentinel:
	default:
		return 0, nil
	}
	votes := make([]int, r.data)
	var errs []error
	for i := r.data; i < len(r.nodes); i++ {
		vote, err := r.vote(ctx, i)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		votes[vote]++
	}
	named := slices.Index(votes, slices.Max(votes))
	if votes[named] < quorum {
		return 0, fmt.Errorf("redis: the sentinels name no master in common: %w", errors.Join(errs...))
	}
	role, err := r.Do(ctx, named, "ROLE")
	if err != nil {
		return 0, err
	}
	if !strings.HasPrefix(role, "master") {
		return 0, fmt.Errorf("redis: %s is named the master and is none yet", r.nodes[named].name)
	}
	return named, nil
}

// vote asks sentinel i which node is the master.
func (r *Redis) vote(ctx context.Context, i int) (int, error) {
	answer, err := r.Do(ctx, i, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", masterName)
	if err != nil {
		return 0, err
	}
	for j, n := range r.nodes[:r.data] {
		host, port := hostPort(n.shown())
		if answer == host+"\n"+port {
			return j, nil
		}
	}
	return 0, fmt.Errorf("%s names a stranger: %q", r.nodes[i].name, answer)
}

// errPending says that a failover is under way.
var errPending = errors.New("redis: no other master yet")

// Failover makes the sentinels promote a replica, and returns when another node than before is the
// master and most sentinels name it. Only for Sentinel; a majority of the sentinels must run. It takes
// some two seconds, and five more for each try that the sentinels give up, as they may when a node has
// come back just before.
func (r *Redis) Failover(ctx context.Context) error {
	if r.mode != Sentinel {
		return fmt.Errorf("redis: no failover in the mode %s", r.mode)
	}
	var before int
	if err := poll(ctx, func(ctx context.Context) (err error) {
		before, err = r.Master(ctx)
		return err
	}); err != nil {
		return err
	}
	return poll(ctx, func(ctx context.Context) error {
		now, err := r.Master(ctx)
		switch {
		case err != nil:
			return err
		case now != before:
			return nil
		}
		return r.demand(ctx, before)
	})
}

// demand asks the first sentinel that runs for a failover away from a node, and answers errPending where
// it agrees or has agreed before. Only one sentinel may lead it. That one names the new master when it
// is done, which others may learn later: asked again then, it would go on to the next one.
func (r *Redis) demand(ctx context.Context, before int) error {
	for i := r.data; i < len(r.nodes); i++ {
		if r.PID(i) == 0 {
			continue
		}
		vote, err := r.vote(ctx, i)
		if err != nil || vote != before {
			return errors.Join(errPending, err)
		}
		_, err = r.Do(ctx, i, "SENTINEL", "FAILOVER", masterName)
		return errors.Join(errPending, err)
	}
	return errors.New("redis: no sentinel runs")
}
