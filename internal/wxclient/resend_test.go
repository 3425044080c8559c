package wxclient_test

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/wxclient"
)

// TestAKeptConnectionThatFailsCostsOneRequest holds that a request on a kept connection, the case that
// net/http would answer with a second request if it could, is never sent again: neither on this
// connection nor on a new one.
func TestAKeptConnectionThatFailsCostsOneRequest(t *testing.T) {
	t.Parallel()
	good := httpAnswer(t, "200 OK", okBody)
	whole := func(r *bufio.Reader) { readRequest(r) }
	for _, tc := range []struct {
		name   string
		read   func(r *bufio.Reader) // of the second request
		then   func(conn net.Conn)
		class  wxclient.Class
		status int
	}{
		{"closed on its first byte", func(r *bufio.Reader) { r.ReadByte() }, func(net.Conn) {}, wxclient.ClassHostFailed, 0},
		{"reset on its first byte", func(r *bufio.Reader) { r.ReadByte() }, reset, wxclient.ClassHostFailed, 0},
		{"closed within its head", func(r *bufio.Reader) { r.ReadString('\n') }, func(net.Conn) {}, wxclient.ClassHostFailed, 0},
		{"closed behind it", whole, func(net.Conn) {}, wxclient.ClassHostFailed, 0},
		{"reset behind it", whole, reset, wxclient.ClassHostFailed, 0},
		{"closed behind an interim answer", whole, say("HTTP/1.1 103 Early Hints\r\n\r\n"), wxclient.ClassHostFailed, 0},
		{"reset within the status line", whole, func(conn net.Conn) {
			say("HTTP/1.1 20")(conn)
			reset(conn)
		}, wxclient.ClassHostFailed, 0},
		{"408, as servers say to idle connections", whole, say("HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n"), wxclient.ClassTransient, 408},
		{"425, which asks for it again", whole, say("HTTP/1.1 425 Too Early\r\nContent-Length: 0\r\n\r\n"), wxclient.ClassTransient, 425},
		{"421, which asks for another connection", whole, say("HTTP/1.1 421 Misdirected Request\r\nContent-Length: 0\r\n\r\n"), wxclient.ClassRefused, 421},
		{"503 with Retry-After: 0", whole, say("HTTP/1.1 503 No\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n"), wxclient.ClassHostFailed, 503},
		{"401 that asks for credentials", whole, say("HTTP/1.1 401 No\r\nWWW-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"), wxclient.ClassCredentials, 401},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var conns atomic.Int64
			u := rawServer(t, func(conn net.Conn) {
				if conns.Add(1) > 1 {
					return
				}
				r := bufio.NewReader(conn)
				whole(r)
				say(good)(conn)
				tc.read(r)
				tc.then(conn)
			})
			c := newClient(t, wxclient.Config{PrimaryURL: u, BackupURL: closedPort(t)})
			m := newMerchant(t)
			_, err := c.Reply(t.Context(), wxclient.Primary, m, complaintID, replyBody)
			require.NoError(t, err)
			e := replyError(t, c, m)
			require.Equal(t, tc.class, e.Class, e)
			require.Equal(t, tc.status, e.Status, e)
			require.True(t, e.Sent)
			require.EqualValues(t, 1, conns.Load(), "the request went out a second time")
		})
	}
}

// TestRedirectsAreAnswers holds that nothing is sent to where a redirect leads.
func TestRedirectsAreAnswers(t *testing.T) {
	t.Parallel()
	for _, status := range []string{"300", "301", "302", "303", "304", "305", "307", "308", "399"} {
		for name, location := range map[string]string{
			"here": "Location: /v3/elsewhere\r\n", "elsewhere": "Location: https://198.51.100.1/v3\r\n",
			"to itself": "Location: \r\n", "nowhere": "", "no URL": "Location: \x01://%%\r\n",
			"twice": "Location: /a\r\nLocation: /b\r\nRefresh: 0; url=/c\r\n",
		} {
			t.Run(status+" "+name, func(t *testing.T) {
				t.Parallel()
				serve := func(p *peer, conn net.Conn, _ int) {
					for r := bufio.NewReader(conn); p.next(r); {
						io.WriteString(conn, "HTTP/1.1 "+status+" See\r\n"+location+"Content-Length: 0\r\n\r\n")
					}
				}
				inBubble(t, wxclient.Config{}, serve, func(t *testing.T, c *wxclient.Client, p *peer) {
					e := replyError(t, c, newMerchant(t))
					require.True(t, e.Sent)
					if e.Status == 0 { // net/http refuses the header
						require.Equal(t, wxclient.ClassHostFailed, e.Class)
					} else {
						require.Equal(t, wxclient.ClassTransient, e.Class)
					}
					require.EqualValues(t, 1, p.requests.Load())
					require.EqualValues(t, 1, p.dials.Load())
				})
			})
		}
	}
}

// TestHTTP2IsNotOffered holds that no server can choose HTTP/2.
func TestHTTP2IsNotOffered(t *testing.T) {
	t.Parallel()
	t.Run("to one that prefers it", func(t *testing.T) {
		t.Parallel()
		offered := make(chan []string, 1)
		u, roots, requests := tlsServer(t, func(s *httptest.Server) {
			s.TLS = &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
				offered <- hello.SupportedProtos
				return nil, nil
			}}
		})
		_, err := newClient(t, wxclient.Config{PrimaryURL: u, RootCAs: roots}).
			Reply(t.Context(), wxclient.Primary, newMerchant(t), complaintID, replyBody)
		require.NoError(t, err)
		require.False(t, slices.Contains(<-offered, "h2"))
		require.EqualValues(t, 1, requests.Load())
	})
	t.Run("to one that speaks nothing else", func(t *testing.T) {
		t.Parallel()
		var conns atomic.Int64
		// It says its HTTP/2 greeting and refuses stream 1, whatever it is sent.
		u := rawServer(t, func(conn net.Conn) {
			conns.Add(1)
			conn.Write(append(h2Frame(h2Settings, 0, nil), h2Refused...))
			hold(conn)
		})
		// Frames have no line ends, so that the end of the status line is waited for.
		e := replyError(t, newClient(t, wxclient.Config{PrimaryURL: u, Timeout: short}), newMerchant(t))
		require.Equal(t, wxclient.ClassHostFailed, e.Class)
		require.EqualValues(t, 1, conns.Load())
	})
}

// The frames of HTTP/2 (RFC 9113, section 6) that the server below knows.
const (
	h2Data, h2Headers, h2Reset, h2Settings, h2GoAway = 0, 1, 3, 4, 7

	h2EndStream = 1
	h2Preface   = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
)

var (
	h2Refused  = h2Frame(h2Reset, 1, []byte{0, 0, 0, 7})                // REFUSED_STREAM: nothing was done
	h2Cancel   = h2Frame(h2Reset, 1, []byte{0, 0, 0, 8})                // CANCEL
	h2Leaving  = h2Frame(h2GoAway, 0, []byte{0, 0, 0, 0, 0, 0, 0, 0})   // NO_ERROR, no stream was processed
	h2TooMuch  = h2Frame(h2GoAway, 0, []byte{0, 0, 0, 0, 0, 0, 0, 0xb}) // ENHANCE_YOUR_CALM
	h2LeaveOne = h2Frame(h2GoAway, 0, []byte{0, 0, 0, 1, 0, 0, 0, 0})   // NO_ERROR, stream 1 may have been
)

func h2Frame(kind byte, stream uint32, payload []byte) []byte {
	head := binary.BigEndian.AppendUint32(nil, uint32(len(payload)))[1:]
	head = append(head, kind, 0)
	return append(binary.BigEndian.AppendUint32(head, stream), payload...)
}

// h2Request reads frames up to the end of a request, or only up to its head.
func h2Request(r *bufio.Reader, headOnly bool) bool {
	for {
		var head [9]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return false
		}
		n := int(head[0])<<16 | int(head[1])<<8 | int(head[2])
		if _, err := r.Discard(n); err != nil {
			return false
		}
		last := head[4]&h2EndStream != 0
		if head[3] == h2Headers && (headOnly || last) || !headOnly && head[3] == h2Data && last {
			return true
		}
	}
}

// TestNoTransportCanSendAReplyAgain holds that a request is made so that net/http's HTTP/2, which sends
// again what a server says not to have processed, cannot: a request without GetBody has one body. The
// client's own transport speaks HTTP/1.1 only; this is one that a caller might bring.
func TestNoTransportCanSendAReplyAgain(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name     string
		headOnly bool
		answer   []byte
	}{
		{"REFUSED_STREAM", false, h2Refused},
		{"REFUSED_STREAM before the body", true, h2Refused},
		{"CANCEL", false, h2Cancel},
		{"GOAWAY that has processed nothing", false, h2Leaving},
		{"GOAWAY that has processed nothing, before the body", true, h2Leaving},
		{"GOAWAY that has processed it", false, h2LeaveOne},
		{"GOAWAY for too much", false, h2TooMuch},
		{"nothing", false, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var requests atomic.Int64
			u := rawServer(t, func(conn net.Conn) {
				r := bufio.NewReader(conn)
				if _, err := r.Discard(len(h2Preface)); err != nil {
					return
				}
				conn.Write(h2Frame(h2Settings, 0, nil))
				for h2Request(r, tc.headOnly) {
					requests.Add(1)
					conn.Write(tc.answer)
					if !strings.HasPrefix(tc.name, "REFUSED") {
						return // closes the connection, as a server that says GOAWAY does
					}
				}
			})
			var http2 http.Protocols
			http2.SetUnencryptedHTTP2(true)
			inner := &http.Transport{Protocols: &http2}
			defer inner.CloseIdleConnections()
			e := replyError(t, newClient(t, wxclient.Config{PrimaryURL: u, Transport: inner, Timeout: 10 * time.Second}), newMerchant(t))
			require.Equal(t, wxclient.ClassHostFailed, e.Class, e)
			require.True(t, e.Sent)
			require.EqualValues(t, 1, requests.Load(), "the request went out a second time")
		})
	}
}
