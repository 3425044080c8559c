package servers

import (
	"bufio"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// madeUp returns brokers that nothing has been started for.
func madeUp(n int, withProxy bool) []*broker {
	var all []*broker
	for i := range n {
		b := &broker{id: i + 1, dir: "/d/kafka-" + strconv.Itoa(i), ports: map[listener]int{}}
		for j, l := range listeners(withProxy) {
			b.ports[l] = 12000 + 10*i + j
		}
		if withProxy {
			b.proxy = "127.0.0.1:" + strconv.Itoa(30000+i)
		}
		all = append(all, b)
	}
	return all
}

func TestProperties(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		brokers int
		proxy   bool
		over    map[string]string
		has     []string
		hasNot  []string
	}{
		{
			name: "one broker acknowledges alone", brokers: 1,
			has: []string{
				"min.insync.replicas=1", "default.replication.factor=1", "controller.quorum.voters=1@127.0.0.1:12000",
				"advertised.listeners=INTERNAL://127.0.0.1:12001,PLAIN://127.0.0.1:12002,SECURE://127.0.0.1:12003",
				"auto.create.topics.enable=false", "log.dirs=/d/kafka-0/data",
			},
			hasNot: []string{"PROXIED"},
		},
		{
			name: "two of three acknowledge", brokers: 3,
			has: []string{
				"min.insync.replicas=2", "transaction.state.log.min.isr=2", "offsets.topic.replication.factor=3",
				"controller.quorum.voters=1@127.0.0.1:12000,2@127.0.0.1:12010,3@127.0.0.1:12020",
				"unclean.leader.election.enable=false",
			},
		},
		{
			name: "the proxy is advertised, the port behind it is not", brokers: 1, proxy: true,
			has:    []string{"SECURE://127.0.0.1:12003,PROXIED://127.0.0.1:30000\n", "SECURE:SASL_SSL,PROXIED:PLAINTEXT\n"},
			hasNot: []string{"SECURE://127.0.0.1:12003,PROXIED://127.0.0.1:12004\ncontroller"},
		},
		{
			name: "the caller's properties win", brokers: 1, over: map[string]string{"num.partitions": "7", "a.b": "c"},
			has: []string{"\nnum.partitions=7\n", "a.b=c\n"}, hasNot: []string{"\nnum.partitions=1\n"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			all := madeUp(test.brokers, test.proxy)
			text := properties(all, all[0], certificates{store: "/d/keystore.pem"}, test.over)
			for _, part := range test.has {
				require.Contains(t, text, part)
			}
			for _, part := range test.hasNot {
				require.NotContains(t, text, part)
			}
			require.Contains(t, text, "listener.name.secure.ssl.keystore.location=/d/keystore.pem\n")
		})
	}
}

func TestKafkaSettings(t *testing.T) {
	t.Parallel()
	k := &Kafka{brokers: madeUp(3, false), certs: certificates{ca: "/d/ca.pem"}, passwordFile: "/d/password"}
	require.Equal(t, []string{
		"REPLYWORKER_KAFKA_BROKERS=127.0.0.1:12002,127.0.0.1:12012,127.0.0.1:12022",
	}, k.Settings(false))
	require.Equal(t, []string{
		"REPLYWORKER_KAFKA_BROKERS=127.0.0.1:12003,127.0.0.1:12013,127.0.0.1:12023",
		"REPLYWORKER_KAFKA_TLS=true",
		"REPLYWORKER_KAFKA_CA_FILE=/d/ca.pem",
		"REPLYWORKER_KAFKA_SASL_MECHANISM=SCRAM-SHA-512",
		"REPLYWORKER_KAFKA_SASL_USERNAME=worker",
		"REPLYWORKER_KAFKA_SASL_PASSWORD_FILE=/d/password",
	}, k.Settings(true))
	require.Empty(t, k.ProxiedAddrs())

	k = &Kafka{brokers: madeUp(1, true), proxied: true}
	require.Equal(t, []string{"REPLYWORKER_KAFKA_BROKERS=127.0.0.1:30000"}, k.Settings(false))
	require.Equal(t, []string{"127.0.0.1:12002"}, k.Addrs())
}

// madeUpRedis returns servers that are not started.
func madeUpRedis(mode RedisMode, encrypted, withProxy bool) *Redis {
	r := &Redis{mode: mode, data: 3}
	if mode == Alone {
		r.data = 1
	}
	all := r.data
	if mode == Sentinel {
		all += 3
	}
	for i := range all {
		n := &node{name: "n" + strconv.Itoa(i), dir: "/d/n", port: 12000 + i, sentinel: i >= r.data}
		if withProxy && !n.sentinel {
			n.proxy = "127.0.0.1:" + strconv.Itoa(30000+i)
		}
		r.nodes = append(r.nodes, n)
	}
	if encrypted {
		r.certs, r.password, r.passwordFile = &certificates{ca: "/d/ca.pem"}, "secret", "/d/password"
	}
	return r
}

func TestRedisSettings(t *testing.T) {
	t.Parallel()
	tests := []struct {
		mode      RedisMode
		encrypted bool
		proxy     bool
		url       string
	}{
		{mode: Alone, url: "redis://127.0.0.1:12000/0"},
		{mode: Alone, encrypted: true, proxy: true, url: "rediss://127.0.0.1:30000/0"},
		{mode: Cluster, url: "redis://127.0.0.1:12000,redis://127.0.0.1:12001,redis://127.0.0.1:12002"},
		{mode: Cluster, encrypted: true, url: "rediss://127.0.0.1:12000,rediss://127.0.0.1:12001,rediss://127.0.0.1:12002"},
		{mode: Sentinel, proxy: true, url: "redis+sentinel://127.0.0.1:12003,127.0.0.1:12004,127.0.0.1:12005/replyworker"},
		{mode: Sentinel, encrypted: true, url: "rediss+sentinel://127.0.0.1:12003,127.0.0.1:12004,127.0.0.1:12005/replyworker"},
	}
	for _, test := range tests {
		want := []string{"REPLYWORKER_REDIS_URL=" + test.url}
		if test.encrypted {
			want = append(want, "REPLYWORKER_REDIS_PASSWORD_FILE=/d/password", "REPLYWORKER_REDIS_CA_FILE=/d/ca.pem")
		}
		require.Equal(t, want, madeUpRedis(test.mode, test.encrypted, test.proxy).Settings())
	}
}

func TestConfiguration(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		redis  *Redis
		node   int
		has    []string
		hasNot []string
	}{
		{
			name: "alone keeps its data", redis: madeUpRedis(Alone, false, false),
			has:    []string{"port 12000\n", "appendonly yes\n", "appendfsync everysec\n", "maxmemory-policy noeviction\n"},
			hasNot: []string{"tls-", "requirepass", "replicaof"},
		},
		{
			name: "secure has no other port", redis: madeUpRedis(Alone, true, false),
			has: []string{"port 0\n", "tls-port 12000\n", "requirepass secret\n", "masterauth secret\n"},
		},
		{
			name: "a cluster's nodes talk TLS too", redis: madeUpRedis(Cluster, true, false), node: 2,
			has: []string{"cluster-enabled yes\n", "tls-cluster yes\n", "tls-port 12002\n"},
		},
		{
			name: "the first data node is the master", redis: madeUpRedis(Sentinel, false, false),
			has: []string{"replica-announce-port 12000\n"}, hasNot: []string{"replicaof"},
		},
		{
			name: "replicas follow and are announced through proxies", redis: madeUpRedis(Sentinel, false, true), node: 1,
			has: []string{"replicaof 127.0.0.1 30000\n", "replica-announce-ip 127.0.0.1\n", "replica-announce-port 30001\n"},
		},
		{
			name: "sentinels watch the proxy and announce themselves", redis: madeUpRedis(Sentinel, true, true), node: 4,
			has: []string{
				"sentinel monitor replyworker 127.0.0.1 30000 2\n", "sentinel announce-port 12004\n",
				"sentinel auth-pass replyworker secret\n", "tls-replication yes\n",
			},
			hasNot: []string{"requirepass", "appendonly"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			text := test.redis.configuration(test.redis.nodes[test.node], map[string]string{"maxmemory": "1gb"})
			for _, part := range test.has {
				require.Contains(t, text, part)
			}
			for _, part := range test.hasNot {
				require.NotContains(t, text, part)
			}
			require.Equal(t, test.node < test.redis.data, strings.Contains(text, "maxmemory 1gb\n"), "for data nodes only")
		})
	}
}

func TestReadAnswer(t *testing.T) {
	t.Parallel()
	tests := []struct{ in, want, fault string }{
		{in: "+OK\r\n", want: "OK"},
		{in: ":12\r\n", want: "12"},
		{in: "$6\r\na\r\nbc\r\n", fault: "EOF"},
		{in: "$5\r\na\r\nbc\r\n\r\n", want: "a\r\nbc"},
		{in: "$0\r\n\r\n", want: ""},
		{in: "$-1\r\n", want: ""},
		{in: "*-1\r\n", want: ""},
		{in: "*3\r\n+a\r\n*2\r\n:1\r\n:2\r\n-ERR no\r\n", want: "a\n1\n2\nERR no"},
		{in: "-MOVED 1 127.0.0.1:2\r\n", fault: "MOVED 1 127.0.0.1:2"},
		{in: "\r\n", fault: "empty line"},
		{in: "%1\r\n", fault: "no answer in RESP2"},
		{in: "$x\r\n", fault: "length of an answer"},
		{in: "", fault: "EOF"},
	}
	for _, test := range tests {
		got, err := readAnswer(bufio.NewReader(strings.NewReader(test.in)))
		if test.fault != "" {
			require.ErrorContains(t, err, test.fault, "of %q", test.in)
			continue
		}
		require.NoError(t, err, "of %q", test.in)
		require.Equal(t, test.want, got, "of %q", test.in)
	}
}

func TestSettingsFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "servers.env")
	want := []string{"A=1", "B=x=y", "C="}
	require.NoError(t, WriteSettings(path, want))
	got, err := ReadSettings(path)
	require.NoError(t, err)
	require.Equal(t, want, got)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	for _, line := range []string{"", "no sign", "=x", "A=1\nB=2"} {
		require.Error(t, WriteSettings(path, []string{line}), "%q", line)
	}
	_, err = ReadSettings("")
	require.ErrorContains(t, err, "no file is named")
	_, err = ReadSettings(path + ".not")
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestCacheDir(t *testing.T) {
	t.Parallel()
	tests := []struct {
		env  map[string]string
		want string
	}{
		{map[string]string{"REALSERVERS_CACHE": "/a", "XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/a"},
		{map[string]string{"XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/b/replyworker-servers"},
		{map[string]string{"HOME": "/c"}, "/c/.cache/replyworker-servers"},
		{nil, ""},
	}
	for _, test := range tests {
		got, err := cacheDir(func(name string) string { return test.env[name] })
		require.Equal(t, test.want, got)
		require.Equal(t, test.want == "", err != nil)
	}
}

func TestReadInstallation(t *testing.T) {
	t.Parallel()
	cache := t.TempDir()
	_, err := readInstallation(cache)
	require.ErrorIs(t, err, os.ErrNotExist)

	write := func(redis string) {
		require.NoError(t, WriteSettings(filepath.Join(cache, "installation"), []string{
			"JAVA=/bin/sh", "KAFKA_LIBS=" + cache, "KAFKA_VERSION=4.1.0", "REDIS_SERVER=" + redis, "REDIS_LIBS=/l", "NEW=1",
		}))
	}
	write("/bin/sh")
	in, err := readInstallation(cache)
	require.NoError(t, err)
	require.Equal(t, Installation{
		Java: "/bin/sh", KafkaLibs: cache, KafkaVersion: "4.1.0", RedisServer: "/bin/sh", RedisLibs: "/l",
	}, in)

	write(filepath.Join(cache, "gone"))
	_, err = readInstallation(cache)
	require.ErrorIs(t, err, os.ErrNotExist, "a program that is gone is found out")
}

func TestScriptIsFound(t *testing.T) {
	t.Parallel()
	path, err := scriptPath()
	require.NoError(t, err)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.NotZero(t, info.Mode().Perm()&0o100, "%s is to be run", path)
}
