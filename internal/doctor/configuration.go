package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"

	"replyworker/internal/config"
)

// configuration checks what the settings say by themselves, and what of this machine they need.
func (c Config) configuration(ctx context.Context) []Result {
	var l list
	c.settings(&l)
	c.adminAddr(ctx, &l)
	c.openFiles(&l)
	return l
}

func (c Config) settings(l *list) {
	err := c.Settings.RequireMerchant()
	faults := config.Faults(err)
	switch {
	case err != nil && len(faults) > 0:
		var names []string
		for _, f := range faults {
			names = append(names, f.Name)
		}
		l.failed("settings", few(names)+" missing: calls need a merchant that signs them", faults[0].Do)
	case err != nil:
		l.failed("settings", err.Error(), "")
	default:
		l.passed("settings", "no faults; %s, group %s", count(len(c.Settings.Merchants), "merchant", "merchants"), c.Settings.KafkaGroup)
	}
	seen := map[string]int{}
	for _, warning := range c.Settings.Warnings() {
		name := strings.TrimSuffix(strings.Fields(warning)[0], ":")
		if seen[name]++; seen[name] > 1 {
			name = fmt.Sprintf("%s %d", name, seen[name])
		}
		text, hint, _ := strings.Cut(warning, "; ")
		l.warned(name, strings.TrimPrefix(text, strings.Fields(warning)[0]+" "), hint)
	}
}

// adminAddr tells whether a worker could listen here. That something does already is no fault: it is
// the worker, as a rule.
func (c Config) adminAddr(ctx context.Context, l *list) {
	const name = "admin-addr"
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.Settings.AdminAddr)
	switch {
	case err == nil:
		_ = listener.Close() // it has served
		l.passed(name, "%s is free", c.Settings.AdminAddr)
	case errors.Is(err, syscall.EADDRINUSE):
		l.passed(name, "%s is in use: by a worker that runs here, or no worker can start here", c.Settings.AdminAddr)
	default:
		l.failed(name, err.Error(), "give an address of this machine, and a port that this user may open")
	}
}

// filesNeeded is how many files a worker has open: connections to the hosts, to Redis and to brokers.
func filesNeeded(concurrency int) uint64 { return uint64(2*concurrency + 256) } //nolint:gosec // it is positive

func (c Config) openFiles(l *list) {
	const name = "open files"
	limit, known := openFileLimit()
	needed := filesNeeded(c.Settings.Concurrency)
	switch {
	case !known:
		l.skipped("this system does not tell its limit", name)
	case limit < needed:
		l.warned(name, fmt.Sprintf("at most %d, and concurrency %d may need %d", limit, c.Settings.Concurrency, needed),
			fmt.Sprintf("raise the limit (ulimit -n, LimitNOFILE of systemd) to %d, or lower concurrency", needed))
	default:
		l.passed(name, "at most %d, and at most some %d are needed", limit, needed)
	}
}
