package chart_test

import (
	"encoding/xml"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"replyworker/bench/internal/chart"
)

func example() chart.Chart {
	return chart.Chart{
		Title: "Jobs & seconds", Subtitle: "a < b", X: "latency", Y: "jobs a second", Points: []string{"0 ms", "20 ms", "100 ms"},
		Lines: []chart.Line{
			{Name: "ours", Values: []chart.Value{{1000, 900, 1100}, {950, 940, 960}, {640, 640, 640}}},
			{Name: "theirs", Values: []chart.Value{{1010, 1000, 1020}, {900, 890, 910}, {630, 620, 640}}},
			{Name: "others", Values: []chart.Value{{700, 650, 720}, {}, {12, 11, 13}}, Dashed: true},
		},
	}
}

// TestSVG: it is XML, and has every name and value.
func TestSVG(t *testing.T) {
	t.Parallel()
	svg := example().SVG()
	for d := xml.NewDecoder(strings.NewReader(svg)); ; {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
	}
	for _, words := range []string{
		"Jobs &amp; seconds", "a &lt; b", ">ours 640<", ">theirs 630<", ">others 12<", "20 ms", ">1,000<", ">10<",
		"ours 0 ms: 1,000, 20 ms: 950, 100 ms: 640;",
	} {
		require.Contains(t, svg, words)
	}
	require.Equal(t, 3, strings.Count(svg, "<polyline"))
}

// heights is where the names of the lines stand, by the lines.
func heights(t *testing.T, svg string) map[string]float64 {
	t.Helper()
	at := map[string]float64{}
	for _, m := range regexp.MustCompile(`class="name"[^>]* y="([^"]*)">(\w+)`).FindAllStringSubmatch(svg, -1) {
		y, err := strconv.ParseFloat(m[1], 64)
		require.NoError(t, err)
		at[m[2]] = y
	}
	return at
}

// TestHigherIsMore: what is more stands higher.
func TestHigherIsMore(t *testing.T) {
	t.Parallel()
	at := heights(t, example().SVG())
	require.Less(t, at["ours"], at["theirs"])
	require.Less(t, at["theirs"], at["others"])
}

// TestNamesStandApart: lines that end at one place, the lowest too, have names that can be read.
func TestNamesStandApart(t *testing.T) {
	t.Parallel()
	for _, end := range []float64{640, 10, 2000} {
		c := example()
		for i := range c.Lines {
			c.Lines[i].Values[2] = chart.Value{Median: end, Least: end, Greatest: end}
		}
		at := heights(t, c.SVG())
		require.Len(t, at, 3)
		for name, y := range at {
			require.Less(t, y, 480.0)
			for other, otherY := range at {
				require.True(t, name == other || max(y-otherY, otherY-y) >= 17, "%s and %s", name, other)
			}
		}
	}
}

func TestNothingMeasured(t *testing.T) {
	t.Parallel()
	c := chart.Chart{Points: []string{"a"}, Lines: []chart.Line{{Name: "none", Values: []chart.Value{{}}}}}
	require.NotContains(t, c.SVG(), "NaN")
	require.NotContains(t, c.SVG(), "Inf")
}
