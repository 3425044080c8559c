// Package result keeps what was measured: JSON beside the documents, tables in them.
package result

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// Result is one measurement.
type Result struct {
	// Name is that of the measurement, and of its file.
	Name string `json:"name"`
	// Title says what was measured, for the head of its table.
	Title string `json:"title"`
	// Note says how, in a few words, for the chart.
	Note string `json:"note,omitempty"`
	// Command measures it again.
	Command string `json:"command"`
	// At is when it was begun.
	At time.Time `json:"at"`
	// Machine is what it ran on, and Commit what was measured.
	Machine string `json:"machine"`
	Commit  string `json:"commit"`
	// Others is the share of the machine that processes which are none of the measurement's took, from 0 to 1,
	// one value for each run where it is known. Figures are worth less the higher it is.
	Others []float64 `json:"others,omitempty"`
	// Figures are what came out, in the order of the table.
	Figures []Figure `json:"figures"`
}

// Figure is one thing that was measured, with a value for each run.
type Figure struct {
	// Name says what it is. Figures of one name and several series or points are a table of their own.
	Name string `json:"name"`
	Unit string `json:"unit,omitempty"`
	// Series is the line of a curve, and At where on it, with its unit: "20 ms". Empty for a single figure.
	Series string `json:"series,omitempty"`
	At     string `json:"at,omitempty"`
	// Aim is what it should be.
	Aim *Aim `json:"aim,omitempty"`
	// Values are those of the runs, in their order.
	Values []float64 `json:"values"`
}

// Aim is a bound on a figure's median: at most, or at least, so much.
type Aim struct {
	AtMost  float64 `json:"at_most,omitempty"`
	AtLeast float64 `json:"at_least,omitempty"`
}

// String says the aim with a unit.
func (a *Aim) String(unit string) string {
	switch {
	case a == nil:
		return ""
	case a.AtMost != 0:
		return "at most " + number(a.AtMost, unit)
	default:
		return "at least " + number(a.AtLeast, unit)
	}
}

// Misses says whether a value misses the aim by more than a factor, such as 1.6.
func (a *Aim) Misses(value, factor float64) bool {
	if a == nil {
		return false
	}
	if a.AtMost != 0 {
		return value > a.AtMost*factor
	}
	return value < a.AtLeast/factor
}

// Median is the middle value; of an even number, the mean of the two in the middle.
func (f Figure) Median() float64 { return Quantile(f.Values, 0.5) }

// Spread is the least and the greatest value.
func (f Figure) Spread() (least, greatest float64) {
	if len(f.Values) == 0 {
		return 0, 0
	}
	return slices.Min(f.Values), slices.Max(f.Values)
}

// Quantile is a quantile of values in any order, between two of them where it falls there; 0 of none.
func Quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 == len(sorted) {
		return sorted[i]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}

// number writes a value with as many digits as tell something.
func number(v float64, unit string) string {
	digits := 0
	switch {
	case v != 0 && v < 0.1 && v > -0.1:
		digits = 3
	case v < 10 && v > -10 && v != float64(int(v)):
		digits = 2
	case v < 100 && v > -100 && v != float64(int(v)):
		digits = 1
	}
	text := strconv.FormatFloat(v, 'f', digits, 64)
	for i := len(text) - 3; digits == 0 && i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	if unit == "" {
		return text
	}
	return text + " " + unit
}

// Set is the results of a run of one figure after another: it makes figures where there are none yet, in
// the order that they first have a value.
func (r *Result) Set(f Figure, value float64) {
	i := slices.IndexFunc(r.Figures, func(have Figure) bool {
		return have.Name == f.Name && have.Series == f.Series && have.At == f.At
	})
	if i < 0 {
		i = len(r.Figures)
		r.Figures = append(r.Figures, f)
	}
	r.Figures[i].Values = append(r.Figures[i].Values, value)
}

// path is where a result is kept.
func path(dir, name string) string { return filepath.Join(dir, name+".json") }

// Write keeps a result in a folder, which it makes.
func (r *Result) Write(dir string) error {
	text, err := json.MarshalIndent(r, "", " ")
	if err == nil {
		err = os.MkdirAll(dir, 0o755) //nolint:gosec // Nothing secret.
	}
	if err == nil {
		err = os.WriteFile(path(dir, r.Name), append(text, '\n'), 0o644) //nolint:gosec // Nothing secret.
	}
	if err != nil {
		return fmt.Errorf("keep the result: %w", err)
	}
	return nil
}

// Read reads a result; nil where there is none.
func Read(dir, name string) (*Result, error) {
	text, err := os.ReadFile(path(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var r Result
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		return nil, fmt.Errorf("result %s: %w", name, err)
	}
	return &r, nil
}

// Curve is the series of a figure, in their order, and the points where they have values.
func (r *Result) Curve(name string) (series, points []string) {
	for _, f := range r.Figures {
		if f.Name != name {
			continue
		}
		if !slices.Contains(series, f.Series) {
			series = append(series, f.Series)
		}
		if !slices.Contains(points, f.At) {
			points = append(points, f.At)
		}
	}
	return series, points
}

// Find is a figure; false where there is none.
func (r *Result) Find(name, series, at string) (Figure, bool) {
	i := slices.IndexFunc(r.Figures, func(f Figure) bool {
		return cmp.Or(
			cmp.Compare(f.Name, name), cmp.Compare(f.Series, series), cmp.Compare(f.At, at)) == 0
	})
	if i < 0 {
		return Figure{}, false
	}
	return r.Figures[i], true
}
