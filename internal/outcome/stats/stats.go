// Package stats counts outcomes by group, with the percentiles of their latencies. Its memory does not
// grow with the number of outcomes.
package stats

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/DataDog/sketches-go/ddsketch"

	"replyworker/internal/outcome"
)

const (
	// MaxGroups is the most groups that are kept apart; outcomes of further ones are counted together.
	MaxGroups = 1000
	// Accuracy is by how much, of itself, a percentile may be off at most, besides rounding to
	// milliseconds. The maximum is exact.
	Accuracy = 0.01

	maxKey = 1024 // bytes of each value that a group is known by
)

// Latency is percentiles in milliseconds; all are 0 where no outcome of the group has both times.
type Latency struct {
	P50 int64 `json:"p50"`
	P90 int64 `json:"p90"`
	P99 int64 `json:"p99"`
	Max int64 `json:"max"`
}

// Row is what is known of a group.
type Row struct {
	// Key has a value for each dimension; empty ones where Others is set.
	Key []string
	// Others says that this is not one group, but all beyond MaxGroups.
	Others bool

	Count     int64
	MaybeSent int64 // outcomes with maybe_sent
	Attempts  int64 // of all of them together

	Queue, Processing, EndToEnd Latency
}

// Table groups outcomes by some dimensions. It is not safe for concurrent use.
type Table struct {
	by     []Dimension
	groups map[string]*group
	others *group
	limit  int
}

// NewTable makes a table of no outcomes.
func NewTable(by ...Dimension) *Table {
	return &Table{by: by, groups: map[string]*group{}, limit: MaxGroups}
}

type group struct {
	Row

	queue, processing, endToEnd *latency
}

func newGroup(key []string) (*group, error) {
	g := &group{Row: Row{Key: key}}
	for _, l := range []**latency{&g.queue, &g.processing, &g.endToEnd} {
		sketch, err := ddsketch.LogUnboundedDenseDDSketch(Accuracy)
		if err != nil {
			return nil, fmt.Errorf("percentiles: %w", err)
		}
		*l = &latency{sketch: sketch}
	}
	return g, nil
}

// Add counts an outcome.
func (t *Table) Add(r *outcome.Record) error {
	key := make([]string, len(t.by))
	for i, d := range t.by {
		key[i] = bounded(d.of(r))
	}
	g, err := t.group(key)
	if err != nil {
		return err
	}
	return g.add(r)
}

// bounded bounds what a group is known by, whoever wrote the outcome.
func bounded(value string) string {
	if len(value) <= maxKey {
		return value
	}
	return strings.ToValidUTF8(value[:maxKey], "") + "..."
}

func (t *Table) group(key []string) (*group, error) {
	text := fmt.Sprintf("%q", key)
	if g := t.groups[text]; g != nil {
		return g, nil
	}
	if len(t.groups) >= t.limit {
		if t.others != nil {
			return t.others, nil
		}
		g, err := newGroup(make([]string, len(key)))
		if err != nil {
			return nil, err
		}
		g.Others, t.others = true, g
		return g, nil
	}
	g, err := newGroup(key)
	t.groups[text] = g
	return g, err
}

func (g *group) add(r *outcome.Record) error {
	g.Count++
	g.Attempts += int64(r.Attempts)
	if r.MaybeSent {
		g.MaybeSent++
	}
	var faults []error
	note := func(l *latency, ms int64, known bool) {
		if known {
			faults = append(faults, l.add(ms))
		}
	}
	enqueued, started, finished := !r.Times.Enqueued.IsZero(), !r.Times.Started.IsZero(), !r.Times.Finished.IsZero()
	note(g.queue, r.QueueMS, enqueued && started)
	note(g.processing, r.ProcessingMS, started && finished)
	note(g.endToEnd, r.EndToEndMS, enqueued && finished)
	return cmp.Or(faults...)
}

// Rows returns the groups: by their time, where that is the first dimension, else the largest first. The
// others come last.
func (t *Table) Rows() ([]Row, error) {
	var rows []Row
	for _, g := range t.groups {
		row, err := g.row()
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	byTime := len(t.by) > 0 && t.by[0].timed()
	slices.SortFunc(rows, func(a, b Row) int {
		if byTime {
			return cmp.Or(cmp.Compare(a.Key[0], b.Key[0]), cmp.Compare(b.Count, a.Count), slices.Compare(a.Key, b.Key))
		}
		return cmp.Or(cmp.Compare(b.Count, a.Count), slices.Compare(a.Key, b.Key))
	})
	if t.others != nil {
		row, err := t.others.row()
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func (g *group) row() (Row, error) {
	row := g.Row
	var faults [3]error
	row.Queue, faults[0] = g.queue.percentiles()
	row.Processing, faults[1] = g.processing.percentiles()
	row.EndToEnd, faults[2] = g.endToEnd.percentiles()
	return row, cmp.Or(faults[:]...)
}

// latency is the distribution of one time.
type latency struct {
	sketch *ddsketch.DDSketch
	max    int64
}

func (l *latency) add(ms int64) error {
	ms = max(0, ms) // clocks differ; what is published has no negative ones
	l.max = max(l.max, ms)
	if err := l.sketch.Add(float64(ms)); err != nil {
		return fmt.Errorf("percentiles: %w", err)
	}
	return nil
}

func (l *latency) percentiles() (Latency, error) {
	if l.sketch.IsEmpty() {
		return Latency{}, nil
	}
	values, err := l.sketch.GetValuesAtQuantiles([]float64{0.5, 0.9, 0.99})
	if err != nil {
		return Latency{}, fmt.Errorf("percentiles: %w", err)
	}
	ms := func(i int) int64 { return min(l.max, int64(math.Round(values[i]))) }
	return Latency{P50: ms(0), P90: ms(1), P99: ms(2), Max: l.max}, nil
}
