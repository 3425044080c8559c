package wxclient_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/wxclient"
)

const (
	// mostRead is more than a call may read: 1 MiB of body, 64 KiB of head, and the buffers of both sides.
	mostRead = 1<<20 + 64<<10 + 32<<10
	// mostChunked is the same where the body comes in chunks: net/http lets each have 16 bytes of its own.
	mostChunked = 17*1<<20 + mostRead

	nextLogID = "300285320210322170000071099"
)

// How a server goes on after the bytes of an answer that are given.
const (
	thenClose  = iota // it closes the connection
	thenWait          // it waits for the next request
	thenRepeat        // it says the end of them again and again, as fast as it can
	thenDrip          // the same, a byte each 100 ms
	endings
)

// sayRaw writes an answer of that ending. It returns once the answer is at its end, or nobody listens.
func sayRaw(conn net.Conn, answer []byte, ending int) {
	if _, err := conn.Write(answer); err != nil || len(answer) == 0 || ending < thenRepeat {
		return
	}
	tail := answer[max(0, len(answer)-512):]
	if ending == thenRepeat {
		for {
			if _, err := conn.Write(tail); err != nil {
				return
			}
		}
	}
	for i := 0; ; i++ {
		<-time.After(100 * time.Millisecond)
		if _, err := conn.Write(tail[i%len(tail):][:1]); err != nil {
			return
		}
	}
}

// FuzzRawAnswer holds what must be true of a call whatever bytes come back: it ends in its time, reads
// no more than it may, is a success only with the one log_id that was signed, and leaves nothing behind
// that the next call could take for its answer.
func FuzzRawAnswer(f *testing.F) {
	good := string(rawAnswer(f, "HTTP/1.1 200 OK", okBody))
	for _, seed := range rawSeeds(good) {
		for ending := range endings {
			f.Add([]byte(seed), byte(ending))
		}
	}
	next := rawAnswer(f, "HTTP/1.1 200 OK", `{"log_id":"`+nextLogID+`"}`)
	m := newMerchant(f)
	m.Key = stubSigner{m.Key.Public()}
	quietLog(f)
	f.Fuzz(func(t *testing.T, answer []byte, ending byte) {
		serve := func(p *peer, conn net.Conn, n int) {
			r := bufio.NewReader(conn)
			if n == 0 {
				if !p.next(r) {
					return
				}
				sayRaw(conn, answer, int(ending)%endings)
				if int(ending)%endings == thenClose {
					return
				}
			}
			for p.next(r) {
				conn.Write(next)
			}
		}
		inBubble(t, wxclient.Config{Timeout: 7 * time.Second}, serve, func(t *testing.T, c *wxclient.Client, p *peer) {
			begin := time.Now()
			a, err := c.Reply(t.Context(), wxclient.Primary, m, complaintID, replyBody)
			require.LessOrEqual(t, time.Since(begin), 7*time.Second)
			most := int64(mostRead)
			if bytes.Contains(bytes.ToLower(answer), []byte("chunked")) {
				most = mostChunked
			}
			require.LessOrEqual(t, p.taken.Load(), most, "bytes read of one answer")
			require.EqualValues(t, 1, p.requests.Load())
			if err == nil {
				require.Equal(t, "300285320210322170000071077", a.LogID, "a success that nobody signed")
			} else {
				checkRaw(t, err)
			}

			synctest.Wait() // what has come by now has come before the next request
			a, err = c.Reply(t.Context(), wxclient.Primary, m, complaintID, replyBody)
			if err == nil {
				require.Equal(t, nextLogID, a.LogID, "this answer is taken for the next one")
				require.EqualValues(t, 2, p.requests.Load())
				return
			}
			require.GreaterOrEqual(t, int(ending)%endings, thenRepeat, "the next call has trouble with what was left behind: %v", err)
			checkError(t, err) // the server goes on with garbage while the next call is out
		})
	})
}

// checkRaw checks an error of an answer that a server made up.
func checkRaw(t *testing.T, err error) {
	t.Helper()
	e := checkError(t, err)
	require.True(t, e.Sent, "the request was read to its end")
	require.NotEqual(t, wxclient.ClassCanceled, e.Class)
	require.LessOrEqual(t, len(e.Code), 64)
	require.LessOrEqual(t, len(e.Message), 512)
	require.LessOrEqual(t, len(e.RequestID), 128)
	require.LessOrEqual(t, len(e.KeyID), 128)
	require.LessOrEqual(t, len(e.Detail), 4096)
	require.True(t, e.RetryAfter >= 0 && e.RetryAfter <= time.Hour)
}

// rawAnswer is a signed answer as it goes over the wire.
func rawAnswer(tb testing.TB, statusLine, body string, more ...string) []byte {
	tb.Helper()
	var b strings.Builder
	b.WriteString(statusLine + "\r\n")
	require.NoError(tb, signedHeader(tb, body).Write(&b))
	for _, line := range more {
		b.WriteString(line + "\r\n")
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(body), body)
	return []byte(b.String())
}

func rawSeeds(good string) []string {
	head, body, _ := strings.Cut(good, "\r\n\r\n")
	chunked := head[:strings.LastIndex(head, "Content-Length")] + "Transfer-Encoding: chunked\r\n\r\n"
	refusal := "HTTP/1.1 400 Bad Request\r\nContent-Length: 22\r\nRetry-After: 5\r\n\r\n" + `{"code":"PARAM_ERROR"}`
	return []string{
		"", good, good[:len(good)/2], good[:len(good)-1], good + good, good + "x", good + "\r\n", refusal, refusal + good,
		"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + good,
		good + "HTTP/1.1 100 Continue\r\n\r\n", good + "HTTP/1.1 408 Request Timeout\r\n\r\n",
		chunked + fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body),
		chunked + fmt.Sprintf("%x;a=b\r\n%s\r\n0\r\nX: y\r\n\r\n", len(body), body), chunked + "ffffffffffffffff\r\n" + body,
		head[:strings.LastIndex(head, "Content-Length")] + "Connection: close\r\n\r\n" + body,
		strings.Replace(good, "HTTP/1.1 200 OK", "HTTP/1.0 200 OK", 1),
		strings.Replace(good, "200 OK", "202 Accepted", 1), strings.Replace(good, "200 OK", "204 No Content", 1),
		strings.Replace(good, "200 OK", "304 Not Modified", 1), strings.Replace(good, "200 OK", "101 Switching Protocols", 1),
		"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:80/v3\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}",
		"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b",
		"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x08\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", // HTTP/2: SETTINGS, GOAWAY
		"\x15\x03\x01\x00\x02\x02\x46", "220 mail ESMTP\r\n", "HTTP/1.1 401 \xff\r\nX\x00: \r\n\r\n",
	}
}

// TestAnswersTooLargeOrTooSlow holds that the limits end a call, and not the other side.
func TestAnswersTooLargeOrTooSlow(t *testing.T) {
	t.Parallel()
	const timeout = 10 * time.Second
	const atOnce = 0
	endless := func(text string) func(net.Conn) {
		block := strings.Repeat(text, 1+(32<<10)/len(text))
		return func(conn net.Conn) {
			for _, err := io.WriteString(conn, block); err == nil; {
				_, err = io.WriteString(conn, block)
			}
		}
	}
	slowly := func(text string, every time.Duration) func(net.Conn) {
		return func(conn net.Conn) {
			for i := 0; ; i++ {
				<-time.After(every)
				if _, err := io.WriteString(conn, text[i%len(text):][:1]); err != nil {
					return
				}
			}
		}
	}
	hundredMiB := "Content-Length: 104857600\r\n\r\n"
	good := string(rawAnswer(t, "HTTP/1.1 200 OK", okBody))
	for _, tc := range []struct {
		name   string
		head   string
		then   func(net.Conn)
		class  wxclient.Class
		status int
		took   time.Duration
	}{
		{"200 of 100 MiB", "HTTP/1.1 200 OK\r\n" + hundredMiB, endless(" "), wxclient.ClassUnknown, 200, atOnce},
		{"400 of 100 MiB", "HTTP/1.1 400 No\r\n" + hundredMiB, endless(" "), wxclient.ClassRefused, 400, atOnce},
		{"502 of 100 MiB", "HTTP/1.1 502 No\r\n" + hundredMiB, endless(" "), wxclient.ClassHostFailed, 502, atOnce},
		{"200 that says that it is 8 EiB", "HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775807\r\n\r\n", endless("x"), wxclient.ClassUnknown, 200, atOnce},
		{"200 that ends with its connection", "HTTP/1.1 200 OK\r\n\r\n", endless("x"), wxclient.ClassUnknown, 200, atOnce},
		{"chunks without end", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", endless("400\r\n" + strings.Repeat("x", 1024) + "\r\n"), wxclient.ClassUnknown, 200, atOnce},
		{"chunks of a byte", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", endless("1\r\nx\r\n"), wxclient.ClassUnknown, 200, atOnce},
		{"a chunk's head without end", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", endless("x"), wxclient.ClassHostFailed, 200, atOnce},
		{"trailers without end", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", endless("X: y\r\n"), wxclient.ClassHostFailed, 200, atOnce},
		{"a header without end", "HTTP/1.1 200 OK\r\nX: ", endless("x"), wxclient.ClassHostFailed, 0, atOnce},
		{"headers without end", "HTTP/1.1 200 OK\r\n", endless("X: y\r\n"), wxclient.ClassHostFailed, 0, atOnce},
		{"a status line without end", "HTTP/1.1 200 ", endless("O"), wxclient.ClassHostFailed, 0, atOnce},
		{"a flood of 100 Continue", "", endless("HTTP/1.1 100 Continue\r\n\r\n"), wxclient.ClassHostFailed, 0, atOnce},
		{"a flood of 103 Early Hints", "", endless("HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"), wxclient.ClassHostFailed, 0, atOnce},
		{"interim answers now and then", "", slowly("HTTP/1.1 102 Processing\r\n\r\n", 10*time.Millisecond), wxclient.ClassHostFailed, 0, timeout},
		{"a good answer, slowly", "", slowly(good, time.Second), wxclient.ClassHostFailed, 0, timeout},
		{"a good answer whose body is slow", good[:len(good)-20], slowly(good[len(good)-20:], time.Second), wxclient.ClassHostFailed, 200, timeout},
		{"a refusal whose body is slow", "HTTP/1.1 403 No\r\nContent-Length: 900\r\n\r\n", slowly("x", time.Second), wxclient.ClassRefused, 403, timeout},
		{"429 whose body is slow", "HTTP/1.1 429 No\r\nContent-Length: 900\r\n\r\n", slowly("x", time.Second), wxclient.ClassSlowDown, 429, timeout},
		{"503 whose body is slow", "HTTP/1.1 503 No\r\n\r\n", slowly("x", time.Second), wxclient.ClassHostFailed, 503, timeout},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			serve := func(p *peer, conn net.Conn, _ int) {
				if p.next(bufio.NewReader(conn)) {
					io.WriteString(conn, tc.head)
					tc.then(conn)
				}
			}
			inBubble(t, wxclient.Config{Timeout: timeout}, serve, func(t *testing.T, c *wxclient.Client, p *peer) {
				begin := time.Now()
				e := replyError(t, c, newMerchant(t))
				require.Equal(t, tc.took, time.Since(begin))
				require.Equal(t, tc.class, e.Class, e)
				require.Equal(t, tc.status, e.Status, e)
				most := int64(mostRead)
				if strings.Contains(tc.head, "chunked") {
					most = mostChunked
				}
				require.LessOrEqual(t, p.taken.Load(), most, "bytes read")
				checkRaw(t, e)
			})
		})
	}
}

// TestGoodAnswersInOddDress holds that what HTTP allows is no fault.
func TestGoodAnswersInOddDress(t *testing.T) {
	t.Parallel()
	good := string(rawAnswer(t, "HTTP/1.1 200 OK", okBody))
	head, body, _ := strings.Cut(good, "\r\n\r\n")
	head = head[:strings.LastIndex(head, "Content-Length")]
	for name, raw := range map[string]string{
		"interim answers before it": strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", 20) + good,
		"chunked":                   head + "Transfer-Encoding: chunked\r\n\r\n2\r\n" + body[:2] + "\r\n" + fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body)-2, body[2:]),
		"HTTP/1.0":                  strings.Replace(good, "HTTP/1.1", "HTTP/1.0", 1),
		"no reason phrase":          strings.Replace(good, "200 OK", "200", 1),
		"201":                       strings.Replace(good, "200 OK", "201 Created", 1),
		"closed behind it":          strings.Replace(good, "\r\n", "\r\nConnection: close\r\n", 1),
		"bytes behind it":           good + good,
		"a head of 60 KiB":          strings.Replace(good, "\r\n", "\r\n"+strings.Repeat("X-Filler: "+strings.Repeat("y", 1012)+"\r\n", 58), 1),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			serve := func(p *peer, conn net.Conn, _ int) {
				if p.next(bufio.NewReader(conn)) {
					io.WriteString(conn, raw)
				}
			}
			inBubble(t, wxclient.Config{}, serve, func(t *testing.T, c *wxclient.Client, _ *peer) {
				a, err := c.Reply(t.Context(), wxclient.Primary, newMerchant(t), complaintID, replyBody)
				require.NoError(t, err)
				require.Equal(t, "300285320210322170000071077", a.LogID)
			})
		})
	}
}
