//go:build linux

package stage

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseMetrics(t *testing.T) {
	t.Parallel()
	got := parseMetrics("# HELP a 1\na 1.5e+06\nb{x=\"y z\",q=\"0.5\"} 7\nrest\n")
	require.Equal(t, Metrics{"a": 1.5e6, `b{x="y z",q="0.5"}`: 7}, got)
}
