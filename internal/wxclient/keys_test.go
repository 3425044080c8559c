package wxclient_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"replyworker/internal/wxclient"
)

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

type der struct{ pkcs1, pkix, rsaPublic, ecPKCS8, ecSEC1, ecPublic, small, smallPublic []byte }

func newDER(t *testing.T) der {
	t.Helper()
	key := privateKey(t, "merchant_key.pem")
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	must := func(b []byte, err error) []byte {
		t.Helper()
		require.NoError(t, err)
		return b
	}
	smallBlock, _ := pem.Decode(privatePEM(t, "small_key.pem"))
	small, err := x509.ParsePKCS8PrivateKey(smallBlock.Bytes)
	require.NoError(t, err)
	return der{
		pkcs1:       x509.MarshalPKCS1PrivateKey(key),
		pkix:        must(x509.MarshalPKIXPublicKey(&key.PublicKey)),
		rsaPublic:   x509.MarshalPKCS1PublicKey(&key.PublicKey),
		ecPKCS8:     must(x509.MarshalPKCS8PrivateKey(ec)),
		ecSEC1:      must(x509.MarshalECPrivateKey(ec)),
		ecPublic:    must(x509.MarshalPKIXPublicKey(&ec.PublicKey)),
		small:       smallBlock.Bytes,
		smallPublic: must(x509.MarshalPKIXPublicKey(small.(*rsa.PrivateKey).Public())),
	}
}

func TestParsePrivateKey(t *testing.T) {
	t.Parallel()
	d := newDER(t)
	good := privatePEM(t, "merchant_key.pem")
	for _, tc := range []struct {
		name string
		data []byte
		want string // part of the error; empty: accepted
	}{
		{"PKCS #8", good, ""},
		{"PKCS #1", block("RSA PRIVATE KEY", d.pkcs1), ""},
		{"Windows line ends and byte order mark", []byte("\ufeff" + strings.ReplaceAll(string(good), "\n", "\r\n")), ""},
		{"text before, as openssl pkcs12 writes it", []byte("Bag Attributes\n    localKeyID: 01\n" + string(good)), ""},
		{"empty", nil, "empty"},
		{"blank", []byte(" \n"), "empty"},
		{"not PEM", []byte("MIIEvgIBADANBgkqhkiG9w0BAQEFAASCBKg"), "not PEM"},
		{"DER", d.pkcs1, "not PEM"},
		{"cut off", good[:len(good)/2], "not PEM"},
		{"trailing text", append(slices.Clip(good), "garbage"...), "behind the first PEM block"},
		{"two keys", append(slices.Clip(good), good...), "behind the first PEM block"},
		{"not DER inside", block("PRIVATE KEY", []byte("secret stuff")), "private key: asn1"},
		{"PKCS #1 labelled PKCS #8", block("PRIVATE KEY", d.pkcs1), "private key: x509"},
		{"public key", block("PUBLIC KEY", d.pkix), "a public key, want the merchant's private key"},
		{"PKCS #1 public key", block("RSA PUBLIC KEY", d.rsaPublic), "a public key"},
		{"certificate", readFile(t, "platform_cert.pem"), "a certificate, want the private key"},
		{"encrypted PKCS #8", block("ENCRYPTED PRIVATE KEY", []byte("x")), "is encrypted"},
		{
			"encrypted PKCS #1", pem.EncodeToMemory(&pem.Block{
				Type: "RSA PRIVATE KEY", Bytes: []byte("x"),
				Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-256-CBC,00"},
			}), "is encrypted",
		},
		{"elliptic curve, PKCS #8", block("PRIVATE KEY", d.ecPKCS8), "*ecdsa.PrivateKey, want RSA"},
		{"elliptic curve, SEC 1", block("EC PRIVATE KEY", d.ecSEC1), "elliptic curve key, want RSA"},
		{"other block", block("OPENSSH PRIVATE KEY", []byte("x")), `type "OPENSSH PRIVATE KEY"`},
		{"too small", block("PRIVATE KEY", d.small), "1024 bits, want at least 2048"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			key, err := wxclient.ParsePrivateKey(tc.data)
			if tc.want != "" {
				require.Nil(t, key)
				require.ErrorContains(t, err, tc.want)
				require.NotContains(t, err.Error(), "secret stuff")
				return
			}
			require.NoError(t, err)
			require.Equal(t, privateKey(t, "merchant_key.pem").Public(), key.Public())
		})
	}
}

func TestParsePublicKey(t *testing.T) {
	t.Parallel()
	d := newDER(t)
	for _, tc := range []struct {
		name   string
		data   []byte
		serial string
		want   string
	}{
		{"PKIX", block("PUBLIC KEY", d.pkix), "", ""},
		{"PKCS #1", block("RSA PUBLIC KEY", d.rsaPublic), "", ""},
		{"certificate", readFile(t, "platform_cert.pem"), certSerial, ""},
		{"empty", []byte("\n"), "", "empty"},
		{"not PEM", []byte("x"), "", "not PEM"},
		{"two certificates", append(readFile(t, "platform_cert.pem"), readFile(t, "platform_cert.pem")...), "", "behind"},
		{"private key", privatePEM(t, "merchant_key.pem"), "", "a private key, want WeChat Pay's public key"},
		{"other block", block("CERTIFICATE REQUEST", []byte("x")), "", `type "CERTIFICATE REQUEST"`},
		{"not DER inside", block("PUBLIC KEY", []byte("x")), "", "public key: "},
		{"broken certificate", block("CERTIFICATE", []byte("x")), "", "public key: x509"},
		{"elliptic curve", block("PUBLIC KEY", d.ecPublic), "", "*ecdsa.PublicKey, want RSA"},
		{"too small", block("PUBLIC KEY", d.smallPublic), "", "1024 bits"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			key, serial, err := wxclient.ParsePublicKey(tc.data)
			if tc.want != "" {
				require.Nil(t, key)
				require.Empty(t, serial)
				require.ErrorContains(t, err, tc.want)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tc.serial, serial)
			require.Equal(t, 2048, key.N.BitLen())
		})
	}
}
