package app_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"replyworker/internal/dedupe"
	"replyworker/internal/devstack"
	"replyworker/internal/gate"
	"replyworker/internal/job"
	"replyworker/internal/wxsim"
)

// spareKeys are keys for merchants and answers, made once: it takes long.
var spareKeys = sync.OnceValue(func() []*rsa.PrivateKey {
	keys := make([]*rsa.PrivateKey, 4)
	var all sync.WaitGroup
	for i := range keys {
		all.Go(func() { keys[i], _ = rsa.GenerateKey(rand.Reader, 2048) })
	}
	all.Wait()
	return keys
})

func privatePEM(t testing.TB, key *rsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func publicPEM(t testing.TB, key *rsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// shop is a bench whose worker has a merchants-file beside the stack's own merchant.
type shop struct {
	*bench
	dir     string
	entries map[string]entry
}

type entry struct{ serial, key, more string }

func newShop(t *testing.T, partitions int) *shop {
	t.Helper()
	return &shop{bench: newBench(t, partitions), dir: t.TempDir(), entries: map[string]entry{}}
}

func (s *shop) path(name string) string { return filepath.Join(s.dir, name) }

func (s *shop) put(name string, content []byte) {
	s.t.Helper()
	require.NoError(s.t, os.WriteFile(s.path(name), content, 0o600))
}

// merchant puts a merchant into the file, or other keys of one, and its key beside it. The API knows it
// too, unless the serial begins with 0.
func (s *shop) merchant(mchID, serial string, key *rsa.PrivateKey, more string) {
	s.t.Helper()
	if !strings.HasPrefix(serial, "0") {
		s.stack.Sim.SetMerchant(mchID, wxsim.MerchantKey{Serial: serial, Key: &key.PublicKey})
	}
	name := mchID + "-" + serial + ".pem"
	s.put(name, privatePEM(s.t, key))
	s.entries[mchID] = entry{serial: serial, key: s.path(name), more: more}
}

// yaml is the merchants-file.
func (s *shop) yaml() string {
	var b strings.Builder
	b.WriteString("merchants:\n")
	for _, id := range slices.Sorted(maps.Keys(s.entries)) {
		e := s.entries[id]
		fmt.Fprintf(&b, "- mchid: %q\n  cert-serial: %q\n  private-key-file: %s\n  public-key-id: %s\n  public-key-file: %s\n%s",
			id, e.serial, e.key, s.stack.Materials.PublicKeyID, s.stack.Materials.Files.PublicKey, e.more)
	}
	return b.String()
}

func (s *shop) save() { s.put("merchants.yaml", []byte(s.yaml())) }

func (s *shop) run(settings map[string]string) *worker {
	all := map[string]string{"REPLYWORKER_MERCHANTS_FILE": s.path("merchants.yaml")}
	maps.Copy(all, settings)
	return s.bench.run(all)
}

// send produces a job of a merchant for each id.
func (s *shop) send(topic, mchID string, ids ...string) {
	s.t.Helper()
	for i, id := range ids {
		s.produceRecord(&kgo.Record{
			Topic: topic, Partition: int32(i % s.partitions),
			Value: jobValue("complaint-"+id, id, "hello", map[string]any{"mchid": mchID}),
		})
	}
}

// value is the sum of a metric's series.
func (w *worker) value(t testing.TB, name string, labels ...string) float64 {
	t.Helper()
	families, err := w.Registry().Gather()
	require.NoError(t, err)
	sum := 0.0
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			values := []string{}
			for _, l := range m.GetLabel() {
				values = append(values, l.GetValue())
			}
			if !slices.ContainsFunc(labels, func(l string) bool { return !slices.Contains(values, l) }) {
				sum += m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

func (s *shop) succeedAll(n int) map[string]end {
	s.t.Helper()
	ends := s.ends(n)
	for id, e := range ends {
		require.Equal(s.t, job.StatusSucceeded, e.Status, "%s: %+v", id, e.Event)
		require.Equal(s.t, 1, e.Attempts, "attempts of %s", id)
	}
	return ends
}

const second = "1900000002"

// TestAKeyIsRotated: the API stops taking the merchant's key, which is held; the file gets the new one,
// and its jobs go on without a restart. One more time with no wait but a signal.
func TestAKeyIsRotated(t *testing.T) {
	t.Parallel()
	s := newShop(t, 2)
	keys := spareKeys()
	s.merchant(second, "A1", keys[0], "")
	s.save()
	w := s.run(nil)
	s.send(devstack.TopicJobs, second, "before")
	s.succeedAll(1)

	s.stack.Sim.SetMerchant(second, wxsim.MerchantKey{Serial: "A2", Key: &keys[1].PublicKey})
	s.send(devstack.TopicJobs, second, ids("during", 10)...)
	s.eventually("held", func() bool { return w.hold() == string(dedupe.HoldCredentials) })
	s.give("of the default merchant")
	s.succeedAll(2)
	s.merchant(second, "A2", keys[1], "")
	s.save()
	s.succeedAll(12)
	require.InDelta(t, 1, w.value(t, "replyworker_merchant_key_info", second, "A2"), 0)
	require.Zero(t, w.value(t, "replyworker_merchant_key_info", second, "A1"))

	w.Reload()
	s.merchant(second, "A3", keys[2], "")
	s.save()
	w.Reload()
	s.send(devstack.TopicJobs, second, "after")
	s.succeedAll(13)
	require.Empty(t, w.hold())
	require.NoError(t, w.stop())
}

// TestFilesWithFaultsAreRefused: whatever is wrong with them, what was loaded stays in use, all of it,
// and when they are mended they are taken.
func TestFilesWithFaultsAreRefused(t *testing.T) {
	t.Parallel()
	s := newShop(t, 1)
	keys := spareKeys()
	s.merchant(second, "A1", keys[0], "")
	s.save()
	good := s.yaml()
	cert, err := wxsim.PlatformCertificate(keys[3], "ABCDEF01", time.Now(), time.Now().Add(time.Hour))
	require.NoError(t, err)
	s.put("platform.pem", cert)
	w := s.run(nil)
	n := 0
	works := func(what string) {
		t.Helper()
		n++
		s.send(devstack.TopicJobs, second, fmt.Sprint("job-", n))
		s.succeedAll(n)
		require.Positive(t, w.value(t, "replyworker_merchant_key_info", second, "A1"), what)
	}
	works("at first")
	third := strings.ReplaceAll(strings.TrimPrefix(good, "merchants:\n"), second, "1900000003")
	for name, content := range map[string]string{
		"half a file":                good[:len(good)/2],
		"no merchants":               "merchants: []\n",
		"one merchant of two is bad": good + strings.ReplaceAll(third, "cert-serial: \"A1\"", "cert-serial: X"),
		"a key that is not there":    strings.ReplaceAll(good, s.entries[second].key, s.path("none.pem")),
		"a key that is none":         strings.ReplaceAll(good, s.entries[second].key, s.path("merchants.yaml")),
		"answers by the own key":     good + "  answer-keys: [{id: PUB_KEY_ID_9, file: " + s.path("own.pub") + "}]\n",
		"a certificate of another serial": good + "  answer-keys: [{id: ABCDEF02, file: " +
			s.path("platform.pem") + "}]\n",
		"a certificate for a public key's id": good + "  answer-keys: [{id: PUB_KEY_ID_9, file: " +
			s.path("platform.pem") + "}]\n",
		"a topic that nobody has made": good + "  topic-jobs: nobody-has-made-it\n",
	} {
		s.put("own.pub", publicPEM(t, keys[0]))
		s.put("merchants.yaml", []byte(content))
		s.eventually(name+" is refused", func() bool { return w.value(t, "replyworker_reload_refused") == 1 })
		works(name)
		s.put("merchants.yaml", []byte(good))
		s.eventually(name+" is mended", func() bool { return w.value(t, "replyworker_reload_refused") == 0 })
	}
	require.NoError(t, os.Remove(s.path("merchants.yaml")))
	s.eventually("gone", func() bool { return w.value(t, "replyworker_reload_refused") == 1 })
	works("the file is gone")
	s.save()
	s.eventually("back", func() bool { return w.value(t, "replyworker_reload_refused") == 0 })
	require.Zero(t, w.value(t, "replyworker_reloads_total", "taken"))
	require.InDelta(t, 10, w.value(t, "replyworker_reloads_total", "refused"), 0, "each is told once")

	// Kubernetes swaps a link; and two changes come one after the other.
	s.merchant(second, "A2", keys[1], "")
	s.put("next.yaml", []byte(s.yaml()))
	require.NoError(t, os.Remove(s.path("merchants.yaml")))
	require.NoError(t, os.Symlink(s.path("next.yaml"), s.path("merchants.yaml")))
	s.merchant(second, "A3", keys[2], "")
	s.put("last.yaml", []byte(s.yaml()))
	require.NoError(t, os.Symlink(s.path("last.yaml"), s.path("link")))
	require.NoError(t, os.Rename(s.path("link"), s.path("merchants.yaml")))
	s.eventually("the last is in use", func() bool { return w.value(t, "replyworker_merchant_key_info", second, "A3") == 1 })
	s.send(devstack.TopicJobs, second, "last")
	s.succeedAll(n + 1)
	require.NoError(t, w.stop())
}

// TestMerchantsComeAndGo: one with a topic of its own is added, and its jobs are read; it is taken away,
// and its jobs on its topic wait there, those on the shared one are invalid. When it is back they are sent.
func TestMerchantsComeAndGo(t *testing.T) {
	t.Parallel()
	const own = "jobs-of-two"
	s := newShop(t, 2)
	s.stack.Kafka.CreateTopic(own, 2, nil)
	keys := spareKeys()
	s.merchant("1900000003", "B1", keys[1], "")
	s.save()
	w := s.run(nil)
	s.send(own, second, "early-1", "early-2")
	s.send(devstack.TopicJobs, "1900000003", "third-1")
	s.succeedAll(1)

	s.merchant(second, "A1", keys[0], "  topic-jobs: "+s.stack.Kafka.Topic(own)+"\n")
	s.save()
	s.succeedAll(3)
	require.NoError(t, s.stack.Sim.Set(wxsim.Fault{Kind: wxsim.KindStatus, Status: 401, MchID: second}))
	s.send(own, second, ids("own", 4)...)
	s.send(devstack.TopicJobs, second, ids("shared", 4)...)
	s.eventually("held, with jobs that wait", func() bool {
		state, counts := w.State()
		return w.hold() != "" && state.SlotsUsed == 0 && counts.Waiting+counts.Parked == 8
	})
	gone := s.entries[second]
	delete(s.entries, second)
	s.save()
	ends := s.ends(7)
	for _, id := range ids("shared", 4) {
		require.Equal(t, job.ReasonInvalidJob, ends[id].Reason, id)
	}
	require.EqualValues(t, 4, s.count(devstack.TopicDeadLetters), "none of its own topic")
	s.eventually("nothing waits", func() bool { _, c := w.State(); return c.Waiting+c.Parked+c.Running == 0 })
	require.Empty(t, w.hold())

	require.NoError(t, s.stack.Sim.Clear())
	s.entries[second] = gone
	s.save()
	ends = s.ends(11)
	for _, id := range ids("own", 4) {
		require.Equal(t, job.StatusSucceeded, ends[id].Status, id)
	}
	require.NoError(t, w.stop())
}

// TestKeysAreReadAgainDuringAnOutage: Redis is away, and both hosts; the new keys are there when they come
// back. Then one more change comes while the worker drains.
func TestKeysAreReadAgainDuringAnOutage(t *testing.T) {
	t.Parallel()
	s := newShop(t, 1)
	redis := s.stack.Redis.Embedded("to answer with errors").Mini()
	keys := spareKeys()
	s.merchant(second, "A1", keys[0], "")
	s.save()
	w := s.run(nil)
	s.send(devstack.TopicJobs, second, "before")
	s.succeedAll(1)
	require.NoError(t, s.stack.Sim.Set(wxsim.Fault{Kind: wxsim.KindDown}))
	redis.SetError("LOADING Redis is loading the dataset in memory")
	s.send(devstack.TopicJobs, second, ids("during", 5)...)
	s.merchant(second, "A2", keys[1], "")
	s.save()
	s.eventually("taken", func() bool { return w.value(t, "replyworker_merchant_key_info", second, "A2") == 1 })
	redis.SetError("")
	require.NoError(t, s.stack.Sim.Clear())
	s.succeedAllButAttempts(6)

	require.NoError(t, s.stack.Sim.Set(wxsim.Fault{Kind: wxsim.KindLatency, Delay: 500 * time.Millisecond}))
	s.send(devstack.TopicJobs, second, "at the end")
	s.eventually("it is out", func() bool { state, _ := w.State(); return state.SlotsUsed == 1 })
	s.merchant(second, "A3", keys[2], "") // the API takes this one from now on
	s.save()
	ended := make(chan error, 1)
	go func() { ended <- w.stop() }()
	for range 20 {
		w.Reload()
	}
	require.NoError(t, <-ended)
}

func (s *shop) succeedAllButAttempts(n int) {
	s.t.Helper()
	for id, e := range s.ends(n) {
		require.Equal(s.t, job.StatusSucceeded, e.Status, "%s: %+v", id, e.Event)
	}
}

// TestAnswerKeysAreRotated: answers come signed with a key that nobody has, and the merchant is held, with
// an error that names it and those that are known; then the new key stands beside the old one, and answers
// of either are good. The new one is a platform certificate, named by its serial.
func TestAnswerKeysAreRotated(t *testing.T) {
	t.Parallel()
	const serial = "7132D72A03E93CDDF8C03BBD1F37EEDF00ABCDEF"
	s := newShop(t, 1)
	keys := spareKeys()
	s.merchant(second, "A1", keys[0], "")
	s.save()
	w := s.run(nil)
	s.stack.Sim.AddAnswerKey(serial, keys[3])
	s.send(devstack.TopicJobs, second, "before")
	s.succeedAll(1)
	s.stack.Sim.SignWith(serial)
	s.send(devstack.TopicJobs, second, "during-1", "during-2")
	s.eventually("held", func() bool { return w.hold() == string(dedupe.HoldAnswerKey) })
	state, _ := w.State()
	held := state.Merchants[slices.IndexFunc(state.Merchants, func(m gate.MerchantState) bool { return m.Hold != nil })].Hold
	require.Contains(t, held.Message, serial)
	require.Contains(t, held.Message, s.stack.Materials.PublicKeyID)

	cert, err := wxsim.PlatformCertificate(keys[3], serial, time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour))
	require.NoError(t, err)
	s.put("platform.pem", cert)
	s.merchant(second, "A1", keys[0], "  answer-keys:\n  - {id: "+strings.ToLower(serial)+", file: "+s.path("platform.pem")+"}\n")
	s.save()
	for id, e := range s.ends(3) {
		require.Equal(t, job.StatusSucceeded, e.Status, id)
	}
	require.InDelta(t, float64(time.Now().Add(24*time.Hour).Unix()), w.value(t, "replyworker_answer_key_not_after_seconds", second), 3600)
	s.stack.Sim.SignWith("")
	s.send(devstack.TopicJobs, second, "old key again")
	require.Equal(t, job.StatusSucceeded, s.ends(4)["old key again"].Status)

	// The merchant goes over to it wholly: calls name the certificate, and answers come signed with it.
	s.put("all.yaml", []byte(strings.NewReplacer(
		"public-key-id: "+s.stack.Materials.PublicKeyID, "public-key-id: "+serial,
		"public-key-file: "+s.stack.Materials.Files.PublicKey, "public-key-file: "+s.path("platform.pem"),
		"  answer-keys:\n  - {id: "+strings.ToLower(serial)+", file: "+s.path("platform.pem")+"}\n", "",
	).Replace(s.yaml())))
	require.NoError(t, os.Rename(s.path("all.yaml"), s.path("merchants.yaml")))
	s.eventually("taken", func() bool {
		return w.value(t, "replyworker_answer_key_info", second) == 1 && w.value(t, "replyworker_answer_key_info", second, serial) == 1
	})
	s.send(devstack.TopicJobs, second, "platform")
	require.Equal(t, job.StatusSucceeded, s.ends(5)["platform"].Status)
	require.NoError(t, w.stop())
}
