package doctor

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"time"

	"replyworker/internal/config"
	"replyworker/internal/wxclient"
)

const (
	// merchantCertificate is how long before its end the merchant platform asks for a new one.
	merchantCertificate = 30 * 24 * time.Hour
	// publicKeyPrefix begins the ids of WeChat Pay's public keys; other ids are platform certificates'.
	publicKeyPrefix = "PUB_KEY_ID_"
	// serialDigits is the most that a certificate's serial may have: 20 bytes (RFC 5280, 4.1.2.2).
	serialDigits = 40
	// maxCertificate is more than any certificate's file has.
	maxCertificate = 1 << 20
)

// keys checks the files of every merchant. It connects to nothing.
func (c Config) keys(context.Context) []Result {
	var l list
	if len(c.Settings.Merchants) == 0 {
		l.skipped("no merchant is configured", "keys")
		return l
	}
	for _, m := range c.Settings.Merchants {
		key := c.privateKey(&l, m)
		c.ownCertificate(&l, m, key)
		c.answerKey(&l, "merchant "+m.MchID+" public key", m.PublicKeyID, key, m.ReadPublicKey)
		for _, k := range m.AnswerKeys {
			c.answerKey(&l, "merchant "+m.MchID+" answer key "+k.ID, k.ID, key, k.Read)
		}
	}
	return l
}

// privateKey checks a merchant's key by signing with it. It returns nil where there is none.
func (c Config) privateKey(l *list, m config.Merchant) *rsa.PublicKey {
	name := "merchant " + m.MchID + " private key"
	data, err := m.ReadPrivateKey()
	if err != nil {
		l.failed(name, err.Error(), "")
		return nil
	}
	if data == nil {
		l.failed(name, "there is none", "set private-key-file")
		return nil
	}
	key, err := wxclient.ParsePrivateKey(data)
	if err != nil {
		l.failed(name, fmt.Sprintf("%s: %v", m.PrivateKeyFile, err),
			"give the API certificate's apiclient_key.pem as the merchant platform made it")
		return nil
	}
	public, ok := key.Public().(*rsa.PublicKey)
	if !ok {
		l.failed(name, m.PrivateKeyFile+" is no RSA key", "give the API certificate's apiclient_key.pem")
		return nil
	}
	if err := signs(key, public); err != nil {
		l.failed(name, fmt.Sprintf("%s: what it signs it does not verify: %v", m.PrivateKeyFile, err),
			"the file is damaged: take it anew from its source")
		return nil
	}
	l.passed(name, "RSA of %d bits, signs and verifies", public.N.BitLen())
	return public
}

// signs makes a signature as calls have it, and verifies it.
func signs(key crypto.Signer, public *rsa.PublicKey) error {
	sum := sha256.Sum256([]byte("a message that is sent to nobody"))
	signature, err := key.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		return fmt.Errorf("sign: %w", err)
	}
	if err := rsa.VerifyPKCS1v15(public, crypto.SHA256, sum[:], signature); err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	return nil
}

// ownCertificate checks cert-serial, by the certificate where it lies beside the key. Nothing that a
// worker needs has it: the API knows the certificate by its serial.
func (c Config) ownCertificate(l *list, m config.Merchant, key *rsa.PublicKey) {
	name := "merchant " + m.MchID + " certificate"
	switch {
	case m.CertSerial == "":
		l.failed(name, "there is no cert-serial", "set it to the serial of the merchant's API certificate")
		return
	case m.PrivateKeyFile == "":
		l.skipped("there is no private-key-file that it could lie beside", name)
		return
	}
	var found findings
	if strings.ToUpper(m.CertSerial) != m.CertSerial {
		found.warn("cert-serial has lower-case letters, and the API writes serials in upper case", "write it in upper case")
	}
	if len(m.CertSerial) > serialDigits {
		found.fail(fmt.Sprintf("cert-serial has %d digits, and a certificate's serial at most %d", len(m.CertSerial), serialDigits),
			"`openssl x509 -in apiclient_cert.pem -noout -serial` prints it")
	}
	path, cert, err := findCertificate(m.PrivateKeyFile)
	switch {
	case err != nil:
		found.warn(fmt.Sprintf("%s beside the key cannot be used: %v", path, err), "put the API certificate there, or nothing")
	case cert == nil && found.status == "":
		l.skipped("no "+path+" lies beside the key, and only a certificate shows whether cert-serial is right and when it ends", name)
		return
	case cert != nil:
		c.judgeCertificate(&found, m, key, cert)
	}
	text := ""
	if cert != nil {
		text = fmt.Sprintf("goes with key and cert-serial, until %s (%s)", cert.NotAfter.UTC().Format(time.DateOnly),
			days(cert.NotAfter.Sub(c.Now())))
	}
	found.end(l, name, text)
}

// judgeCertificate compares a merchant's certificate with the settings.
func (c Config) judgeCertificate(found *findings, m config.Merchant, key *rsa.PublicKey, cert *x509.Certificate) {
	if public, ok := cert.PublicKey.(*rsa.PublicKey); key != nil && (!ok || !public.Equal(key)) {
		found.fail("the certificate beside private-key-file is of another key", "put the key and the certificate of one request together")
	}
	if !sameSerial(cert.SerialNumber, m.CertSerial) {
		found.fail(fmt.Sprintf("cert-serial is %s, and the certificate's is %X", m.CertSerial, cert.SerialNumber),
			"set cert-serial to the certificate's, where it is the one that the merchant platform shows")
	}
	switch left := cert.NotAfter.Sub(c.Now()); {
	case left <= 0:
		found.fail("the certificate is over since "+cert.NotAfter.UTC().Format(time.DateOnly),
			"make a new one on the merchant platform, and set key and serial")
	case left < merchantCertificate:
		found.warn(fmt.Sprintf("the certificate ends in %s, on %s", days(left), cert.NotAfter.UTC().Format(time.DateOnly)),
			"make a new one on the merchant platform, and set key and serial")
	case c.Now().Before(cert.NotBefore):
		found.fail("the certificate begins on "+cert.NotBefore.UTC().Format(time.DateOnly), "check this machine's clock")
	}
	if owner := cert.Subject.CommonName; owner != "" && owner != m.MchID {
		found.warn(fmt.Sprintf("the certificate is of %q, and the merchant is %s", owner, m.MchID),
			"calls are signed by the partner: mchid, key and serial are the partner's own")
	}
}

func sameSerial(serial *big.Int, text string) bool {
	n, ok := new(big.Int).SetString(text, 16)
	return ok && n.Cmp(serial) == 0
}

// findCertificate looks for the certificate beside a key, under the name that the merchant platform's
// tool gives it: apiclient_cert.pem beside apiclient_key.pem, and so for other names with "key" in them.
// It returns the name of the file that it looked for last.
func findCertificate(keyFile string) (string, *x509.Certificate, error) {
	folder, base := filepath.Split(keyFile)
	names := []string{"apiclient_cert.pem"}
	if other := strings.Replace(base, "key", "cert", 1); other != base && other != names[0] {
		names = append([]string{other}, names...)
	}
	for _, name := range names {
		data, err := readFile(folder + name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return name, nil, err
		}
		cert, err := parseCertificate(data)
		return name, cert, err
	}
	return strings.Join(names, " or "), nil, nil
}

// readFile reads a regular file. It does not open anything else: to open a pipe is to wait for who writes
// to it, and nobody gave this name.
func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err //nolint:wrapcheck // it has the path
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is no regular file, but a folder, a pipe or the like")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err //nolint:wrapcheck // it has the path
	}
	defer f.Close() //nolint:errcheck // only read
	data, err := io.ReadAll(io.LimitReader(f, maxCertificate))
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	return data, nil
}

// parseCertificate reads the first block of a PEM file.
func parseCertificate(data []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("it does not begin with a certificate in PEM")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	return cert, nil
}

// answerKey checks a key that answers are verified with. own is the merchant's, nil where there is none.
func (c Config) answerKey(l *list, name, id string, own *rsa.PublicKey, read func() ([]byte, error)) {
	data, err := read()
	switch {
	case err != nil:
		l.failed(name, err.Error(), "")
		return
	case data == nil:
		l.failed(name, "there is none", "set public-key-file, to the WeChat Pay public key that the merchant platform offers")
		return
	}
	const fromPlatform = "give the WeChat Pay public key that the merchant platform offers (pub_key.pem), with its id"
	answer, err := wxclient.ParseAnswerKey(data)
	if err != nil {
		l.failed(name, err.Error(), fromPlatform)
		return
	}
	key, serial := answer.Key, answer.Serial
	var found findings
	if own != nil && key.Equal(own) {
		found.fail("it is the merchant's own key: no answer would be verified", fromPlatform)
	}
	isKey := strings.HasPrefix(id, publicKeyPrefix)
	switch {
	case isKey && serial != "":
		found.fail("the id "+id+" is of a public key, and the file is a certificate", fromPlatform)
	case !isKey && serial == "":
		found.warn("the id "+id+" does not begin with "+publicKeyPrefix+", and the file is a public key",
			"set the id that the merchant platform shows beside the key")
	case !isKey:
		c.platformCertificate(&found, answer, id)
	}
	text := fmt.Sprintf("%s, RSA of %d bits", id, key.N.BitLen())
	if serial != "" {
		text += fmt.Sprintf(", a platform certificate until %s (%s)", answer.NotAfter.UTC().Format(time.DateOnly),
			days(answer.NotAfter.Sub(c.Now())))
	}
	found.end(l, name, text)
}

// platformCertificate checks a certificate of WeChat Pay's, by whose serial answers name their key.
func (c Config) platformCertificate(found *findings, cert wxclient.AnswerKey, id string) {
	if cert.Fits(id) != nil {
		found.fail(fmt.Sprintf("the id is %s, and the certificate's serial is %s", id, strings.TrimLeft(cert.Serial, "0")),
			"set the certificate's serial as the id")
	}
	end := cert.NotAfter.UTC().Format(time.DateOnly)
	switch left := cert.NotAfter.Sub(c.Now()); {
	case left <= 0:
		found.fail("the platform certificate is over since "+end, "go over to WeChat Pay's public key")
	case left < merchantCertificate:
		found.warn(fmt.Sprintf("the platform certificate ends in %s, on %s", days(left), end), "go over to WeChat Pay's public key")
	}
}
