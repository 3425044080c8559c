package cli_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHelpOfCommands(t *testing.T) {
	t.Parallel()
	for _, command := range []string{
		"enqueue", "topics", "topics create", "job", "holds", "holds list", "holds release", "simulate",
		"asyncapi", "upload-image", "history", "outcomes verify",
	} {
		got := run(t, nil, append(strings.Fields(command), "--help")...)
		require.Equal(t, 0, got.status, got.stderr)
		require.Empty(t, got.stderr)
		golden(t, "help-"+strings.ReplaceAll(command, " ", "-")+".txt", got.stdout)
	}
}

func TestCompletionOfCommands(t *testing.T) {
	t.Parallel()
	env := []string{
		"REPLYWORKER_MCHID=1900000001", "REPLYWORKER_CERT_SERIAL=ABCDEF0123", "REPLYWORKER_PRIVATE_KEY_FILE=k.pem",
		"REPLYWORKER_PUBLIC_KEY_ID=PUB_KEY_ID_01", "REPLYWORKER_PUBLIC_KEY_FILE=p.pem",
	}
	for _, tt := range []struct{ args, want string }{
		{"enqueue |", ":0"}, // files
		{"enqueue --valid", "--validation"},
		{"topics |", "create\t"},
		{"topics create --part", "--partitions"},
		{"holds |", "list\t"},
		{"holds release |", "1900000001\n:4"},
		{"job |", ":4"},
		{"job --merchant |", "1900000001\n:4"},
		{"upload-image |", "png"}, // files with these endings
		{"history |", ":4"},
		{"history --merchant |", "1900000001\n:4"},
		{"outcomes verify --merchant |", "1900000001\n:4"},
		{"outcomes verify --se", "--settle"},
		{"simulate --dir |", ":16"}, // folders
		{"simulate --faults |", ":0"},
		{"simulate --primary-addr |", ":4"},
	} {
		args := append([]string{"__complete"}, strings.Fields(strings.ReplaceAll(tt.args, " |", ""))...)
		if strings.HasSuffix(tt.args, "|") {
			args = append(args, "")
		}
		require.Contains(t, run(t, env, args...).stdout, tt.want, tt.args)
	}
}

func TestCommandsWithBadConfiguration(t *testing.T) {
	t.Parallel()
	for _, command := range []string{
		"enqueue", "topics create", "job x", "holds list", "holds release x", "simulate",
		"upload-image x", "history x", "outcomes verify",
	} {
		got := run(t, []string{"REPLYWORKER_CONCURENCY=8"}, strings.Fields(command)...)
		require.Equal(t, 2, got.status, command)
		require.Contains(t, got.stderr, "did you mean REPLYWORKER_CONCURRENCY?", command)
		require.Empty(t, got.stdout)
	}
}
