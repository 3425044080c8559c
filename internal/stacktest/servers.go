package stacktest

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"replyworker/internal/config"
)

// Variable names the environment variable with the path of the settings of real servers.
const Variable = "TEST_SERVERS"

const (
	kafkaPrefix = "REPLYWORKER_KAFKA_"
	redisPrefix = "REPLYWORKER_REDIS_"
)

// settings returns the lines of the file that begin with prefix, nil where there are none or no file.
func settings(t testing.TB, prefix string) []string {
	t.Helper()
	path := os.Getenv(Variable)
	if path == "" {
		return nil
	}
	data, err := os.ReadFile(path)
	require.NoError(t, err, "%s names a file of settings", Variable)
	lines, odd := parse(string(data))
	require.Empty(t, odd, "lines in %s that are no setting of Kafka or Redis", path)
	lines = slices.DeleteFunc(lines, func(line string) bool { return !strings.HasPrefix(line, prefix) })
	if len(lines) == 0 {
		return nil
	}
	return lines
}

// parse returns the settings in a text, and its lines that are none, but for comments and empty ones.
func parse(text string) (lines, odd []string) {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		name, _, found := strings.Cut(line, "=")
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case found && (strings.HasPrefix(name, kafkaPrefix) || strings.HasPrefix(name, redisPrefix)):
			lines = append(lines, line)
		default:
			odd = append(odd, name)
		}
	}
	return lines, odd
}

// load reads settings as the product does.
func load(t testing.TB, env []string) *config.Config {
	t.Helper()
	cfg, err := config.Load(config.Sources{Env: env})
	require.NoError(t, err)
	return cfg
}
