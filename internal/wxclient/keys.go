package wxclient

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"
)

const minKeyBits = 2048

// ParsePrivateKey reads a merchant's private key (apiclient_key.pem): PEM, PKCS #8 or PKCS #1, RSA of
// 2048 bits or more, not encrypted. What it returns signs PKCS #1 v1.5 with SHA-256, by the library that
// [SigningLibrary] names, and is safe for concurrent use. Its errors hold nothing of the key.
func ParsePrivateKey(data []byte) (crypto.Signer, error) {
	block, err := onlyBlock(data)
	if err != nil {
		return nil, err
	}
	if block.Headers["DEK-Info"] != "" || block.Type == "ENCRYPTED PRIVATE KEY" {
		return nil, errors.New("private key is encrypted: decrypt it with openssl pkey -in FILE -out NEWFILE")
	}
	var key *rsa.PrivateKey
	switch block.Type {
	case "PRIVATE KEY":
		parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("private key: %w", err)
		}
		k, ok := parsed.(*rsa.PrivateKey)
		if !ok {
			return nil, fmt.Errorf("private key is of type %T, want RSA", parsed)
		}
		key = k
	case "RSA PRIVATE KEY":
		if key, err = x509.ParsePKCS1PrivateKey(block.Bytes); err != nil {
			return nil, fmt.Errorf("private key: %w", err)
		}
	case "CERTIFICATE":
		return nil, errors.New("a certificate, want the private key that belongs to it (apiclient_key.pem)")
	case "PUBLIC KEY", "RSA PUBLIC KEY":
		return nil, errors.New("a public key, want the merchant's private key (apiclient_key.pem)")
	case "EC PRIVATE KEY", "EC PARAMETERS":
		return nil, errors.New("an elliptic curve key, want RSA")
	default:
		return nil, fmt.Errorf("PEM block of type %q, want a private key", clean(block.Type, maxIDBytes))
	}
	if err := checkBits(key.N.BitLen()); err != nil {
		return nil, err
	}
	return newSigner(key)
}

// AnswerKey is a WeChat Pay key as its file has it.
type AnswerKey struct {
	Key *rsa.PublicKey
	// Serial is a platform certificate's serial number as the API writes it, in upper-case hexadecimal;
	// empty for a public key, whose id is not in the file.
	Serial string
	// NotAfter is when the certificate ends; zero for a public key, which does not.
	NotAfter time.Time
}

// ParsePublicKey reads a WeChat Pay key that answers are verified with; serial is as in AnswerKey. See
// ParseAnswerKey.
func ParsePublicKey(data []byte) (key *rsa.PublicKey, serial string, err error) {
	k, err := ParseAnswerKey(data)
	return k.Key, k.Serial, err
}

// ParseAnswerKey reads a WeChat Pay key that answers are verified with: PEM, a public key (PKIX or
// PKCS #1) or a platform certificate, RSA of 2048 bits or more. It does not judge the certificate's
// dates or issuer: who has put the file there has chosen it.
func ParseAnswerKey(data []byte) (AnswerKey, error) {
	block, err := onlyBlock(data)
	if err != nil {
		return AnswerKey{}, err
	}
	var k AnswerKey
	var parsed any
	switch block.Type {
	case "PUBLIC KEY":
		parsed, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		parsed, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		var cert *x509.Certificate
		if cert, err = x509.ParseCertificate(block.Bytes); err == nil {
			parsed, k.Serial, k.NotAfter = cert.PublicKey, fmt.Sprintf("%X", cert.SerialNumber.Bytes()), cert.NotAfter
		}
	default:
		if strings.HasSuffix(block.Type, "PRIVATE KEY") {
			return AnswerKey{}, errors.New("a private key, want WeChat Pay's public key or certificate")
		}
		return AnswerKey{}, fmt.Errorf("PEM block of type %q, want a public key or certificate", clean(block.Type, maxIDBytes))
	}
	if err != nil {
		return AnswerKey{}, fmt.Errorf("public key: %w", err)
	}
	key, ok := parsed.(*rsa.PublicKey)
	if !ok {
		return AnswerKey{}, fmt.Errorf("public key is of type %T, want RSA", parsed)
	}
	if err := checkBits(key.N.BitLen()); err != nil {
		return AnswerKey{}, err
	}
	k.Key = key
	return k, nil
}

// Fits says why the key cannot be the one of that id, or returns nil: a platform certificate's id is its
// serial, whatever the case of its letters.
func (k AnswerKey) Fits(id string) error {
	if k.Serial == "" || sameSerial(id, k.Serial) {
		return nil
	}
	return fmt.Errorf("a platform certificate with serial %s, and its id is %s: an answer names the serial, so it must be the id",
		k.Serial, clean(id, maxIDBytes))
}

// sameSerial compares two serial numbers in hexadecimal: case and leading zeros do not matter.
func sameSerial(a, b string) bool {
	return isHex(a) && isHex(b) && strings.EqualFold(strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0"))
}

// onlyBlock returns the one PEM block of a file. Text before it is let through, because openssl
// writes some; anything behind it is not, because a second key there would be silently ignored.
func onlyBlock(data []byte) (*pem.Block, error) {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, errors.New("empty")
	}
	block, rest := pem.Decode(data)
	if block == nil {
		return nil, errors.New("not PEM: no complete block from -----BEGIN to -----END")
	}
	if len(bytes.TrimSpace(rest)) > 0 {
		return nil, fmt.Errorf("%d bytes behind the first PEM block, want one block only", len(rest))
	}
	return block, nil
}

func checkBits(n int) error {
	if n < minKeyBits {
		return fmt.Errorf("RSA key of %d bits, want at least %d", n, minKeyBits)
	}
	return nil
}
