package app

import (
	"io"
	"time"

	"github.com/rs/zerolog"

	"replyworker/internal/config"
)

const logTimeLayout = "2006-01-02T15:04:05.000Z07:00"

// NewLogger makes the logger of the configured level and format; terminal says that out is one.
func NewLogger(cfg *config.Config, out io.Writer, terminal, color bool) zerolog.Logger {
	level, err := zerolog.ParseLevel(cfg.LogLevel)
	if err != nil {
		level = zerolog.InfoLevel // the configuration was checked; a level by hand may be anything
	}
	if cfg.LogFormat == "console" || cfg.LogFormat == "auto" && terminal {
		out = zerolog.ConsoleWriter{Out: out, NoColor: !color, TimeFormat: "15:04:05.000", TimeLocation: time.Local}
	}
	// The time is set by a hook: zerolog's own layout is a global variable.
	stamp := zerolog.HookFunc(func(e *zerolog.Event, _ zerolog.Level, _ string) {
		e.Str(zerolog.TimestampFieldName, time.Now().UTC().Format(logTimeLayout))
	})
	return zerolog.New(out).Level(level).Hook(stamp)
}
