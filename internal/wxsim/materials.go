package wxsim

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"errors"
	"fmt"
	"sync"
	"time"
)

// What Prepare and Generate use where Params leaves it open.
const (
	DefaultMchID       = "1900000001"
	DefaultPublicKeyID = "PUB_KEY_ID_0000000000000000000000000000000001"
	DefaultPrimaryURL  = "https://127.0.0.1:8443"
	DefaultBackupURL   = "https://127.0.0.1:8444"
)

const (
	defaultKeyBits = 2048
	minKeyBits     = 1024
)

// Params are the wishes for a set of keys. The zero value is fine.
type Params struct {
	MchID       string   // The merchant. Default DefaultMchID.
	PublicKeyID string   // The id of the key that answers are signed with. Default DefaultPublicKeyID.
	Hosts       []string // Names and addresses that the server certificate holds for besides loopback's.
	PrimaryURL  string   // For replyworker.env. Default DefaultPrimaryURL.
	BackupURL   string   // For replyworker.env. Default DefaultBackupURL.
	// KeyBits is the size of new RSA keys. Default 2048, as the API's; at least 1024, which makes keys
	// and answers several times cheaper.
	KeyBits int
	Now     func() time.Time // For the certificates. Default time.Now.
}

func (p Params) withDefaults() (Params, error) {
	p.MchID = or(p.MchID, DefaultMchID)
	p.PublicKeyID = or(p.PublicKeyID, DefaultPublicKeyID)
	p.PrimaryURL = or(p.PrimaryURL, DefaultPrimaryURL)
	p.BackupURL = or(p.BackupURL, DefaultBackupURL)
	if p.KeyBits == 0 {
		p.KeyBits = defaultKeyBits
	}
	if p.Now == nil {
		p.Now = time.Now
	}
	if p.KeyBits < minKeyBits {
		return p, fmt.Errorf("key bits %d: want at least %d", p.KeyBits, minKeyBits)
	}
	return p, nil
}

// Materials are the keys and certificates of a simulator and of the merchant that calls it.
type Materials struct {
	MchID       string
	CertSerial  string          // Of the merchant's API certificate.
	MerchantKey *rsa.PrivateKey // Signs requests.
	PublicKeyID string
	PlatformKey *rsa.PrivateKey // Signs answers.
	CAPEM       []byte          // What clients should trust, in PEM.
	Certificate *tls.Certificate

	// Files are where they are kept; empty after Generate.
	Files Files

	ca *authority
}

// Files are the absolute paths of what Prepare wrote.
type Files struct {
	Dir         string
	CA          string // ca.pem, for REPLYWORKER_API_CA_FILE.
	MerchantKey string // merchant_key.pem, PKCS #8.
	PublicKey   string // wechatpay_public_key.pem.
	Env         string // replyworker.env.
}

// Generate makes new materials in memory. The two RSA keys, which take long, are made side by side.
func Generate(p Params) (*Materials, error) {
	p, err := p.withDefaults()
	if err != nil {
		return nil, err
	}
	m := &Materials{MchID: p.MchID, PublicKeyID: p.PublicKeyID, CertSerial: newCertSerial()}
	var wg sync.WaitGroup
	var errMerchant, errPlatform, errServer error
	wg.Go(func() { m.MerchantKey, errMerchant = rsa.GenerateKey(rand.Reader, p.KeyBits) })
	wg.Go(func() { m.PlatformKey, errPlatform = rsa.GenerateKey(rand.Reader, p.KeyBits) })
	m.ca, errServer = newAuthority(p.Now())
	if errServer == nil {
		errServer = m.certify(p)
	}
	wg.Wait()
	if err := errors.Join(errMerchant, errPlatform, errServer); err != nil {
		return nil, fmt.Errorf("generate keys: %w", err)
	}
	return m, nil
}

// certify makes the server certificate, a new one each time: it cannot be out of date.
func (m *Materials) certify(p Params) error {
	cert, err := m.ca.issue(p.Hosts, p.Now())
	if err != nil {
		return err
	}
	m.CAPEM, m.Certificate = m.ca.certPEM, cert
	return nil
}

// Config is a simulator's configuration with these keys.
func (m *Materials) Config() Config {
	return Config{
		Merchants:   map[string]MerchantKey{m.MchID: {Serial: m.CertSerial, Key: &m.MerchantKey.PublicKey}},
		AnswerKeyID: m.PublicKeyID,
		AnswerKey:   m.PlatformKey,
	}
}

// MerchantKeyPEM is the merchant's private key, PKCS #8 in PEM.
func (m *Materials) MerchantKeyPEM() ([]byte, error) { return privatePEM(m.MerchantKey) }

// PublicKeyPEM is the public key that answers are verified with, in PEM.
func (m *Materials) PublicKeyPEM() ([]byte, error) { return publicPEM(&m.PlatformKey.PublicKey) }
