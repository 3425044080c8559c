package wxclient_test

import (
	"bufio"
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"replyworker/internal/wxclient"
)

// request is one request as it came over the wire.
type request struct {
	target string
	header []string
	body   string
}

func readRequest(r *bufio.Reader) (request, error) {
	var req request
	var length int
	for n := 0; ; n++ {
		line, err := r.ReadString('\n')
		if err != nil {
			return req, err
		}
		line = strings.TrimSuffix(line, "\r\n")
		switch {
		case n == 0:
			req.target = line
		case line == "":
			body := make([]byte, length)
			_, err := io.ReadFull(r, body)
			req.body = string(body)
			return req, err
		default:
			req.header = append(req.header, line)
			if v, ok := strings.CutPrefix(line, "Content-Length: "); ok {
				for _, d := range v {
					length = length*10 + int(d-'0')
				}
			}
		}
	}
}

func (r request) value(name string) string {
	for _, line := range r.header {
		if v, ok := strings.CutPrefix(line, name+": "); ok {
			return v
		}
	}
	return ""
}

var authPattern = regexp.MustCompile(`^WECHATPAY2-SHA256-RSA2048 mchid="([^"]*)",nonce_str="([0-9a-f]{32})",` +
	`timestamp="([0-9]+)",serial_no="([^"]*)",signature="([^"]*)"$`)

func TestReplySendsExactlyWhatItSigned(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, id, segment string }{
		{"digits go as they are", complaintID, complaintID},
		{"unreserved go as they are", "aZ09-._~", "aZ09-._~"},
		{"slash", "a/b", "a%2Fb"},
		{"path climbing", "a/../../b", "a%2F..%2F..%2Fb"},
		{"three dots", "...", "..."},
		{"query", "a?b=c&d", "a%3Fb%3Dc%26d"},
		{"fragment", "a#b", "a%23b"},
		{"percent", "100%", "100%25"},
		{"already escaped", "a%2Fb", "a%252Fb"},
		{"space and plus", "a b+c", "a%20b%2Bc"},
		{"sub-delimiters", "!$'()*,;=:@", "%21%24%27%28%29%2A%2C%3B%3D%3A%40"},
		{"Chinese", "投诉", "%E6%8A%95%E8%AF%89"},
		{"line end", "a\r\nb", "a%0D%0Ab"},
		{"not UTF-8", "a\xff", "a%FF"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got := make(chan request, 1)
			u := rawServer(t, func(conn net.Conn) {
				if req, err := readRequest(bufio.NewReader(conn)); err == nil {
					got <- req
				}
			})
			m := newMerchant(t)
			c := newClient(t, wxclient.Config{PrimaryURL: u, UserAgent: "replyworker/1.2.3"})
			_, err := c.Reply(t.Context(), wxclient.Primary, m, tc.id, replyBody)
			require.True(t, checkError(t, err).Sent) // the server hangs up

			req := <-got
			target := "/v3/merchant-service/complaints-v2/" + tc.segment + "/response-immediate-service"
			require.Equal(t, "POST "+target+" HTTP/1.1", req.target)
			require.Equal(t, string(replyBody), req.body)

			auth := authPattern.FindStringSubmatch(req.value("Authorization"))
			require.NotNil(t, auth, req.value("Authorization"))
			require.Equal(t, []string{m.MchID, "1735689600", m.CertSerial}, []string{auth[1], auth[3], auth[4]})
			signature, err := base64.StdEncoding.DecodeString(auth[5])
			require.NoError(t, err)
			sum := sha256.Sum256([]byte("POST\n" + target + "\n" + auth[3] + "\n" + auth[2] + "\n" + req.body + "\n"))
			require.NoError(t, rsa.VerifyPKCS1v15(m.Key.Public().(*rsa.PublicKey), crypto.SHA256, sum[:], signature))

			var names []string
			for _, line := range req.header {
				name, _, _ := strings.Cut(line, ":")
				names = append(names, name)
			}
			require.ElementsMatch(t, []string{
				"Host", "User-Agent", "Content-Length", "Accept", "Authorization", "Content-Type", "Wechatpay-Serial",
			}, names, "no Expect, Cookie, Accept-Encoding or Idempotency-Key")
			require.Equal(t, "replyworker/1.2.3", req.value("User-Agent"))
			require.Equal(t, "application/json", req.value("Accept"))
			require.Equal(t, "application/json", req.value("Content-Type"))
			require.Equal(t, keyID, req.value("Wechatpay-Serial"))
			require.Equal(t, strings.TrimPrefix(u, "http://"), req.value("Host"))
		})
	}
}

func TestAuthorizationIsThatOfOpenSSL(t *testing.T) {
	t.Parallel()
	message := string(readFile(t, "signed_message.txt"))
	body := strings.Split(message, "\n")[4]
	var got string
	c := newClient(t, wxclient.Config{
		Rand: bytes.NewReader([]byte("\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f")),
		Transport: fake(func(req *http.Request) (*http.Response, error) {
			got = req.Header.Get("Authorization")
			return nil, io.ErrUnexpectedEOF
		}),
	})
	_, err := c.Reply(t.Context(), wxclient.Primary, newMerchant(t), complaintID, []byte(body))
	checkError(t, err)
	require.Equal(t, `WECHATPAY2-SHA256-RSA2048 mchid="1900000001",nonce_str="000102030405060708090a0b0c0d0e0f",`+
		`timestamp="1735689600",serial_no="1DDE55AD98ED71D6EDD4A4A16996DE7B47773A8C",signature="`+
		strings.TrimSpace(string(readFile(t, "signed_message.sig")))+`"`, got)
}

func TestEveryCallHasItsOwnNonce(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	c := newClient(t, wxclient.Config{Transport: fake(func(req *http.Request) (*http.Response, error) {
		seen[authPattern.FindStringSubmatch(req.Header.Get("Authorization"))[2]] = true
		return nil, io.EOF
	})})
	m := newMerchant(t)
	for range 20 {
		replyError(t, c, m)
	}
	require.Len(t, seen, 20)
}

func TestAnyComplaintIDComesBackAsOneSegment(t *testing.T) {
	t.Parallel()
	var target *url.URL
	c := newClient(t, wxclient.Config{Transport: fake(func(req *http.Request) (*http.Response, error) {
		target = req.URL
		return nil, io.EOF
	})})
	m := newMerchant(t)
	m.Key = stubSigner{m.Key.Public()}
	rapid.Check(t, func(rt *rapid.T) {
		id := rapid.StringN(1, 64, 256).Filter(func(s string) bool { return s != "." && s != ".." }).Draw(rt, "id")
		_, err := c.Reply(t.Context(), wxclient.Primary, m, id, replyBody)
		require.ErrorIs(rt, err, io.EOF)
		segments := strings.Split(target.RequestURI(), "/")
		require.Len(rt, segments, 6)
		back, err := url.PathUnescape(segments[4])
		require.NoError(rt, err)
		require.Equal(rt, id, back)
		require.NotContains(rt, target.RequestURI(), "?")
	})
}

// stubSigner signs nothing, for tests that make many calls.
type stubSigner struct{ public crypto.PublicKey }

func (s stubSigner) Public() crypto.PublicKey { return s.public }

func (s stubSigner) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return make([]byte, 256), nil
}

type brokenSigner struct{ stubSigner }

func (brokenSigner) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("security module is gone")
}

func TestFaultsBeforeAnythingIsSent(t *testing.T) {
	t.Parallel()
	with := func(change func(*wxclient.Merchant)) func(*testing.T) *wxclient.Merchant {
		return func(t *testing.T) *wxclient.Merchant {
			t.Helper()
			m := newMerchant(t)
			change(m)
			return m
		}
	}
	good := with(func(*wxclient.Merchant) {})
	for _, tc := range []struct {
		name     string
		host     wxclient.Host
		merchant func(*testing.T) *wxclient.Merchant
		id       string
		body     string
		class    wxclient.Class
		text     string
	}{
		{"no backup", wxclient.Backup, good, "1", "{}", wxclient.ClassHostFailed, "not configured"},
		{"no such host", 7, good, "1", "{}", wxclient.ClassHostFailed, "not configured"},
		{"negative host", -1, good, "1", "{}", wxclient.ClassHostFailed, "not configured"},
		{"empty id", 0, good, "", "{}", wxclient.ClassRefused, "path segment"},
		{"dot", 0, good, ".", "{}", wxclient.ClassRefused, "path segment"},
		{"two dots", 0, good, "..", "{}", wxclient.ClassRefused, "path segment"},
		{"long id", 0, good, strings.Repeat("x", 257), "{}", wxclient.ClassRefused, "257 bytes"},
		{"empty body", 0, good, "1", "", wxclient.ClassRefused, "empty body"},
		{
			"no merchant", 0, func(*testing.T) *wxclient.Merchant { return nil },
			"1", "{}", wxclient.ClassCredentials, "no merchant",
		},
		{
			"mchid that would break the header", 0, with(func(m *wxclient.Merchant) { m.MchID = `1",x="` }),
			"1", "{}", wxclient.ClassCredentials, "mchid",
		},
		{
			"no serial", 0, with(func(m *wxclient.Merchant) { m.CertSerial = "" }),
			"1", "{}", wxclient.ClassCredentials, "cert-serial",
		},
		{
			"no key", 0, with(func(m *wxclient.Merchant) { m.Key = nil }),
			"1", "{}", wxclient.ClassCredentials, "private key: missing",
		},
		{
			"key of another kind", 0, with(func(m *wxclient.Merchant) { m.Key = stubSigner{"nothing"} }),
			"1", "{}", wxclient.ClassCredentials, "must be an RSA key",
		},
		{
			"answer key missing", 0, with(func(m *wxclient.Merchant) { m.AnswerKeys = nil }),
			"1", "{}", wxclient.ClassCredentials, "there is no key for " + keyID,
		},
		{
			"signer fails", 0, with(func(m *wxclient.Merchant) { m.Key = brokenSigner{stubSigner{m.Key.Public()}} }),
			"1", "{}", wxclient.ClassCredentials, "security module is gone",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := newClient(t, wxclient.Config{Transport: fake(func(*http.Request) (*http.Response, error) {
				t.Error("a request was sent")
				return nil, io.EOF
			})})
			_, err := c.Reply(t.Context(), tc.host, tc.merchant(t), tc.id, []byte(tc.body))
			e := checkError(t, err)
			require.Equal(t, tc.class, e.Class)
			require.False(t, e.Sent)
			require.Zero(t, e.Status)
			require.Contains(t, err.Error(), tc.text)
		})
	}
}

func TestMerchantReportsEveryFault(t *testing.T) {
	t.Parallel()
	err := (&wxclient.Merchant{}).Validate()
	for _, want := range []string{"mchid", "cert-serial", "private key", "public-key-id"} {
		require.ErrorContains(t, err, want)
	}
	require.NoError(t, newMerchant(t).Validate())
}
