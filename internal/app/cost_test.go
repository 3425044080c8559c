package app_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/config"
)

// What a job costs the worker. The worker is a process of its own; on real servers, Redis is asked how
// much it was asked:
//
//	go run ./test/servers/with -kafka 1 -redis alone -- go test ./internal/app -run '^$' -bench Cost -benchtime 1x
//
// COST_PROFILES names a folder for its CPU and allocation profiles.

const costJobs, costWarmUp = 12_000, 2_000

// BenchmarkCost sends jobs to an API that answers at once, and tells what one of them takes.
func BenchmarkCost(b *testing.B) {
	for range b.N {
		s := newBench(b, 6)
		api := newQuickAPI(b, s.stack.Materials, 0)
		s.produceAll(costJobs, costValue)
		p := startProcess(b, s, buildWorker(b), api)
		p.waitFor(costWarmUp)
		before := p.cost()
		profiled := p.profile("cpu", "profile?seconds=5")
		p.waitFor(costJobs)
		after := p.cost()
		<-profiled
		<-p.profile("allocs", "allocs")
		resident := residentMiB(b, p.pid)
		jobs := after.finished - before.finished
		p.kill()
		own, bare := (after.cpu-before.cpu).Seconds()/jobs, cpuOfBareClient(b, s, api, costJobs/2).Seconds()
		b.ReportMetric(1000*own, "cpu-ms/job")
		b.ReportMetric(1000*bare, "bare-cpu-ms/call")
		b.ReportMetric(own/bare, "of-bare")
		b.ReportMetric(jobs/after.at.Sub(before.at).Seconds(), "jobs/s")
		b.ReportMetric((after.allocs-before.allocs)/jobs, "allocs/job")
		b.ReportMetric((after.allocBytes-before.allocBytes)/jobs, "alloc-B/job")
		b.ReportMetric((after.redisCommands-before.redisCommands)/jobs, "redis-cmds/job")
		b.ReportMetric((after.redisReads-before.redisReads)/jobs, "redis-reads/job")
		b.ReportMetric(resident, "MiB-resident")
	}
}

// costValue is a job as they usually are.
func costValue(i int) []byte {
	return jobValue(fmt.Sprintf("2002018202010800%011d", i), fmt.Sprintf("550e8400-e29b-41d4-a716-%012d", i),
		"您好，您反馈的问题我们已经收到，退款将在三个工作日内原路退回，请留意查收。", map[string]any{"labels": map[string]string{"team": "refunds"}})
}

// process is a worker in a process of its own.
type process struct {
	b     *testing.B
	pid   int
	admin string
	redis string
	kill  func()
}

// startProcess starts a worker that calls api, with what else is in settings, NAME=value.
func startProcess(b *testing.B, s *bench, binary string, api *quickAPI, settings ...string) *process {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	cmd := exec.CommandContext(ctx, binary, "run")
	admin := freeAddr(b)
	cmd.Env = append(s.stack.Env(), "REPLYWORKER_ADMIN_ADDR="+admin, "REPLYWORKER_PRIMARY_URL="+api.url, "REPLYWORKER_BACKUP_URL=")
	cmd.Env = append(cmd.Env, settings...)
	log, err := os.Create(filepath.Join(b.TempDir(), "worker.log"))
	require.NoError(b, err)
	cmd.Stderr = log
	require.NoError(b, cmd.Start())
	kill := func() {
		cancel()
		_ = cmd.Wait() // it was killed
	}
	b.Cleanup(kill)
	return &process{b: b, pid: cmd.Process.Pid, admin: admin, redis: s.redisAddr(), kill: kill}
}

// freeAddr is an address that nobody listens on at the moment.
func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

// redisAddr is where a real Redis is that can be asked without more; empty for an embedded one.
func (b *bench) redisAddr() string {
	cfg, err := config.Load(config.Sources{Env: b.stack.Redis.Env()})
	require.NoError(b.t, err)
	if os.Getenv("TEST_SERVERS") == "" || cfg.RedisURL.Mode != config.RedisSingle || cfg.RedisURL.TLS {
		return ""
	}
	return cfg.RedisURL.Addrs[0]
}

// cost is what a worker has used so far.
type cost struct {
	at                        time.Time
	cpu                       time.Duration
	finished                  float64
	allocs, allocBytes        float64
	redisCommands, redisReads float64
}

func (p *process) cost() cost {
	p.b.Helper()
	m := p.metrics()
	c := cost{
		at: time.Now(), cpu: p.cpu(), allocs: m["go_memstats_mallocs_total"], allocBytes: m["go_memstats_alloc_bytes_total"],
		finished: m.finished(),
	}
	if p.redis != "" {
		info := redisInfo(p.b, p.redis, "stats")
		c.redisReads = info["total_reads_processed"]
		for name, n := range redisInfo(p.b, p.redis, "commandstats") {
			if strings.HasPrefix(name, "cmdstat_eval") {
				c.redisCommands += n
			}
		}
	}
	return c
}

// cpu is the time that the process has had of the machine's cores.
func (p *process) cpu() time.Duration {
	p.b.Helper()
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every Linux
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.pid))
	require.NoError(p.b, err)
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	user, err := strconv.Atoi(fields[11])
	require.NoError(p.b, err)
	system, err := strconv.Atoi(fields[12])
	require.NoError(p.b, err)
	return time.Duration(user+system) * tick
}

// waitFor waits until so many jobs have ended.
func (p *process) waitFor(jobs float64) {
	p.b.Helper()
	require.Eventually(p.b, func() bool { return p.metrics().finished() >= jobs }, 5*time.Minute, 200*time.Millisecond)
}

type metrics map[string]float64

func (m metrics) finished() (n float64) {
	for name, v := range m {
		if strings.HasPrefix(name, "replyworker_jobs_finished_total") {
			n += v
		}
	}
	return n
}

// metrics returns the worker's own, none where it does not answer yet.
func (p *process) metrics() metrics {
	m := metrics{}
	text, err := p.get("metrics")
	if err != nil {
		return m
	}
	for line := range strings.Lines(string(text)) {
		if i := strings.LastIndexByte(line, ' '); i > 0 && line[0] != '#' {
			m[line[:i]], _ = strconv.ParseFloat(strings.TrimSpace(line[i:]), 64) // Prometheus' own text
		}
	}
	return m
}

func (p *process) get(path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(p.b.Context(), http.MethodGet, "http://"+p.admin+"/"+path, nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	return io.ReadAll(res.Body)
}

// profile writes a profile of the worker to COST_PROFILES, if that is set. The channel closes when it is
// there.
func (p *process) profile(name, path string) <-chan struct{} {
	done := make(chan struct{})
	dir := os.Getenv("COST_PROFILES")
	if dir == "" {
		close(done)
		return done
	}
	go func() {
		defer close(done)
		if data, err := p.get("debug/pprof/" + path); err == nil {
			_ = os.WriteFile(filepath.Join(dir, name+".pprof"), data, 0o600) // who wants it misses it
		}
	}()
	return done
}

// redisInfo returns the numbers of a section of INFO; of the commands, how often each was called.
func redisInfo(b *testing.B, addr, section string) map[string]float64 {
	b.Helper()
	conn, err := (&net.Dialer{}).DialContext(b.Context(), "tcp", addr)
	require.NoError(b, err)
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "INFO %s\r\n", section)
	require.NoError(b, err)
	in := bufio.NewReader(conn)
	head, err := in.ReadString('\n')
	require.NoError(b, err)
	size, err := strconv.Atoi(strings.Trim(head, "$\r\n"))
	require.NoError(b, err, head)
	text := make([]byte, size)
	_, err = io.ReadFull(in, text)
	require.NoError(b, err)
	values := map[string]float64{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		value, _, _ = strings.Cut(strings.TrimPrefix(value, "calls="), ",")
		values[name], _ = strconv.ParseFloat(value, 64) // not all are numbers
	}
	return values
}
