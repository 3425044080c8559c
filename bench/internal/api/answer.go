package api

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

// answer is a signed success. It serves all calls of about a second.
type answer struct {
	header http.Header
	body   []byte
}

// signer keeps the answer of the moment.
type signer struct {
	key   *rsa.PrivateKey
	keyID string
	now   atomic.Pointer[answer]
}

// renew signs an answer for the calls to come.
func (s *signer) renew(at time.Time) error {
	timestamp, nonce := strconv.FormatInt(at.Unix(), 10), fmt.Sprintf("%032x", at.UnixNano())
	body := fmt.Appendf(nil, `{"log_id":"3002%023d"}`, at.UnixNano())
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%s\n", timestamp, nonce, body))
	signature, err := rsa.SignPKCS1v15(nil, s.key, crypto.SHA256, sum[:])
	if err != nil {
		return fmt.Errorf("sign an answer: %w", err)
	}
	s.now.Store(&answer{body: body, header: http.Header{
		"Content-Type":             {"application/json; charset=utf-8"},
		"Content-Length":           {strconv.Itoa(len(body))},
		"Request-Id":               {"08" + nonce[8:]},
		"Cache-Control":            {"no-cache, must-revalidate"},
		"X-Content-Type-Options":   {"nosniff"},
		"Keep-Alive":               {"timeout=8"},
		"Wechatpay-Timestamp":      {timestamp},
		"Wechatpay-Nonce":          {nonce},
		"Wechatpay-Signature-Type": {scheme},
		"Wechatpay-Serial":         {s.keyID},
		"Wechatpay-Signature":      {base64.StdEncoding.EncodeToString(signature)},
	}})
	return nil
}

// write sends the answer of the moment.
func (s *signer) write(w http.ResponseWriter) {
	a := s.now.Load()
	h := w.Header()
	for name, values := range a.header {
		h[name] = values
	}
	_, _ = w.Write(a.body) // The client has gone: the call is over either way.
}
