package wxclient_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/wxclient"
)

// short is a Timeout for calls that are to run into it, and long enough for the part of an answer that
// is to come before.
const short = 500 * time.Millisecond

// httpAnswer is an answer as it goes over the wire.
func httpAnswer(t *testing.T, status, body string) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "HTTP/1.1 %s\r\n", status)
	require.NoError(t, signedHeader(t, body).Write(&b))
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(body), body)
	return b.String()
}

// afterRequest serves connections that each read one request, then do what then says.
func afterRequest(t *testing.T, then func(conn net.Conn)) string {
	t.Helper()
	return rawServer(t, func(conn net.Conn) {
		if _, err := readRequest(bufio.NewReader(conn)); err == nil {
			then(conn)
		}
	})
}

func say(s string) func(net.Conn) {
	return func(conn net.Conn) { io.WriteString(conn, s) }
}

// hold waits until the other side is gone.
func hold(conn net.Conn) { io.Copy(io.Discard, conn) }

func reset(conn net.Conn) {
	conn.(*net.TCPConn).SetLinger(0)
}

func TestFaultsOnTheWire(t *testing.T) {
	t.Parallel()
	good := httpAnswer(t, "200 OK", okBody)
	for _, tc := range []struct {
		name   string
		url    string
		class  wxclient.Class
		status int
		sent   bool
		is     error
		text   string
	}{
		{"refused", closedPort(t), wxclient.ClassHostFailed, 0, false, syscall.ECONNREFUSED, "connection refused"},
		{
			"reset while the request is written", rawServer(t, func(conn net.Conn) {
				io.ReadFull(conn, make([]byte, 1))
				reset(conn)
			}),
			wxclient.ClassHostFailed, 0, true, nil, "",
		},
		{
			"closed after the request", afterRequest(t, func(net.Conn) {}),
			wxclient.ClassHostFailed, 0, true, io.EOF, "EOF",
		},
		{
			"reset after the request", afterRequest(t, reset),
			wxclient.ClassHostFailed, 0, true, syscall.ECONNRESET, "reset",
		},
		{
			"hangs after the request", afterRequest(t, hold),
			wxclient.ClassHostFailed, 0, true, context.DeadlineExceeded, "no complete answer within 500ms",
		},
		{
			"never reads", rawServer(t, func(net.Conn) { <-t.Context().Done() }),
			wxclient.ClassHostFailed, 0, true, context.DeadlineExceeded, "no complete answer within",
		},
		{
			"nothing but an interim answer", afterRequest(t, func(conn net.Conn) {
				say("HTTP/1.1 103 Early Hints\r\n\r\n")(conn)
				hold(conn)
			}),
			wxclient.ClassHostFailed, 0, true, context.DeadlineExceeded, "",
		},
		{
			"head breaks off", afterRequest(t, say(good[:60])),
			wxclient.ClassHostFailed, 0, true, io.ErrUnexpectedEOF, "",
		},
		{
			"2xx breaks off", afterRequest(t, say(good[:len(good)-5])),
			wxclient.ClassHostFailed, 200, true, io.ErrUnexpectedEOF, "answer broke off: unexpected EOF",
		},
		{
			"2xx hangs", afterRequest(t, func(conn net.Conn) {
				say(good[:len(good)-5])(conn)
				hold(conn)
			}),
			wxclient.ClassHostFailed, 200, true, context.DeadlineExceeded, "answer broke off: no complete answer",
		},
		{
			"2xx drips", afterRequest(t, drip("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")),
			wxclient.ClassHostFailed, 200, true, context.DeadlineExceeded, "answer broke off",
		},
		{
			"head drips", afterRequest(t, drip("HTTP/1.1 200 OK\r\nX: ")),
			wxclient.ClassHostFailed, 0, true, context.DeadlineExceeded, "",
		},
		{
			"bad chunk", afterRequest(t, say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")),
			wxclient.ClassHostFailed, 200, true, nil, "answer broke off",
		},
		{
			"2xx ended by the connection's end, and unsigned", afterRequest(t, say("HTTP/1.1 200 OK\r\n\r\n"+okBody)),
			wxclient.ClassUnknown, 200, true, nil, "not signed",
		},
		{
			"error answer breaks off", afterRequest(t, say(httpAnswer(t, "403 Forbidden", `{"code":"NO_AUTH"}`)[:430])),
			wxclient.ClassHostFailed, 0, true, nil, "", // within the head; the body is below
		},
		{
			"400 breaks off", afterRequest(t, say("HTTP/1.1 400 Bad Request\r\nContent-Length: 50\r\n\r\n{\"code\":")),
			wxclient.ClassRefused, 400, true, nil, "HTTP 400",
		},
		{
			"429 hangs", afterRequest(t, func(conn net.Conn) {
				say("HTTP/1.1 429 Too Many Requests\r\nContent-Length: 50\r\n\r\n{")(conn)
				hold(conn)
			}),
			wxclient.ClassSlowDown, 429, true, nil, "HTTP 429",
		},
		{
			"garbage", afterRequest(t, say("220 smtp.example.com ESMTP\r\n")),
			wxclient.ClassHostFailed, 0, true, nil, "malformed HTTP",
		},
		{
			"status is no number", afterRequest(t, say("HTTP/1.1 abc OK\r\n\r\n")),
			wxclient.ClassHostFailed, 0, true, nil, "malformed HTTP status code (rest not shown)",
		},
		{
			"bad header line", afterRequest(t, say("HTTP/1.1 200 OK\r\nno colon here\r\n\r\n")),
			wxclient.ClassHostFailed, 0, true, nil, "malformed header",
		},
		{
			"two lengths", afterRequest(t, say("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n")),
			wxclient.ClassHostFailed, 0, true, nil, "",
		},
		{
			"head without end", afterRequest(t, say("HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 1<<20))),
			wxclient.ClassHostFailed, 0, true, nil, "",
		},
		{
			"other protocol", afterRequest(t, func(conn net.Conn) {
				say("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")(conn)
				hold(conn)
			}),
			wxclient.ClassHostFailed, 101, true, nil, "not a final HTTP answer",
		},
		{
			"redirect", afterRequest(t, say("HTTP/1.1 307 Temporary Redirect\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n")),
			wxclient.ClassTransient, 307, true, nil, "HTTP 307",
		},
		{
			"error is HTML", afterRequest(t, say("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 15\r\n\r\n<h1>Oh no!</h1>")),
			wxclient.ClassHostFailed, 502, true, nil, "HTTP 502",
		},
		{
			"TLS spoken to a plain server", "https" + strings.TrimPrefix(rawServer(t, say("HTTP/1.0 400 no\r\n\r\n")), "http"),
			wxclient.ClassHostFailed, 0, false, nil, "",
		},
		{
			"TLS handshake hangs", "https" + strings.TrimPrefix(rawServer(t, hold), "http"),
			wxclient.ClassHostFailed, 0, false, nil, "",
		},
		{
			"TLS handshake cut off", "https" + strings.TrimPrefix(rawServer(t, reset), "http"),
			wxclient.ClassHostFailed, 0, false, nil, "",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			timeout := time.Minute
			if errors.Is(tc.is, context.DeadlineExceeded) || strings.HasSuffix(tc.name, "hangs") {
				timeout = short
			}
			e := replyError(t, newClient(t, wxclient.Config{PrimaryURL: tc.url, Timeout: timeout}), newMerchant(t))
			require.Equal(t, tc.class, e.Class, e)
			require.Equal(t, tc.status, e.Status, e)
			require.Equal(t, tc.sent, e.Sent, e)
			require.ErrorContains(t, e, tc.text)
			if tc.is != nil {
				require.ErrorIs(t, e, tc.is)
			}
		})
	}
}

// closedPort returns the URL of a port where nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return "http://" + l.Addr().String()
}

// drip says head and then a byte at a time, faster than any timeout between two bytes would notice.
func drip(head string) func(net.Conn) {
	return func(conn net.Conn) {
		say(head)(conn)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for range tick.C {
			if _, err := io.WriteString(conn, "x"); err != nil {
				return
			}
		}
	}
}

func TestNameThatDoesNotResolveIsNotSent(t *testing.T) {
	t.Parallel()
	// A resolver may take long to say so where there is no network; either way nothing is sent.
	e := replyError(t, newClient(t, wxclient.Config{Timeout: short}), newMerchant(t))
	require.Equal(t, wxclient.ClassHostFailed, e.Class)
	require.False(t, e.Sent)
}

func TestAServerThatEchoesIsNotQuoted(t *testing.T) {
	t.Parallel()
	for _, head := range []string{"", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nno colon: ", `HTTP/1.1 "`} {
		u := rawServer(t, func(conn net.Conn) {
			say(head)(conn)
			io.Copy(conn, conn)
		})
		c := newClient(t, wxclient.Config{PrimaryURL: u, Timeout: short})
		_, err := c.Reply(t.Context(), wxclient.Primary, newMerchant(t), complaintID, replyBody)
		checkError(t, err)
		require.NotContains(t, err.Error(), "WECHATPAY2")
		require.NotContains(t, fmt.Sprintf("%v", errors.Unwrap(err)), "WECHATPAY2")
	}
}

func TestHugeBodies(t *testing.T) {
	t.Parallel()
	// Bodies without end: the limit is what ends the reading, long before the timeout.
	endless := func(status string) string {
		return afterRequest(t, func(conn net.Conn) {
			say("HTTP/1.1 " + status + "\r\nContent-Length: 1000000000000\r\n\r\n" + `{"code":"X","a":"`)(conn)
			for chunk := strings.Repeat("x", 64<<10); ; {
				if _, err := io.WriteString(conn, chunk); err != nil {
					return
				}
			}
		})
	}
	for status, class := range map[string]wxclient.Class{
		"200 OK": wxclient.ClassUnknown, "400 Bad Request": wxclient.ClassRefused, "503 No": wxclient.ClassHostFailed,
	} {
		t.Run(status, func(t *testing.T) {
			t.Parallel()
			e := replyError(t, newClient(t, wxclient.Config{PrimaryURL: endless(status), Timeout: time.Minute}), newMerchant(t))
			require.Equal(t, class, e.Class)
			require.True(t, e.Sent)
			require.Empty(t, e.Code)
			if class == wxclient.ClassUnknown {
				require.ErrorContains(t, e, "larger than 1 MiB")
			}
		})
	}
}

func TestBodyOfExactlyTheLimitIsRead(t *testing.T) {
	t.Parallel()
	body := okBody + strings.Repeat(" ", 1<<20-len(okBody))
	c := newClient(t, wxclient.Config{Transport: answer(200, signedHeader(t, body), body)})
	_, err := c.Reply(t.Context(), wxclient.Primary, newMerchant(t), complaintID, replyBody)
	require.NoError(t, err)

	body += " "
	e := replyError(t, newClient(t, wxclient.Config{Transport: answer(200, signedHeader(t, body), body)}), newMerchant(t))
	require.ErrorContains(t, e, "larger than 1 MiB")
}

// tlsServer is the API over TLS; its handler's answers are signed.
func tlsServer(t *testing.T, change func(*httptest.Server)) (u string, roots *x509.CertPool, requests *atomic.Int64) {
	t.Helper()
	requests = new(atomic.Int64)
	h := signedHeader(t, okBody)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		if _, err := io.Copy(io.Discard, r.Body); err != nil || r.ProtoMajor != 1 {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		maps.Copy(w.Header(), h)
		io.WriteString(w, okBody)
	}))
	s.EnableHTTP2 = true // which the client is not to take up
	change(s)
	s.StartTLS()
	t.Cleanup(s.Close)
	roots = x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return s.URL, roots, requests
}

func TestReplyOverTLS(t *testing.T) {
	t.Parallel()
	u, roots, requests := tlsServer(t, func(*httptest.Server) {})
	c := newClient(t, wxclient.Config{PrimaryURL: closedPort(t), BackupURL: u, RootCAs: roots})
	m := newMerchant(t)
	got, err := c.Reply(t.Context(), wxclient.Backup, m, complaintID, replyBody)
	require.NoError(t, err)
	require.Equal(t, wxclient.Answer{LogID: "300285320210322170000071077", RequestID: "08F4A1", HTTPStatus: 200}, got)
	require.EqualValues(t, 1, requests.Load())

	e := replyError(t, c, m)
	require.Equal(t, wxclient.Primary, e.Host, "hosts are mixed up")
}

func TestTLSFaultsAreNotSent(t *testing.T) {
	t.Parallel()
	quietly := func(s *httptest.Server) { s.Config.ErrorLog = discardLog() }
	for _, tc := range []struct {
		name   string
		change func(*httptest.Server)
		trust  bool
		host   string
		text   string
	}{
		{"unknown authority", quietly, false, "127.0.0.1", "unknown authority"},
		{"name that the certificate does not have", quietly, true, "localhost", "localhost"},
		{"TLS 1.1", func(s *httptest.Server) {
			quietly(s)
			s.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
		}, true, "127.0.0.1", "protocol version"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			u, roots, requests := tlsServer(t, tc.change)
			if !tc.trust {
				roots = x509.NewCertPool()
			}
			c := newClient(t, wxclient.Config{PrimaryURL: strings.Replace(u, "127.0.0.1", tc.host, 1), RootCAs: roots})
			e := replyError(t, c, newMerchant(t))
			require.Equal(t, wxclient.ClassHostFailed, e.Class)
			require.False(t, e.Sent)
			require.ErrorContains(t, e, tc.text)
			require.Zero(t, requests.Load())
		})
	}
}

func TestConnectionsAreUsedAgain(t *testing.T) {
	t.Parallel()
	good := httpAnswer(t, "200 OK", okBody)
	refusal := "HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\n{}"
	var conns atomic.Int64
	u := rawServer(t, func(conn net.Conn) {
		conns.Add(1)
		r := bufio.NewReader(conn)
		for n := 0; ; n++ {
			if _, err := readRequest(r); err != nil {
				return
			}
			say([]string{good, refusal}[n%2])(conn)
		}
	})
	c := newClient(t, wxclient.Config{PrimaryURL: u})
	m := newMerchant(t)
	for range 3 {
		_, err := c.Reply(t.Context(), wxclient.Primary, m, complaintID, replyBody)
		require.NoError(t, err)
		require.Equal(t, wxclient.ClassRefused, replyError(t, c, m).Class)
	}
	require.EqualValues(t, 1, conns.Load())
}

// A server that drops a kept connection once the next request arrives on it, the case that net/http
// would answer with a second request if it could.
func TestADeadConnectionCostsOneRequestOnly(t *testing.T) {
	t.Parallel()
	good := httpAnswer(t, "200 OK", okBody)
	for name, drop := range map[string]func(net.Conn){"closed": func(net.Conn) {}, "reset": reset} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var requests atomic.Int64
			u := rawServer(t, func(conn net.Conn) {
				r := bufio.NewReader(conn)
				for n := range 2 {
					if _, err := readRequest(r); err != nil {
						return
					}
					requests.Add(1)
					if n == 0 {
						say(good)(conn)
					}
				}
				drop(conn)
			})
			c := newClient(t, wxclient.Config{PrimaryURL: u})
			m := newMerchant(t)
			_, err := c.Reply(t.Context(), wxclient.Primary, m, complaintID, replyBody)
			require.NoError(t, err)
			e := replyError(t, c, m)
			require.Equal(t, wxclient.ClassHostFailed, e.Class)
			require.True(t, e.Sent)
			require.EqualValues(t, 2, requests.Load(), "the request was sent again silently")
		})
	}
}

func TestConnectionClosedWhileIdleIsReplaced(t *testing.T) {
	t.Parallel()
	good := httpAnswer(t, "200 OK", okBody)
	u := afterRequest(t, say(good)) // and closes, without saying so
	c := newClient(t, wxclient.Config{PrimaryURL: u})
	m := newMerchant(t)
	_, err := c.Reply(t.Context(), wxclient.Primary, m, complaintID, replyBody)
	require.NoError(t, err)
	// Either the end of the connection was noticed and there is a new one, or the call fails as above.
	// It never is a success without a request of its own, and never hangs.
	_, err = c.Reply(t.Context(), wxclient.Primary, m, complaintID, replyBody)
	if err != nil {
		require.Equal(t, wxclient.ClassHostFailed, checkError(t, err).Class)
	}
}

func TestManyCallsAtOnce(t *testing.T) {
	t.Parallel()
	u, roots, requests := tlsServer(t, func(*httptest.Server) {})
	c := newClient(t, wxclient.Config{PrimaryURL: u, RootCAs: roots, MaxConns: 8})
	m := newMerchant(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 5 {
				if _, err := c.Reply(t.Context(), wxclient.Primary, m, complaintID, replyBody); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 40, requests.Load())
}

func TestCancelledByTheCaller(t *testing.T) {
	t.Parallel()
	errDraining := errors.New("draining")
	good := httpAnswer(t, "200 OK", okBody)
	for _, tc := range []struct {
		name   string
		before string // what the server says before the call is cancelled
		class  wxclient.Class
		status int
	}{
		{"while it waits", "", wxclient.ClassCanceled, 0},
		{"while it reads a 2xx", good[:len(good)-5], wxclient.ClassCanceled, 200},
		{
			"while it reads an error, whose status says enough", "HTTP/1.1 400 No\r\nContent-Length: 9\r\n\r\n",
			wxclient.ClassRefused, 400,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			// The answer's head is seen by a transport around the real one, so that the cancel surely
			// comes behind it.
			u := afterRequest(t, func(conn net.Conn) {
				say(tc.before)(conn)
				if tc.before == "" {
					cancel(errDraining)
				}
				hold(conn)
			})
			inner := &http.Transport{}
			defer inner.CloseIdleConnections()
			c := newClient(t, wxclient.Config{PrimaryURL: u, Transport: fake(func(req *http.Request) (*http.Response, error) {
				resp, err := inner.RoundTrip(req)
				if err == nil {
					cancel(errDraining)
				}
				return resp, err
			})})
			e := replyErrorCtx(ctx, t, c, newMerchant(t))
			require.Equal(t, tc.class, e.Class)
			require.Equal(t, tc.status, e.Status)
			require.True(t, e.Sent)
			if tc.class == wxclient.ClassCanceled {
				require.ErrorIs(t, e, errDraining)
			}
		})
	}
}

func TestContextThatIsOverIsNotBlamedOnTheHost(t *testing.T) {
	t.Parallel()
	c := newClient(t, wxclient.Config{Transport: fake(func(*http.Request) (*http.Response, error) {
		t.Error("a request was sent")
		return nil, io.EOF
	})})
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancel := context.WithDeadline(t.Context(), time.Unix(1, 0))
	defer cancel()
	for want, ctx := range map[error]context.Context{context.Canceled: canceled, context.DeadlineExceeded: late} {
		e := replyErrorCtx(ctx, t, c, newMerchant(t))
		require.Equal(t, wxclient.ClassCanceled, e.Class)
		require.False(t, e.Sent)
		require.ErrorIs(t, e, want)
	}
}

// waiting is a transport that reports nothing of what it does and answers when its context ends.
func waiting(req *http.Request) (*http.Response, error) {
	<-req.Context().Done()
	return nil, req.Context().Err()
}

func TestTimeoutIsExact(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newClient(t, wxclient.Config{Transport: fake(waiting), Timeout: 7 * time.Second})
		m := newMerchant(t)
		start := time.Now()
		e := replyError(t, c, m)
		require.Equal(t, 7*time.Second, time.Since(start))
		require.Equal(t, wxclient.ClassHostFailed, e.Class)
		require.ErrorContains(t, e, "no complete answer within 7s")
		require.True(t, e.Sent, "a transport that reports nothing may have sent it")

		// A deadline of the caller's that is sooner is a timeout, too.
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start = time.Now()
		e = replyErrorCtx(ctx, t, c, m)
		require.Equal(t, time.Second, time.Since(start))
		require.Equal(t, wxclient.ClassHostFailed, e.Class)
	})
}

func TestDefaultTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		replyError(t, newClient(t, wxclient.Config{Transport: fake(waiting)}), newMerchant(t))
		require.Equal(t, 10*time.Second, time.Since(start))
	})
}

func TestSentWithATransportThatReportsNothing(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		err  error
		sent bool
	}{
		{&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, false},
		{&net.OpError{Op: "proxyconnect", Err: syscall.ECONNREFUSED}, false},
		{&net.DNSError{Err: "no such host"}, false},
		{&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, false},
		{tls.RecordHeaderError{Msg: "no TLS"}, false},
		{&net.OpError{Op: "read", Err: syscall.ECONNRESET}, true},
		{&net.OpError{Op: "write", Err: syscall.EPIPE}, true},
		{io.EOF, true},
		{errors.New("anything"), true},
	} {
		c := newClient(t, wxclient.Config{Transport: fake(func(*http.Request) (*http.Response, error) {
			return nil, fmt.Errorf("wrapped: %w", tc.err)
		})})
		e := replyError(t, c, newMerchant(t))
		require.Equal(t, tc.sent, e.Sent, tc.err)
		require.ErrorIs(t, e, tc.err)
	}
}
