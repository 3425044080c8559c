package signedcall

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
)

const (
	scheme     = "WECHATPAY2-SHA256-RSA2048"
	nonceBytes = 16
	maxSkew    = 300 // Seconds; the API's five-minute rule.
)

// authorize returns the Authorization header: a signature over method, path, timestamp, nonce and body, each
// ended by a line feed.
func (c *Client) authorize(method, uri string, body []byte) (string, error) {
	var seed [nonceBytes]byte
	if _, err := rand.Read(seed[:]); err != nil {
		return "", fmt.Errorf("nonce: %w", err)
	}
	nonce, timestamp := hex.EncodeToString(seed[:]), strconv.FormatInt(c.now().Unix(), 10)
	sum := digest([]byte(method+"\n"+uri+"\n"+timestamp+"\n"+nonce+"\n"), body)
	signature, err := rsa.SignPKCS1v15(nil, c.key, crypto.SHA256, sum)
	if err != nil {
		return "", fmt.Errorf("signature: %w", err)
	}
	return scheme + ` mchid="` + c.settings.MchID + `",nonce_str="` + nonce + `",timestamp="` + timestamp +
		`",serial_no="` + c.settings.CertSerial + `",signature="` + base64.StdEncoding.EncodeToString(signature) + `"`, nil
}

// verify checks the signature of an answer: timestamp, nonce and body, each ended by a line feed.
func (c *Client) verify(h http.Header, body []byte) error {
	timestamp, nonce := h.Get("Wechatpay-Timestamp"), h.Get("Wechatpay-Nonce")
	if id := h.Get("Wechatpay-Serial"); id != c.settings.AnswerKeyID {
		return fmt.Errorf("answer signed with key %.128q, want %s", id, c.settings.AnswerKeyID)
	}
	at, err := strconv.ParseInt(timestamp, 10, 64)
	if now := c.now().Unix(); err != nil || at <= now-maxSkew || at >= now+maxSkew {
		return fmt.Errorf("answer's timestamp %.32q is not within 5 minutes of our clock", timestamp)
	}
	signature, err := base64.StdEncoding.DecodeString(h.Get("Wechatpay-Signature"))
	if err != nil {
		return errors.New("answer's signature is not base64")
	}
	if err := rsa.VerifyPKCS1v15(c.answerKey, crypto.SHA256, digest([]byte(timestamp+"\n"+nonce+"\n"), body), signature); err != nil {
		return fmt.Errorf("answer's signature: %w", err)
	}
	return nil
}

func digest(head, body []byte) []byte {
	h := sha256.New()
	h.Write(head)
	h.Write(body)
	h.Write([]byte{'\n'})
	return h.Sum(nil)
}

func readPrivateKey(path string) (*rsa.PrivateKey, error) {
	der, err := readPEM(path)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s: must be an RSA key", path)
	}
	return key, nil
}

func readPublicKey(path string) (*rsa.PublicKey, error) {
	der, err := readPEM(path)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	key, ok := parsed.(*rsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("%s: must be an RSA key", path)
	}
	return key, nil
}

func readPEM(path string) ([]byte, error) {
	text, err := os.ReadFile(path) //nolint:gosec // the path is the starter's
	if err != nil {
		return nil, err //nolint:wrapcheck // it names the file
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s: no PEM block", path)
	}
	return block.Bytes, nil
}
