// Command watermill is reply jobs through Watermill, as its documentation puts a Kafka consumer together: a
// router with the middleware Retry, Deduplicator and PoisonQueue, a Kafka subscriber and a Kafka publisher.
// The variables that it is started with are in bench/peers/README.md.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/ThreeDotsLabs/watermill"

	"replyworker/bench/peers/signedcall"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "watermill:", err)
		os.Exit(1)
	}
}

func run() error {
	settings, err := signedcall.FromEnvironment()
	if err != nil {
		return err
	}
	client, err := signedcall.New(settings)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	logger := watermill.NewSlogLogger(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	router, err := newRouter(settings, client, logger)
	if err != nil {
		return err
	}
	return router.Run(ctx)
}
