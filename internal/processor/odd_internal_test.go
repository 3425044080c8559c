package processor

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestOdditiesAreThoseThatStillWait(t *testing.T) {
	t.Parallel()
	o, now := newOddities(), time.Unix(1, 0)
	n, one := o.list(now)
	require.Zero(t, n)
	require.Empty(t, one)
	o.note("b", now)
	o.note("a", now.Add(time.Second))
	o.note("b", now.Add(2*time.Second))
	n, one = o.list(now.Add(2 * time.Second))
	require.Equal(t, 2, n)
	require.Equal(t, "a", one)
	o.settled("a")
	o.settled("never noted")
	n, one = o.list(now.Add(oddLife))
	require.Equal(t, 1, n)
	require.Equal(t, "b", one)
	n, _ = o.list(now.Add(2*time.Second + oddLife + 1))
	require.Zero(t, n, "a job that has not asked for so long is not waiting here")
	require.Empty(t, o.last)
	for i := range 2 * oddKept {
		o.note(fmt.Sprint(i), now)
	}
	o.note("0", now.Add(oddLife))
	n, _ = o.list(now)
	require.Equal(t, oddKept, n)
	n, one = o.list(now.Add(2 * oddLife))
	require.Equal(t, 1, n, "one that is known is noted again, however many there are")
	require.Equal(t, "0", one)
}
