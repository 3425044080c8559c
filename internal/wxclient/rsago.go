//go:build !openssl

package wxclient

import (
	"crypto"
	"crypto/rsa"
)

// SigningLibrary names what makes the signatures of this binary, with its version where that is not
// Go's own: "crypto/rsa", or "OpenSSL 3.0.19 27 Jan 2026" where it was built with -tags openssl.
func SigningLibrary() string { return "crypto/rsa" }

// newSigner makes a signer of a key that was checked. What it returns is safe for concurrent use.
func newSigner(key *rsa.PrivateKey) (crypto.Signer, error) {
	key.Precompute()
	return key, nil
}
