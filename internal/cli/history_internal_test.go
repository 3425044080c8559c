package cli

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"replyworker/internal/config"
	"replyworker/internal/inquiry"
	"replyworker/internal/wxclient"
)

// lastPage is an API whose answer comes just when the command is interrupted.
type lastPage struct {
	inquiry.API

	interrupt func()
}

func (p lastPage) History(
	context.Context, wxclient.Host, *wxclient.Merchant, string, int, int,
) (wxclient.HistoryPage, error) {
	p.interrupt()
	return wxclient.HistoryPage{Entries: []wxclient.HistoryEntry{{LogID: "1"}}, Total: 1}, nil
}

func TestAnInterruptedHistoryIsNotDone(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	s, stdout, _ := newTestState()
	asker := inquiry.New(inquiry.Config{
		API: lastPage{interrupt: func() { cancel(ErrInterrupted) }}, Merchants: map[string]*wxclient.Merchant{"m": {}},
	})
	h := &historyView{s: s, cfg: &config.Config{}, mchID: "m", complaintID: "c-1"}
	require.ErrorIs(t, h.run(ctx, asker), ErrInterrupted)
	require.Empty(t, stdout.String())
}
