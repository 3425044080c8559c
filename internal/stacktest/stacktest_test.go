package stacktest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParse(t *testing.T) {
	t.Parallel()
	lines, odd := parse("# the servers\n\nREPLYWORKER_KAFKA_BROKERS=a:1,b:2\n REPLYWORKER_REDIS_URL=redis://:p=w@c:3/0 \n" +
		"REPLYWORKER_MCHID=1\nREPLYWORKER_KAFKA_TLS\nexport REPLYWORKER_KAFKA_TLS=true\n")
	require.Equal(t, []string{"REPLYWORKER_KAFKA_BROKERS=a:1,b:2", "REPLYWORKER_REDIS_URL=redis://:p=w@c:3/0"}, lines)
	require.Equal(t, []string{"REPLYWORKER_MCHID", "REPLYWORKER_KAFKA_TLS", "export REPLYWORKER_KAFKA_TLS"}, odd,
		"names alone: a value may be a secret")
}

// TestSettingsOfOneKind holds that a server which the file does not mention stays embedded.
func TestSettingsOfOneKind(t *testing.T) {
	file := filepath.Join(t.TempDir(), "servers.env")
	require.NoError(t, os.WriteFile(file, []byte("REPLYWORKER_REDIS_URL=redis://127.0.0.1:1/0\n"), 0o600))
	t.Setenv(Variable, file)
	require.Nil(t, settings(t, kafkaPrefix))
	require.Equal(t, []string{"REPLYWORKER_REDIS_URL=redis://127.0.0.1:1/0"}, settings(t, redisPrefix))
	t.Setenv(Variable, "")
	require.Nil(t, settings(t, redisPrefix))
}

// TestNamesOfATest holds that a test's names are its own where the brokers are real, and that a name is
// not made one's own twice.
func TestNamesOfATest(t *testing.T) {
	t.Parallel()
	embedded, mine, other := &Kafka{}, &Kafka{own: "test-1-"}, &Kafka{own: "test-2-"}
	require.Equal(t, "jobs", embedded.Topic("jobs"))
	require.Equal(t, "test-1-jobs", mine.Topic("jobs"))
	require.Equal(t, "test-1-jobs", mine.Topic(mine.Topic("jobs")))
	require.NotEqual(t, mine.Group("workers"), other.Group("workers"))
}
