// Package inquiry makes the API calls of people's commands: an upload, a complaint's history. Where the
// worker gives a job back to its queue and comes again later, here somebody waits, so each call gets a
// few tries over both hosts, and then its error.
package inquiry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"replyworker/internal/retry"
	"replyworker/internal/wxclient"
)

const (
	// homeAfter is how long the backup is used before the primary is tried first again.
	homeAfter = time.Minute

	defaultAttempts = 4
	defaultInitial  = 500 * time.Millisecond
	defaultMaxWait  = 30 * time.Second
)

// API is what is called: a *wxclient.Client.
type API interface {
	HasBackup() bool
	UploadImage(ctx context.Context, host wxclient.Host, m *wxclient.Merchant, img *wxclient.Image) (wxclient.Upload, error)
	History(
		ctx context.Context, host wxclient.Host, m *wxclient.Merchant, complaintID string, limit, offset int,
	) (wxclient.HistoryPage, error)
}

// Config says how the API is asked. API and Merchants are needed.
type Config struct {
	API API
	// Merchants are those that may sign, by mchid.
	Merchants map[string]*wxclient.Merchant
	// Attempts is how often one call is tried. Default 4.
	Attempts int
	// MaxWait is the longest wait between two tries. An API that asks for a longer one, by Retry-After,
	// is not waited for: the call ends with its error. Default 30 s.
	MaxWait time.Duration
	// Rate is the most calls in a second, tries and pages counted each. Zero is no limit.
	Rate float64
	// Waiting is told of each wait of a second or more, and what it is for. May be nil.
	Waiting func(err error, wait time.Duration)
}

// Asker makes calls, one after another. It is not safe for concurrent use.
type Asker struct {
	cfg    Config
	policy retry.Policy
	host   wxclient.Host // where the next call begins
	left   time.Time     // when the primary was left
	next   time.Time     // when the next call may begin
}

// New makes an Asker. It calls nothing.
func New(cfg Config) *Asker {
	if cfg.Attempts == 0 {
		cfg.Attempts = defaultAttempts
	}
	if cfg.MaxWait == 0 {
		cfg.MaxWait = defaultMaxWait
	}
	if cfg.Waiting == nil {
		cfg.Waiting = func(error, time.Duration) {}
	}
	return &Asker{
		cfg:    cfg,
		policy: retry.Policy{Initial: min(defaultInitial, cfg.MaxWait), Max: cfg.MaxWait, Attempts: cfg.Attempts},
	}
}

// UnknownMerchantError is a call as a merchant that is not among Config.Merchants.
type UnknownMerchantError struct{ MchID string }

// Error says which merchant it is.
func (e *UnknownMerchantError) Error() string {
	return fmt.Sprintf("merchant %q is not configured here", e.MchID)
}

// Upload uploads an image as the merchant. A try whose end is not known is repeated: see
// [wxclient.Client.UploadImage]. Errors of the API have a *wxclient.Error as their cause.
func (a *Asker) Upload(ctx context.Context, mchID string, img *wxclient.Image) (wxclient.Upload, error) {
	m := a.cfg.Merchants[mchID]
	if m == nil {
		return wxclient.Upload{}, &UnknownMerchantError{mchID}
	}
	return try(ctx, a, func(host wxclient.Host) (wxclient.Upload, error) {
		return a.cfg.API.UploadImage(ctx, host, m, img)
	})
}

// try makes a call until it succeeds, cannot succeed, or has been tried often enough.
func try[T any](ctx context.Context, a *Asker, call func(wxclient.Host) (T, error)) (T, error) {
	if a.host != wxclient.Primary && time.Since(a.left) >= homeAfter {
		a.host = wxclient.Primary
	}
	failed := 0 // hosts that failed in a row
	for n := 1; ; n++ {
		if err := a.pace(ctx); err != nil {
			var zero T
			return zero, err
		}
		answer, err := call(a.host)
		e, known := errors.AsType[*wxclient.Error](err)
		switch {
		case err == nil || !known || !again(e):
			return answer, err
		case a.policy.Spent(n):
			return answer, fmt.Errorf("%w (the last of %d tries)", err, n)
		}
		wait := a.policy.Wait(n, e.RetryAfter)
		if e.Class == wxclient.ClassHostFailed && a.cfg.API.HasBackup() {
			a.change()
			if failed++; failed%2 == 1 { // the other host has not failed yet
				wait = 0
			}
		} else {
			failed = 0
		}
		if wait > a.cfg.MaxWait {
			return answer, fmt.Errorf("%w; it asks to wait %s", err, e.RetryAfter)
		}
		if err := a.sleep(ctx, err, wait); err != nil {
			return answer, err
		}
	}
}

// again says that another try of the same call may end otherwise.
func again(e *wxclient.Error) bool {
	if errors.Is(e, wxclient.ErrTooMuch) {
		return false
	}
	switch e.Class {
	case wxclient.ClassUnknown, wxclient.ClassHostFailed, wxclient.ClassTransient, wxclient.ClassSlowDown:
		return true
	case wxclient.ClassUnknownKey, wxclient.ClassCredentials, wxclient.ClassRefused, wxclient.ClassCanceled:
	}
	return false
}

// change goes over to the other host, where the calls that follow begin too.
func (a *Asker) change() {
	if a.host == wxclient.Backup {
		a.host = wxclient.Primary
		return
	}
	a.host, a.left = wxclient.Backup, time.Now()
}

// pace waits until the rate lets a call begin.
func (a *Asker) pace(ctx context.Context) error {
	if a.cfg.Rate <= 0 {
		return nil
	}
	now := time.Now()
	wait := a.next.Sub(now)
	a.next = now.Add(max(0, wait) + time.Duration(float64(time.Second)/a.cfg.Rate))
	return pause(ctx, wait)
}

func (a *Asker) sleep(ctx context.Context, cause error, wait time.Duration) error {
	if wait >= time.Second {
		a.cfg.Waiting(cause, wait)
	}
	return pause(ctx, wait)
}

func pause(ctx context.Context, wait time.Duration) error {
	if wait <= 0 {
		return nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
