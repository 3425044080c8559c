package signedcall

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

const keyID = "PUB_KEY_ID_1"

// api is an API that answers as it is told.
type api struct {
	key    *rsa.PrivateKey
	status int
	body   string
	sign   func(h http.Header, body string) // of the answer
	got    *http.Request
	gotten string
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	a.got, a.gotten = r, string(body)
	a.sign(w.Header(), a.body)
	w.WriteHeader(a.status)
	_, _ = io.WriteString(w, a.body)
}

func (a *api) good(h http.Header, body string) { a.at(h, body, time.Now()) }

func (a *api) at(h http.Header, body string, now time.Time) {
	stamp := strconv.FormatInt(now.Unix(), 10)
	signature, _ := rsa.SignPKCS1v15(nil, a.key, crypto.SHA256, digest([]byte(stamp+"\nnonce\n"), []byte(body)))
	h.Set("Wechatpay-Timestamp", stamp)
	h.Set("Wechatpay-Nonce", "nonce")
	h.Set("Wechatpay-Serial", keyID)
	h.Set("Wechatpay-Signature", base64.StdEncoding.EncodeToString(signature))
}

func newKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func setup(t *testing.T) (*Client, *api) {
	t.Helper()
	a := &api{key: newKey(t), status: http.StatusOK, body: `{"log_id":"3002"}`}
	a.sign = a.good
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	dir := t.TempDir()
	private, errPrivate := x509.MarshalPKCS8PrivateKey(newKey(t))
	public, errPublic := x509.MarshalPKIXPublicKey(&a.key.PublicKey)
	s := Settings{
		API: server.URL, MchID: "1900000001", CertSerial: "5D", AnswerKeyID: keyID, Concurrency: 1,
		KeyFile: filepath.Join(dir, "key.pem"), AnswerKeyFile: filepath.Join(dir, "answer.pem"),
	}
	err := errors.Join(errPrivate, errPublic,
		os.WriteFile(s.KeyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600),
		os.WriteFile(s.AnswerKeyFile, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	return c, a
}

const value = `{"complaint_id":"a/b 1","complainted_mchid":"19","idempotent_id":"id-\"1\"","message":{ "blocks" : [] }}`

func send(t *testing.T, c *Client) (string, error) {
	t.Helper()
	job, err := ParseJob([]byte(value))
	if err != nil {
		t.Fatal(err)
	}
	return c.Send(context.Background(), job)
}

func TestWhatIsSignedIsWhatIsSent(t *testing.T) {
	c, a := setup(t)
	logID, err := send(t, c)
	if err != nil || logID != "3002" {
		t.Fatalf("log id %q, error %v; want 3002", logID, err)
	}
	if want := `{"complainted_mchid":"19","message":{ "blocks" : [] },"idempotent_id":"id-\"1\""}`; a.gotten != want {
		t.Errorf("body %s\nwant %s", a.gotten, want)
	}
	const path = "/v3/merchant-service/complaints-v2/a%2Fb%201/response-immediate-service"
	if a.got.RequestURI != path {
		t.Errorf("path %s, want %s", a.got.RequestURI, path)
	}
	parts := map[string]string{}
	scheme, list, _ := strings.Cut(a.got.Header.Get("Authorization"), " ")
	for _, part := range strings.Split(list, ",") {
		name, quoted, _ := strings.Cut(part, "=")
		parts[name] = strings.Trim(quoted, `"`)
	}
	if scheme != "WECHATPAY2-SHA256-RSA2048" || parts["mchid"] != "1900000001" || parts["serial_no"] != "5D" {
		t.Errorf("Authorization: %s", a.got.Header.Get("Authorization"))
	}
	signature, _ := base64.StdEncoding.DecodeString(parts["signature"])
	sum := digest([]byte("POST\n"+path+"\n"+parts["timestamp"]+"\n"+parts["nonce_str"]+"\n"), []byte(a.gotten))
	if err := rsa.VerifyPKCS1v15(&c.key.PublicKey, crypto.SHA256, sum, signature); err != nil {
		t.Errorf("signature: %v", err)
	}
}

func TestAnAnswerIsBelievedOnlyWithItsSignature(t *testing.T) {
	c, a := setup(t)
	for name, sign := range map[string]func(http.Header, string){
		"none":       func(http.Header, string) {},
		"other body": func(h http.Header, _ string) { a.good(h, `{"log_id":"4"}`) },
		"old":        func(h http.Header, body string) { a.at(h, body, time.Now().Add(-6*time.Minute)) },
		"ahead":      func(h http.Header, body string) { a.at(h, body, time.Now().Add(6*time.Minute)) },
		"other key":  func(h http.Header, body string) { a.good(h, body); h.Set("Wechatpay-Serial", "PUB_KEY_ID_2") },
		"no base64":  func(h http.Header, body string) { a.good(h, body); h.Set("Wechatpay-Signature", "?") },
	} {
		a.sign = sign
		logID, err := send(t, c)
		if err == nil || IsPermanent(err) {
			t.Errorf("%s: log id %q, error %v; want one that is tried again", name, logID, err)
		}
	}
}

func TestWhatIsTriedAgain(t *testing.T) {
	c, a := setup(t)
	for status, permanent := range map[int]bool{
		400: true, 401: true, 403: true, 404: true, 408: false, 425: false, 429: false, 500: false, 502: false, 503: false,
	} {
		a.status = status
		_, err := send(t, c)
		if err == nil || IsPermanent(err) != permanent {
			t.Errorf("HTTP %d: permanent %v, error %v; want %v", status, IsPermanent(err), err, permanent)
		}
	}
	for _, bad := range []string{"", "{", "[]", `{"complaint_id":"1"}`} {
		if _, err := ParseJob([]byte(bad)); !IsPermanent(err) {
			t.Errorf("job %q: %v, want a permanent error", bad, err)
		}
	}
}
