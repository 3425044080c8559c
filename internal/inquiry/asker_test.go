package inquiry_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"replyworker/internal/inquiry"
	"replyworker/internal/wxclient"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const mchID = "1900000001"

// fakeAPI answers uploads with what is queued, and a success at the end.
type fakeAPI struct {
	backup  bool
	answers []*wxclient.Error
	hosts   []wxclient.Host // that were called
	times   []time.Duration // since the start
	start   time.Time

	entries []wxclient.HistoryEntry
	tooMuch int // pages of more entries are refused
	pages   [][2]int
	page    func(limit, offset int) (wxclient.HistoryPage, error)
}

func (f *fakeAPI) HasBackup() bool { return f.backup }

func (f *fakeAPI) next(host wxclient.Host) error {
	f.hosts, f.times = append(f.hosts, host), append(f.times, time.Since(f.start))
	if len(f.answers) == 0 {
		return nil
	}
	e := f.answers[0]
	f.answers = f.answers[1:]
	if e == nil {
		return nil
	}
	e.Host = host
	return e
}

func (f *fakeAPI) UploadImage(
	_ context.Context, host wxclient.Host, _ *wxclient.Merchant, _ *wxclient.Image,
) (wxclient.Upload, error) {
	if err := f.next(host); err != nil {
		return wxclient.Upload{}, err
	}
	return wxclient.Upload{MediaID: "media-1"}, nil
}

func (f *fakeAPI) History(
	_ context.Context, host wxclient.Host, _ *wxclient.Merchant, _ string, limit, offset int,
) (wxclient.HistoryPage, error) {
	f.pages = append(f.pages, [2]int{limit, offset})
	if err := f.next(host); err != nil {
		return wxclient.HistoryPage{}, err
	}
	if f.page != nil {
		return f.page(limit, offset)
	}
	if f.tooMuch > 0 && limit > f.tooMuch {
		return wxclient.HistoryPage{}, &wxclient.Error{Class: wxclient.ClassRefused, Status: 400, Err: wxclient.ErrTooMuch}
	}
	end := min(offset+limit, len(f.entries))
	return wxclient.HistoryPage{Entries: f.entries[min(offset, end):end], Total: len(f.entries)}, nil
}

func failure(class wxclient.Class) *wxclient.Error { return &wxclient.Error{Class: class} }

func newAsker(f *fakeAPI, change func(*inquiry.Config)) *inquiry.Asker {
	f.start = time.Now()
	cfg := inquiry.Config{API: f, Merchants: map[string]*wxclient.Merchant{mchID: {MchID: mchID}}}
	if change != nil {
		change(&cfg)
	}
	return inquiry.New(cfg)
}

func TestTries(t *testing.T) {
	t.Parallel()
	const p, b = wxclient.Primary, wxclient.Backup
	host, transient := wxclient.ClassHostFailed, wxclient.ClassTransient
	for _, tc := range []struct {
		name    string
		single  bool // there is no backup
		answers []wxclient.Class
		hosts   []wxclient.Host
		ok      bool
		atLeast time.Duration // that it takes, with the waits' jitter at their shortest
		atMost  time.Duration
	}{
		{"at once", false, nil, []wxclient.Host{p}, true, 0, 0},
		{"the other host at once", false, []wxclient.Class{host}, []wxclient.Host{p, b}, true, 0, 0},
		{"both hosts, then a wait", false, []wxclient.Class{host, host}, []wxclient.Host{p, b, p}, true, 500 * time.Millisecond, 3 * time.Second},
		{"no more than four", false, []wxclient.Class{host, host, host, host}, []wxclient.Host{p, b, p, b}, false, 500 * time.Millisecond, 3 * time.Second},
		{"one host only", true, []wxclient.Class{host, host}, []wxclient.Host{p, p, p}, true, 750 * time.Millisecond, 3 * time.Second},
		{"500 does not change the host", false, []wxclient.Class{transient, transient}, []wxclient.Host{p, p, p}, true, 750 * time.Millisecond, 3 * time.Second},
		{"bad signature", false, []wxclient.Class{wxclient.ClassUnknown}, []wxclient.Host{p, p}, true, 250 * time.Millisecond, time.Second},
		{"refused", false, []wxclient.Class{wxclient.ClassRefused}, []wxclient.Host{p}, false, 0, 0},
		{"credentials", false, []wxclient.Class{wxclient.ClassCredentials}, []wxclient.Host{p}, false, 0, 0},
		{"unknown key", false, []wxclient.Class{wxclient.ClassUnknownKey}, []wxclient.Host{p}, false, 0, 0},
		{"cancelled", false, []wxclient.Class{wxclient.ClassCanceled}, []wxclient.Host{p}, false, 0, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := &fakeAPI{backup: !tc.single}
				for _, class := range tc.answers {
					f.answers = append(f.answers, failure(class))
				}
				u, err := newAsker(f, nil).Upload(t.Context(), mchID, nil)
				took := time.Since(f.start)
				require.Equal(t, tc.hosts, f.hosts)
				require.Equal(t, tc.ok, err == nil, "%v", err)
				require.Equal(t, tc.ok, u.MediaID != "")
				require.GreaterOrEqual(t, took, tc.atLeast)
				require.LessOrEqual(t, took, tc.atMost)
				if err != nil {
					var e *wxclient.Error
					require.ErrorAs(t, err, &e)
					require.Equal(t, tc.answers[len(tc.answers)-1], e.Class)
				}
			})
		})
	}
}

func TestRetryAfterIsHonoured(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fakeAPI{answers: []*wxclient.Error{{Class: wxclient.ClassSlowDown, RetryAfter: 20 * time.Second}}}
		var told []time.Duration
		a := newAsker(f, func(c *inquiry.Config) {
			c.Waiting = func(err error, wait time.Duration) {
				require.Error(t, err)
				told = append(told, wait)
			}
		})
		_, err := a.Upload(t.Context(), mchID, nil)
		require.NoError(t, err)
		require.Equal(t, []time.Duration{0, 20 * time.Second}, f.times)
		require.Equal(t, []time.Duration{20 * time.Second}, told)

		f.answers = []*wxclient.Error{{Class: wxclient.ClassSlowDown, RetryAfter: 31 * time.Second}}
		_, err = a.Upload(t.Context(), mchID, nil)
		require.ErrorContains(t, err, "it asks to wait 31s")
		require.Len(t, f.times, 3, "nobody waits so long")
	})
}

func TestWaitsEndWithTheContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fakeAPI{answers: []*wxclient.Error{{Class: wxclient.ClassSlowDown, RetryAfter: 20 * time.Second}}}
		stop := errors.New("stop")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(5*time.Second, func() { cancel(stop) })
		_, err := newAsker(f, nil).Upload(ctx, mchID, nil)
		require.ErrorIs(t, err, stop)
		require.Equal(t, 5*time.Second, time.Since(f.start))
	})
}

func TestTheBackupIsLeftAfterAWhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fakeAPI{backup: true, answers: []*wxclient.Error{failure(wxclient.ClassHostFailed)}}
		a := newAsker(f, nil)
		for range 3 {
			_, err := a.Upload(t.Context(), mchID, nil)
			require.NoError(t, err)
			time.Sleep(31 * time.Second)
		}
		require.Equal(t, []wxclient.Host{wxclient.Primary, wxclient.Backup, wxclient.Backup, wxclient.Primary}, f.hosts)
	})
}

func TestRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fakeAPI{backup: true, answers: []*wxclient.Error{nil, failure(wxclient.ClassHostFailed)}}
		a := newAsker(f, func(c *inquiry.Config) { c.Rate = 2 })
		for range 3 {
			_, err := a.Upload(t.Context(), mchID, nil)
			require.NoError(t, err)
		}
		const half = 500 * time.Millisecond
		require.Equal(t, []time.Duration{0, half, 2 * half, 3 * half}, f.times, "tries count too")
		time.Sleep(time.Minute)
		for range 2 {
			_, err := a.Upload(t.Context(), mchID, nil)
			require.NoError(t, err)
		}
		require.Equal(t, half, f.times[5]-f.times[4], "what was not used is not saved up")
	})
}

func TestUnknownMerchant(t *testing.T) {
	t.Parallel()
	a := newAsker(&fakeAPI{}, nil)
	_, err := a.Upload(t.Context(), "1900000009", nil)
	var e *inquiry.UnknownMerchantError
	require.ErrorAs(t, err, &e)
	require.EqualError(t, a.History(t.Context(), "1900000009", "c", nil), `merchant "1900000009" is not configured here`)
}

func entries(n int) []wxclient.HistoryEntry {
	out := make([]wxclient.HistoryEntry, n)
	for i := range out {
		out[i].LogID = fmt.Sprint(i)
	}
	return out
}

// read returns the log_ids of a history.
func read(t *testing.T, f *fakeAPI) ([]string, error) {
	t.Helper()
	var ids []string
	err := newAsker(f, nil).History(t.Context(), mchID, "c-1", func(entries []wxclient.HistoryEntry) error {
		for _, e := range entries {
			ids = append(ids, e.LogID)
		}
		return nil
	})
	return ids, err
}

func TestHistoryIsReadPageByPage(t *testing.T) {
	t.Parallel()
	f := &fakeAPI{entries: entries(700)}
	ids, err := read(t, f)
	require.NoError(t, err)
	require.Len(t, ids, 700)
	require.Equal(t, [][2]int{{300, 0}, {300, 300}, {300, 600}}, f.pages)

	f = &fakeAPI{}
	ids, err = read(t, f)
	require.NoError(t, err)
	require.Empty(t, ids)
	require.Len(t, f.pages, 1)
}

func TestLimitIsHalvedWhereAPageIsTooLarge(t *testing.T) {
	t.Parallel()
	f := &fakeAPI{entries: entries(100), tooMuch: 40}
	ids, err := read(t, f)
	require.NoError(t, err)
	require.Len(t, ids, 100)
	require.Equal(t, [][2]int{{300, 0}, {150, 0}, {75, 0}, {37, 0}, {37, 37}, {37, 74}}, f.pages)

	f = &fakeAPI{page: func(int, int) (wxclient.HistoryPage, error) {
		return wxclient.HistoryPage{}, &wxclient.Error{Class: wxclient.ClassUnknown, Err: wxclient.ErrTooMuch}
	}}
	_, err = read(t, f)
	require.ErrorIs(t, err, wxclient.ErrTooMuch)
	require.Len(t, f.pages, 9, "300, 150, 75, 37, 18, 9, 4, 2, 1")
}

func TestNewEntriesMoveTheOthers(t *testing.T) {
	t.Parallel()
	all := entries(400)
	f := &fakeAPI{}
	f.page = func(limit, offset int) (wxclient.HistoryPage, error) {
		if offset > 0 { // two entries came meanwhile, at the front
			all = append([]wxclient.HistoryEntry{{LogID: "new-1"}, {LogID: "new-2"}}, all...)
		}
		end := min(offset+limit, len(all))
		return wxclient.HistoryPage{Entries: all[offset:end], Total: len(all)}, nil
	}
	ids, err := read(t, f)
	require.NoError(t, err)
	require.Len(t, ids, 400, "none is there twice, and none is lost")
}

func TestHistoriesThatDoNotEnd(t *testing.T) {
	t.Parallel()
	f := &fakeAPI{page: func(_, offset int) (wxclient.HistoryPage, error) {
		return wxclient.HistoryPage{Total: offset + 5}, nil
	}}
	_, err := read(t, f)
	require.ErrorContains(t, err, "the history has 5 entries, and sends none after 0")

	for _, size := range []int{1, 300} {
		f = &fakeAPI{page: func(_, offset int) (wxclient.HistoryPage, error) {
			page := wxclient.HistoryPage{Total: offset + 1000}
			for i := range size {
				page.Entries = append(page.Entries, wxclient.HistoryEntry{LogID: fmt.Sprint(offset + i)})
			}
			return page, nil
		}}
		ids, err := read(t, f)
		require.ErrorIs(t, err, inquiry.ErrLongHistory)
		require.LessOrEqual(t, len(f.pages), 400)
		require.LessOrEqual(t, len(ids), 20_300)
	}
}

func TestTheReadersErrorEndsIt(t *testing.T) {
	t.Parallel()
	enough := errors.New("enough")
	f := &fakeAPI{entries: entries(700)}
	err := newAsker(f, nil).History(t.Context(), mchID, "c-1", func([]wxclient.HistoryEntry) error { return enough })
	require.ErrorIs(t, err, enough)
	require.Len(t, f.pages, 1)
}
