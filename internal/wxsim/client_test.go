package wxsim_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"replyworker/internal/wxsim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var materials = sync.OnceValues(func() (*wxsim.Materials, error) { return wxsim.Generate(wxsim.Params{}) })

func keys(t testing.TB) *wxsim.Materials {
	t.Helper()
	m, err := materials()
	require.NoError(t, err)
	return m
}

func newSim(t testing.TB, change ...func(*wxsim.Config)) *wxsim.Sim {
	t.Helper()
	cfg := keys(t).Config()
	for _, c := range change {
		c(&cfg)
	}
	sim, err := wxsim.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, sim.Close()) })
	return sim
}

const goodMessage = `{"blocks":[{"type":"TEXT","text":{"text":"您好","color":"DEFAULT","is_bold":false}}],"sender_identity":"MACHINE"}`

func replyBody(id, message string) string {
	return `{"complainted_mchid":"1900012181","message":` + message + `,"idempotent_id":"` + id + `"}`
}

func target(complaint string) string {
	return "/v3/merchant-service/complaints-v2/" + url.PathEscape(complaint) + "/response-immediate-service"
}

// call is one request, right unless it is changed.
type call struct {
	method, target, body  string
	signedTarget          string
	signedBody            string // Instead of the body, where it is not empty.
	mchID, serial         string
	at                    time.Time
	nonce                 string
	key                   *rsa.PrivateKey
	header                http.Header
	authorization         func(parts []string) string
	signature             string
	complaint, idempotent string
}

func newCall(t testing.TB, complaint, id string) *call {
	t.Helper()
	m := keys(t)
	return &call{
		method: http.MethodPost, target: target(complaint), body: replyBody(id, goodMessage),
		mchID: m.MchID, serial: m.CertSerial, at: time.Now(), nonce: rand.Text(), key: m.MerchantKey,
		complaint: complaint, idempotent: id,
		header: http.Header{
			"Accept": {"application/json"}, "User-Agent": {"test"}, "Content-Type": {"application/json"},
			"Wechatpay-Serial": {m.PublicKeyID},
		},
		authorization: func(parts []string) string { return "WECHATPAY2-SHA256-RSA2048 " + strings.Join(parts, ",") },
	}
}

func (c *call) sign(t testing.TB) {
	t.Helper()
	signed := c.signedTarget
	if signed == "" {
		signed = c.target
	}
	body := c.body
	if c.signedBody != "" {
		body = c.signedBody
	}
	at := strconv.FormatInt(c.at.Unix(), 10)
	sum := sha256.Sum256([]byte(c.method + "\n" + signed + "\n" + at + "\n" + c.nonce + "\n" + body + "\n"))
	signature, err := rsa.SignPKCS1v15(nil, c.key, crypto.SHA256, sum[:])
	require.NoError(t, err)
	c.signature = base64.StdEncoding.EncodeToString(signature)
	value := c.authorization([]string{
		`mchid="` + c.mchID + `"`, `nonce_str="` + c.nonce + `"`, `timestamp="` + at + `"`,
		`serial_no="` + c.serial + `"`, `signature="` + c.signature + `"`,
	})
	if value != "" {
		c.header.Set("Authorization", value)
	}
}

// reply is what came back.
type reply struct {
	status int
	header http.Header
	body   []byte
	err    error
}

func (r reply) logID(t testing.TB) string {
	t.Helper()
	require.NoError(t, r.err)
	require.Equal(t, http.StatusOK, r.status, "body: %s", r.body)
	var out struct {
		LogID string `json:"log_id"`
	}
	require.NoError(t, json.Unmarshal(r.body, &out))
	return out.LogID
}

func (r reply) code(t testing.TB) string {
	t.Helper()
	require.NoError(t, r.err)
	var out struct{ Code, Message string }
	require.NoError(t, json.Unmarshal(r.body, &out), "body: %s", r.body)
	require.NotEmpty(t, out.Message)
	return out.Code
}

// verify checks an answer's signature as the API's rules say, its time included.
func (r reply) verify(t testing.TB) error {
	t.Helper()
	h := r.header
	if got := h.Get("Wechatpay-Serial"); got != keys(t).PublicKeyID {
		return fmt.Errorf("key id %q", got)
	}
	seconds, err := strconv.ParseInt(h.Get("Wechatpay-Timestamp"), 10, 64)
	if err != nil || time.Since(time.Unix(seconds, 0)).Abs() > 5*time.Minute {
		return fmt.Errorf("timestamp %q", h.Get("Wechatpay-Timestamp"))
	}
	signature, err := base64.StdEncoding.DecodeString(h.Get("Wechatpay-Signature"))
	if err != nil {
		return fmt.Errorf("signature: %w", err)
	}
	sum := sha256.Sum256([]byte(h.Get("Wechatpay-Timestamp") + "\n" + h.Get("Wechatpay-Nonce") + "\n" + string(r.body) + "\n"))
	return rsa.VerifyPKCS1v15(&keys(t).PlatformKey.PublicKey, crypto.SHA256, sum[:], signature)
}

// direct sends a call to a handler without sockets.
func direct(t testing.TB, sim *wxsim.Sim, host wxsim.Host, c *call) reply {
	t.Helper()
	c.sign(t)
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), c.method, c.target, strings.NewReader(c.body))
	r.Header = c.header
	sim.Handler(host).ServeHTTP(w, r)
	return reply{status: w.Code, header: w.Header(), body: w.Body.Bytes()}
}

// wire is a simulator that listens, with a client.
type wire struct {
	sim     *wxsim.Sim
	servers *wxsim.Servers
	client  *http.Client
}

func newWire(t testing.TB, change ...func(*wxsim.Config)) *wire {
	t.Helper()
	sim := newSim(t, change...)
	servers, err := sim.Listen(wxsim.ListenParams{})
	require.NoError(t, err)
	client := newClient(t, servers.CAPEM)
	return &wire{sim: sim, servers: servers, client: client}
}

func newClient(t testing.TB, caPEM []byte) *http.Client {
	t.Helper()
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(caPEM))
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
}

func (w *wire) url(host wxsim.Host) string {
	if host == wxsim.Backup {
		return w.servers.BackupURL
	}
	return w.servers.PrimaryURL
}

func (w *wire) send(ctx context.Context, t testing.TB, host wxsim.Host, c *call) reply {
	t.Helper()
	return <-w.start(ctx, t, host, c)
}

// start sends a call and does not wait for the answer.
func (w *wire) start(ctx context.Context, t testing.TB, host wxsim.Host, c *call) <-chan reply {
	t.Helper()
	c.sign(t)
	req, err := http.NewRequestWithContext(ctx, c.method, w.url(host)+c.target, bytes.NewReader([]byte(c.body)))
	require.NoError(t, err)
	req.Header = c.header
	done := make(chan reply, 1)
	go func() { done <- w.do(req) }()
	return done
}

func (w *wire) do(req *http.Request) reply {
	res, err := w.client.Do(req)
	if err != nil {
		return reply{err: err}
	}
	body, err := io.ReadAll(res.Body)
	return reply{status: res.StatusCode, header: res.Header, body: body, err: errors.Join(err, res.Body.Close())}
}

func (w *wire) good(t testing.TB, host wxsim.Host, id string) reply {
	t.Helper()
	return w.send(t.Context(), t, host, newCall(t, "c-"+id, id))
}
