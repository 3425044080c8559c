//go:build linux

package integration_test

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// described is what test/asyncapi/check.mjs prints.
type described struct {
	Findings []struct{ Severity, Path, Message string }
	Servers  map[string]string
	Channels map[string]struct {
		Address, Topic string
		Messages       []string
	}
	Operations map[string]string
	Messages   map[string]struct {
		Payload, Headers []string
		Key              string
		Examples         int
	}
}

// parseAsyncAPI gives a document to AsyncAPI's own parser.
func parseAsyncAPI(t *testing.T, c clients, document string) (d described) {
	t.Helper()
	check := filepath.Join("..", "asyncapi", "check.mjs")
	stdout, stderr, status := program{args: []string{c["NODE"], check, c["ASYNCAPI"]}, in: document}.run(t)
	require.Zero(t, status, "%s", stderr)
	require.NoError(t, json.Unmarshal([]byte(stdout), &d))
	return d
}

// TestAsyncapi: AsyncAPI's own parser finds nothing wrong with the document, in both its forms, and finds in
// it what it is to say.
func TestAsyncapi(t *testing.T) {
	c := installClients(t)
	document := func(args ...string) string {
		cmd := exec.CommandContext(t.Context(), shared.binary, append([]string{"asyncapi"}, args...)...)
		cmd.Env = []string{}
		out, err := cmd.Output()
		require.NoError(t, err)
		return string(out)
	}
	for _, args := range [][]string{
		{},
		{"-o", "json"},
		{
			"--validation", "lenient", "--kafka-brokers", "a:1,b:2", "--kafka-tls", "--kafka-sasl-mechanism", "SCRAM-SHA-256",
			"--kafka-sasl-username", "u", "--kafka-sasl-password-file", "p", "--topic-jobs", "jobs.of.ours",
		},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			d := parseAsyncAPI(t, c, document(args...))
			for _, f := range d.Findings {
				// The one thing it says of a document of 3.0: there is 3.1.
				require.Equal(t, "information asyncapi", f.Severity+" "+f.Path, f.Message)
			}
			require.Equal(t, map[string]string{
				"receiveJobs": "receive jobs", "sendOutcomes": "send outcomes", "sendDeadLetters": "send deadLetters",
				"sendResolutions": "send resolutions", "sendReplays": "send jobs",
			}, d.Operations)
			require.Len(t, d.Channels, 4)
			for name, channel := range d.Channels {
				require.Equal(t, channel.Address, channel.Topic)
				require.Len(t, channel.Messages, 1, name)
				require.Contains(t, d.Messages, channel.Messages[0])
			}
			for name, m := range d.Messages {
				require.NotEmpty(t, m.Key, name)
				require.Positive(t, m.Examples, name)
			}
			require.Subset(t, d.Messages["job"].Payload, []string{"complaint_id", "idempotent_id", "message", "labels"})
			require.Len(t, d.Messages["outcome"].Payload, 25)
			require.Contains(t, d.Messages["outcome"].Headers, "ce_id")
			require.Contains(t, d.Messages["deadLetter"].Headers, "__dlq.errors.offset")
			require.Contains(t, d.Messages["resolution"].Payload, "letter_timestamp")
			if len(args) > 2 {
				require.Equal(t, map[string]string{"broker1": "kafka-secure://a:1", "broker2": "kafka-secure://b:2"}, d.Servers)
				require.Equal(t, "jobs.of.ours", d.Channels["jobs"].Address)
			}
		})
	}
	t.Run("the parser finds what is wrong", func(t *testing.T) {
		for _, change := range [][2]string{
			{"action: receive", "action: eat"},
			{"$ref: '#/components/messages/outcome'", "$ref: '#/components/messages/income'"},
			{"bindingVersion: 0.5.0", "bindingVersion: 0.9.0"},
		} {
			sound := document()
			require.Contains(t, sound, change[0])
			d := parseAsyncAPI(t, c, strings.Replace(sound, change[0], change[1], 1))
			severities := map[string]bool{}
			for _, f := range d.Findings {
				severities[f.Severity] = true
			}
			require.True(t, severities["error"] || severities["warning"], "%v: %v", change, d.Findings)
		}
	})
}
