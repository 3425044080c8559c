package judge

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"replyworker/internal/wxsim"
)

// Rule is one thing that must never happen.
type Rule string

// The rules. Their text stands in reports.
const (
	NoOutcome     Rule = "jobs without an outcome"
	Phantom       Rule = "outcomes or dead letters of no job"
	Contradiction Rule = "outcomes of one job that contradict each other"
	WrongLogID    Rule = "outcomes with a wrong log_id"
	Unexpected    Rule = "outcomes that the job cannot have"
	NoEffect      Rule = "successes without an effect"
	Untold        Rule = "effects that no outcome tells of"
	SecondEffect  Rule = "replies with more than one effect"
	SecondSuccess Rule = "jobs sent again instead of answered as duplicates"
	OutOfOrder    Rule = "effects out of order within a complaint"
	Unlettered    Rule = "failed jobs without a dead letter, or letters of jobs that did not fail"
	ChangedLetter Rule = "dead letters that are not the job, byte for byte"
	Uncommitted   Rule = "partitions whose committed offset is not their end"
	ClaimLeft     Rule = "claims left behind"
)

// Rules lists the rules in the order of reports.
func Rules() []Rule {
	return []Rule{
		NoOutcome, Phantom, Contradiction, WrongLogID, Unexpected, NoEffect, SecondEffect, Untold, SecondSuccess,
		OutOfOrder, Unlettered, ChangedLetter, Uncommitted, ClaimLeft,
	}
}

// maxSamples bounds what a report says of one rule.
const maxSamples = 10

// Report is what the judge found.
type Report struct {
	// Violations counts by rule; Samples describes the first of them.
	Violations map[Rule]int
	Samples    map[Rule][]string
	// Explained counts what would be a violation, had not Redis lost the claim in between.
	Explained map[Rule]int

	Jobs, Outcomes, Letters, Effects int
	Repeated                         int            // Outcomes beyond the first of their job.
	Statuses                         map[string]int // Jobs by status, or status and reason where there is one.
	EndToEnd                         []int64        // Milliseconds, of the first outcome of each job, ascending.
}

// Clean reports whether no rule is broken.
func (r *Report) Clean() bool { return len(r.Violations) == 0 }

// court is a judgement under way.
type court struct {
	Evidence
	*Report

	jobs    map[at]*jobRecord
	effects map[string]wxsim.Effect // By id.
	byID    map[string][]*jobRecord // In the order of offsets, within each partition.
}

// Judge compares all that is known. It keeps the evidence as it is.
func Judge(e Evidence) *Report {
	c := &court{
		Evidence: e, jobs: map[at]*jobRecord{}, effects: map[string]wxsim.Effect{}, byID: map[string][]*jobRecord{},
		Report: &Report{
			Violations: map[Rule]int{}, Samples: map[Rule][]string{}, Explained: map[Rule]int{}, Statuses: map[string]int{},
			Jobs: len(e.Jobs), Outcomes: len(e.Outcomes), Letters: len(e.Letters), Effects: len(e.Effects),
		},
	}
	c.read()
	for _, j := range c.inOrder() {
		c.judgeJob(j)
	}
	c.judgeEffects()
	c.judgeOrder()
	c.judgeRest()
	slices.Sort(c.EndToEnd)
	return c.Report
}

func (c *court) violation(rule Rule, format string, args ...any) {
	c.Violations[rule]++
	if len(c.Samples[rule]) < maxSamples {
		c.Samples[rule] = append(c.Samples[rule], fmt.Sprintf(format, args...))
	}
}

// unlessLost enters a violation, or counts it as explained where Redis lost claims in that time.
func (c *court) unlessLost(from, to time.Time, rule Rule, format string, args ...any) {
	if slices.ContainsFunc(c.Losses, func(s Span) bool { return !s.To.Before(from) && !s.From.After(to) }) {
		c.Explained[rule]++
		return
	}
	c.violation(rule, format, args...)
}

func (c *court) read() {
	for _, r := range c.Evidence.Jobs {
		j := readJob(r)
		c.jobs[j.at] = j
		if j.readable {
			c.byID[j.id] = append(c.byID[j.id], j)
		}
	}
	for _, e := range c.Evidence.Effects {
		if first, taken := c.effects[e.IdempotentID]; taken {
			c.violation(SecondEffect, "id %s: effects %d and %d", e.IdempotentID, first.Sequence, e.Sequence)
			continue
		}
		c.effects[e.IdempotentID] = e
	}
	for _, r := range c.Evidence.Outcomes {
		s, err := readOutcome(r)
		j, known := c.jobs[at{s.Source.Partition, s.Source.Offset}]
		if err != nil || !known {
			c.violation(Phantom, "outcome %d/%d of job %d/%d (%v)", r.Partition, r.Offset, s.Source.Partition, s.Source.Offset, err)
			continue
		}
		j.outcomes = append(j.outcomes, s)
	}
	for _, r := range c.Evidence.Letters {
		partition, _ := strconv.ParseInt(header(r, "__dlq.errors.partition"), 10, 32) // 0 is of no job then, or fails below
		offset, err := strconv.ParseInt(header(r, "__dlq.errors.offset"), 10, 64)
		j, known := c.jobs[at{int32(partition), offset}]
		if err != nil || !known {
			c.violation(Phantom, "dead letter %d/%d of job %d/%d", r.Partition, r.Offset, partition, offset)
			continue
		}
		j.letters = append(j.letters, r)
	}
	for _, j := range c.jobs {
		slices.SortFunc(j.outcomes, func(a, b saying) int { return a.Time.Compare(b.Time) })
	}
}

func (c *court) inOrder() []*jobRecord {
	return slices.SortedFunc(maps.Values(c.jobs), func(a, b *jobRecord) int {
		return cmp.Or(cmp.Compare(a.partition, b.partition), cmp.Compare(a.offset, b.offset))
	})
}

func (c *court) judgeJob(j *jobRecord) {
	if len(j.outcomes) == 0 {
		c.violation(NoOutcome, "job %s, id %s", j.at, j.id)
		return
	}
	first := j.outcomes[0]
	c.Repeated += len(j.outcomes) - 1
	c.EndToEnd = append(c.EndToEnd, first.EndToEnd)
	name := first.Status
	if first.Reason != "" {
		name += " " + first.Reason
	}
	c.Statuses[name]++
	for _, s := range j.outcomes[1:] {
		if s.verdict() != first.verdict() {
			c.unlessLost(earlier(first.Finished, s.Finished), s.Time, Contradiction, "job %s, id %s: %s, then %s", j.at, j.id,
				first, s)
		}
	}
	for _, s := range j.outcomes {
		c.judgeOutcome(j, s)
	}
	c.judgeLetters(j)
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func (c *court) judgeOutcome(j *jobRecord, s saying) {
	switch {
	case (j.expect == ExpectInvalid) != (s.Reason == "invalid_job"),
		j.expect == ExpectExpired && s.Status != "expired",
		s.Reason == "internal",
		j.readable && (s.ID != j.id || s.Complaint != j.complaint):
		c.violation(Unexpected, "job %s, id %s, expected %q: %s %s", j.at, j.id, j.expect, s.Status, s.Reason)
	}
	succeeded := s.Status == "succeeded" || s.Status == "duplicate"
	if !succeeded {
		if s.LogID != "" {
			c.violation(WrongLogID, "job %s, id %s: %s with log_id %s", j.at, j.id, s.Status, s.LogID)
		}
		return
	}
	e, known := c.effects[j.id]
	switch {
	case !known || e.BodySHA256 != j.bodySHA256 || e.ComplaintID != j.complaint:
		c.violation(NoEffect, "job %s, id %s: %s, effect %d", j.at, j.id, s.Status, e.Sequence)
	case e.LogID != s.LogID:
		c.violation(WrongLogID, "job %s, id %s: %q, the API said %q", j.at, j.id, s.LogID, e.LogID)
	}
}

func (c *court) judgeLetters(j *jobRecord) {
	failed := slices.ContainsFunc(j.outcomes, func(s saying) bool { return s.Status == "failed" })
	if failed != (len(j.letters) > 0) {
		c.violation(Unlettered, "job %s, id %s: failed %t, %d letters", j.at, j.id, failed, len(j.letters))
	}
	for _, l := range j.letters {
		if !sameBytes(l.Key, j.record.Key) || !sameBytes(l.Value, j.record.Value) || !hasHeaders(l, j.record) {
			c.violation(ChangedLetter, "letter %d/%d of job %s", l.Partition, l.Offset, j.at)
		}
	}
}

func sameBytes(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) }

func hasHeaders(letter, of *kgo.Record) bool {
	return !slices.ContainsFunc(of.Headers, func(want kgo.RecordHeader) bool {
		return !slices.ContainsFunc(letter.Headers, func(h kgo.RecordHeader) bool {
			return h.Key == want.Key && sameBytes(h.Value, want.Value)
		})
	})
}
