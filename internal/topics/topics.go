// Package topics knows what each of the product's topics has to be: the settings that it is made with, and
// what would go wrong with those of one that exists.
package topics

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"replyworker/internal/config"
	"replyworker/internal/job"
)

// Kind is what a topic is for.
type Kind int

// The kinds of topics.
const (
	Jobs Kind = iota
	Outcomes
	DeadLetters
	Resolutions
)

// Topic is one of the topics of a configuration.
type Topic struct {
	Name string
	Kind Kind
}

// Of returns every topic of a configuration: those of the jobs, the outcomes, the dead letters, the
// resolutions.
func Of(cfg *config.Config) []Topic {
	var all []Topic
	for _, name := range cfg.JobsTopics() {
		all = append(all, Topic{name, Jobs})
	}
	return append(all,
		Topic{cfg.TopicOutcomes, Outcomes}, Topic{cfg.TopicDeadLetters, DeadLetters}, Topic{cfg.TopicResolutions, Resolutions})
}

// Names returns the names of all of them, in the same order.
func Names(cfg *config.Config) []string {
	var names []string
	for _, t := range Of(cfg) {
		names = append(names, t.Name)
	}
	return names
}

// The settings of topics that are given or looked at here.
const (
	MaxMessage = "max.message.bytes"
	Cleanup    = "cleanup.policy"
	Retention  = "retention.ms"
	Segment    = "segment.ms"
	MinInSync  = "min.insync.replicas"
)

const (
	// letterRoom is what a dead letter's own headers may add to a job.
	letterRoom = 64 << 10
	// jobRoom is what key and headers may add to the largest job.
	jobRoom = 8 << 10
	// maxSegment bounds how long a record outlives its topic's retention: Kafka removes whole
	// segments, each when its last record is too old.
	maxSegment = 12 * time.Hour
)

// Kept is how long a record may be there in a topic that is made with that retention.
func Kept(retention time.Duration) time.Duration { return retention + segmentOf(retention) }

func segmentOf(retention time.Duration) time.Duration { return min(maxSegment, retention/2) }

// LetterLimit is the max.message.bytes of the dead letters, given the largest one of the jobs.
func LetterLimit(largestJob int) int { return largestJob + letterRoom }

// Settings returns what a topic is made with: how long its records are kept, and, for dead letters, the
// limit of LetterLimit.
func (k Kind) Settings(retention time.Duration, letterLimit int) map[string]string {
	if k == Resolutions {
		return map[string]string{Cleanup: "compact"}
	}
	settings := map[string]string{Cleanup: "delete", Retention: millis(retention)}
	if k != Outcomes { // it does not matter when an old outcome goes
		settings[Segment] = millis(segmentOf(retention))
	}
	if k == DeadLetters {
		settings[MaxMessage] = strconv.Itoa(letterLimit)
	}
	return settings
}

func millis(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// Finding is something about a topic's settings that will go wrong.
type Finding struct {
	Text string
	Do   string
}

// Findings returns what is wrong with the settings of a topic that exists; a setting that is not there is
// not judged. letterLimit is that of LetterLimit.
func (k Kind) Findings(settings map[string]string, claims time.Duration, letterLimit int) []Finding {
	switch k {
	case Jobs:
		return append(kept(settings, claims), append(compacted(settings), jobSize(settings)...)...)
	case DeadLetters:
		return append(kept(settings, claims), append(compacted(settings), letterSize(settings, letterLimit)...)...)
	case Resolutions:
		return uncompacted(settings)
	case Outcomes:
	}
	return compacted(settings)
}

// kept finds records that are kept longer than claims.
func kept(settings map[string]string, claims time.Duration) []Finding {
	n, ok := Number(settings[Retention])
	do := fmt.Sprintf("set retention.ms of the topic below %d, or claim-retention of every worker above it", claims.Milliseconds())
	switch {
	case !ok:
		return nil
	case endless(n):
		return []Finding{{fmt.Sprintf("retention.ms is %d: records are kept for ever, and claims for %s (claim-retention); "+
			"one read later would be sent again", n, claims), do}}
	case n >= claims.Milliseconds():
		return []Finding{{fmt.Sprintf("retention.ms is %d (%s), not less than claim-retention (%s): a record read after its "+
			"claim is forgotten would be sent again", n, span(n), claims), do}}
	}
	// The first record of a segment stays until its last one goes.
	if segment, ok := Number(settings[Segment]); ok && segment > claims.Milliseconds()-n {
		return []Finding{{
			fmt.Sprintf("retention.ms is %d and segment.ms %d: a record may be kept for both together, and claims for %s "+
				"(claim-retention); one read later would be sent again", n, segment, claims),
			fmt.Sprintf("set segment.ms of the topic to %d or less, or claim-retention of every worker above both together",
				min(segmentOf(span(n)), claims-span(n)).Milliseconds()),
		}}
	}
	return nil
}

func span(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond }

// endless says that a number of milliseconds means for ever: -1, or what no time.Duration can hold.
func endless(ms int64) bool { return ms < 0 || ms > math.MaxInt64/int64(time.Millisecond) }

func compacted(settings map[string]string) []Finding {
	if policy := settings[Cleanup]; strings.Contains(policy, "compact") {
		return []Finding{{
			"cleanup.policy is " + policy + ": records with the same key would be lost; it should be delete",
			"set cleanup.policy of the topic to delete",
		}}
	}
	return nil
}

func uncompacted(settings map[string]string) []Finding {
	if policy, ok := settings[Cleanup]; ok && !strings.Contains(policy, "compact") {
		return []Finding{{
			"cleanup.policy is " + policy + ", and should be compact: letters that were dealt with would come back as open",
			"set cleanup.policy of the topic to compact",
		}}
	}
	return nil
}

func jobSize(settings map[string]string) []Finding {
	if n, ok := Number(settings[MaxMessage]); ok && n < job.MaxBytes+jobRoom {
		return []Finding{{
			fmt.Sprintf("max.message.bytes is %d: the largest jobs (%d bytes) do not fit", n, job.MaxBytes),
			fmt.Sprintf("set max.message.bytes of the topic to %d or more", job.MaxBytes+jobRoom),
		}}
	}
	return nil
}

func letterSize(settings map[string]string, limit int) []Finding {
	if n, ok := Number(settings[MaxMessage]); ok && n < int64(limit) {
		return []Finding{{
			fmt.Sprintf("max.message.bytes is %d, and should be %d, 64 KiB more than that of the jobs: "+
				"letters of large jobs are written without their value", n, limit),
			fmt.Sprintf("set max.message.bytes of the topic to %d", limit),
		}}
	}
	return nil
}

// Number reads a setting that is a number; false where it is none.
func Number(text string) (int64, bool) {
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil
}

// KeptText words how long a topic keeps its records, by its settings; "" where they do not tell.
func KeptText(settings map[string]string) string {
	n, ok := Number(settings[Retention])
	switch {
	case !ok || settings[Cleanup] == "compact":
		return ""
	case endless(n):
		return "for ever"
	}
	return span(n).String()
}
