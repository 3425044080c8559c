package doctor

import (
	"context"
	"fmt"

	"replyworker/internal/kafkaio"
)

// consumerProtocol is the type of groups of consumers.
const consumerProtocol = "consumer"

// group checks the consumer group, and how far it is, in the jobs topics that are there.
func (c Config) group(ctx context.Context, l *list, client Kafka, partitions map[string]int) {
	name := c.Settings.KafkaGroup
	group, err := client.Group(ctx, name)
	if err != nil {
		hint := kafkaHint(err)
		if kafkaio.Denied(err) {
			hint = "give the user Read on the group with kafka-acls; workers cannot join it without"
		}
		l.failed(checkGroup, c.timed(ctx, err), hint)
		l.skipped("the brokers tell nothing of the group", checkLag, checkUnread)
		return
	}
	total := 0
	for _, n := range partitions {
		total += n
	}
	judgeGroup(l, name, group, total)
	if len(partitions) == 0 {
		l.skipped("there is no topic of jobs to look at", checkLag, checkUnread)
		return
	}
	offsets, err := client.GroupOffsets(ctx, name, partitions)
	if err != nil {
		l.failed(checkLag, c.timed(ctx, err), kafkaHint(err))
		l.skipped("the brokers do not tell the offsets", checkUnread)
		return
	}
	judgeLag(l, group, offsets)
	judgeUnread(l, offsets)
}

func judgeGroup(l *list, name string, group kafkaio.Group, partitions int) {
	const other = "give the workers another kafka-group"
	switch {
	case group.Foreign:
		l.failed(checkGroup, fmt.Sprintf("%s is a group of a protocol that workers do not speak (its type is %q): while it has members "+
			"no worker can join, and whether it has any shows only in that protocol", name, group.Protocol),
			other+", or let its members leave it; workers can join it when it is empty")
	case group.Protocol != "" && group.Protocol != consumerProtocol:
		l.failed(checkGroup, fmt.Sprintf("%s is a group of type %q, and not of consumers", name, group.Protocol), other)
	case group.State == kafkaio.GroupDead:
		l.passed(checkGroup, "%s is not there yet: the first worker makes it", name)
	case group.Members == 0:
		l.passed(checkGroup, "%s has no members: no worker runs", name)
	case partitions > 0 && group.Members > partitions:
		l.warned(checkGroup, fmt.Sprintf("%s has %d members for %s: some have nothing to do", name, group.Members,
			count(partitions, "partition", "partitions")),
			"run fewer workers, or add partitions while no jobs wait: those of one complaint may change their partition")
	default:
		l.passed(checkGroup, "%s is %s, %s for %s", name, group.State, count(group.Members, "member", "members"),
			count(partitions, "partition", "partitions"))
	}
}

func judgeLag(l *list, group kafkaio.Group, offsets []kafkaio.PartitionOffsets) {
	var lag, fresh int64
	behind := 0
	var ahead []string
	for _, p := range offsets {
		lag += p.Lag()
		if p.Lag() > 0 {
			behind++
		}
		if p.Committed < 0 {
			fresh++
		}
		if p.Committed > p.End {
			ahead = append(ahead, fmt.Sprintf("%s/%d (%d, ends at %d)", p.Topic, p.Partition, p.Committed, p.End))
		}
	}
	text := fmt.Sprintf("%d to be read", lag)
	if lag > 0 {
		text += " in " + count(behind, "partition", "partitions")
	}
	if fresh > 0 {
		text += fmt.Sprintf("; %s no committed offset", count(int(fresh), "partition has", "partitions have"))
	}
	switch {
	case len(ahead) > 0:
		l.warned(checkLag, "the group has committed past the end of "+few(ahead)+": the topic was made anew, or has lost records",
			"workers begin there anew, with all that is there; see whether the brokers lost data")
	case lag > 0 && group.Members == 0:
		l.warned(checkLag, text+", and no worker is in the group", "start one: worker run")
	default:
		l.passed(checkLag, "%s", text)
	}
}

// judgeUnread finds what retention has taken before the group read it.
func judgeUnread(l *list, offsets []kafkaio.PartitionOffsets) {
	var lost int64
	var where []string
	for _, p := range offsets {
		if p.Lost() > 0 {
			lost += p.Lost()
			where = append(where, fmt.Sprintf("%s/%d (from %d to %d)", p.Topic, p.Partition, p.Committed, p.First-1))
		}
	}
	if lost == 0 {
		l.passed(checkUnread, "nothing has gone before it was read")
		return
	}
	l.failed(checkUnread, fmt.Sprintf("up to %d records went by retention before they were read: %s", lost, few(where)),
		"their replies are not sent: have their producers send them again; keep the jobs longer, and see why workers were late")
}
