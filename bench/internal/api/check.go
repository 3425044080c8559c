package api

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"replyworker/bench/internal/jobs"
)

const (
	scheme  = "WECHATPAY2-SHA256-RSA2048"
	maxSkew = 5 * time.Minute
)

// rules are what a call must be to be one of the merchant's.
type rules struct {
	mchID, serial string
	key           *rsa.PublicKey
	answerKeyID   string
}

// check says what is wrong with a call of a job.
func (r rules) check(req *http.Request, body []byte, b jobs.Batch, n int) error {
	if req.Method != http.MethodPost || req.RequestURI != b.Path(n) {
		return fmt.Errorf("%s %s, want POST %s", req.Method, req.RequestURI, b.Path(n))
	}
	if got := req.Header.Get("Content-Type"); !strings.HasPrefix(got, "application/json") {
		return fmt.Errorf("Content-Type is %q", got)
	}
	if req.Header.Get("Accept") == "" || req.Header.Get("User-Agent") == "" {
		return fmt.Errorf("no Accept or User-Agent")
	}
	if got := req.Header.Get("Wechatpay-Serial"); got != r.answerKeyID {
		return fmt.Errorf("Wechatpay-Serial is %q, want %s", got, r.answerKeyID)
	}
	if !bytes.Contains(body, []byte(`"complainted_mchid"`)) || !bytes.Contains(body, []byte(`"blocks"`)) {
		return fmt.Errorf("the body is not complainted_mchid, message and idempotent_id")
	}
	return r.signed(req, body)
}

// signed checks the signature over METHOD\nTARGET\nTIMESTAMP\nNONCE\nBODY\n.
func (r rules) signed(req *http.Request, body []byte) error {
	list, ok := strings.CutPrefix(req.Header.Get("Authorization"), scheme+" ")
	parts := map[string]string{}
	for part := range strings.SplitSeq(list, ",") {
		name, value, _ := strings.Cut(part, "=")
		parts[strings.TrimSpace(name)] = strings.Trim(value, `"`)
	}
	if !ok || parts["mchid"] != r.mchID || parts["serial_no"] != r.serial {
		return fmt.Errorf("the authorization is not of merchant %s and serial %s", r.mchID, r.serial)
	}
	seconds, err := strconv.ParseInt(parts["timestamp"], 10, 64)
	if err != nil || time.Since(time.Unix(seconds, 0)).Abs() > maxSkew {
		return fmt.Errorf("the timestamp %q is not of now", parts["timestamp"])
	}
	signature, err := base64.StdEncoding.DecodeString(parts["signature"])
	if err != nil {
		return fmt.Errorf("the signature: %w", err)
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%s\n%s\n%s\n", req.Method, req.RequestURI, parts["timestamp"], parts["nonce_str"], body))
	if err := rsa.VerifyPKCS1v15(r.key, crypto.SHA256, sum[:], signature); err != nil {
		return fmt.Errorf("the signature: %w", err)
	}
	return nil
}
