//go:build linux

package measure

import (
	"maps"
	"runtime"
	"slices"

	"replyworker/bench/internal/result"
)

// sorted is the keys of a map in their order.
func sorted[V any](of map[string]V) []string { return slices.Sorted(maps.Keys(of)) }

func median(values []float64) float64 { return result.Quantile(values, 0.5) }

func cores() int { return runtime.NumCPU() }
