package cli

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"replyworker/internal/app"
	"replyworker/internal/config"
	"replyworker/internal/dedupe"
	"replyworker/internal/kafkaio"
)

func newRunCommand(s *state) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "run [flags]",
		Short:   "run the service",
		GroupID: groupService,
		Long: "Run the service until it is told to stop. SIGTERM or SIGINT drains it: nothing more is fetched,\n" +
			"calls under way end, their outcomes are published, and it leaves the consumer group. Exit status 0;\n" +
			"1 where drain-timeout cut calls off, whose jobs will be delivered again. A second SIGINT ends it at\n" +
			"once with 130.\n\n" +
			"Merchants and their keys are read again when their files change, and on SIGHUP; what has a fault is\n" +
			"refused as a whole, and what was loaded before stays in use.\n\n" +
			"It refuses to start, within start-timeout, where a topic is missing or Kafka or Redis do not answer.",
		Example: "  worker run --config worker.yaml\n  set -a; . simulator/replyworker.env; set +a; worker run",
		Args:    exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := s.load(cmd)
			if err != nil {
				return err
			}
			if err := cfg.RequireMerchant(); err != nil {
				return err
			}
			return s.runWorker(cmd.Context(), cfg)
		},
	}
	s.useSettings(cmd)
	return cmd
}

func (s *state) runWorker(ctx context.Context, cfg *config.Config) error {
	log := app.NewLogger(cfg, s.stderr, s.isTerminal(s.stderr), s.useColor(s.stderr))
	for _, warning := range cfg.Warnings() {
		log.Warn().Msg(oneLine(warning))
	}
	w, err := app.New(cfg, readVersion(s).Version, log)
	if errors.Is(err, app.ErrConfig) {
		return &usageError{err.Error(), "`worker config print --origin` shows every setting and where its value comes from"}
	}
	if err != nil {
		return err
	}
	defer reloadOnHangup(w.Reload)()
	err = w.Run(ctx)
	return withStartHint(err)
}

// reloadOnHangup calls reload at each SIGHUP, which ends the process no more, until stop is called.
func reloadOnHangup(reload func()) (stop func()) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range hangups {
			reload()
		}
	}()
	return func() {
		signal.Stop(hangups)
		close(hangups)
		<-done
	}
}

// withStartHint says what to look at where the worker could not start.
func withStartHint(err error) error {
	if !errors.Is(err, app.ErrStart) {
		return err
	}
	if _, ok := errors.AsType[*kafkaio.MissingTopicsError](err); ok {
		return err // it names the command
	}
	setting := "kafka-brokers"
	if e, ok := errors.AsType[*dedupe.Error](err); ok {
		if hint := e.Hint(); hint != "" {
			return withHint(err, hint)
		}
		setting = "redis-url"
	}
	return withHint(err, "check "+setting+" (`worker config print --origin` shows where it comes from)")
}
