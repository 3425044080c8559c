package config_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"replyworker/internal/config"
)

func TestDefaultIsValidAndIsWhatLoadGivesWithoutSources(t *testing.T) {
	t.Parallel()
	require.NoError(t, config.Default().Validate())
	loaded, err := config.Load(config.Sources{})
	require.NoError(t, err)
	require.Equal(t, config.Default(), loaded)

	c := config.Default()
	require.Equal(t, []string{"127.0.0.1:9092"}, c.KafkaBrokers)
	require.Equal(t, 30*time.Second, c.KafkaSessionTimeout)
	require.False(t, c.KafkaTLS)
	require.Equal(t, []string{"127.0.0.1:6379"}, c.RedisURL.Addrs)
	require.Equal(t, "https://api2.mch.weixin.qq.com", c.BackupURL)
	require.Equal(t, 20, c.Brake)
	require.Equal(t, 14*24*time.Hour, c.ClaimRetention)
	require.Equal(t, int64(32<<20), c.BufferBytes)
	require.Empty(t, c.Merchants)
	require.Equal(t, []string{"reply-jobs"}, c.JobsTopics())
}

func TestPrecedence(t *testing.T) {
	t.Parallel()
	const file = "log-level: warn\n"
	for _, tt := range []struct {
		name   string
		args   []string
		env    []string
		file   string
		want   string
		origin string
	}{
		{name: "nothing is the default", want: "info", origin: "default"},
		{name: "file over default", file: file, want: "warn", origin: "file worker.yaml:1"},
		{
			name: "environment over file", file: file, env: []string{"REPLYWORKER_LOG_LEVEL=error"},
			want: "error", origin: "env REPLYWORKER_LOG_LEVEL",
		},
		{
			name: "flag over environment", file: file, env: []string{"REPLYWORKER_LOG_LEVEL=error"},
			args: []string{"--log-level=debug"}, want: "debug", origin: "flag --log-level",
		},
		{
			name: "flag over file", file: file, args: []string{"--log-level", "debug"},
			want: "debug", origin: "flag --log-level",
		},
		{
			name: "flag with the default's value is still the flag", args: []string{"--log-level=info"},
			want: "info", origin: "flag --log-level",
		},
		{
			name: "a wrong value that is overruled does no harm", file: "log-level: {a: b}\n",
			env: []string{"REPLYWORKER_LOG_LEVEL=shout"}, args: []string{"--log-level=debug"},
			want: "debug", origin: "flag --log-level",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			files := memory{}
			if tt.file != "" {
				files["worker.yaml"] = tt.file
			}
			c, err := load(t, tt.args, tt.env, files)
			if strings.Contains(tt.file, "{") {
				require.Equal(t, "log-level (file worker.yaml:1) has nested values, and takes one value; "+
					"write it as log-level: VALUE\n", faults(err), "the file is broken all the same")
				return
			}
			require.NoError(t, err)
			require.Equal(t, tt.want, c.LogLevel)
			require.Equal(t, tt.origin, c.Origin("log-level").String())
		})
	}
}

func TestFileOfTheFlagIsReadInPlaceOfTheVariables(t *testing.T) {
	t.Parallel()
	files := memory{"worker.yaml": "log-level: warn\n", "other.yaml": "log-level: error\n"}
	c, err := load(t, []string{"--config=other.yaml"}, nil, files)
	require.NoError(t, err)
	require.Equal(t, "error", c.LogLevel)
	c, err = load(t, []string{"--config="}, nil, files)
	require.NoError(t, err)
	require.Equal(t, "info", c.LogLevel, "an empty --config is no file")
}

func TestEveryKindOfValue(t *testing.T) {
	t.Parallel()
	c, err := load(t, []string{"--kafka-brokers=a:1,b:2", "--kafka-brokers=c:3", "--kafka-tls"}, []string{
		"REPLYWORKER_BACKUP_URL=", "REPLYWORKER_CLAIM_RETENTION=30d", "REPLYWORKER_BUFFER_BYTES= 64mib ",
	}, memory{"worker.yaml": `
mchid: 1900000001           # a number to YAML, a name to us
cert-serial: 0123
brake: off
rate: 2.5
concurrency: "8"
redis-url: [redis://user@one, two:7000, redis://three:7001]
public-key-id: &id PUB_KEY_ID_1
kafka-group: *id
retry-max: 2m
primary-url: http://127.0.0.1:8443/
`})
	require.NoError(t, err)
	require.Equal(t, []string{"a:1", "b:2", "c:3"}, c.KafkaBrokers)
	require.True(t, c.KafkaTLS)
	require.Empty(t, c.BackupURL)
	require.Equal(t, 30*24*time.Hour, c.ClaimRetention)
	require.Equal(t, int64(64<<20), c.BufferBytes)
	require.Equal(t, "1900000001", c.MchID)
	require.Equal(t, "0123", c.CertSerial)
	require.Zero(t, c.Brake)
	require.InDelta(t, 2.5, c.Rate, 0)
	require.Equal(t, 8, c.Concurrency)
	require.Equal(t, config.RedisURL{
		Mode: config.RedisCluster, Username: "user", Addrs: []string{"one:6379", "two:7000", "three:7001"},
	}, c.RedisURL)
	require.Equal(t, "PUB_KEY_ID_1", c.KafkaGroup)
	require.Equal(t, "http://127.0.0.1:8443", c.PrimaryURL)
	require.Len(t, c.Merchants, 1)
}

// TestFaults holds the wording, which is the operator's only help.
func TestFaults(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		args []string
		env  []string
		file string
		want string
	}{
		{
			name: "unknown key", file: "kafka_broker: x\n",
			want: "kafka_broker (file worker.yaml:1) is no setting; did you mean kafka-brokers?",
		},
		{
			name: "unknown key like nothing", file: "zzz: x\n",
			want: "zzz (file worker.yaml:1) is no setting; take it out; `worker help settings` lists the names",
		},
		{
			name: "unknown variable, value not shown", env: []string{"REPLYWORKER_REDIS_PASSWORD=hunter2"},
			want: "REPLYWORKER_REDIS_PASSWORD (env REPLYWORKER_REDIS_PASSWORD) is no setting; " +
				"did you mean REPLYWORKER_REDIS_PASSWORD_FILE?",
		},
		{
			name: "variable in the wrong case", env: []string{"REPLYWORKER_kafka_group=x"},
			want: "REPLYWORKER_kafka_group (env REPLYWORKER_kafka_group) is no setting; did you mean REPLYWORKER_KAFKA_GROUP?",
		},
		{
			name: "the file names itself", file: "config: x\n",
			want: "config (file worker.yaml:1) is no setting; take it out; --config and REPLYWORKER_CONFIG name the file",
		},
		{
			name: "duplicate key", file: "log-level: info\nlog-level: warn\n",
			want: "log-level (file worker.yaml:2) is there twice, first in line 1; take one of them out",
		},
		{
			name: "list for one value", file: "\nlog-level: [info]\n",
			want: "log-level (file worker.yaml:2) has a list, and takes one value; write it as log-level: VALUE",
		},
		{
			name: "no value", file: "kafka-group:\n",
			want: `kafka-group (file worker.yaml:1) has no value; leave the line out for the default, or write "" for none`,
		},
		{
			name: "tag", file: "kafka-group: !!binary aGk=\n",
			want: "kafka-group (file worker.yaml:1) has the type !!binary, and takes plain values only; take the tag out",
		},
		{
			name: "no mapping", file: "- a\n",
			want: "the file (file worker.yaml:1) is not made of lines `name: value`",
		},
		{
			name: "two documents", file: "log-level: info\n---\nlog-level: warn\n",
			want: "the file (file worker.yaml:2) has more than one document; take the line --- and what follows it out",
		},
		{
			name: "no YAML", file: "log-level: [\n",
			want: "the file (file worker.yaml) is not YAML: line 1: did not find expected node content",
		},
		{
			name: "empty variable", env: []string{"REPLYWORKER_KAFKA_GROUP="},
			want: `kafka-group = "" (env REPLYWORKER_KAFKA_GROUP) must not be empty; leave it out for the default replyworker`,
		},
		{
			name: "no number", args: []string{"--concurrency=many"},
			want: `concurrency = "many" (flag --concurrency) must be a whole number from 1 to 10000; ` +
				"leave it out for the default 64",
		},
		{
			name: "number out of range", args: []string{"--concurrency=0"},
			want: `concurrency = "0" (flag --concurrency) must be a whole number from 1 to 10000; ` +
				"leave it out for the default 64",
		},
		{
			name: "duration without unit", file: "drain-timeout: 20\n",
			want: `drain-timeout = "20" (file worker.yaml:1) must be a duration from 100ms to 1h, with its unit, ` +
				"such as 500ms, 30s, 5m or 12h; leave it out for the default 20s",
		},
		{
			name: "size", args: []string{"--buffer-bytes=1KiB"},
			want: `buffer-bytes = "1KiB" (flag --buffer-bytes) must be a size from 1MiB to 64GiB, such as 64MiB, ` +
				"or a number of bytes; leave it out for the default 32MiB",
		},
		{
			name: "infinite rate", args: []string{"--rate=+Inf"},
			want: `rate = "+Inf" (flag --rate) must be a number from 0.001 to 100000, or 0 for no limit; ` +
				"leave it out for the default 0",
		},
		{
			name: "brake of one", args: []string{"--brake=1"},
			want: `brake = "1" (flag --brake) must be a whole number from 2 to 100000, or off; leave it out for the default 20`,
		},
		{
			name: "bool", args: []string{"--kafka-tls=maybe"},
			want: `kafka-tls = "maybe" (flag --kafka-tls) must be true or false; leave it out for the default false`,
		},
		{
			name: "enum", args: []string{"--validation=lenent"},
			want: `validation = "lenent" (flag --validation) must be one of strict, lenient; did you mean lenient?`,
		},
		{
			name: "broker without port", args: []string{"--kafka-brokers=kafka-1"},
			want: `kafka-brokers = "kafka-1" (flag --kafka-brokers) must have no entry like "kafka-1": each must be ` +
				"host:port, with a port from 1 to 65535; such as kafka-1.example.com:9092 or [::1]:9092",
		},
		{
			name: "broker twice", args: []string{"--kafka-brokers=a:1,a:1"},
			want: `kafka-brokers = "a:1,a:1" (flag --kafka-brokers) must not name a:1 twice; ` +
				"leave it out for the default 127.0.0.1:9092",
		},
		{
			name: "stray comma", args: []string{"--kafka-brokers=a:1,"},
			want: `kafka-brokers = "a:1," (flag --kafka-brokers) must not have an empty entry; take the stray comma out`,
		},
		{
			name: "topic", args: []string{"--topic-jobs=reply jobs"},
			want: `topic-jobs = "reply jobs" (flag --topic-jobs) must be 1 to 249 letters, digits, ., _ or -, ` +
				"and neither . nor ..; leave it out for the default reply-jobs",
		},
		{
			name: "topics that the broker takes for one", args: []string{"--topic-jobs=a.b", "--topic-outcomes=a_b"},
			want: `topic-outcomes = "a_b" (flag --topic-outcomes) must be a topic of its own, and not that of topic-jobs, ` +
				`which is "a.b" (flag --topic-jobs); give each its own topic`,
		},
		{
			name: "password in a broken URL", args: []string{"--redis-url=redis://u:pa?s#s@host:1,2"},
			want: `redis-url = "redis://[redacted]@host:1,2" (flag --redis-url) must be made of addresses host:port; ` +
				`a / ? # @ , or % in a password is written as %2F %3F %23 %40 %2C %25`,
		},
		{
			name: "redis scheme", args: []string{"--redis-url=127.0.0.1:6379"},
			want: `redis-url = "127.0.0.1:6379" (flag --redis-url) must begin with redis://, rediss://, redis+cluster://, ` +
				"rediss+cluster://, redis+sentinel:// or rediss+sentinel://; such as redis://127.0.0.1:6379/0",
		},
		{
			name: "two passwords", args: []string{"--redis-url=redis://u:hunter2@h", "--redis-password-file=f"},
			want: `redis-password-file = "f" (flag --redis-password-file) must be the only password, ` +
				"and redis-url has one too; take the password out of redis-url",
		},
		{
			name: "key in place of a path", env: []string{"REPLYWORKER_PRIVATE_KEY_FILE=-----BEGIN PRIVATE KEY-----\nMII"},
			want: "private-key-file (env REPLYWORKER_PRIVATE_KEY_FILE) must be the path of a file, " +
				"and looks like the content of one; write the key to a file",
		},
		{
			name: "control character", args: []string{"--kafka-group=a\x00b"},
			want: `kafka-group = "a\x00b" (flag --kafka-group) must be text without control characters; ` +
				"leave it out for the default replyworker",
		},
		{
			name: "plain http", args: []string{"--primary-url=http://api.mch.weixin.qq.com"},
			want: `primary-url = "http://api.mch.weixin.qq.com" (flag --primary-url) must begin with https:// ` +
				"(http:// is taken for this machine's own addresses only); leave it out for the default " +
				"https://api.mch.weixin.qq.com",
		},
		{
			name: "URL with a password", args: []string{"--primary-url=https://me:hunter2@host"},
			want: `primary-url = "https://[redacted]@host" (flag --primary-url) must be without a user name or password; ` +
				"leave it out for the default https://api.mch.weixin.qq.com",
		},
		{
			name: "URL with a path", args: []string{"--backup-url=https://host/v3?x=hunter2"},
			want: `backup-url = "https://host/v3?[redacted]" (flag --backup-url) must be a scheme and a host alone, ` +
				"without path, query or fragment; leave it out for the default https://api2.mch.weixin.qq.com",
		},
		{
			name: "one host twice", args: []string{"--backup-url=https://API.mch.weixin.qq.com:443/"},
			want: `backup-url = "https://API.mch.weixin.qq.com:443/" (flag --backup-url) must be another host than ` +
				`primary-url, which is "https://api.mch.weixin.qq.com" (default); set it to "" where there is no backup`,
		},
		{
			name: "retry-initial over retry-max", args: []string{"--retry-max=100ms"},
			want: `retry-initial = "500ms" must be at most retry-max, which is "100ms" (flag --retry-max); ` +
				"raise the one or lower the other",
		},
		{
			name: "retention below lease", args: []string{"--claim-lease=10m", "--claim-retention=5m"},
			want: `claim-retention = "5m" (flag --claim-retention) must be more than claim-lease, which is "10m" ` +
				"(flag --claim-lease); raise the one or lower the other",
		},
		{
			name: "lease too short", args: []string{"--claim-lease=2s"},
			want: `claim-lease = "2s" (flag --claim-lease) must be a duration from 3s to 1h, with its unit, such as 500ms, ` +
				"30s, 5m or 12h; leave it out for the default 30s",
		},
		{
			name: "open address without token", args: []string{"--admin-addr=:9464"},
			want: `admin-addr = ":9464" (flag --admin-addr) must be a loopback address where there is no admin-token-file; ` +
				"set admin-token-file to a file with a token, or use 127.0.0.1",
		},
		{
			name: "certificate without key and TLS", args: []string{"--kafka-cert-file=c"},
			want: `kafka-cert-file = "c" (flag --kafka-cert-file) must have kafka-key-file with it; set kafka-key-file, ` +
				"or leave kafka-cert-file out\n" +
				`kafka-cert-file = "c" (flag --kafka-cert-file) must have kafka-tls with it; set kafka-tls to true, ` +
				"or leave kafka-cert-file out",
		},
		{
			name: "mechanism alone", args: []string{"--kafka-sasl-mechanism=PLAIN"},
			want: `kafka-sasl-mechanism = "PLAIN" (flag --kafka-sasl-mechanism) must have kafka-sasl-username with it; ` +
				"set kafka-sasl-username, or leave kafka-sasl-mechanism out\n" +
				`kafka-sasl-mechanism = "PLAIN" (flag --kafka-sasl-mechanism) must have kafka-sasl-password-file with it; ` +
				"set kafka-sasl-password-file, or leave kafka-sasl-mechanism out",
		},
		{
			name: "user alone", args: []string{"--kafka-sasl-username=me"},
			want: `kafka-sasl-username = "me" (flag --kafka-sasl-username) must have kafka-sasl-mechanism with it; ` +
				"set kafka-sasl-mechanism, or leave kafka-sasl-username out",
		},
		{
			name: "redis certificates without TLS", args: []string{"--redis-ca-file=ca"},
			want: `redis-ca-file = "ca" (flag --redis-ca-file) must have a redis-url with TLS; ` +
				"begin redis-url with rediss://, or leave redis-ca-file out",
		},
		{
			name: "prefix with a brace", args: []string{"--redis-prefix={a}"},
			want: `redis-prefix = "{a}" (flag --redis-prefix) must be at most 128 bytes, without spaces and any of ` +
				`{ } * ? [ ] \; leave it out for the default replyworker`,
		},
		{
			name: "file that is not there", args: []string{"--merchants-file=nope.yaml"},
			want: `merchants-file = "nope.yaml" (flag --merchants-file) cannot be read: file does not exist; ` +
				"check the path and the permissions",
		},
		{
			name: "no second fault for what a fault explains", args: []string{"--claim-lease=x", "--claim-retention=5s"},
			want: `claim-lease = "x" (flag --claim-lease) must be a duration from 3s to 1h, with its unit, such as 500ms, ` +
				"30s, 5m or 12h; leave it out for the default 30s",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			files := memory{}
			if tt.file != "" {
				files["worker.yaml"] = tt.file
			}
			_, err := load(t, tt.args, tt.env, files)
			require.Equal(t, tt.want+"\n", faults(err))
			require.NotContains(t, err.Error(), "hunter2")
		})
	}
}

func TestAllFaultsAtOnce(t *testing.T) {
	t.Parallel()
	_, err := load(t, []string{"--admin-addr=:9464", "--merchants-file=merchants.yaml"}, []string{
		"REPLYWORKER_VALIDATION=", "REPLYWORKER_REDIS_PASSWORD=hunter2", "PATH=/bin",
	}, memory{
		"worker.yaml": `kafka-group:
concurrency: 0
concurrency: 5
kafka-broker: x
redis-url: redis://u:hunter2@h:1,i:2/3
retry-max: 100ms
log-level: {a: b}
private-key-file: |
  -----BEGIN PRIVATE KEY-----
primary-url: https://me:hunter2@x/
`,
		"merchants.yaml": `merchants:
  - mchid: 1900000001
    cert-serial: zz
    public-key-id: P
    answer-keys: [{id: P, file: f}, {id: Q}, {id: "a b", file: f, use: x}]
    topic-jobs: reply-outcomes
  - mchid: 1900000001
    colour: red
  - none
`,
	})
	golden(t, "faults.txt", faults(err))
	require.NotContains(t, err.Error(), "hunter2")
}

func TestVariablesOfKubernetesAreNoFault(t *testing.T) {
	t.Parallel()
	_, err := load(t, nil, []string{
		"REPLYWORKER_SERVICE_HOST=10.0.0.1", "REPLYWORKER_SERVICE_PORT=80", "REPLYWORKER_SERVICE_PORT_HTTP=80",
		"REPLYWORKER_PORT=tcp://10.0.0.1:80", "REPLYWORKER_PORT_9464_TCP=x", "REPLYWORKER_PORT_9464_TCP_ADDR=x",
		"REPLYWORKER_ADMIN_SERVICE_HOST=x", "REPLYWORKER_ADMIN_PORT_80_TCP_PROTO=x", "OTHER_THING=x", "REPLYWORKER=x",
	}, nil)
	require.NoError(t, err)
}

// TestNamesAreEqualEverywhere holds that one table makes all the forms.
func TestNamesAreEqualEverywhere(t *testing.T) {
	t.Parallel()
	var want []string
	for _, s := range config.Settings() {
		want = append(want, s.Name)
	}
	require.Len(t, want, 47, "the settings of the contract")

	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	config.AddFlags(fs)
	var flags []string
	fs.VisitAll(func(f *pflag.Flag) { flags = append(flags, f.Name) })
	require.ElementsMatch(t, want, flags, "flags")

	var printed []string
	for _, row := range config.Default().Effective() {
		printed = append(printed, row.Name)
	}
	require.Equal(t, want, printed, "config print")

	var documented, documentedEnv []string
	for line := range strings.Lines(config.Markdown()) {
		if cells := strings.Split(line, "|"); len(cells) > 3 && strings.Contains(cells[1], "`") {
			documented = append(documented, strings.Trim(cells[1], " `"))
			documentedEnv = append(documentedEnv, strings.Trim(cells[2], " `"))
		}
	}
	require.Equal(t, want, documented, "markdown")

	// What a source is given under each name is what comes out.
	var env, file []string
	for _, row := range config.Default().Effective() {
		env = append(env, config.EnvName(row.Name)+"="+row.Value)
		file = append(file, fmt.Sprintf("%s: %q\n", row.Name, row.Value))
	}
	c, err := load(t, nil, env, nil)
	require.NoError(t, err)
	for i, row := range c.Effective() {
		require.Equal(t, "env "+documentedEnv[i], row.Origin.String())
		require.Equal(t, config.Default().Effective()[i].Value, row.Value)
	}
	c, err = load(t, nil, nil, memory{"worker.yaml": strings.Join(file, "")})
	require.NoError(t, err)
	for i, row := range c.Effective() {
		require.Equal(t, fmt.Sprintf("file worker.yaml:%d", i+1), row.Origin.String())
	}
}

func TestEverySettingSpeaksForItself(t *testing.T) {
	t.Parallel()
	for _, s := range config.Settings() {
		require.NotEmpty(t, s.Help, s.Name)
		require.NotContains(t, s.Help, "\n", s.Name)
		require.NotEmpty(t, s.Kind(), s.Name)
		require.True(t, slices.Contains(config.Groups(), s.Group), s.Name)
		if strings.Contains(s.Name, "password") || strings.Contains(s.Name, "token") {
			require.True(t, s.Secret, s.Name)
			require.Equal(t, "file", s.Kind(), "%s: secrets come from files", s.Name)
		}
		require.NotRegexp(t, "_SERVICE_HOST$|_SERVICE_PORT|_PORT$|_PORT_", s.Env(), "Kubernetes makes such names")
	}
}

func TestACommandsOwnFlagWinsOverTheSettings(t *testing.T) {
	t.Parallel()
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	rate := fs.String("rate", "", "letters per second")
	config.AddFlags(fs, config.GroupKafka)
	require.NoError(t, fs.Parse([]string{"--rate=10", "--kafka-group=g"}))
	c, err := config.Load(config.Sources{Flags: fs})
	require.NoError(t, err)
	require.Equal(t, "10", *rate)
	require.Zero(t, c.Rate)
	require.Equal(t, "g", c.KafkaGroup)
	require.True(t, fs.Lookup("redis-url").Hidden)
	require.False(t, fs.Lookup("kafka-group").Hidden)
}

func TestMarkdown(t *testing.T) {
	t.Parallel()
	golden(t, "settings.md", config.Markdown())
}

func TestValidateOfAConfigMadeByHand(t *testing.T) {
	t.Parallel()
	c := config.Default()
	c.Concurrency = 0
	c.KafkaGroup = ""
	c.Merchants = []config.Merchant{{MchID: "1"}}
	require.Equal(t, `kafka-group = "" must not be empty; leave it out for the default replyworker
concurrency = "0" must be a whole number from 1 to 10000; leave it out for the default 64
merchants[0].cert-serial is missing; write `+"`cert-serial: ...`"+`
merchants[0].private-key-file is missing; write `+"`private-key-file: ...`"+`
merchants[0].public-key-id is missing; write `+"`public-key-id: ...`"+`
merchants[0].public-key-file is missing; write `+"`public-key-file: ...`"+`
`, faults(c.Validate()))
	require.Error(t, new(config.Config).Validate(), "the zero Config is not valid, and no panic")
}

func TestFilesOfTheFileSystem(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "worker.yaml")
	require.NoError(t, os.WriteFile(path, []byte("log-level: warn\n"), 0o600))
	c, err := config.Load(config.Sources{Env: []string{"REPLYWORKER_CONFIG=" + path}})
	require.NoError(t, err)
	require.Equal(t, "warn", c.LogLevel)

	require.NoError(t, os.WriteFile(path, make([]byte, 1<<20+1), 0o600))
	_, err = config.Load(config.Sources{Env: []string{"REPLYWORKER_CONFIG=" + path}})
	require.ErrorContains(t, err, "cannot be read: larger than 1 MiB")
	_, err = config.Load(config.Sources{Env: []string{"REPLYWORKER_CONFIG=" + dir}})
	require.ErrorContains(t, err, "is a directory")
	_, err = config.Load(config.Sources{Env: []string{"REPLYWORKER_CONFIG=" + dir + "/none"}})
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestSecretsDoNotPrint(t *testing.T) {
	t.Parallel()
	c, err := load(t, []string{"--redis-url=rediss://u:hunter2@h"}, nil, nil)
	require.NoError(t, err)
	require.Equal(t, "hunter2", c.RedisURL.Password.Reveal())
	hidden := struct{ secret config.Secret }{c.RedisURL.Password}
	encoded, err := json.Marshal(c)
	require.NoError(t, err)
	for _, text := range []string{
		string(encoded), fmt.Sprint(c.RedisURL), fmt.Sprintf("%+v %#v", *c, c),
		fmt.Sprintf("%q %x %s", c.RedisURL.Password, c.RedisURL.Password, &c.RedisURL.Password),
		fmt.Sprintf("%+v %#v", hidden, hidden), c.Effective()[14].Value, strings.Join(c.Warnings(), "\n"),
	} {
		require.NotContains(t, text, "hunter2")
		require.NotContains(t, text, fmt.Sprintf("%x", "hunter2"))
	}
	require.Equal(t, "rediss://u:[redacted]@h:6379/0", c.RedisURL.String())
	require.Empty(t, config.Secret{}.String())
}
