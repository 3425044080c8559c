package doctor_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"replyworker/internal/config"
	"replyworker/internal/dedupe"
	"replyworker/internal/doctor"
	"replyworker/internal/kafkaio"
	"replyworker/internal/wxclient"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	mchID       = "1900000001"
	certSerial  = "1DDE55AD98ED71D6EDD4A4A16996DE7B47773A8C"
	publicKeyID = "PUB_KEY_ID_0000000000000024101100397200000006"
)

var now = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)

// fakeKafka answers as it is told to; its zero value is no Kafka.
type fakeKafka struct {
	knocks   map[string]error // by address; all others answer
	cluster  kafkaio.Cluster
	err      error // of Cluster
	settings map[string]map[string]string
	denied   error // of TopicConfig
	group    kafkaio.Group
	groupErr error
	offsets  []kafkaio.PartitionOffsets
	lagErr   error

	mu    sync.Mutex
	begun [][]string // the brokers that clients were made for
}

func (f *fakeKafka) Knock(_ context.Context, address string) error { return f.knocks[address] }

func (f *fakeKafka) Cluster(context.Context, ...string) (kafkaio.Cluster, error) {
	return f.cluster, f.err
}

func (f *fakeKafka) TopicConfig(_ context.Context, topic string, _ ...string) (map[string]string, error) {
	return f.settings[topic], f.denied
}

func (f *fakeKafka) Group(context.Context, string) (kafkaio.Group, error) { return f.group, f.groupErr }

func (f *fakeKafka) GroupOffsets(context.Context, string, map[string]int) ([]kafkaio.PartitionOffsets, error) {
	return f.offsets, f.lagErr
}

func (f *fakeKafka) Close() {}

type fakeRedis struct {
	ping, inspectErr, holdsErr error
	nodes                      []dedupe.Node
	held                       map[string]dedupe.Hold
	renewed                    time.Duration
}

func (f *fakeRedis) Ping(context.Context) error { return f.ping }

func (f *fakeRedis) Inspect(context.Context) ([]dedupe.Node, error) { return f.nodes, f.inspectErr }

func (f *fakeRedis) RenewHolds(_ context.Context, _ []string, ttl time.Duration) (map[string]dedupe.Hold, error) {
	f.renewed = ttl
	return f.held, f.holdsErr
}

func (f *fakeRedis) Close() error { return nil }

type fakeAPI struct {
	sights   map[wxclient.Host]wxclient.Sight
	errs     map[wxclient.Host]error
	noBackup bool
}

func (f *fakeAPI) Look(_ context.Context, host wxclient.Host) (wxclient.Sight, error) {
	return f.sights[host], f.errs[host]
}

func (f *fakeAPI) HasBackup() bool { return !f.noBackup }
func (f *fakeAPI) Close()          {}

// world is all that a worker depends on, and all is well.
type world struct {
	t        *testing.T
	dir      string
	kafka    *fakeKafka
	redis    *fakeRedis
	api      *fakeAPI
	cfg      doctor.Config
	settings *config.Config
}

// newWorld returns a world in which no check finds anything; env are settings more.
func newWorld(t *testing.T, env ...string) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), kafka: wellKafka(), redis: wellRedis(), api: wellAPI()}
	w.write("apiclient_key.pem", keyPEM(t, merchantKey(t)))
	w.write("apiclient_cert.pem", w.certificate(nil))
	w.write("pub_key.pem", publicPEM(t, platformKey(t)))
	var err error
	w.settings, err = config.Load(config.Sources{Env: append([]string{
		"REPLYWORKER_KAFKA_BROKERS=kafka-1:9092,kafka-2:9092",
		"REPLYWORKER_ADMIN_ADDR=127.0.0.1:0",
		"REPLYWORKER_MCHID=" + mchID,
		"REPLYWORKER_CERT_SERIAL=" + certSerial,
		"REPLYWORKER_PRIVATE_KEY_FILE=" + filepath.Join(w.dir, "apiclient_key.pem"),
		"REPLYWORKER_PUBLIC_KEY_ID=" + publicKeyID,
		"REPLYWORKER_PUBLIC_KEY_FILE=" + filepath.Join(w.dir, "pub_key.pem"),
	}, env...)})
	require.NoError(t, err)
	w.cfg = doctor.Config{
		Settings: w.settings,
		Kafka: func(brokers []string) (doctor.Kafka, error) {
			w.kafka.mu.Lock()
			defer w.kafka.mu.Unlock()
			w.kafka.begun = append(w.kafka.begun, brokers)
			return w.kafka, nil
		},
		Redis: func() (doctor.Redis, error) { return w.redis, nil },
		API:   func() (doctor.API, error) { return w.api, nil },
		Now:   func() time.Time { return now },
	}
	return w
}

func wellKafka() *fakeKafka {
	three := func(n int) kafkaio.TopicState {
		var t kafkaio.TopicState
		for id := range n {
			t.Partitions = append(t.Partitions, kafkaio.PartitionState{ID: id, Leader: 1, Replicas: 3, InSync: 3})
		}
		return t
	}
	kept := func(ms string) map[string]string {
		return map[string]string{
			"cleanup.policy": "delete", "retention.ms": ms, "max.message.bytes": "1048588", "min.insync.replicas": "2",
		}
	}
	f := &fakeKafka{
		knocks: map[string]error{},
		cluster: kafkaio.Cluster{
			Brokers: []kafkaio.Broker{{ID: 1, Address: "kafka-1:9092"}, {ID: 2, Address: "kafka-2:9092"}, {ID: 3, Address: "kafka-3:9092"}},
			Topics: map[string]kafkaio.TopicState{
				"reply-jobs": three(6), "reply-outcomes": three(6), "reply-dead-letters": three(6), "reply-resolutions": three(6),
			},
		},
		settings: map[string]map[string]string{
			"reply-jobs": kept("604800000"), "reply-outcomes": kept("-1"), "reply-dead-letters": kept("604800000"),
			"reply-resolutions": {"cleanup.policy": "compact", "min.insync.replicas": "2"},
		},
		group:   kafkaio.Group{State: "Stable", Protocol: "consumer", Members: 2},
		offsets: []kafkaio.PartitionOffsets{{Topic: "reply-jobs", Partition: 0, First: 0, End: 10, Committed: 7}},
	}
	f.settings["reply-dead-letters"]["max.message.bytes"] = "1114124"
	return f
}

func wellRedis() *fakeRedis {
	return &fakeRedis{nodes: []dedupe.Node{{
		Address: "redis:6379", Version: "redis 7.0.15", Role: "master", Policy: "noeviction", UsedMemory: 1 << 20,
		AppendOnly: "on", Snapshots: "on", Round: time.Millisecond,
	}}}
}

func wellAPI() *fakeAPI {
	sight := func(host string) wxclient.Sight {
		return wxclient.Sight{
			Host: host, Address: "203.0.113.7:443", Status: 404, Dated: true, Ahead: time.Second, Round: 23 * time.Millisecond,
			TLS: &tls.ConnectionState{Version: tls.VersionTLS13, PeerCertificates: []*x509.Certificate{{
				NotAfter: now.Add(200 * 24 * time.Hour), Issuer: pkix.Name{CommonName: "Some CA"},
			}}},
		}
	}
	return &fakeAPI{
		sights: map[wxclient.Host]wxclient.Sight{
			wxclient.Primary: sight("api.mch.weixin.qq.com"), wxclient.Backup: sight("api2.mch.weixin.qq.com"),
		},
		errs: map[wxclient.Host]error{},
	}
}

// results runs all checks and returns what they found by their names, which are unique.
func (w *world) results() map[string]doctor.Result {
	w.t.Helper()
	return byName(w.t, w.cfg)
}

func byName(t *testing.T, cfg doctor.Config) map[string]doctor.Result {
	t.Helper()
	all := map[string]doctor.Result{}
	var titles []string
	doctor.Run(t.Context(), cfg, func(g doctor.Group) {
		titles = append(titles, g.Title)
		require.NotEmpty(t, g.Results, g.Title)
		for _, r := range g.Results {
			require.NotContains(t, all, r.Name, "a check's name is unique")
			require.NotEmpty(t, r.Detail, r.Name)
			require.Contains(t, doctor.Statuses(), r.Status, r.Name)
			all[r.Name] = r
		}
	})
	require.Equal(t, []string{"Configuration", "Kafka", "Redis", "Keys", "Hosts"}, titles)
	return all
}

// verdict is what one check should find.
type verdict struct {
	name   string
	status doctor.Status
	detail string // part of it
	hint   string // part of it
}

// requires demands a verdict, and that every other check passed but those named.
func (w *world) requires(v verdict, others ...string) {
	w.t.Helper()
	all := w.results()
	got, ok := all[v.name]
	require.True(w.t, ok, "there is no check %q", v.name)
	require.Equal(w.t, v.status, got.Status, "%+v", got)
	require.Contains(w.t, got.Detail, v.detail)
	require.Contains(w.t, got.Hint, v.hint)
	delete(all, v.name)
	for _, name := range others {
		require.Contains(w.t, all, name)
		require.NotEqual(w.t, doctor.Passed, all[name].Status, name)
		delete(all, name)
	}
	for _, r := range all {
		require.Equal(w.t, doctor.Passed, r.Status, "%+v", r)
	}
}

func (w *world) write(name string, data []byte) {
	w.t.Helper()
	require.NoError(w.t, os.WriteFile(filepath.Join(w.dir, name), data, 0o600))
}

// certificate returns one of the merchant's, or of a platform's, with what change changes.
func (w *world) certificate(change func(c *x509.Certificate) *rsa.PrivateKey) []byte {
	w.t.Helper()
	serial, ok := new(big.Int).SetString(certSerial, 16)
	require.True(w.t, ok)
	c := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: mchID}, NotBefore: now.Add(-24 * time.Hour),
		NotAfter: now.Add(365 * 24 * time.Hour),
	}
	key := merchantKey(w.t)
	if change != nil {
		if other := change(c); other != nil {
			key = other
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	require.NoError(w.t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

var (
	makeMerchantKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })
	makePlatformKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })
)

func merchantKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := makeMerchantKey()
	require.NoError(t, err)
	return key
}

func platformKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := makePlatformKey()
	require.NoError(t, err)
	return key
}

func keyPEM(t *testing.T, key *rsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func publicPEM(t *testing.T, key *rsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}
