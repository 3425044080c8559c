package wxclient_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"replyworker/internal/wxclient"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	keyID       = "PUB_KEY_ID_0000000000000024101100397200000006"
	certSerial  = "0A1B2C3D4E5F60718293A4B5C6D7E8F901234567"
	complaintID = "200201820200101080076610000"
	okBody      = `{"log_id":"300285320210322170000071077"}`
	replyText   = "words of the reply that no error may show"
)

var replyBody = []byte(`{"complainted_mchid":"1900012181","message":{"blocks":[{"type":"TEXT","text":{"text":"` +
	replyText + `"}}]},"idempotent_id":"id-1"}`)

// testNow is the clock of every test that does not say otherwise.
func testNow() time.Time { return time.Unix(1735689600, 0) }

func readFile(tb testing.TB, name string) []byte {
	tb.Helper()
	data, err := os.ReadFile("testdata/" + name)
	require.NoError(tb, err)
	return data
}

func privatePEM(tb testing.TB, name string) []byte {
	tb.Helper()
	return bytes.ReplaceAll(readFile(tb, name), []byte("TESTING KEY"), []byte("PRIVATE KEY"))
}

// privateKey is the key as crypto/rsa has it, whatever signs in this build.
func privateKey(tb testing.TB, name string) *rsa.PrivateKey {
	tb.Helper()
	block, _ := pem.Decode(privatePEM(tb, name))
	require.NotNil(tb, block)
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	require.NoError(tb, err)
	key, ok := parsed.(*rsa.PrivateKey)
	require.True(tb, ok)
	return key
}

// signer is the key as the product reads it.
func signer(tb testing.TB, name string) crypto.Signer {
	tb.Helper()
	key, err := wxclient.ParsePrivateKey(privatePEM(tb, name))
	require.NoError(tb, err)
	return key
}

func newMerchant(tb testing.TB) *wxclient.Merchant {
	tb.Helper()
	platform := &privateKey(tb, "platform_key.pem").PublicKey
	return &wxclient.Merchant{
		MchID:       "1900000001",
		CertSerial:  "1DDE55AD98ED71D6EDD4A4A16996DE7B47773A8C",
		Key:         signer(tb, "merchant_key.pem"),
		AnswerKeyID: keyID,
		AnswerKeys:  map[string]*rsa.PublicKey{keyID: platform, certSerial: platform},
	}
}

func newClient(tb testing.TB, cfg wxclient.Config) *wxclient.Client {
	tb.Helper()
	if cfg.PrimaryURL == "" {
		cfg.PrimaryURL = "https://primary.invalid"
	}
	if cfg.Now == nil {
		cfg.Now = testNow
	}
	c, err := wxclient.New(cfg)
	require.NoError(tb, err)
	tb.Cleanup(c.Close)
	return c
}

func sign(tb testing.TB, key *rsa.PrivateKey, message string) string {
	tb.Helper()
	sum := sha256.Sum256([]byte(message))
	raw, err := key.Sign(nil, sum[:], crypto.SHA256)
	require.NoError(tb, err)
	return base64.StdEncoding.EncodeToString(raw)
}

// signedHeader is the header of a good answer with that body.
func signedHeader(tb testing.TB, body string) http.Header {
	tb.Helper()
	return signedHeaderAt(tb, body, testNow())
}

func signedHeaderAt(tb testing.TB, body string, at time.Time) http.Header {
	tb.Helper()
	const nonce = "d824f2e086d3c1df967785d13fcd22ef"
	timestamp := strconv.FormatInt(at.Unix(), 10)
	return http.Header{
		"Wechatpay-Timestamp":      {timestamp},
		"Wechatpay-Nonce":          {nonce},
		"Wechatpay-Serial":         {keyID},
		"Wechatpay-Signature-Type": {"WECHATPAY2-SHA256-RSA2048"},
		"Wechatpay-Signature":      {sign(tb, privateKey(tb, "platform_key.pem"), timestamp+"\n"+nonce+"\n"+body+"\n")},
		"Request-Id":               {"08F4A1"},
	}
}

// discardLog is for servers whose clients hang up on purpose.
func discardLog() *log.Logger { return log.New(io.Discard, "", 0) }

// fake is a RoundTripper that is a function.
type fake func(*http.Request) (*http.Response, error)

func (f fake) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func answer(status int, h http.Header, body string) fake {
	return func(*http.Request) (*http.Response, error) {
		return &http.Response{
			StatusCode: status, Header: h, Body: io.NopCloser(bytes.NewReader([]byte(body))), ContentLength: int64(len(body)),
		}, nil
	}
}

// replyError makes one call that is to fail, and checks what holds of every error.
func replyError(tb testing.TB, c *wxclient.Client, m *wxclient.Merchant) *wxclient.Error {
	tb.Helper()
	return replyErrorCtx(tb.Context(), tb, c, m)
}

func replyErrorCtx(ctx context.Context, tb testing.TB, c *wxclient.Client, m *wxclient.Merchant) *wxclient.Error {
	tb.Helper()
	a, err := c.Reply(ctx, wxclient.Primary, m, complaintID, replyBody)
	require.Zero(tb, a, "answer beside an error")
	return checkError(tb, err)
}

func checkError(tb testing.TB, err error) *wxclient.Error {
	tb.Helper()
	var e *wxclient.Error
	require.ErrorAs(tb, err, &e)
	require.Contains(tb, wxclient.Classes(), e.Class)
	require.NotContains(tb, err.Error(), replyText, "error shows the reply's text")
	require.NotContains(tb, err.Error(), "signature=", "error shows the Authorization header")
	require.LessOrEqual(tb, len(err.Error()), 1200)
	for _, r := range err.Error() {
		require.True(tb, strconv.IsPrint(r), "error has %q in it", r)
	}
	return e
}

// rawServer serves each connection with serve, and returns its URL. Connections are closed when
// serve returns or the test ends, and serve has returned before the test ends.
func rawServer(t *testing.T, serve func(conn net.Conn)) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, conn)
			mu.Unlock()
			wg.Go(func() {
				defer conn.Close()
				serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, conn := range open {
			conn.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return "http://" + l.Addr().String()
}
