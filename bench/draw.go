//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"replyworker/bench/internal/chart"
	"replyworker/bench/internal/result"
)

// drawing is a chart of a result's curve.
type drawing struct {
	result, figure string
	chart          chart.Chart
	dashed         []string // Series that are there to compare with.
}

func drawings() []drawing {
	return []drawing{
		{
			result: "peers", figure: "jobs a second",
			chart:  chart.Chart{Title: "Jobs a second, by the latency of the API", X: "latency of the API", Y: "jobs a second (logarithmic)"},
			dashed: []string{"Watermill, 64 partitions"},
		},
		{
			result: "scale", figure: "jobs a second",
			chart: chart.Chart{Title: "Jobs a second, by workers and partitions", X: "workers, and partitions", Y: "jobs a second (logarithmic)"},
		},
	}
}

// draw draws a chart of each result that has one and is there, beside it.
func draw(dir string) error {
	for _, d := range drawings() {
		r, err := result.Read(dir, d.result)
		if err != nil {
			return err
		}
		if r == nil {
			continue
		}
		path := filepath.Join(dir, d.result+".svg")
		if err := os.WriteFile(path, []byte(d.fill(r).SVG()), 0o644); err != nil { //nolint:gosec // Nothing secret.
			return fmt.Errorf("chart: %w", err)
		}
	}
	return nil
}

// fill gives the chart its lines.
func (d drawing) fill(r *result.Result) chart.Chart {
	c := d.chart
	series, points := r.Curve(d.figure)
	c.Points = points
	runs := 0
	for _, name := range series {
		line := chart.Line{Name: name, Values: make([]chart.Value, len(points))}
		for _, other := range d.dashed {
			line.Dashed = line.Dashed || name == other
		}
		for i, at := range points {
			f, _ := r.Find(d.figure, name, at) // One that is not there has no value.
			least, greatest := f.Spread()
			line.Values[i] = chart.Value{Median: f.Median(), Least: least, Greatest: greatest}
			runs = max(runs, len(f.Values))
		}
		c.Lines = append(c.Lines, line)
	}
	kind, _, _ := strings.Cut(r.Machine, " (")
	c.Subtitle = fmt.Sprintf("%s; median of %d runs on %s, with Kafka, Redis and the API on them too; %s", r.Note, runs, kind, r.At.Format("2006-01-02"))
	return c
}
