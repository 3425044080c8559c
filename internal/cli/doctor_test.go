package cli_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/cli"
)

// TestDoctorIsInterrupted holds that Ctrl-C ends it while something hangs, long before its time is over.
func TestDoctorIsInterrupted(t *testing.T) {
	t.Parallel()
	silent, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer silent.Close()
	ctx, interrupt := context.WithCancelCause(t.Context())
	time.AfterFunc(100*time.Millisecond, func() { interrupt(cli.ErrInterrupted) })
	began := time.Now()
	status, _, stderr := runIn(ctx, t, []string{"REPLYWORKER_KAFKA_BROKERS=" + silent.Addr().String()},
		"doctor", "--start-timeout=1m", "--redis-url=redis://"+closedAddr(t), "--primary-url=http://"+closedAddr(t), "--backup-url=")
	require.Equal(t, 130, status)
	require.Equal(t, "worker: interrupted\n", stderr)
	require.Less(t, time.Since(began), 30*time.Second)
}

// TestDoctorTellsNoSecrets holds that neither passwords nor keys are in what it prints, whatever fails.
func TestDoctorTellsNoSecrets(t *testing.T) {
	t.Parallel()
	secret := writeFile(t, "secret", "hunter2")
	got := run(t, []string{
		"REPLYWORKER_REDIS_URL=redis://user:hunter2@" + closedAddr(t), "REPLYWORKER_KAFKA_BROKERS=" + closedAddr(t),
		"REPLYWORKER_KAFKA_SASL_MECHANISM=PLAIN", "REPLYWORKER_KAFKA_SASL_USERNAME=u", "REPLYWORKER_KAFKA_SASL_PASSWORD_FILE=" + secret,
		"REPLYWORKER_PRIMARY_URL=http://" + closedAddr(t), "REPLYWORKER_BACKUP_URL=", "REPLYWORKER_MCHID=1900000001",
		"REPLYWORKER_PRIVATE_KEY_FILE=" + secret, "REPLYWORKER_PUBLIC_KEY_FILE=" + secret,
	}, "doctor", "--start-timeout=2s")
	require.Equal(t, 1, got.status, got.stderr)
	require.NotContains(t, got.stdout+got.stderr, "hunter2")
	require.Contains(t, got.stdout, "  failed   merchant 1900000001 private key")
	require.Equal(t, 1, strings.Count(got.stderr, "\n"), got.stderr)
}
