package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"replyworker/internal/kafkaio"
	"replyworker/internal/topics"
)

// seenTopic is a topic as it was found.
type seenTopic struct {
	topics.Topic
	kafkaio.TopicState

	settings map[string]string // nil where they cannot be read
	err      error             // why they cannot
}

// topics checks every topic, and returns the numbers of partitions of those of jobs.
func (c Config) topics(ctx context.Context, l *list, client Kafka, cluster kafkaio.Cluster) map[string]int {
	var seen []*seenTopic
	for _, t := range topics.Of(c.Settings) {
		seen = append(seen, &seenTopic{Topic: t, TopicState: cluster.Topics[t.Name]})
	}
	readSettings(ctx, client, seen)
	largest := 0
	partitions := map[string]int{}
	for _, t := range seen {
		if t.Kind == topics.Jobs {
			largest = max(largest, t.maxMessage())
			if len(t.Partitions) > 0 {
				partitions[t.Name] = len(t.Partitions)
			}
		}
	}
	for _, t := range seen {
		c.topic(l, t, topics.LetterLimit(largest))
	}
	copies(l, seen)
	return partitions
}

// readSettings reads the settings of the topics that are there.
func readSettings(ctx context.Context, client Kafka, seen []*seenTopic) {
	sideBySide(len(seen), func(i int) {
		if t := seen[i]; len(t.Partitions) > 0 {
			t.settings, t.err = client.TopicConfig(ctx, t.Name,
				topics.Cleanup, topics.MaxMessage, topics.MinInSync, topics.Retention, topics.Segment)
		}
	})
}

func (t *seenTopic) maxMessage() int {
	if n, ok := topics.Number(t.settings[topics.MaxMessage]); ok && n > 0 {
		return int(n)
	}
	return kafkaio.DefaultMaxMessageBytes
}

// topic checks that a topic is there, and can be used as it has to be.
func (c Config) topic(l *list, t *seenTopic, letterLimit int) {
	name := "topic " + t.Name
	switch {
	case t.Err != nil && kafkaio.Denied(t.Err):
		l.failed(name, "may not be looked at, if it is there: the right Describe is missing",
			"give the user "+t.right()+" on the topic with kafka-acls")
		return
	case t.missing():
		l.failed(name, "there is none", "make it with: worker topics create")
		return
	case t.Err != nil:
		l.failed(name, t.Err.Error(), kafkaHint(t.Err))
		return
	case len(t.Partitions) == 0:
		l.failed(name, "the brokers do not tell of its partitions", "ask again; they may be about to make or to delete it")
		return
	}
	var found findings
	if headless := t.where(func(p kafkaio.PartitionState) bool { return p.Leader < 0 }); len(headless) > 0 {
		found.fail(fmt.Sprintf("%s no leader: %s", count(len(headless), "partition has", "partitions have"), few(headless)),
			"start the brokers that have a copy of it")
	}
	if right := t.lacked(); right != "" {
		found.fail("the right "+right+" is missing", "give the user "+right+" on the topic with kafka-acls")
	}
	switch {
	case t.err != nil && kafkaio.Denied(t.err):
		found.warn("its settings cannot be checked: the right DescribeConfigs is missing",
			"give the user DescribeConfigs on the topic with kafka-acls")
	case t.err != nil:
		found.warn("its settings cannot be checked: "+t.err.Error(), kafkaHint(t.err))
	}
	for _, f := range t.Kind.Findings(t.settings, c.Settings.ClaimRetention, letterLimit) {
		found.warn(f.Text, f.Do)
	}
	found.end(l, name, t.text())
}

func (t *seenTopic) missing() bool {
	_, missing := errors.AsType[*kafkaio.MissingTopicsError](t.Err)
	return missing
}

// right is the right that a worker needs. It writes no resolutions; that is for the commands.
func (t *seenTopic) right() string {
	switch t.Kind {
	case topics.Jobs:
		return "Read"
	case topics.Outcomes, topics.DeadLetters:
		return "Write"
	case topics.Resolutions:
	}
	return "Describe"
}

// lacked is that right where it is missing.
func (t *seenTopic) lacked() string {
	switch right := t.right(); {
	case right == "Read" && t.Rights.Lacks(kafkaio.RightRead), right == "Write" && t.Rights.Lacks(kafkaio.RightWrite):
		return right
	}
	return ""
}

// where returns the partitions of which something is true, as text.
func (t *seenTopic) where(is func(kafkaio.PartitionState) bool) []string {
	var found []string
	for _, p := range t.Partitions {
		if is(p) {
			found = append(found, fmt.Sprintf("%s/%d", t.Name, p.ID))
		}
	}
	slices.Sort(found)
	return found
}

// text says what a topic is that is as it should be.
func (t *seenTopic) text() string {
	text := count(len(t.Partitions), "partition", "partitions")
	if policy := t.settings[topics.Cleanup]; strings.Contains(policy, "compact") {
		text += ", compacted"
	}
	if kept := topics.KeptText(t.settings); kept != "" {
		text += ", kept " + kept
	}
	if n, ok := topics.Number(t.settings[topics.MaxMessage]); ok {
		text += fmt.Sprintf(", messages to %d bytes", n)
	}
	return text
}

// copies checks what the loss of a broker would do to the topics.
func copies(l *list, seen []*seenTopic) {
	var c copyCount
	for _, t := range seen {
		if len(t.Partitions) > 0 {
			c.add(t)
		}
	}
	c.judge(l)
}

// copyCount is how the topics are copied: the least number of copies, and where there may be trouble.
type copyCount struct {
	least               int      // 0: there is no topic
	alone, tight, loose []string // topics
	short, behind       []string // partitions, as inSync returns them
}

func (c *copyCount) add(t *seenTopic) {
	minInSync, known := topics.Number(t.settings[topics.MinInSync])
	replicas := slices.MinFunc(t.Partitions, func(a, b kafkaio.PartitionState) int { return a.Replicas - b.Replicas }).Replicas
	if c.least == 0 || replicas < c.least {
		c.least = replicas
	}
	switch {
	case replicas <= 1:
		c.alone = append(c.alone, t.Name)
	case known && minInSync >= int64(replicas):
		c.tight = append(c.tight, t.Name)
	case known && minInSync <= 1:
		c.loose = append(c.loose, t.Name)
	}
	short, behind := t.inSync(minInSync, known)
	c.short, c.behind = append(c.short, short...), append(c.behind, behind...)
}

func (c *copyCount) judge(l *list) {
	if c.least == 0 {
		l.skipped("there are no topics to look at", checkCopies)
		return
	}
	var found findings
	const start = "start the brokers that are away, and look at their disks"
	if len(c.short) > 0 {
		found.fail("fewer copies in sync than min.insync.replicas, so that nothing can be written: "+few(c.short), start)
	}
	if len(c.behind) > 0 {
		found.warn("copies are missing or behind: "+few(c.behind), start)
	}
	if len(c.alone) > 0 {
		found.warn("one copy of "+few(c.alone)+": it is away while its broker is, and lost with its disk",
			"for production make topics with --replication-factor 3, or raise it with kafka-reassign-partitions")
	}
	if len(c.tight) > 0 {
		found.warn("min.insync.replicas is the number of copies of "+few(c.tight)+": while any broker is away nothing can be written",
			"set min.insync.replicas of the topics to one less than they have copies")
	}
	if len(c.loose) > 0 {
		found.warn("min.insync.replicas is 1 for "+few(c.loose)+": a record counts as written with one copy, and may be lost with it",
			"set min.insync.replicas of the topics to 2")
	}
	found.end(l, checkCopies, fmt.Sprintf("%s or more of each partition, all in sync", count(c.least, "copy", "copies")))
}

// inSync returns the partitions that lack copies at this moment: those that nothing can be written to, and
// the others.
func (t *seenTopic) inSync(minInSync int64, known bool) (short, behind []string) {
	isShort := func(p kafkaio.PartitionState) bool { return known && p.Leader >= 0 && int64(p.InSync) < minInSync }
	return t.where(isShort), t.where(func(p kafkaio.PartitionState) bool { return p.InSync < p.Replicas && !isShort(p) })
}
