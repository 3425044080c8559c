//go:build linux

package peers_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"replyworker/bench/peers"
	"replyworker/internal/wxsim"
	"replyworker/test/servers"
)

const (
	partitions  = 4
	concurrency = 16
	patience    = 90 * time.Second
	grace       = 40 * time.Second // Bento and Watermill give the work under way 20 and 30 s.
)

// stage is what one peer has for itself on the shared servers: topics, a group, and an API.
type stage struct {
	t        *testing.T
	settings peers.Settings
	sim      *wxsim.Sim
	client   *kgo.Client
	outcomes *outcomes
	process  *peers.Process
	log      *tail
}

// outcome is what the peers publish.
type outcome struct {
	IdempotentID string `json:"idempotent_id"`
	ComplaintID  string `json:"complaint_id"`
	Status       string `json:"status"`
	LogID        string `json:"log_id"`
	ErrorMessage string `json:"error_message"`
	key          string
	at           time.Time
}

func newStage(t *testing.T, name string) *stage {
	t.Helper()
	return newStageOf(t, name, partitions)
}

// newStageOf is newStage with so many partitions.
func newStageOf(t *testing.T, name string, partitions int32) *stage {
	t.Helper()
	if os.Getenv("TEST_SERVERS") == "" {
		t.Skip("it needs real servers: bench/peers/smoke starts them and runs it")
	}
	require.NoError(t, peers.Build(t.Context(), ".", name))
	s := &stage{t: t, log: &tail{}}
	s.connect(name, partitions)
	s.startAPI()
	s.outcomes = follow(t, s.settings.Brokers, s.settings.Outcomes)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the end of what %s said:\n%s", name, s.log)
		}
	})
	return s
}

// connect makes the topics.
func (s *stage) connect(name string, partitions int32) {
	lines, err := servers.ReadSettings(os.Getenv("TEST_SERVERS"))
	require.NoError(s.t, err)
	given := map[string]string{}
	for _, line := range lines {
		key, value, _ := strings.Cut(line, "=")
		given[key] = value
	}
	prefix := fmt.Sprintf("%s-%d", name, time.Now().UnixNano())
	s.settings = peers.Settings{
		Brokers: strings.Split(given["REPLYWORKER_KAFKA_BROKERS"], ","), RedisURL: given["REPLYWORKER_REDIS_URL"],
		Topic: prefix + "-jobs", Group: prefix, Outcomes: prefix + "-outcomes", Dead: prefix + "-dead",
		Concurrency: concurrency,
	}
	s.client, err = kgo.NewClient(kgo.SeedBrokers(s.settings.Brokers...))
	require.NoError(s.t, err)
	s.t.Cleanup(s.client.Close)
	made, err := kadm.NewClient(s.client).CreateTopics(s.t.Context(), partitions, 1, nil,
		s.settings.Topic, s.settings.Outcomes, s.settings.Dead)
	require.NoError(s.t, err)
	require.NoError(s.t, made.Error())
}

// startAPI starts the simulator, which verifies every signature and signs its answers.
func (s *stage) startAPI() {
	m, err := wxsim.Prepare(filepath.Join(s.t.TempDir(), "api"), wxsim.Params{})
	require.NoError(s.t, err)
	cfg := m.Config()
	cfg.MaxCalls = 200_000
	s.sim, err = wxsim.New(cfg)
	require.NoError(s.t, err)
	server := httptest.NewServer(s.sim.Handler(wxsim.Primary))
	s.t.Cleanup(func() {
		_ = s.sim.Close()
		server.Close()
	})
	s.settings.API, s.settings.MchID, s.settings.CertSerial = server.URL, m.MchID, m.CertSerial
	s.settings.KeyFile, s.settings.AnswerKeyFile = m.Files.MerchantKey, m.Files.PublicKey
	s.settings.AnswerKeyID = m.PublicKeyID
}

func (s *stage) start(name string, more ...string) {
	process, err := peers.Start(".", name, s.settings, s.log, more...)
	require.NoError(s.t, err)
	s.process = process
	s.t.Cleanup(func() { _ = process.Stop(grace) })
}

func (s *stage) stop() {
	require.NoError(s.t, s.process.Stop(grace))
}

// job is a job of a complaint; its place among the complaint's jobs is part of its id.
type job struct{ complaint, id string }

func (j job) record(topic string) *kgo.Record {
	value := fmt.Sprintf(`{"complaint_id":%q,"complainted_mchid":"1900012181","idempotent_id":%q,`+
		`"message":{"blocks":[{"type":"TEXT","text":{"text":"您好，已收到您的投诉"}}],"sender_identity":"MACHINE"}}`,
		j.complaint, j.id)
	return &kgo.Record{Topic: topic, Key: []byte(j.complaint), Value: []byte(value)}
}

// jobsFrom makes jobs number from until to, of so many complaints in turn.
func jobsFrom(from, to, complaints int) []job {
	made := make([]job, 0, to-from)
	for i := from; i < to; i++ {
		made = append(made, job{complaint: fmt.Sprintf("2002018202001010800766%05d", i%complaints), id: fmt.Sprintf("job-%07d", i)})
	}
	return made
}

func (s *stage) produce(jobs ...job) {
	records := make([]*kgo.Record, len(jobs))
	for i, j := range jobs {
		records[i] = j.record(s.settings.Topic)
	}
	require.NoError(s.t, s.client.ProduceSync(s.t.Context(), records...).FirstErr())
}

// await waits until there is an outcome for so many jobs.
func (s *stage) await(jobs int, within time.Duration) {
	s.t.Helper()
	deadline := time.After(within)
	for {
		count, grown := s.outcomes.jobs()
		if count >= jobs {
			return
		}
		select {
		case <-grown:
		case <-s.process.Ended():
			require.FailNowf(s.t, "the peer has ended", "%d outcomes of %d", count, jobs)
		case <-deadline:
			require.FailNowf(s.t, "too few outcomes", "%d of %d within %s", count, jobs, within)
		}
	}
}

// outOfOrder counts the replies that took effect before an earlier job of their complaint.
func (s *stage) outOfOrder() int {
	last, count := map[string]string{}, 0
	for _, e := range s.sim.Effects() {
		if e.IdempotentID < last[e.ComplaintID] {
			count++
			continue
		}
		last[e.ComplaintID] = e.IdempotentID
	}
	return count
}

// outcomes gathers a topic as it grows. It is safe for concurrent use.
type outcomes struct {
	mu    sync.Mutex
	all   []outcome
	byID  map[string]outcome // the first one
	grown chan struct{}      // closed and made anew when there are more
}

func follow(t *testing.T, brokers []string, topic string) *outcomes {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumeTopics(topic), kgo.FetchMaxWait(100*time.Millisecond),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	require.NoError(t, err)
	o := &outcomes{byID: map[string]outcome{}, grown: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			o.add(client.PollFetches(ctx).Records())
		}
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		client.Close()
	})
	return o
}

func (o *outcomes) add(records []*kgo.Record) {
	if len(records) == 0 {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, r := range records {
		read := outcome{key: string(r.Key), at: time.Now()}
		if err := json.Unmarshal(r.Value, &read); err != nil {
			read.Status = "no JSON: " + string(r.Value)
		}
		o.all = append(o.all, read)
		if _, known := o.byID[read.IdempotentID]; !known {
			o.byID[read.IdempotentID] = read
		}
	}
	close(o.grown)
	o.grown = make(chan struct{})
}

// jobs is how many jobs have an outcome, and what is closed when there are more.
func (o *outcomes) jobs() (int, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.byID), o.grown
}

// read returns every outcome, and the first one of each job.
func (o *outcomes) read() ([]outcome, map[string]outcome) {
	o.mu.Lock()
	defer o.mu.Unlock()
	byID := make(map[string]outcome, len(o.byID))
	for id, first := range o.byID {
		byID[id] = first
	}
	return append([]outcome(nil), o.all...), byID
}

// tail keeps the last of what is written to it.
type tail struct {
	mu   sync.Mutex
	kept bytes.Buffer
}

const maxTail = 16 << 10

func (l *tail) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kept.Write(p)
	if over := l.kept.Len() - maxTail; over > 0 {
		l.kept.Next(over)
	}
	return len(p), nil
}

func (l *tail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.kept.String()
}
