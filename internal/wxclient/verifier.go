package wxclient

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// maxSkew is the API's five-minute rule. An answer of exactly that age, or from that far ahead,
	// is refused, as WeChat Pay's Go and Java SDKs do.
	maxSkew = 300

	// probePrefix marks signatures that the API makes wrong on purpose now and then, to see whether
	// its callers verify (https://pay.weixin.qq.com/doc/v3/partner/4013059017, read 2026-11-23). The
	// request was processed all the same. They fail like any wrong signature.
	probePrefix = "WECHATPAY/SIGNTEST/"
)

// unknownKeyError is an answer signed with a key that the merchant does not have.
type unknownKeyError struct{ id, known string }

func (e *unknownKeyError) Error() string {
	return "answer signed with key " + e.id + ", which is not configured (" + e.known +
		" is): add that WeChat Pay key to the merchant"
}

// verify checks the signature of an answer's raw body, made at most five minutes from now. Its error
// is an unknownKeyError where nothing but the key is in the way.
func verify(m *Merchant, h http.Header, body []byte, now time.Time) error {
	var timestamp, nonce, signature, serial string
	for _, f := range [...]struct {
		name  string
		value *string
	}{
		{"Wechatpay-Timestamp", &timestamp},
		{"Wechatpay-Nonce", &nonce},
		{"Wechatpay-Signature", &signature},
		{"Wechatpay-Serial", &serial},
	} {
		values := h[f.name]
		if len(values) != 1 || values[0] == "" {
			return fmt.Errorf("answer is not signed: %d values of %s, want 1", len(values), f.name)
		}
		*f.value = values[0]
	}
	if types := h["Wechatpay-Signature-Type"]; len(types) > 1 || len(types) == 1 && types[0] != signatureType {
		got := clean(strings.Join(types, ","), maxIDBytes)
		return fmt.Errorf("answer's signature type is %q, want %s", got, signatureType)
	}
	if strings.HasPrefix(signature, probePrefix) {
		return errors.New("answer's signature is a probe of the API's, wrong on purpose")
	}
	if err := checkTime(timestamp, now); err != nil {
		return err
	}
	// No header that came over HTTP has a line feed. One that did could move the border between
	// nonce and body in the signed message.
	if strings.ContainsAny(nonce, "\r\n") {
		return errors.New("answer's nonce has a line end")
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(signature)
	if err != nil || strings.ContainsAny(signature, "\r\n") { // which DecodeString skips
		return errors.New("answer's signature is not base64")
	}
	key := m.answerKey(serial)
	if key == nil {
		return &unknownKeyError{id: clean(serial, maxIDBytes), known: m.knownKeys()}
	}

	sum := sha256.New()
	head := make([]byte, 0, len(timestamp)+len(nonce)+2)
	head = append(head, timestamp...)
	head = append(head, '\n')
	head = append(head, nonce...)
	head = append(head, '\n')
	sum.Write(head)
	sum.Write(body)
	sum.Write(head[len(head)-1:])
	if err := rsa.VerifyPKCS1v15(key, crypto.SHA256, sum.Sum(nil), raw); err != nil {
		return fmt.Errorf("answer's signature, key %s: %w", clean(serial, maxIDBytes), err)
	}
	return nil
}

func checkTime(timestamp string, now time.Time) error {
	if strings.Trim(timestamp, "0123456789") != "" { // ParseInt takes a sign
		return errors.New("answer's timestamp is no number")
	}
	t, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil {
		return errors.New("answer's timestamp is out of range")
	}
	// No subtraction: t may be near the ends of int64.
	if n := now.Unix(); t <= n-maxSkew || t >= n+maxSkew {
		return fmt.Errorf("answer's timestamp %d is 5 minutes or more from our clock's %d", t, n)
	}
	return nil
}
