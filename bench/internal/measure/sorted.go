//go:build linux

package measure

import (
	"maps"
	"slices"
)

// sorted is the keys of a map in their order.
func sorted[V any](of map[string]V) []string { return slices.Sorted(maps.Keys(of)) }
