package judge

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"replyworker/internal/wxsim"
)

// judgeEffects asks that each reply that the API took is told of, and that a job which came again was
// not sent again.
func (c *court) judgeEffects() {
	for _, e := range c.effects {
		if len(c.candidates(e, nil)) == 0 {
			last, said := e.Time, ""
			for _, j := range c.byID[e.IdempotentID] {
				for _, s := range j.outcomes {
					last, said = s.Time, said+fmt.Sprintf("; job %s %s", j.at, s)
				}
			}
			c.unlessLost(e.Time, last, Untold, "effect %d at %s, id %s%s", e.Sequence, e.Time.UTC().Format(time.RFC3339Nano),
				e.IdempotentID, said)
		}
	}
	for id, jobs := range c.byID {
		var sent []saying
		for _, j := range jobs {
			if n := slices.IndexFunc(j.outcomes, func(s saying) bool { return s.Status == "succeeded" }); n >= 0 {
				sent = append(sent, j.outcomes[n])
			}
		}
		slices.SortFunc(sent, func(a, b saying) int { return a.Finished.Compare(b.Finished) })
		for i := 1; i < len(sent); i++ {
			c.unlessLost(sent[0].Finished, sent[i].Time, SecondSuccess, "id %s: job %d/%d %s and job %d/%d %s", id,
				sent[0].Source.Partition, sent[0].Source.Offset, sent[0], sent[i].Source.Partition, sent[i].Source.Offset, sent[i])
		}
	}
}

// candidates are the jobs that may have made an effect: of its content, and succeeded or perhaps sent.
func (c *court) candidates(e wxsim.Effect, in *int32) []*jobRecord {
	var found []*jobRecord
	for _, j := range c.byID[e.IdempotentID] {
		if j.bodySHA256 != e.BodySHA256 || j.complaint != e.ComplaintID || in != nil && j.partition != *in {
			continue
		}
		if slices.ContainsFunc(j.outcomes, func(s saying) bool { return s.Status == "succeeded" || s.MaybeSent }) {
			found = append(found, j)
		}
	}
	return found
}

// judgeOrder asks, for each complaint in each partition, that its effects can be the doing of its jobs
// in the order of their offsets. Where several jobs may have made an effect, any of them will do.
func (c *court) judgeOrder() {
	type lane struct {
		partition int32
		complaint string
	}
	last := map[lane]*jobRecord{}
	effects := slices.SortedFunc(slices.Values(c.Evidence.Effects), func(a, b wxsim.Effect) int {
		return cmp.Compare(a.Sequence, b.Sequence)
	})
	for _, e := range effects {
		for partition := range c.Ends {
			options := c.candidates(e, &partition)
			if len(options) == 0 {
				continue
			}
			l := lane{partition, e.ComplaintID}
			before := last[l]
			at := slices.IndexFunc(options, func(j *jobRecord) bool { return before == nil || j.offset > before.offset })
			if at < 0 {
				c.violation(OutOfOrder, "complaint %s: job %s (effect %d, id %s) after job %s", e.ComplaintID, options[0].at,
					e.Sequence, e.IdempotentID, before.at)
				continue
			}
			last[l] = options[at]
		}
	}
}

func (c *court) judgeRest() {
	for partition, end := range c.Ends {
		if committed, ok := c.Committed[partition]; end > 0 && (!ok || committed != end) {
			c.violation(Uncommitted, "partition %d: committed %d, end %d", partition, committed, end)
		}
	}
	for key, state := range c.Claims {
		if state == "claimed" || state == "waiting" {
			c.violation(ClaimLeft, "%s is %s", key, state)
		}
	}
}
