package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"replyworker/internal/config"
	"replyworker/internal/deadletter"
)

// helpTopics are pages of help that are no commands.
func helpTopics() []*cobra.Command {
	return []*cobra.Command{
		{Use: "configuration", Short: "how settings are given: flags, environment, file", Long: configurationHelp()},
		{Use: "settings", Short: "every setting and its default", Long: settingsHelp()},
		{
			Use: "exit-status", Aliases: []string{"exit-statuses"},
			Short: "what the exit statuses mean, and errors as JSON", Long: exitStatusHelp,
		},
		{Use: "headers", Short: "the headers of jobs, outcomes and dead letters", Long: headersHelp()},
	}
}

const exitStatusHelp = `Exit status of every command:

  0    done
  1    failed
  2    wrong usage or configuration, or a question that could not be asked
  3    part of a batch failed
  130  interrupted
  141  nobody reads standard output any more, as in worker schema job | head -1

run and simulate are to be stopped by a signal, and end with 0 then. A second SIGINT ends any command at
once with 130.

Data is on standard output, everything else on standard error. An error is one line there, and a line
"hint: ..." where there is something to do; faults of the configuration are a line each. With -o json the
error is one line of JSON, in which every field is always there:

  {"error": "merchant \"1900000001\" is not held", "hint": "...", "status": 1, "faults": []}

  error   what failed, and why
  hint    what to look at or to run next; may be empty
  status  the exit status
  faults  of the configuration: setting, value (empty where it may not be shown), origin, fault (all of it)

Progress and warnings stay lines of text: a line of JSON begins with {. At 141 nothing is said unless
something is left to do.`

const configurationExample = `kafka-brokers: [kafka-1:9092, kafka-2:9092]
redis-url: rediss://redis.internal:6379/0
redis-password-file: /run/secrets/redis
request-timeout: 8s
buffer-bytes: 64MiB
backup-url: ""
`

func configurationHelp() string {
	return fmt.Sprintf(`A setting has one name, in three forms:

  flag         --kafka-group NAME
  environment  %[1]s=NAME
  file         kafka-group: NAME

A flag wins over the environment, the environment over the file, the file over the default. The topic
settings lists all of them. %[5]s shows what takes effect here, and where each
value comes from; it asks no server.

The file is YAML, the one that --config or %[2]s names; none is read by itself:

%[3]s
A list has commas between its items, and may be a YAML list in the file. Durations have a unit (500ms, 30s,
12h, 14d), sizes too (64MiB) or are bytes. An empty value means "none" for the settings whose default is
none, and for backup-url; for the others it is refused. Paths are relative to the working directory, wherever
they are written.

Secrets are read from files and never printed; give those files mode 0600. Several merchants are in the YAML
file that merchants-file names.

An unknown name in the file or of a variable %[4]s... is a fault that suggests the nearest one; those that
Kubernetes makes for a Service are let pass. All faults are told at once, and the exit status is 2. Commands
that need no configuration, such as version, do not look at it.`,
		config.EnvName("kafka-group"), config.EnvName(config.FileFlag), indent(configurationExample), config.EnvPrefix,
		"`worker config print --origin`")
}

func indent(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString("  " + line)
	}
	return b.String()
}

// headersHelp is about the headers of records. A test holds it against the records that the code makes.
func headersHelp() string {
	var b strings.Builder
	section := func(title string, rows ...[2]string) {
		fmt.Fprintf(&b, "\n%s\n\n", title)
		for _, row := range rows {
			b.WriteString(strings.TrimRight(fmt.Sprintf("  %-26s  %s", row[0], row[1]), " ") + "\n")
		}
	}
	b.WriteString("Headers of the records. Their values are text, UTF-8.\n")
	section("Jobs need none. These are looked at:",
		[2]string{"traceparent, tracestate", "carried on to the outcome"},
		[2]string{deadletter.HeaderReplayCount, "how often it has been replayed; in the outcome it is replay_count"},
		[2]string{deadletter.HeaderFirstFailedAt, "when it first failed; stays in its next dead letter"},
	)
	section("Outcomes are CloudEvents 1.0 in binary mode:",
		[2]string{"ce_specversion", "1.0"},
		[2]string{"ce_id", "the same for every delivery of one job's record: drop repeats by it"},
		[2]string{"ce_source", "/replyworker/ and the consumer group"},
		[2]string{"ce_type", "replyworker.reply.STATUS.v1: succeeded, duplicate, expired or failed"},
		[2]string{"ce_subject", "complaint_id, where one could be read"},
		[2]string{"ce_time", "when the job was finished, RFC 3339"},
		[2]string{"content-type", "application/json"},
		[2]string{"traceparent, tracestate", "the job's"},
	)
	section("Dead letters have the job's key, value and headers, byte for byte, and in place of any of that name:",
		[2]string{deadletter.HeaderTopic, "where the job came from (these five names are KIP-1191's)"},
		[2]string{deadletter.HeaderPartition, ""},
		[2]string{deadletter.HeaderOffset, ""},
		[2]string{deadletter.HeaderGroup, "the consumer group of the worker"},
		[2]string{deadletter.HeaderMessage, "what was wrong, at most 1024 bytes"},
		[2]string{deadletter.HeaderReason, "as the outcome's reason, attempts and maybe_sent"},
		[2]string{deadletter.HeaderAttempts, ""},
		[2]string{deadletter.HeaderMaybeSent, ""},
		[2]string{deadletter.HeaderHTTPStatus, "of the API's last answer, where there was one"},
		[2]string{deadletter.HeaderErrorCode, ""},
		[2]string{deadletter.HeaderRequestID, ""},
		[2]string{deadletter.HeaderFailedAt, "RFC 3339"},
		[2]string{deadletter.HeaderFirstFailedAt, "of the first of several failures, between which it was replayed"},
		[2]string{deadletter.HeaderReplayCount, "how often it has been replayed before"},
		[2]string{deadletter.HeaderValueOmitted, "bytes of a value that was too large for the topic and is not there"},
		[2]string{deadletter.HeaderHeadersOmitted, "how many of the job's headers are not there, for the same reason"},
		[2]string{deadletter.HeaderKeyOmitted, "bytes of a key that is not there, for the same reason"},
	)
	section("A replayed job goes to the partition that it came from, without the headers of its failure, and with:",
		[2]string{deadletter.HeaderReplayCount, "one more than before"},
		[2]string{"dlq-replay-id", "which replay it was; stays in its next dead letter"},
		[2]string{deadletter.HeaderFirstFailedAt, "as in the dead letter"},
	)
	return b.String()
}

// settingsHelp lists the settings as plain text.
func settingsHelp() string {
	var b strings.Builder
	b.WriteString("Every setting, with its default. `worker help configuration` says how they are given.\n")
	group := config.Group("")
	for _, setting := range config.Settings() {
		if setting.Group != group {
			group = setting.Group
			fmt.Fprintf(&b, "\n%s:\n", group)
		}
		def := setting.Default
		if def == "" {
			def = "none"
		}
		fmt.Fprintf(&b, "  %s (%s)\n      %s\n", setting.Name, def, setting.Help)
		if len(setting.Choices()) > 0 {
			fmt.Fprintf(&b, "      one of %s\n", strings.Join(setting.Choices(), ", "))
		}
	}
	return b.String()
}
