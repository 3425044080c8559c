package stats

import (
	"strings"
	"time"

	"replyworker/internal/outcome"
)

// labelPrefix begins the name of a dimension that is a label.
const labelPrefix = "label:"

// dimensions are those with names of their own.
var dimensions = []struct {
	name string
	of   func(*outcome.Record) string
}{
	{"status", func(r *outcome.Record) string { return string(r.Status) }},
	{"reason", func(r *outcome.Record) string { return string(r.Reason) }},
	{"host", func(r *outcome.Record) string { return r.Host }},
	{"error_code", func(r *outcome.Record) string { return r.ErrorCode }},
	{"merchant", func(r *outcome.Record) string { return r.MchID }},
	{"hour", func(r *outcome.Record) string { return truncated(r.Times.Finished, time.Hour) }},
	{"day", func(r *outcome.Record) string { return truncated(r.Times.Finished, 24*time.Hour) }},
}

// truncated returns the beginning of the hour or the day, in UTC, that a time is in.
func truncated(t time.Time, unit time.Duration) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Truncate(unit).Format(time.RFC3339)
}

// Dimension is what outcomes are grouped by.
type Dimension struct {
	Name string
	of   func(*outcome.Record) string
}

// Names lists the dimensions; the last is that of a label, which is given by its name.
func Names() []string {
	var names []string
	for _, d := range dimensions {
		names = append(names, d.name)
	}
	return append(names, labelPrefix+"NAME")
}

// DimensionOf returns the dimension of a name.
func DimensionOf(name string) (Dimension, bool) {
	if label, is := strings.CutPrefix(name, labelPrefix); is && label != "" {
		return Dimension{name, func(r *outcome.Record) string { return r.Labels[label] }}, true
	}
	for _, d := range dimensions {
		if d.name == name {
			return Dimension{d.name, d.of}, true
		}
	}
	return Dimension{}, false
}

// timed says that the groups are those of a time, and are best read in its order.
func (d Dimension) timed() bool { return d.Name == "hour" || d.Name == "day" }
