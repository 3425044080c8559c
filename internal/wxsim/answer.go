package wxsim

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Error codes of the API, as its general table and the endpoint's page have them.
const (
	codeParam          = "PARAM_ERROR"
	codeInvalidRequest = "INVALID_REQUEST"
	codeSign           = "SIGN_ERROR"
	codeNoAuth         = "NO_AUTH"
	codeNotFound       = "RESOURCE_NOT_EXISTS"
	codeFrequency      = "FREQUENCY_LIMITED"
	codeSystem         = "SYSTEM_ERROR"
)

const (
	jsonType = "application/json; charset=utf-8"
	htmlType = "text/html"
	textType = "text/plain; charset=utf-8"
)

// answer is what goes back, before it is signed.
type answer struct {
	status      int
	code        string // Of an error, for the counters.
	contentType string
	body        []byte
	header      map[string]string
	gateway     bool // Made by something in front of the API: without the API's own headers.
	signed      bool
}

func jsonAnswer(status int, body []byte) answer {
	return answer{status: status, contentType: jsonType, body: body, signed: status/100 == 2}
}

type errorBody struct {
	Code    string       `json:"code"`
	Detail  *errorDetail `json:"detail,omitempty"`
	Message string       `json:"message"`
}

type errorDetail struct {
	Field    string `json:"field"`
	Value    string `json:"value,omitempty"`
	Issue    string `json:"issue,omitempty"`
	Location string `json:"location,omitempty"`
}

func errorAnswer(status int, code, message string, detail *errorDetail) answer {
	a := jsonAnswer(status, encode(errorBody{Code: code, Message: message, Detail: detail}))
	a.code = code
	return a
}

func unauthorized(field, issue, message string) *answer {
	a := errorAnswer(http.StatusUnauthorized, codeSign, message,
		&errorDetail{Field: field, Issue: issue, Location: "authorization"})
	return &a
}

// signErrorBody has the shape that the API answers a wrong signature with
// (https://github.com/minibear2021/wechatpayv3/issues/56, read 2026-11-23).
func signErrorBody(method, target, head string, body []byte) []byte {
	const shown = 8
	start := body[:min(shown, len(body))]
	return encode(map[string]any{
		"code":    codeSign,
		"message": "签名错误,请检查后再试",
		"detail": map[string]any{
			"field":    "signature",
			"location": "authorization",
			"detail":   map[string]any{"issue": "sign not match"},
			"sign_information": map[string]any{
				"method":                 method,
				"url":                    target,
				"sign_message_length":    len(head) + len(body) + 1,
				"truncated_sign_message": head + strings.ToValidUTF8(string(start), "") + "\n",
			},
		},
	})
}

func logIDBody(logID string) []byte { return encode(map[string]string{"log_id": logID}) }

// encode writes values that always can be.
func encode(v any) []byte {
	out, err := json.Marshal(v)
	if err != nil {
		return []byte("{}")
	}
	return out
}

// signing says how an answer's signature is made, and unmade.
type signing struct {
	age    time.Duration // How long ago it claims to have been signed.
	keyID  string        // Instead of the real one.
	probe  bool          // A WECHATPAY/SIGNTEST/ signature.
	forged bool          // Of other bytes.
	none   bool
}

// prepare writes all headers; the body and the status line are the caller's.
func (c *exchange) prepare(a answer, how signing) {
	h := c.w.Header()
	h.Set("Content-Type", a.contentType)
	if a.contentType == "" {
		h["Content-Type"] = nil
	}
	for name, value := range a.header {
		h.Set(name, value)
	}
	if a.gateway {
		return
	}
	h.Set("Request-Id", "08"+strings.ToUpper(c.sim.dice.hex(12)))
	h.Set("Cache-Control", "no-cache, must-revalidate")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Keep-Alive", "timeout=8")
	if a.signed && !how.none {
		c.sim.sign(h, a.body, how, c.sim.keys.signer(c.r.Header.Get("Wechatpay-Serial")))
	}
}

func (s *Sim) sign(h http.Header, body []byte, how signing, key answerKey) {
	timestamp := strconv.FormatInt(s.cfg.Now().Add(-how.age).Unix(), 10)
	nonce := s.dice.hex(16)
	h.Set("Wechatpay-Timestamp", timestamp)
	h.Set("Wechatpay-Nonce", nonce)
	h.Set("Wechatpay-Signature-Type", scheme)
	h.Set("Wechatpay-Serial", key.id)
	if how.keyID != "" {
		h.Set("Wechatpay-Serial", how.keyID)
	}
	if how.probe {
		probe := s.dice.bytes(key.key.Size())
		h.Set("Wechatpay-Signature", "WECHATPAY/SIGNTEST/"+base64.StdEncoding.EncodeToString(probe))
		return
	}
	end := "\n"
	if how.forged {
		end = "\n\n"
	}
	hash := sha256.New()
	fmt.Fprintf(hash, "%s\n%s\n", timestamp, nonce)
	hash.Write(body)
	hash.Write([]byte(end))
	// It fails for a key too small for the hash only, which a working AnswerKey is not.
	signature, err := rsa.SignPKCS1v15(nil, key.key, crypto.SHA256, hash.Sum(nil))
	if err != nil {
		s.cfg.Log.Error().Err(err).Msg("answer not signed")
	}
	h.Set("Wechatpay-Signature", base64.StdEncoding.EncodeToString(signature))
}

// write is how a call normally ends.
func (c *exchange) write(a answer, how signing) {
	c.end(a.status)
	c.prepare(a, how)
	c.w.WriteHeader(a.status)
	if len(a.body) > 0 {
		_, _ = c.w.Write(a.body) // The client has gone: the call is over either way.
	}
}

// refuse ends a call that a check has found wrong.
func (c *exchange) refuse(a answer) {
	c.call.Refused = a.code
	c.write(a, signing{})
}

// drop ends a call without an answer.
func (c *exchange) drop() {
	c.end(0)
	reset(c.w)
}

func (c *exchange) end(status int) {
	c.call.Status = status
	c.sim.ledger.end(c.call)
	c.sim.cfg.Log.Debug().Str("host", string(c.call.Host)).Str("operation", string(c.call.Operation)).
		Str("mchid", c.call.MchID).Str("complaint_id", c.call.ComplaintID).Str("idempotent_id", c.call.IdempotentID).
		Int("http_status", status).Str("error_code", c.call.Refused).Str("fault", string(c.call.Fault)).
		Int64("effect", c.call.Effect).Msg("call ended")
}
