package app

import (
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"replyworker/internal/config"
	"replyworker/internal/wxclient"
)

// Merchants reads the keys of every merchant.
func Merchants(cfg *config.Config) (map[string]*wxclient.Merchant, error) {
	all, err := readMerchants(cfg)
	if err != nil {
		return nil, err
	}
	return all.signers(), nil
}

// credentials are a merchant with its keys, and what may be told of them.
type credentials struct {
	*wxclient.Merchant

	// print is the beginning of the SHA-256 of the public half of the merchant's key, in hexadecimal.
	print string
	// ends is when the platform certificates among the answer keys end, by id.
	ends map[string]time.Time
	// sum is of all that makes the merchant: two with the same are the same.
	sum [sha256.Size]byte
}

// merchants are all merchants, by id.
type merchants map[string]credentials

func (all merchants) signers() map[string]*wxclient.Merchant {
	out := make(map[string]*wxclient.Merchant, len(all))
	for id, c := range all {
		out[id] = c.Merchant
	}
	return out
}

func (all merchants) ids() []string { return slices.Sorted(maps.Keys(all)) }

// readMerchants reads the files of every merchant, or returns what is wrong with each.
func readMerchants(cfg *config.Config) (merchants, error) {
	all := merchants{}
	var faults []error
	for _, m := range cfg.Merchants {
		c, err := readCredentials(m)
		if err != nil {
			faults = append(faults, fmt.Errorf("merchant %s: %w", m.MchID, err))
			continue
		}
		all[m.MchID] = c
	}
	return all, errors.Join(faults...)
}

func readCredentials(m config.Merchant) (credentials, error) {
	c := credentials{
		Merchant: &wxclient.Merchant{
			MchID: m.MchID, CertSerial: m.CertSerial, AnswerKeyID: m.PublicKeyID, AnswerKeys: map[string]*rsa.PublicKey{},
		},
		ends: map[string]time.Time{},
	}
	pem, err := m.ReadPrivateKey()
	if err != nil {
		return c, err
	}
	if c.Key, err = wxclient.ParsePrivateKey(pem); err != nil {
		return c, fmt.Errorf("private-key-file %s: %w", m.PrivateKeyFile, err)
	}
	if pem, err = m.ReadPublicKey(); err != nil {
		return c, err
	}
	if err := c.add(m.PublicKeyID, pem); err != nil {
		return c, fmt.Errorf("public-key-file %s: %w", m.PublicKeyFile, err)
	}
	for _, k := range m.AnswerKeys {
		if pem, err = k.Read(); err != nil {
			return c, err
		}
		if err := c.add(k.ID, pem); err != nil {
			return c, fmt.Errorf("answer key %s: %s: %w", k.ID, k.File, err)
		}
	}
	if err := c.Validate(); err != nil {
		return c, err
	}
	return c, c.seal()
}

// add takes a key that answers are verified with.
func (c *credentials) add(id string, pem []byte) error {
	k, err := wxclient.ParseAnswerKey(pem)
	if err != nil {
		return err
	}
	if err := k.Fits(id); err != nil {
		return err
	}
	if own, ok := c.Key.Public().(*rsa.PublicKey); ok && own.Equal(k.Key) {
		return errors.New("the merchant's own key, want WeChat Pay's: no answer would be verified")
	}
	c.AnswerKeys[id] = k.Key
	if !k.NotAfter.IsZero() {
		c.ends[id] = k.NotAfter
	}
	return nil
}

// seal works out print and sum.
func (c *credentials) seal() error {
	der, err := x509.MarshalPKIXPublicKey(c.Key.Public())
	if err != nil {
		return fmt.Errorf("public half of the private key: %w", err)
	}
	own := sha256.Sum256(der)
	c.print = hex.EncodeToString(own[:8])
	h := sha256.New()
	fmt.Fprintf(h, "%q %q %q %x\n", c.MchID, c.CertSerial, c.AnswerKeyID, own)
	for _, id := range slices.Sorted(maps.Keys(c.AnswerKeys)) {
		fmt.Fprintf(h, "%q %x\n", id, x509.MarshalPKCS1PublicKey(c.AnswerKeys[id]))
	}
	c.sum = [sha256.Size]byte(h.Sum(nil))
	return nil
}
