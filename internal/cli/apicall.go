package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"replyworker/internal/app"
	"replyworker/internal/config"
	"replyworker/internal/inquiry"
	"replyworker/internal/wxclient"
)

// merchantOf returns the merchant that a command is about: the one that it names, or the default one.
func merchantOf(cfg *config.Config, named string) (string, error) {
	if named != "" {
		return named, nil
	}
	m, _ := cfg.DefaultMerchant()
	if m.MchID == "" {
		return "", &usageError{"which merchant? no default merchant is configured", "give --merchant, or set mchid"}
	}
	return m.MchID, nil
}

// addMerchantFlag adds --merchant.
func (s *state) addMerchantFlag(cmd *cobra.Command, target *string) {
	cmd.Flags().StringVar(target, "merchant", "", "`mchid` of the merchant; the default merchant where it is left out")
	_ = cmd.RegisterFlagCompletionFunc("merchant", s.completeMerchants)
}

// withAPI calls do with what calls the API as the configured merchants. Waits are told on stderr.
func (s *state) withAPI(
	ctx context.Context, cfg *config.Config, rate float64, do func(*inquiry.Asker) error,
) error {
	if err := cfg.RequireMerchant(); err != nil {
		return err
	}
	merchants, err := app.Merchants(cfg)
	if err != nil {
		return err
	}
	client, err := app.API(cfg, readVersion(s).Version)
	if err != nil {
		return err
	}
	defer client.Close()
	asker := inquiry.New(inquiry.Config{API: client, Merchants: merchants, Rate: rate, Waiting: s.tellWait})
	return apiError(ctx, merchants, do(asker))
}

func (s *state) tellWait(err error, wait time.Duration) {
	_, _ = fmt.Fprintf(s.stderr, "worker: %s; trying again in %s\n", oneLine(err.Error()), wait.Round(100*time.Millisecond))
}

// apiError adds what to do to an error of an API call.
func apiError(ctx context.Context, merchants map[string]*wxclient.Merchant, err error) error {
	if err != nil && errors.Is(context.Cause(ctx), ErrInterrupted) {
		return context.Cause(ctx)
	}
	if e, ok := errors.AsType[*inquiry.UnknownMerchantError](err); ok {
		known := strings.Join(slices.Sorted(maps.Keys(merchants)), ", ")
		return &usageError{e.Error(), "configured are: " + known}
	}
	e, ok := errors.AsType[*wxclient.Error](err)
	if !ok || hintOf(err) != "" {
		return err
	}
	return withHint(err, apiHint(e))
}

func apiHint(e *wxclient.Error) string {
	switch e.Class {
	case wxclient.ClassCredentials:
		return "check mchid, cert-serial and private-key-file of the merchant, and this machine's clock"
	case wxclient.ClassUnknownKey:
		return "add the WeChat Pay key " + e.KeyID + " to the merchant (public-key-file, or answer keys in merchants-file)"
	case wxclient.ClassSlowDown:
		return "the API takes so many calls a minute and no more, those of workers included; try again later"
	case wxclient.ClassHostFailed:
		return "check primary-url and backup-url (`worker config print` shows where they come from), api-ca-file, and the network"
	case wxclient.ClassTransient, wxclient.ClassUnknown:
		return "try again later; the API's support finds a call by its request id"
	case wxclient.ClassRefused, wxclient.ClassCanceled:
	}
	switch e.Status {
	case http.StatusNotFound:
		return "is the id right, and the complaint this merchant's? see --merchant"
	case http.StatusForbidden:
		return "the merchant has no permission for it: is it another merchant's? see --merchant"
	}
	return ""
}
