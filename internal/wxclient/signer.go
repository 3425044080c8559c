package wxclient

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
)

const (
	signatureType = "WECHATPAY2-SHA256-RSA2048"

	nonceBytes = 16 // 32 characters
	maxIDBytes = 128
)

// Merchant is who signs and whose keys verify. It is read-only once in use.
type Merchant struct {
	// MchID is the merchant's number (shanghuhao); of a partner, the partner's own.
	MchID string
	// CertSerial is the serial number of the merchant's API certificate, as the API names it.
	CertSerial string
	// Key signs, PKCS #1 v1.5 with SHA-256; an RSA key of 2048 bits or more. It must be safe for
	// concurrent use, as [*rsa.PrivateKey] is. See [ParsePrivateKey].
	Key crypto.Signer
	// AnswerKeyID names the key that the API is asked to sign its answers with, in the
	// Wechatpay-Serial header: PUB_KEY_ID_... or a platform certificate's serial. It must be among
	// AnswerKeys.
	AnswerKeyID string
	// AnswerKeys are the WeChat Pay public keys that answers are verified with, by key id or platform
	// certificate serial. Old and new ones may stand side by side; while keys are being changed the
	// API signs with either. See [ParsePublicKey].
	AnswerKeys map[string]*rsa.PublicKey
}

// Validate returns every fault that keeps the merchant from signing or verifying, or nil.
func (m *Merchant) Validate() error {
	if m == nil {
		return errors.New("no merchant")
	}
	var faults []error
	if !isID(m.MchID) {
		faults = append(faults, errors.New("mchid: must be 1 to 128 letters, digits, - or _"))
	}
	if !isID(m.CertSerial) {
		faults = append(faults, errors.New("cert-serial: must be 1 to 128 letters, digits, - or _"))
	}
	if m.Key == nil {
		faults = append(faults, errors.New("private key: missing"))
	} else if pub, ok := m.Key.Public().(*rsa.PublicKey); !ok {
		faults = append(faults, errors.New("private key: must be an RSA key"))
	} else if pub.N.BitLen() < minKeyBits {
		faults = append(faults, fmt.Errorf("private key: %d bits, must be at least %d", pub.N.BitLen(), minKeyBits))
	}
	if !isID(m.AnswerKeyID) {
		faults = append(faults, errors.New("public-key-id: must be 1 to 128 letters, digits, - or _"))
	} else if m.answerKey(m.AnswerKeyID) == nil {
		faults = append(faults, fmt.Errorf("public-key-id: there is no key for %s", m.AnswerKeyID))
	}
	return errors.Join(faults...)
}

func isID(s string) bool {
	if s == "" || len(s) > maxIDBytes {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isAlphanumeric(c) && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// answerKey returns the key of that id, or nil. Certificate serials are numbers in hexadecimal, so
// case and leading zeros do not matter; key ids are matched as they are.
func (m *Merchant) answerKey(id string) *rsa.PublicKey {
	if key := m.AnswerKeys[id]; key != nil {
		return key
	}
	for have, key := range m.AnswerKeys {
		if sameSerial(have, id) {
			return key
		}
	}
	return nil
}

// knownKeys names the keys that answers are verified with, not all where there are many.
func (m *Merchant) knownKeys() string {
	const most = 8
	ids := slices.Sorted(maps.Keys(m.AnswerKeys))
	if more := len(ids) - most; more > 0 {
		ids = append(ids[:most], fmt.Sprintf("%d more", more))
	}
	return strings.Join(ids, ", ")
}

func isHex(s string) bool {
	return s != "" && strings.Trim(s, "0123456789abcdefABCDEF") == ""
}

// authorize returns the Authorization header of a request made now. The signed message is five lines,
// each ended by a line feed: method, path and query as sent, timestamp, nonce, body.
//
// The API reads the header's parts by name; the order is that of WeChat Pay's own Go SDK
// (wechatpay-go v0.2.21, core/consts/const.go).
func (c *Client) authorize(m *Merchant, method, uri string, body []byte) (string, error) {
	var seed [nonceBytes]byte
	if _, err := io.ReadFull(c.rand, seed[:]); err != nil {
		return "", fmt.Errorf("nonce: %w", err)
	}
	nonce := hex.EncodeToString(seed[:])
	timestamp := strconv.FormatInt(c.now().Unix(), 10)

	h := sha256.New()
	head := make([]byte, 0, len(method)+len(uri)+len(timestamp)+len(nonce)+4)
	for _, line := range [...]string{method, uri, timestamp, nonce} {
		head = append(head, line...)
		head = append(head, '\n')
	}
	h.Write(head)
	h.Write(body)
	h.Write(head[len(head)-1:])

	signature, err := m.Key.Sign(c.rand, h.Sum(nil), crypto.SHA256)
	if err != nil {
		return "", fmt.Errorf("signature: %w", err)
	}
	return signatureType + ` mchid="` + m.MchID + `",nonce_str="` + nonce + `",timestamp="` + timestamp +
		`",serial_no="` + m.CertSerial + `",signature="` + base64.StdEncoding.EncodeToString(signature) + `"`, nil
}
