package cli

import (
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rivo/uniseg"
	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"replyworker/internal/config"
	"replyworker/internal/deadletter"
	"replyworker/internal/job"
	"replyworker/internal/outcome"
)

// eachCommand calls see with every command that can be run and has none under it.
func eachCommand(cmd *cobra.Command, see func(*cobra.Command)) {
	if !cmd.HasSubCommands() && cmd.Runnable() && !cmd.Hidden {
		see(cmd)
	}
	for _, c := range cmd.Commands() {
		eachCommand(c, see)
	}
}

// TestEveryCommandHasExamplesThatAreRight holds that each command has an example of itself, and that
// every example is a command line that is understood.
func TestEveryCommandHasExamplesThatAreRight(t *testing.T) {
	t.Parallel()
	s, _, _ := newTestState()
	call := regexp.MustCompile(`(?:^|[ (])(worker [^|;>)\n]*)`)
	found := 0
	root := newRootCommand(s)
	root.InitDefaultHelpCmd()
	eachCommand(root, func(cmd *cobra.Command) {
		found++
		require.NotEmpty(t, cmd.Short, "%s has no word on what it does", cmd.CommandPath())
		own := false
		for line := range strings.Lines(cmd.Example) {
			for _, match := range call.FindAllStringSubmatch(line, -1) {
				fresh := newRootCommand(s)
				fresh.InitDefaultHelpCmd()
				named, rest, err := fresh.Find(strings.Fields(match[1])[1:])
				require.NoError(t, err, match[1])
				require.NoError(t, named.ParseFlags(rest), match[1])
				if named.Args != nil {
					require.NoError(t, named.Args(named, named.Flags().Args()), match[1])
				}
				own = own || named.CommandPath() == cmd.CommandPath()
			}
		}
		require.True(t, own, "%s has no example of itself: Example is %q", cmd.CommandPath(), cmd.Example)
	})
	require.Greater(t, found, 12, "the walk should find the commands")
}

func TestConfigurationExampleIsRight(t *testing.T) {
	t.Parallel()
	cfg, err := config.Load(config.Sources{
		Env:      []string{"REPLYWORKER_CONFIG=worker.yaml"},
		ReadFile: func(string) ([]byte, error) { return []byte(configurationExample), nil },
	})
	require.NoError(t, err)
	require.Equal(t, []string{"kafka-1:9092", "kafka-2:9092"}, cfg.KafkaBrokers)
	require.EqualValues(t, 64<<20, cfg.BufferBytes)
}

// TestHeadersHelpHasThoseOfTheCode holds the topic against records that the code makes: each header of
// theirs is explained, and each that is explained is one of theirs, or one of the few named here.
func TestHeadersHelpHasThoseOfTheCode(t *testing.T) {
	t.Parallel()
	d := &job.Delivery{Source: job.Source{Timestamp: time.Unix(1, 0)}, Headers: []job.Header{{Key: "traceparent", Value: []byte("00")}, {Key: "tracestate", Value: []byte("a=b")}}}
	r := job.Result{
		Status: job.StatusFailed, Reason: job.ReasonRejected, FinishedAt: time.Unix(1, 0),
		Answer: job.Answer{HTTPStatus: 403, Code: "NO_AUTH", RequestID: "08F4"},
	}
	made, err := outcome.Message(d, outcome.New(d, &job.Job{ComplaintID: "c", IdempotentID: "i"}, r), "group", r.FinishedAt)
	require.NoError(t, err)
	names := map[string]bool{
		// Of letters that their topic does not take for their size, and of replays.
		deadletter.HeaderValueOmitted: true, deadletter.HeaderHeadersOmitted: true, deadletter.HeaderKeyOmitted: true,
		deadletter.HeaderReplayID: true,
	}
	for _, h := range append(made.Headers, deadletter.Message(d, r, "group").Headers...) {
		names[h.Key] = true
	}
	explained := map[string]bool{}
	for _, row := range regexp.MustCompile(`(?m)^  ([^\s,]+(?:, [^\s,]+)*)`).FindAllStringSubmatch(headersHelp(), -1) {
		for name := range strings.SplitSeq(row[1], ", ") {
			explained[name] = true
		}
	}
	require.Equal(t, names, explained, "headers of the records (expected) and of `worker help headers` (actual)")
}

func TestErrorsAsJSON(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ args, env, want string }{
		{
			"jbo -o json", "", `{"error":"unknown command \"jbo\" for worker; did you mean \"job\"?",` +
				`"hint":"` + "`worker --help` lists the commands" + `","status":2,"faults":[]}`,
		},
		{
			"config print --bogus -ojson", "", `{"error":"unknown flag: --bogus","hint":"` +
				"`worker config print --help` lists the flags" + `","status":2,"faults":[]}`,
		},
		{
			"config print -o json --rate=-1", "REPLYWORKER_BRAKE=\u202e", `{"error":"configuration: 2 faults","hint":"` +
				"`worker help settings` lists every setting and its default" + `","status":2,"faults":[` +
				`{"setting":"brake","value":"\\u202e","origin":"env REPLYWORKER_BRAKE","fault":"brake = \"\\u202e\" (env REPLYWORKER_BRAKE) ` +
				`must be a whole number from 2 to 100000, or off; leave it out for the default 20"},` +
				`{"setting":"rate","value":"-1","origin":"flag --rate","fault":"rate = \"-1\" (flag --rate) ` +
				`must be a number from 0.001 to 100000, or 0 for no limit; leave it out for the default 0"}]}`,
		},
	} {
		t.Run(tt.args, func(t *testing.T) {
			t.Parallel()
			s, stdout, stderr := newTestState()
			if tt.env != "" {
				s.env = []string{tt.env}
			}
			require.Equal(t, statusUsage, s.run(t.Context(), strings.Fields(tt.args)))
			require.Empty(t, stdout.String())
			require.Equal(t, tt.want+"\n", stderr.String())
		})
	}
}

func TestErrorAsJSONWithAHint(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	printError(&b, statusFailed, withHint(errors.New("a\tb"), "try again"), true)
	printError(&b, StatusInterrupted, ErrInterrupted, true)
	require.Equal(t, `{"error":"a\\tb","hint":"try again","status":1,"faults":[]}`+"\n"+
		`{"error":"interrupted","hint":"","status":130,"faults":[]}`+"\n", b.String())
}

func TestEncodeJSONIsSafeOnATerminal(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	odd := "\u202e\u009b<您好>\U000e0001\x1b"
	require.NoError(t, encodeJSON(&b, odd))
	require.Equal(t, `"\u202e\u009b<您好>\udb40\udc01\u001b"`+"\n", b.String())
	var back string
	require.NoError(t, json.Unmarshal([]byte(b.String()), &back))
	require.Equal(t, odd, back)
}

func TestAsksForJSON(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]bool{
		"job -o json": true, "job -o=json": true, "-ojson job": true, "job --output json x": true, "--output=json": true,
		"job x": false, "job -o table": false, "job -- -o json": false, "job -o": false, "": false,
	} {
		require.Equal(t, want, asksForJSON(strings.Fields(args)), "%q", args)
	}
}

// TestHelpFitsATerminal holds that what people read of a command, its flags aside, has lines that a window
// shows whole.
func TestHelpFitsATerminal(t *testing.T) {
	t.Parallel()
	const columns = 110
	s, _, _ := newTestState()
	var wide []string
	eachCommand(newRootCommand(s), func(cmd *cobra.Command) {
		for line := range strings.Lines(cmd.Long) {
			if line = strings.TrimSuffix(line, "\n"); uniseg.StringWidth(line) > columns {
				wide = append(wide, cmd.CommandPath()+": "+line)
			}
		}
	})
	require.Empty(t, wide, "lines of the help of more than %d columns", columns)
}
