package dedupe_test

import (
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2/server"
	"github.com/stretchr/testify/require"

	"replyworker/internal/dedupe"
	"replyworker/internal/dedupe/dedupetest"
)

// TestErrorsOfScriptsAreOfTheirKeys holds that a script that stumbles is told apart from a server that is
// not well: the one concerns a job, the other everybody. The texts are those of Redis 7 and 6.
func TestErrorsOfScriptsAreOfTheirKeys(t *testing.T) {
	t.Parallel()
	for text, reason := range map[string]dedupe.Reason{
		"ERR user_script:71: attempt to compare nil with number script: 1b936e3fe509bcbc9cd0664897bbe8fd0cac101b, on @user_script:71.": dedupe.ReasonWrongType,
		"ERR Error running script (call to f_1b93): @user_script:71: user_script:71: attempt to compare nil with number":               dedupe.ReasonWrongType,
		"ERR Error running script (call to f_1b93): @user_script:30: -OOM command not allowed":                                         dedupe.ReasonRefused,
		"ERR unknown command 'EVALSHA', with args beginning with: 'x'":                                                                 dedupe.ReasonProtocol,
		"NOSCRIPT No matching script. Please use EVAL.":                                                                                dedupe.ReasonProtocol,
		"NEWCODE that nobody has heard of":                                                                                             dedupe.ReasonProtocol,
	} {
		srv := dedupetest.NewFake(t)
		s := dedupetest.Store(t, srv, nil)
		srv.SetError(text)
		_, err := s.Claim(t.Context(), claimant(), 1)
		e := requireReason(t, reason, err)
		require.NotEmpty(t, e.Hint())
	}
}

// TestAnswersOfNoScript holds that no answer of another shape than the scripts' is taken for one, nor for
// anything about the key, and that Ping sees them, too.
func TestAnswersOfNoScript(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{
		"$-1\r\n", "*-1\r\n", ":1\r\n", "+OK\r\n", "$2\r\nok\r\n", "*0\r\n", "*1\r\n*0\r\n", "*1\r\n:1\r\n", "*1\r\n$-1\r\n",
		"*2\r\n$3\r\nyes\r\n$1\r\n1\r\n", "*1\r\n$3\r\nwon\r\n", "*11\r\n" + strings.Repeat("$3\r\nwon\r\n", 11),
		"*11\r\n$3\r\nwon\r\n" + strings.Repeat("$20\r\n99999999999999999999\r\n", 10),
	} {
		t.Run(raw, func(t *testing.T) {
			t.Parallel()
			srv := dedupetest.NewFake(t)
			s := dedupetest.Store(t, srv, nil)
			srv.Server().SetPreHook(func(p *server.Peer, command string, _ ...string) bool {
				if strings.HasPrefix(command, "EVAL") {
					p.WriteRaw(raw)
					return true
				}
				return false
			})
			c := claimant()
			_, err := s.Claim(t.Context(), c, 1)
			requireReason(t, dedupe.ReasonProtocol, err)
			_, err = s.Begin(t.Context(), c, 1)
			requireReason(t, dedupe.ReasonProtocol, err)
			_, err = s.Complete(t.Context(), c, dedupe.Done{LogID: "log-1"})
			requireReason(t, dedupe.ReasonProtocol, err)
			requireReason(t, dedupe.ReasonProtocol, s.Park(t.Context(), c, dedupe.Parked{}))
			requireReason(t, dedupe.ReasonProtocol, s.Fail(t.Context(), c, dedupe.Failure{State: dedupe.StateDead}))
			requireReason(t, dedupe.ReasonProtocol, s.Renew(t.Context(), []dedupe.Claimant{c})[0])
			requireReason(t, dedupe.ReasonProtocol, s.Ping(t.Context()))
		})
	}
}
