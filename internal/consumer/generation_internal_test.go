package consumer

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
)

func TestCommitsThatAreRefusedForLongAreWarnedOf(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	g := &generation{log: zerolog.New(&out).Level(zerolog.WarnLevel)}
	start := time.Now()
	for second := range 35 {
		g.commitRefused(errors.New("not authorised"), start.Add(time.Duration(second)*time.Second))
	}
	require.Equal(t, 3, strings.Count(out.String(), "commits are refused"), "after 10, 20 and 30 seconds")
}
