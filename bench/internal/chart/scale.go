package chart

import (
	"cmp"
	"math"
	"slices"
)

// scale is the range of the values, from a round number to a round number, by their logarithms.
type scale struct{ low, high float64 }

func (c Chart) scale() scale {
	s := scale{math.Inf(1), 0}
	for _, l := range c.Lines {
		for _, v := range l.Values {
			if v.Median > 0 {
				s.low, s.high = min(s.low, v.Median, v.Least), max(s.high, v.Median, v.Greatest)
			}
		}
	}
	if s.high == 0 {
		return scale{1, 10}
	}
	s = scale{below(s.low), above(s.high)}
	if s.low == s.high {
		s.high *= 10
	}
	return s
}

// y is where a value stands.
func (s scale) y(v float64) float64 {
	share := math.Log(max(v, s.low)/s.low) / math.Log(s.high/s.low)
	return height - bottom - share*(height-bottom-top)
}

// steps are the round numbers of a power of ten.
func steps() []float64 { return []float64{1, 2, 5, 10} }

func below(v float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(v)))
	best := power
	for _, s := range steps() {
		if s*power <= v {
			best = s * power
		}
	}
	return best
}

func above(v float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, s := range steps() {
		if s*power >= v {
			return s * power
		}
	}
	return 10 * power
}

// names is where the name of each line stands: at the line's end, and apart from the others; 0 for a line that
// has no value there.
func (c Chart) names(s scale) []float64 {
	at := make([]float64, len(c.Lines))
	var order []int
	for i, l := range c.Lines {
		if n := len(l.Values); n > 0 && l.Values[n-1].Median > 0 {
			at[i], order = s.y(l.Values[n-1].Median), append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(at[a], at[b]) })
	for i := 1; i < len(order); i++ {
		at[order[i]] = max(at[order[i]], at[order[i-1]]+gap)
	}
	floor := float64(height - bottom)
	for _, i := range slices.Backward(order) { // What hangs below the axis pushes the others up.
		at[i] = min(at[i], floor)
		floor = at[i] - gap
	}
	return at
}
