package app_test

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"replyworker/internal/wxsim"
)

// quickAPI takes every reply and answers with one log_id, signed once a second: a benchmark of the
// worker is not to measure the API that it calls. It looks at no request.
type quickAPI struct {
	url       string
	delay     time.Duration
	materials *wxsim.Materials

	mu     sync.Mutex
	second int64
	signed http.Header
}

const quickAnswer = `{"log_id":"300285320210322170000071077"}`

func newQuickAPI(b *testing.B, m *wxsim.Materials, delay time.Duration) *quickAPI {
	b.Helper()
	q := &quickAPI{delay: delay, materials: m}
	s := httptest.NewUnstartedServer(q)
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // of the worker's connections when it is killed
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*m.Certificate}}
	s.StartTLS()
	b.Cleanup(s.Close)
	q.url = s.URL
	return q
}

// ServeHTTP implements http.Handler.
func (q *quickAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // a client that is gone needs no answer
	if q.delay > 0 {
		<-time.After(q.delay)
	}
	h := w.Header()
	maps.Copy(h, q.signature())
	_, _ = io.WriteString(w, quickAnswer)
}

// signature returns the headers of this second; nobody changes them.
func (q *quickAPI) signature() http.Header {
	q.mu.Lock()
	defer q.mu.Unlock()
	if now := time.Now().Unix(); now != q.second {
		q.second, q.signed = now, q.sign(strconv.FormatInt(now, 10))
	}
	return q.signed
}

func (q *quickAPI) sign(timestamp string) http.Header {
	const nonce = "0123456789abcdef0123456789abcdef"
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%s\n", timestamp, nonce, quickAnswer))
	signature, err := rsa.SignPKCS1v15(nil, q.materials.PlatformKey, crypto.SHA256, sum[:])
	if err != nil {
		panic(err) // a key too small for the hash
	}
	return http.Header{
		"Content-Type": {"application/json"}, "Request-Id": {"08F4A1B2C3D4E5F607080910"},
		"Wechatpay-Timestamp": {timestamp}, "Wechatpay-Nonce": {nonce}, "Wechatpay-Serial": {q.materials.PublicKeyID},
		"Wechatpay-Signature": {base64.StdEncoding.EncodeToString(signature)},
	}
}
