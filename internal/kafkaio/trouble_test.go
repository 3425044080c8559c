package kafkaio_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/kafkaio"
)

func TestTroubleIsWhatLasts(t *testing.T) {
	t.Parallel()
	const long = 30 * time.Second
	refused := errors.New("refused")
	begin := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	at := func(seconds int) time.Time { return begin.Add(time.Duration(seconds) * time.Second) }

	var trouble kafkaio.Trouble
	require.NoError(t, trouble.Lasting(begin, 0), "nothing was tried")
	trouble.Note(at(0), nil)
	require.NoError(t, trouble.Lasting(at(0), 0), "it works")
	for s := 10; s <= 30; s += 10 {
		trouble.Note(at(s), refused)
		require.NoError(t, trouble.Lasting(at(s), long), "not for long")
	}
	trouble.Note(at(40), refused)
	require.EqualError(t, trouble.Lasting(at(40), long), "since 2026-03-01T12:00:10Z: refused")
	require.ErrorIs(t, trouble.Lasting(at(69), long), refused, "it may be tried again soon")
	require.NoError(t, trouble.Lasting(at(71), long), "nobody tries it any more: who knows")
	trouble.Note(at(100), refused)
	require.NoError(t, trouble.Lasting(at(100), long), "that is another trouble")
	trouble.Note(at(101), nil)
	trouble.Note(at(140), nil)
	require.NoError(t, trouble.Lasting(at(140), 0), "it works again")

	slow := kafkaio.Trouble{Life: 2 * time.Minute}
	slow.Note(at(0), refused)
	slow.Note(at(100), refused)
	require.ErrorIs(t, slow.Lasting(at(100), long), refused, "each try takes so long")
}
