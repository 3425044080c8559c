package doctor_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/doctor"
	"replyworker/internal/kafkaio"
	"replyworker/internal/wxclient"
)

func TestAllIsWell(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	all := w.results()
	for _, r := range all {
		require.Equal(t, doctor.Passed, r.Status, "%+v", r)
		require.Empty(t, r.Hint, "there is nothing to do")
	}
	require.Contains(t, all["topic reply-jobs"].Detail, "6 partitions, kept 168h0m0s, messages to 1048588 bytes")
	require.Contains(t, all["lag"].Detail, "3 to be read in 1 partition")
	require.Zero(t, w.redis.renewed, "holds are read and not renewed")
}

// TestEverythingIsAway holds that of each dependency that cannot be used one check fails, and the others
// say why they were skipped.
func TestEverythingIsAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	gone := errors.New("gone")
	w.cfg.Kafka = func([]string) (doctor.Kafka, error) { return nil, gone }
	w.cfg.Redis = func() (doctor.Redis, error) { return nil, gone }
	w.cfg.API = func() (doctor.API, error) { return nil, gone }
	var failed []string
	for name, r := range w.results() {
		if r.Status == doctor.Failed {
			failed = append(failed, name)
		}
		if r.Status == doctor.Skipped {
			require.Contains(t, r.Detail, "there is no client for")
		}
	}
	require.ElementsMatch(t, []string{"kafka-brokers", "redis", "primary"}, failed)
}

// hanging is a Kafka of which nothing comes.
type hanging struct{ *fakeKafka }

func (hanging) Knock(ctx context.Context, _ string) error {
	<-ctx.Done()
	return &net.OpError{Op: "dial", Err: ctx.Err()}
}

type hangingRedis struct{ *fakeRedis }

func (hangingRedis) Ping(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

type hangingAPI struct{ *fakeAPI }

func (hangingAPI) Look(ctx context.Context, _ wxclient.Host) (wxclient.Sight, error) {
	<-ctx.Done()
	return wxclient.Sight{}, &wxclient.LookError{Step: wxclient.StepConnect, Err: context.Cause(ctx)}
}

// TestEverythingHangs holds that the whole takes start-timeout, and not once for each thing that hangs.
func TestEverythingHangs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	synctest.Test(t, func(t *testing.T) {
		w.cfg.Kafka = func([]string) (doctor.Kafka, error) { return hanging{w.kafka}, nil }
		w.cfg.Redis = func() (doctor.Redis, error) { return hangingRedis{w.redis}, nil }
		w.cfg.API = func() (doctor.API, error) { return hangingAPI{w.api}, nil }
		began := time.Now()
		all := byName(t, w.cfg)
		require.Equal(t, w.settings.StartTimeout, time.Since(began))
		for _, name := range []string{"kafka-brokers", "redis", "primary", "backup"} {
			require.Equal(t, doctor.Failed, all[name].Status, name)
		}
		require.Contains(t, all["kafka-brokers"].Detail, "no answer within start-timeout (10s)")
		require.Contains(t, all["primary"].Detail, "no answer within start-timeout (10s)")
		require.Equal(t, doctor.Passed, all["merchant "+mchID+" private key"].Status, "what does not hang is checked")
	})
}

func TestSettings(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	none := newWorld(t)
	none.settings.MchID, none.settings.CertSerial, none.settings.PrivateKeyFile = "", "", ""
	none.settings.PublicKeyID, none.settings.PublicKeyFile, none.settings.Merchants = "", "", nil
	none.requires(verdict{
		"settings", doctor.Failed,
		"mchid, cert-serial, private-key-file, public-key-id, public-key-file missing", "--mchid",
	},
		"keys", "holds")

	w.settings.BufferJobs, w.settings.Concurrency = 1, 64
	w.requires(verdict{"buffer-jobs", doctor.Warned, "is 1, so that concurrency 64 is never reached", ""})
}

func TestOpenFiles(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.settings.Concurrency, w.settings.BufferJobs = 1<<40, 1<<40
	w.requires(verdict{"open files", doctor.Warned, "concurrency 1099511627776 may need", "ulimit -n"})
}

func TestAdminAddr(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	w.settings.AdminAddr = l.Addr().String()
	w.requires(verdict{"admin-addr", doctor.Passed, "is in use", ""})
	w.settings.AdminAddr = "192.0.2.1:9464"
	w.requires(verdict{"admin-addr", doctor.Failed, "192.0.2.1:9464", "an address of this machine"})
}

// TestManyAreNotListed holds that a check of many partitions keeps to one line that can be read.
func TestManyAreNotListed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	state := w.kafka.cluster.Topics["reply-jobs"]
	state.Partitions = nil
	for id := range 1000 {
		state.Partitions = append(state.Partitions, kafkaio.PartitionState{ID: id, Leader: -1, Replicas: 3, InSync: 3})
	}
	w.kafka.cluster.Topics["reply-jobs"] = state
	w.requires(verdict{"topic reply-jobs", doctor.Failed, fmt.Sprintf("and %d more", 995), "start the brokers"})
	require.Less(t, len(w.results()["topic reply-jobs"].Detail), 200)
}
