package app_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/alicebob/miniredis/v2/server"
	"github.com/stretchr/testify/require"

	"replyworker/internal/devstack"
)

// fakeRedis is an embedded Redis that a test makes misbehave.
type fakeRedis struct {
	*devstack.Redis

	requests atomic.Int64                 // commands that were asked of it
	answer   atomic.Pointer[redisAnswers] // nil: its own
}

// redisAnswers answers a command instead of Redis, or says that it does not.
type redisAnswers func(p *server.Peer, command string, args []string) bool

func (r *fakeRedis) open(t *testing.T) {
	t.Helper()
	var err error
	r.Redis, err = devstack.StartRedis(0)
	require.NoError(t, err)
	t.Cleanup(r.Close)
	r.Mini().Server().SetPreHook(func(p *server.Peer, command string, args ...string) bool {
		r.requests.Add(1)
		if answer := r.answer.Load(); answer != nil {
			return (*answer)(p, command, args)
		}
		return false
	})
}

func (r *fakeRedis) url() string { return r.URL() }

func redisDoes(name string, ready int, answer redisAnswers) hostility {
	return hostility{
		name: "redis " + name, ready: ready,
		begin: func(s *site) (end func(), hits func() int64) {
			var n atomic.Int64
			counted := redisAnswers(func(p *server.Peer, command string, args []string) bool {
				answered := answer(p, command, args)
				if answered {
					n.Add(1)
				}
				return answered
			})
			s.redis.answer.Store(&counted)
			return func() { s.redis.answer.Store(nil) }, n.Load
		},
	}
}

// redisSays is a Redis that answers everything with one error.
func redisSays(text string) hostility {
	h := redisDoes(text, http.StatusServiceUnavailable, func(p *server.Peer, _ string, _ []string) bool {
		p.WriteError(text)
		return true
	})
	h.readyText = "[-] redis: "
	return h
}

// redisWrites is a Redis that answers everything with the same bytes.
func redisWrites(name, raw string, then func(*server.Peer)) hostility {
	h := redisDoes(name, http.StatusServiceUnavailable, func(p *server.Peer, _ string, _ []string) bool {
		p.WriteRaw(raw)
		p.Flush()
		then(p)
		return true
	})
	h.readyText = "[-] redis: "
	return h
}

func redisRows() []hostility {
	stay, leave := func(*server.Peer) {}, (*server.Peer).Close
	rows := []hostility{
		redisWrites("closes connections", "", leave),
		redisWrites("breaks off its answers", "*11\r\n$3\r\nwon\r\n$1\r\n", leave),
		redisWrites("says nothing", "", stay),
		redisWrites("answers null", "$-1\r\n", stay),
		redisWrites("answers a number", ":1\r\n", stay),
		redisWrites("answers OK", "+OK\r\n", stay),
		redisWrites("answers nothing, in a list", "*0\r\n", stay),
		redisWrites("answers other words", "*2\r\n$3\r\nyes\r\n$1\r\n1\r\n", stay),
		redisWrites("answers HTTP", "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", leave),
		redisWrites("answers garbage", "\x00\xff\x00\xff\r\n\r\n", leave),
		redisDoes("has forgotten its scripts", http.StatusOK, func(p *server.Peer, command string, _ []string) bool {
			if command == "EVALSHA" {
				p.WriteError("NOSCRIPT No matching script. Please use EVAL.")
				return true
			}
			return false
		}),
	}
	for _, text := range []string{
		"LOADING Redis is loading the dataset in memory",
		"READONLY You can't write against a read only replica.",
		"MISCONF Redis is configured to save RDB snapshots, but it is currently not able to persist on disk.",
		"OOM command not allowed when used memory > 'maxmemory'.",
		"NOSCRIPT No matching script. Please use EVAL.",
		"BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
		"NOAUTH Authentication required.",
		"NOPERM this user has no permissions to run the 'evalsha' command",
		"CLUSTERDOWN The cluster is down",
		"TRYAGAIN Multiple keys request during rehashing of slot",
		"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
		"NOREPLICAS Not enough good replicas to write.",
		"MOVED 3999 127.0.0.1:1",
		"ERR max number of clients reached",
		"ERR unknown command 'EVALSHA'",
		"NEWCODE that nobody has heard of",
	} {
		rows = append(rows, redisSays(text))
	}
	for _, text := range []string{"WRONGTYPE Operation against a key holding the wrong kind of value", "BADCLAIM field s"} {
		h := redisDoes("says "+strings.Fields(text)[0]+" of claims", http.StatusOK, func(p *server.Peer, _ string, args []string) bool {
			if len(args) > 2 && strings.Contains(args[2], ":job:") {
				p.WriteError(text)
				return true
			}
			return false
		})
		h.readyText = "[+] redis: degraded; jobs whose claims cannot be used: "
		rows = append(rows, h)
	}
	every := new(atomic.Int64)
	rows = append(rows, redisDoes("fails now and then", 0, func(p *server.Peer, command string, _ []string) bool {
		// What a script does comes by here, too.
		if strings.HasPrefix(command, "EVAL") && every.Add(1)%3 == 0 {
			p.WriteError("LOADING Redis is loading the dataset in memory")
			return true
		}
		return false
	}))
	return append(rows, restarted(redisWrites("says nothing", "", stay)), restarted(redisSays("LOADING Redis is loading")))
}
