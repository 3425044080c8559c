package config_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"replyworker/internal/config"
)

func TestRedisURL(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ url, want string }{
		{"redis://h", "redis://h:6379/0"},
		{"redis://h/", "redis://h:6379/0"},
		{"REDIS://h:1/5", "redis://h:1/5"},
		{"redis://[::1]:7000/0", "redis://[::1]:7000/0"},
		{"redis://[::1]", "redis://[::1]:6379/0"},
		{"rediss://:pw@h", "rediss://:[redacted]@h:6379/0"},
		{"redis://u:p%40w%2C@h", "redis://u:[redacted]@h:6379/0"},
		{"redis://a:1,redis://b:2", "redis+cluster://a:1,b:2"},
		{"redis://u:p@a:1, redis://u:p@b:2", "redis+cluster://u:[redacted]@a:1,b:2"},
		{"redis://a:1,b:2,c", "redis+cluster://a:1,b:2,c:6379"},
		{"redis://u:p@a:1,redis://b:2/", "redis+cluster://u:[redacted]@a:1,b:2"},
		{"rediss+cluster://one", "rediss+cluster://one:6379"},
		{"redis+sentinel://a,b:2/mymaster/3", "redis+sentinel://a:26379,b:2/mymaster/3"},
		{"redis+sentinel://u:p@a:1,b/mymaster/3", "redis+sentinel://u:[redacted]@a:1,b:26379/mymaster/3"},
		{"rediss+sentinel://a/mymaster", "rediss+sentinel://a:26379/mymaster/0"},
		{"", `redis-url = "" (flag --redis-url) must not be empty`},
		{"h:6379", "must begin with redis://"},
		{"http://h", "must begin with redis://"},
		{"redis+://h", "must begin with redis://"},
		{"redis+foo://h", "must begin with redis://"},
		{"redis://", "must be made of addresses host:port"},
		{"redis://a,,b", "must be made of addresses host:port"},
		{"redis://a:port", "must be made of addresses host:port"},
		{"redis://u:hunter2%zz@a", "must be made of addresses host:port"},
		{"redis://u:hunter2/x@a", "must be made of addresses host:port"},
		{"redis://a,", "must be made of addresses host:port"},
		{"redis://a:0", "must have ports from 1 to 65535"},
		{"redis://a:99999", "must have ports from 1 to 65535"},
		{"redis://:hunter2", `redis-url = "redis://[redacted]"`},
		{"redis://a?db=1", "must be without ? and #"},
		{"redis://u:1?hunter2@a", "must be without ? and #"},
		{"redis+sentinel://a/m?sentinel_password=hunter2", "must be without ? and #"},
		{"redis://a/x", "must end in a database number"},
		{"redis://a,a", "must not name a:6379 twice"},
		{"redis://a/1,b/2", "must have the same database in every address"},
		{"redis://a,b/2", "must use database 0"},
		{"redis://u:p@a,redis://u:q@b", "must have the same user and password in every address"},
		{"redis://a,rediss://b", "must have the same scheme in every address"},
		{"redis+sentinel://a", "must name the master after the hosts"},
	} {
		t.Run(tt.url, func(t *testing.T) {
			t.Parallel()
			c, err := load(t, []string{"--redis-url=" + tt.url}, nil, nil)
			if err != nil {
				require.Contains(t, faults(err), tt.want)
				require.NotContains(t, faults(err), "hunter2")
				return
			}
			require.Equal(t, tt.want, c.RedisURL.String())
		})
	}
	c, err := load(t, []string{"--redis-url=redis://u:p%40w%2C@h"}, nil, nil)
	require.NoError(t, err)
	require.Equal(t, "p@w,", c.RedisURL.Password.Reveal())
}

func TestUnitsComeBackInTheirShortestForm(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, given, want string }{
		{"drain-timeout", "60m", "1h"},
		{"drain-timeout", "90s", "1m30s"},
		{"drain-timeout", "1500ms", "1.5s"},
		{"claim-retention", "1h30m", "1h30m"},
		{"claim-retention", "14d", "336h"},
		{"claim-retention", "1d1h", ""},
		{"claim-retention", "-1d", ""},
		{"claim-retention", "9999999999d", ""},
		{"buffer-bytes", "33554432", "32MiB"},
		{"buffer-bytes", "2 GiB", "2GiB"},
		{"buffer-bytes", "64Mi", "64MiB"},
		{"buffer-bytes", "2MB", "2000000"},
		{"buffer-bytes", "1.5GiB", ""},
		{"buffer-bytes", "9999999999999GiB", ""},
		{"buffer-bytes", "-1GiB", ""},
		{"rate", "0.5", "0.5"},
		{"rate", "1e2", "100"},
		{"rate", "0.0001", ""},
		{"rate", "-1", ""},
		{"rate", "NaN", ""},
		{"brake", "OFF", "off"},
		{"brake", "false", "off"},
		{"brake", "0", "off"},
		{"kafka-tls", "on", "true"},
		{"kafka-tls", "No", "false"},
		{"admin-addr", "localhost:0", "localhost:0"},
		{"admin-addr", "[::1]:9464", "[::1]:9464"},
		{"admin-addr", "9464", ""},
		{"admin-addr", "127.0.0.1:http", ""},
		{"primary-url", "http://[::1]:8443", "http://[::1]:8443"},
		{"primary-url", "https://h:0", ""},
		{"primary-url", "https:h", ""},
		{"kafka-brokers", "[::1]:9092", "[::1]:9092"},
		{"kafka-brokers", "a b:9092", ""},
		{"topic-jobs", "..", ""},
	} {
		t.Run(tt.name+"="+tt.given, func(t *testing.T) {
			t.Parallel()
			c, err := load(t, []string{"--" + tt.name + "=" + tt.given}, nil, nil)
			if tt.want == "" {
				require.Error(t, err)
				return
			}
			require.NoError(t, err)
			for _, row := range c.Effective() {
				if row.Name == tt.name {
					require.Equal(t, tt.want, row.Value)
				}
			}
		})
	}
}

func TestNearest(t *testing.T) {
	t.Parallel()
	names := []string{"run", "demo", "enqueue", "redis-password-file", "kafka-brokers"}
	for name, want := range map[string]string{
		"rnu": "run", "runn": "run", "RUN": "run", "dmo": "demo", "enque": "enqueue",
		"redis-password": "redis-password-file",
		"KAFKA_BROKER":   "kafka-brokers", "zebra": "", "": "", "x": "",
	} {
		require.Equal(t, want, config.Nearest(name, names), name)
	}
}

const twoMerchants = `
merchants:
  - mchid: 1900000001
    cert-serial: 01AF
    private-key-file: one.pem
    public-key-id: PUB_KEY_ID_1
    public-key-file: one.pub
    answer-keys:
      - {id: PUB_KEY_ID_0, file: zero.pub}
  - mchid: "1900000002"
    cert-serial: 02af
    private-key-file: two.pem
    public-key-id: PUB_KEY_ID_2
    public-key-file: two.pub
    topic-jobs: reply-jobs-two
`

func TestMerchants(t *testing.T) {
	t.Parallel()
	files := memory{"m.yaml": twoMerchants}
	flat := []string{
		"--mchid=1900000003", "--cert-serial=03", "--private-key-file=three.pem",
		"--public-key-id=PUB_KEY_ID_3", "--public-key-file=three.pub",
	}
	ids := func(c *config.Config) []string {
		var all []string
		for _, m := range c.Merchants {
			all = append(all, m.MchID)
		}
		return all
	}

	t.Run("the file's, and no default among several", func(t *testing.T) {
		t.Parallel()
		c, err := load(t, []string{"--merchants-file=m.yaml"}, nil, files)
		require.NoError(t, err)
		require.NoError(t, c.RequireMerchant())
		require.Equal(t, []string{"1900000001", "1900000002"}, ids(c))
		_, found := c.DefaultMerchant()
		require.False(t, found)
		one, found := c.Merchant("1900000001")
		require.True(t, found)
		require.Equal(t, "01AF", one.CertSerial)
		require.Len(t, one.AnswerKeys, 1)
		require.Equal(t, "PUB_KEY_ID_0", one.AnswerKeys[0].ID)
		require.Equal(t, "reply-jobs", one.TopicJobs)
		require.Equal(t, []string{"reply-jobs", "reply-jobs-two"}, c.JobsTopics())
		require.NoError(t, c.Validate(), "what Load gives is valid")
	})
	t.Run("that of the settings is first, and the default", func(t *testing.T) {
		t.Parallel()
		c, err := load(t, append([]string{"--merchants-file=m.yaml"}, flat...), nil, files)
		require.NoError(t, err)
		require.NoError(t, c.RequireMerchant())
		require.Equal(t, []string{"1900000003", "1900000001", "1900000002"}, ids(c))
		m, found := c.DefaultMerchant()
		require.True(t, found)
		require.Equal(t, "three.pem", m.PrivateKeyFile)
	})
	t.Run("mchid alone chooses the default of the file", func(t *testing.T) {
		t.Parallel()
		c, err := load(t, []string{"--merchants-file=m.yaml", "--mchid=1900000002"}, nil, files)
		require.NoError(t, err)
		require.NoError(t, c.RequireMerchant())
		require.Equal(t, []string{"1900000002", "1900000001"}, ids(c))
		m, _ := c.DefaultMerchant()
		require.Equal(t, "two.pem", m.PrivateKeyFile)
	})
	t.Run("one in both places is refused", func(t *testing.T) {
		t.Parallel()
		_, err := load(t, []string{"--merchants-file=m.yaml", "--mchid=1900000002", "--cert-serial=1"}, nil, files)
		require.Equal(t, `merchants[1].mchid = "1900000002" (file m.yaml:10) is the default merchant of the settings too; `+
			"take it out of the file; or leave mchid alone in the settings, which chooses this one as the default\n",
			faults(err))
	})
	t.Run("some of the default's values", func(t *testing.T) {
		t.Parallel()
		c, err := load(t, append([]string{"--merchants-file=m.yaml"}, flat[1:4]...), nil, files)
		require.NoError(t, err, "the form is right")
		require.Equal(t, "mchid is missing: the default merchant needs it; "+
			"set it with --mchid, REPLYWORKER_MCHID or in the file\n"+
			"public-key-file is missing: the default merchant needs it; "+
			"set it with --public-key-file, REPLYWORKER_PUBLIC_KEY_FILE or in the file\n", faults(c.RequireMerchant()))
	})
	t.Run("none at all", func(t *testing.T) {
		t.Parallel()
		c, err := load(t, nil, nil, nil)
		require.NoError(t, err)
		require.Len(t, config.Faults(c.RequireMerchant()), 5)
		require.ErrorContains(t, c.RequireMerchant(),
			"cert-serial is missing: no merchant is configured, and calls need one")
	})
}

func TestMerchantsFileThatIsNone(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                       "merchants (file m.yaml) is missing; write `merchants:` and a list under it\n",
		"merchants:\n":           "merchants (file m.yaml:1) is not a list; write each merchant with a dash: `- mchid: ...`\n",
		"merchants: []\n":        "merchants (file m.yaml:1) is not a list; write each merchant with a dash: `- mchid: ...`\n",
		"merchant: []\n":         "merchant (file m.yaml:1) is no setting; did you mean merchants?\n",
		"merchants: [1]\n":       "merchants[0] (file m.yaml:1) is not made of lines `name: value`\n",
		"merchants: &a [*a]\n":   "merchants[0] (file m.yaml:1) is not made of lines `name: value`\n",
		"? [a]\n: b\n":           "a key (file m.yaml:1) is not a plain name\n",
		"merchants: [\"\\xff\"]": "merchants[0] (file m.yaml:1) is not made of lines `name: value`\n",
	} {
		_, err := load(t, []string{"--merchants-file=m.yaml"}, nil, memory{"m.yaml": text})
		require.Equal(t, want, faults(err), text)
	}
}

func TestReadingTheFilesOfSettings(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	password, empty, long := write("password", " hunter2\n"), write("empty", "\n"), write("long", "two\nlines\n")

	c, err := load(t, []string{
		"--redis-password-file=" + password, "--admin-token-file=" + empty, "--kafka-ca-file=" + dir,
	}, []string{
		"REPLYWORKER_KAFKA_TLS=1", "REPLYWORKER_KAFKA_SASL_PASSWORD_FILE=" + long, "REPLYWORKER_API_CA_FILE=none.pem",
	}, memory{"worker.yaml": "kafka-sasl-mechanism: PLAIN\nkafka-sasl-username: me\n"})
	require.NoError(t, err)
	secret, err := c.ReadSecret("redis-password-file")
	require.NoError(t, err)
	require.Equal(t, "hunter2", secret.Reveal())

	_, err = c.ReadSecret("admin-token-file")
	require.ErrorContains(t, err,
		`admin-token-file = "`+empty+`" (flag --admin-token-file) cannot be read: the file is empty`)
	_, err = c.ReadSecret("kafka-sasl-password-file")
	require.EqualError(t, err, "kafka-sasl-password-file (env REPLYWORKER_KAFKA_SASL_PASSWORD_FILE) "+
		"names a file that is not one line of text; write the password or token alone into the file")
	_, err = c.ReadFile("kafka-ca-file")
	require.ErrorContains(t, err, "cannot be read: is a directory")
	_, err = c.ReadFile("api-ca-file")
	require.EqualError(t, err, `api-ca-file = "none.pem" (env REPLYWORKER_API_CA_FILE) cannot be read: `+
		"no such file or directory; check the path and the permissions")
	require.ErrorIs(t, err, os.ErrNotExist)
	require.Len(t, config.Faults(err), 1)
	_, err = c.ReadFile("log-level")
	require.Error(t, err)

	data, err := c.ReadFile("redis-ca-file")
	require.NoError(t, err)
	require.Nil(t, data, "a setting that names no file")
	secret, err = config.Default().ReadSecret("redis-password-file")
	require.NoError(t, err)
	require.True(t, secret.IsZero())
}

func TestReadingTheFilesOfMerchants(t *testing.T) {
	t.Parallel()
	c, err := load(t, []string{"--merchants-file=m.yaml", "--mchid=3", "--private-key-file=three.pem"}, nil,
		memory{"m.yaml": twoMerchants})
	require.NoError(t, err)
	_, err = c.Merchants[0].ReadPrivateKey()
	require.ErrorContains(t, err, `private-key-file = "three.pem" (flag --private-key-file) cannot be read`)
	_, err = c.Merchants[2].ReadPublicKey()
	require.ErrorContains(t, err, `merchants[1].public-key-file = "two.pub" (file m.yaml:14) cannot be read`)
	_, err = c.Merchants[1].AnswerKeys[0].Read()
	require.ErrorContains(t, err, `merchants[0].answer-keys[0].file = "zero.pub" (file m.yaml:9) cannot be read`)
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open, group := filepath.Join(dir, "open"), filepath.Join(dir, "group")
	require.NoError(t, os.WriteFile(open, []byte("x"), 0o600))
	require.NoError(t, os.WriteFile(group, []byte("x"), 0o600))
	require.NoError(t, os.Chmod(open, 0o644))
	require.NoError(t, os.Chmod(group, 0o640))
	c, err := load(t, []string{
		"--private-key-file=" + open, "--kafka-sasl-password-file=" + group, "--kafka-sasl-mechanism=PLAIN",
		"--kafka-sasl-username=me", "--redis-url=redis://:hunter2@h", "--buffer-jobs=10",
	}, nil, nil)
	require.NoError(t, err)
	require.Equal(t, []string{
		"private-key-file: " + open + " is open to every user (mode 0644); run `chmod o= " + open +
			"`, or set defaultMode 0440 on Kubernetes",
		"redis-url has a password in it; redis-password-file keeps it out of process lists",
		"kafka-sasl-mechanism PLAIN without kafka-tls sends the password readable over the network",
		"buffer-jobs is 10, so that concurrency 64 is never reached",
	}, c.Warnings())
	require.Empty(t, config.Default().Warnings())
}

// FuzzFile holds that no file and no variable makes Load panic, that every error is a fault, and that
// what Load takes is valid.
func FuzzFile(f *testing.F) {
	f.Add("log-level: warn\n", "redis-url", "redis://u:p@h:1,i:2/3")
	f.Add("a: &a [*a]\n? [x]\n: y\n", "rate", "1e400")
	f.Add(twoMerchants, "kafka-brokers", "[::1]:9092,,@")
	f.Add("merchants: [{mchid: 1, answer-keys: [{id: x}]}]", "buffer-bytes", "9223372036854775807GiB")
	f.Add("%YAML 1.1\n---\n!!map {? a}\n", "primary-url", "https://%zz@[::1")
	f.Add("log-level: *x\n<<: {a: b}\n", "claim-retention", "-9223372036854775808ns")
	f.Fuzz(func(t *testing.T, file, name, text string) {
		files := memory{"w.yaml": file}
		for _, env := range [][]string{
			{"REPLYWORKER_CONFIG=w.yaml", config.EnvName(name) + "=" + text},
			{"REPLYWORKER_MERCHANTS_FILE=w.yaml", config.EnvName(name) + "=" + text},
		} {
			c, err := config.Load(config.Sources{Env: env, ReadFile: files.read})
			if err != nil {
				require.NotEmpty(t, config.Faults(err))
				continue
			}
			require.NoError(t, c.Validate())
		}
	})
}
