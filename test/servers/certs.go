package servers

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// certificates are files in PEM: a CA made for this once, and a certificate of it for 127.0.0.1 and
// localhost.
type certificates struct {
	ca    string // the CA's certificate
	cert  string
	key   string // PKCS#8
	store string // key and certificates in one file, as Kafka wants them
}

// lifetime is how long the certificates hold: longer than any run.
const lifetime = 90 * 24 * time.Hour

// makeCertificates writes new ones into a folder, which it makes.
func makeCertificates(dir string) (certificates, error) {
	c := certificates{
		ca: filepath.Join(dir, "ca.pem"), cert: filepath.Join(dir, "server.pem"),
		key: filepath.Join(dir, "server.key"), store: filepath.Join(dir, "keystore.pem"),
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return c, fmt.Errorf("certificates: %w", err)
	}
	caPEM, certPEM, keyPEM, err := issue(time.Now())
	if err != nil {
		return c, fmt.Errorf("certificates: %w", err)
	}
	store := append(append(append([]byte{}, keyPEM...), certPEM...), caPEM...)
	for path, data := range map[string][]byte{c.ca: caPEM, c.cert: certPEM, c.key: keyPEM, c.store: store} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			return c, fmt.Errorf("certificates: %w", err)
		}
	}
	return c, nil
}

// issue makes a CA and a server's certificate.
func issue(now time.Time) (caPEM, certPEM, keyPEM []byte, err error) {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, nil, err //nolint:wrapcheck // the caller says what for
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, nil, err //nolint:wrapcheck // the caller says what for
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "replyworker test servers CA"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(lifetime),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano() + 1), Subject: pkix.Name{CommonName: "localhost"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(lifetime),
		KeyUsage: x509.KeyUsageDigitalSignature,
		// Servers that talk to one another show it as clients too.
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames:    []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		return nil, nil, nil, err //nolint:wrapcheck // the caller says what for
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, &key.PublicKey, caKey)
	if err != nil {
		return nil, nil, nil, err //nolint:wrapcheck // the caller says what for
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, nil, err //nolint:wrapcheck // the caller says what for
	}
	return encode("CERTIFICATE", caDER), encode("CERTIFICATE", leafDER), encode("PRIVATE KEY", keyDER), nil
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
