package wxsim

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"strings"
	"sync"
	"time"
)

// keyring is whose signatures the simulator takes, and what it signs with. Keys are rotated while it runs.
type keyring struct {
	mu        sync.RWMutex
	merchants map[string]MerchantKey
	answers   []answerKey // the first signs where a call names none that there is
	always    string      // the id of the key that signs whatever a call names; empty for none
}

// answerKey signs answers.
type answerKey struct {
	id  string
	key *rsa.PrivateKey
}

func newKeyring(cfg Config) *keyring {
	return &keyring{merchants: maps.Clone(cfg.Merchants), answers: []answerKey{{cfg.AnswerKeyID, cfg.AnswerKey}}}
}

// SetMerchant adds a merchant, or gives one that there is another certificate, as after a renewal: the
// one before is not taken any more.
func (s *Sim) SetMerchant(mchID string, key MerchantKey) {
	s.keys.mu.Lock()
	defer s.keys.mu.Unlock()
	s.keys.merchants[mchID] = key
}

// AddAnswerKey adds a key that answers are signed with where a call names it: a public key's id, or the
// serial of a platform certificate.
func (s *Sim) AddAnswerKey(id string, key *rsa.PrivateKey) {
	s.keys.mu.Lock()
	defer s.keys.mu.Unlock()
	s.keys.answers = append(s.keys.answers, answerKey{id, key})
}

// SignWith makes answers be signed with one key, whatever calls name, as the API may do while a merchant
// goes over to another. With "" they are signed with what the call names.
func (s *Sim) SignWith(id string) {
	s.keys.mu.Lock()
	defer s.keys.mu.Unlock()
	s.keys.always = id
}

func (k *keyring) merchant(mchID string) (MerchantKey, bool) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	m, known := k.merchants[mchID]
	return m, known
}

// signer is the key that an answer to a call naming id is signed with.
func (k *keyring) signer(id string) answerKey {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if k.always != "" {
		id = k.always
	}
	for _, a := range k.answers {
		if strings.EqualFold(a.id, id) {
			return a
		}
	}
	return k.answers[0]
}

func (k *keyring) knows(id string) bool {
	k.mu.RLock()
	defer k.mu.RUnlock()
	for _, a := range k.answers {
		if strings.EqualFold(a.id, id) {
			return true
		}
	}
	return false
}

// PlatformCertificate makes a platform certificate of an answer key as the API's are, in PEM: serial is
// in hexadecimal. It is signed by itself; nobody asks who has.
func PlatformCertificate(key *rsa.PrivateKey, serial string, notBefore, notAfter time.Time) ([]byte, error) {
	number, ok := new(big.Int).SetString(serial, 16)
	if !ok {
		return nil, fmt.Errorf("serial %q is not hexadecimal", serial)
	}
	template := &x509.Certificate{
		SerialNumber: number, Subject: pkix.Name{CommonName: "Tenpay.com sign"}, NotBefore: notBefore, NotAfter: notAfter,
		KeyUsage: x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("platform certificate: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}
