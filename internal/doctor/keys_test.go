package doctor_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/doctor"
)

const (
	ofKey         = "merchant " + mchID + " private key"
	ofCertificate = "merchant " + mchID + " certificate"
	ofPublicKey   = "merchant " + mchID + " public key"
)

func TestPrivateKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for content, detail := range map[string]string{
		"":                                   "the file is empty",
		"not a key":                          "not PEM",
		string(publicPEM(t, platformKey(t))): "a public key, want the merchant's private key",
		string(w.certificate(nil)):           "a certificate, want the private key",
		string(append(keyPEM(t, merchantKey(t)), w.certificate(nil)...)): "want one block only",
	} {
		w.write("apiclient_key.pem", []byte(content))
		w.requires(verdict{ofKey, doctor.Failed, detail, ""})
	}
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	require.NoError(t, err)
	w.write("apiclient_key.pem", keyPEM(t, small))
	w.requires(verdict{ofKey, doctor.Failed, "RSA key of 1024 bits", "apiclient_key.pem"})
	require.NoError(t, os.Remove(filepath.Join(w.dir, "apiclient_key.pem")))
	w.requires(verdict{ofKey, doctor.Failed, "private-key-file", ""})
}

func TestKeyThatOthersMayRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	require.NoError(t, os.Chmod(filepath.Join(w.dir, "apiclient_key.pem"), 0o644))
	w.requires(verdict{"private-key-file", doctor.Warned, "is open to every user (mode 0644)", "chmod o="})
}

// TestKeyOfAnotherCertificate holds that the pair is compared.
func TestKeyOfAnotherCertificate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.write("apiclient_key.pem", keyPEM(t, platformKey(t)))
	w.write("pub_key.pem", publicPEM(t, merchantKey(t)))
	w.requires(verdict{ofCertificate, doctor.Failed, "is of another key", "of one request together"})
}

func TestCertificates(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		change func(*x509.Certificate) *rsa.PrivateKey
		want   verdict
	}{
		"another serial": {
			func(c *x509.Certificate) *rsa.PrivateKey { c.SerialNumber = big.NewInt(0xabc); return nil },
			verdict{ofCertificate, doctor.Failed, "cert-serial is " + certSerial + ", and the certificate's is ABC", "set cert-serial"},
		},
		"over": {
			func(c *x509.Certificate) *rsa.PrivateKey { c.NotAfter = now.Add(-time.Hour); return nil },
			verdict{ofCertificate, doctor.Failed, "over since 2026-11-23", "make a new one"},
		},
		"ending": {
			func(c *x509.Certificate) *rsa.PrivateKey { c.NotAfter = now.Add(29 * 24 * time.Hour); return nil },
			verdict{ofCertificate, doctor.Warned, "ends in 29 days, on 2026-12-22", "make a new one"},
		},
		"not ending": {
			func(c *x509.Certificate) *rsa.PrivateKey { c.NotAfter = now.Add(31 * 24 * time.Hour); return nil },
			verdict{ofCertificate, doctor.Passed, "until 2026-12-24 (31 days)", ""},
		},
		"not begun": {
			func(c *x509.Certificate) *rsa.PrivateKey { c.NotBefore = now.Add(time.Hour); return nil },
			verdict{ofCertificate, doctor.Failed, "begins on 2026-11-23", "clock"},
		},
		"of another merchant": {
			func(c *x509.Certificate) *rsa.PrivateKey { c.Subject.CommonName = "1900000002"; return nil },
			verdict{ofCertificate, doctor.Warned, `the certificate is of "1900000002", and the merchant is ` + mchID, "the partner's own"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.write("apiclient_cert.pem", w.certificate(row.change))
			w.requires(row.want)
		})
	}
}

func TestCertificatesThatAreNotThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.write("apiclient_cert.pem", []byte("no certificate"))
	w.requires(verdict{ofCertificate, doctor.Warned, "apiclient_cert.pem beside the key cannot be used", ""})
	certificate := filepath.Join(w.dir, "apiclient_cert.pem")
	require.NoError(t, os.Remove(certificate))
	require.NoError(t, syscall.Mkfifo(certificate, 0o600))
	w.requires(verdict{ofCertificate, doctor.Warned, "it is no regular file, but a folder, a pipe or the like", "or nothing"})
	require.NoError(t, os.Remove(certificate))
	w.requires(verdict{ofCertificate, doctor.Skipped, "no apiclient_cert.pem lies beside the key", ""})

	w.settings.Merchants[0].CertSerial = strings.ToLower(certSerial)
	w.requires(verdict{ofCertificate, doctor.Warned, "lower-case letters", "upper case"})
	w.settings.Merchants[0].CertSerial = certSerial + "0"
	w.requires(verdict{ofCertificate, doctor.Failed, "41 digits", "openssl x509"})
	w.settings.Merchants[0].CertSerial = ""
	w.requires(verdict{ofCertificate, doctor.Failed, "no cert-serial", ""})
}

// TestNoKeyHasNoCertificateBesideIt holds that one in the folder of this process is not taken for it.
func TestNoKeyHasNoCertificateBesideIt(t *testing.T) {
	w := newWorld(t)
	t.Chdir(w.dir)
	w.settings.Merchants[0].PrivateKeyFile = ""
	all := w.results()
	require.Equal(t, doctor.Failed, all[ofKey].Status)
	require.Equal(t, doctor.Skipped, all[ofCertificate].Status, "%+v", all[ofCertificate])
}

// TestCertificateBesideAKeyOfAnotherName holds that the certificate is found by the key's own name, too.
func TestCertificateBesideAKeyOfAnotherName(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	require.NoError(t, os.Rename(filepath.Join(w.dir, "apiclient_key.pem"), filepath.Join(w.dir, "refunds-key.pem")))
	require.NoError(t, os.Rename(filepath.Join(w.dir, "apiclient_cert.pem"), filepath.Join(w.dir, "refunds-cert.pem")))
	w.settings.Merchants[0].PrivateKeyFile = filepath.Join(w.dir, "refunds-key.pem")
	require.Contains(t, w.results()[ofCertificate].Detail, "goes with key and cert-serial")
}

func TestPublicKeys(t *testing.T) {
	t.Parallel()
	platform := func(c *x509.Certificate) *rsa.PrivateKey { c.SerialNumber = big.NewInt(0xabc); return platformKey(t) }
	over := func(c *x509.Certificate) *rsa.PrivateKey { c.NotAfter = now.Add(-time.Hour); return platform(c) }
	ending := func(c *x509.Certificate) *rsa.PrivateKey { c.NotAfter = now.Add(time.Hour); return platform(c) }
	w := newWorld(t)
	for i, row := range []struct {
		id      string
		content []byte
		want    verdict
	}{
		{publicKeyID, []byte("nothing"), verdict{ofPublicKey, doctor.Failed, "not PEM", "pub_key.pem"}},
		{publicKeyID, keyPEM(t, platformKey(t)), verdict{ofPublicKey, doctor.Failed, "a private key", "pub_key.pem"}},
		{publicKeyID, publicPEM(t, merchantKey(t)), verdict{ofPublicKey, doctor.Failed, "it is the merchant's own key", "pub_key.pem"}},
		{publicKeyID, w.certificate(platform), verdict{ofPublicKey, doctor.Failed, "the file is a certificate", "pub_key.pem"}},
		{"0ABC", publicPEM(t, platformKey(t)), verdict{ofPublicKey, doctor.Warned, "does not begin with PUB_KEY_ID_", "beside the key"}},
		{"0ABC", w.certificate(platform), verdict{ofPublicKey, doctor.Passed, "a platform certificate until ", ""}},
		{"ABD", w.certificate(platform), verdict{ofPublicKey, doctor.Failed, "the certificate's serial is ABC", "as the id"}},
		{"ABC", w.certificate(over), verdict{ofPublicKey, doctor.Failed, "is over since 2026-11-23", "public key"}},
		{"ABC", w.certificate(ending), verdict{ofPublicKey, doctor.Warned, "ends in 0 days", "public key"}},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.write("pub_key.pem", row.content)
			w.settings.Merchants[0].PublicKeyID = row.id
			w.requires(row.want)
		})
	}
	require.NoError(t, os.Remove(filepath.Join(w.dir, "pub_key.pem")))
	w.requires(verdict{ofPublicKey, doctor.Failed, "public-key-file", ""})
}

// TestSeveralMerchants holds that each is checked, with its further keys.
func TestSeveralMerchants(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	require.NoError(t, os.WriteFile(path("k.pem"), keyPEM(t, merchantKey(t)), 0o600))
	require.NoError(t, os.WriteFile(path("p.pem"), publicPEM(t, platformKey(t)), 0o600))
	require.NoError(t, os.WriteFile(path("merchants.yaml"), fmt.Appendf(nil,
		"merchants:\n- {mchid: '1900000002', cert-serial: AB, private-key-file: %s, public-key-id: PUB_KEY_ID_1, public-key-file: %s, "+
			"answer-keys: [{id: PUB_KEY_ID_2, file: %s}]}\n", path("k.pem"), path("p.pem"), path("missing.pem")), 0o600))
	w := newWorld(t, "REPLYWORKER_MERCHANTS_FILE="+path("merchants.yaml"))
	w.requires(verdict{"merchant 1900000002 answer key PUB_KEY_ID_2", doctor.Failed, "missing.pem", ""},
		"merchant 1900000002 certificate")
}
