//go:build openssl

package wxclient

/*
#cgo pkg-config: libcrypto
#cgo noescape replyworker_load
#cgo nocallback replyworker_load
#cgo noescape replyworker_sign
#cgo nocallback replyworker_sign

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/opensslv.h>
#include <openssl/rsa.h>

#if OPENSSL_VERSION_NUMBER < 0x30000000L || defined(LIBRESSL_VERSION_NUMBER)
#error "the build tag openssl needs OpenSSL 3 or later"
#endif

// OpenSSL keeps its errors by thread, and a goroutine may be on another thread at its next call into C.
// So each function here returns its own error's code (0: none), and leaves none behind on the thread.
static unsigned long replyworker_error(void) {
	unsigned long code = ERR_peek_last_error();
	ERR_clear_error();
	return code != 0 ? code : 1;
}

static unsigned long replyworker_load(const unsigned char *der, size_t size, EVP_PKEY **key) {
	*key = d2i_PrivateKey(EVP_PKEY_RSA, NULL, &der, (long)size);
	if (*key == NULL) {
		return replyworker_error();
	}
	ERR_clear_error(); // of the formats that were tried first
	return 0;
}

// PKCS #1 v1.5 with SHA-256. The signature has the size of the key's modulus.
static unsigned long replyworker_sign(EVP_PKEY *key, const unsigned char *digest, size_t digest_size,
		unsigned char *signature, size_t signature_size) {
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
	size_t made = signature_size;
	unsigned long code = 0;
	if (ctx == NULL ||
			EVP_PKEY_sign_init(ctx) <= 0 ||
			EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) <= 0 ||
			EVP_PKEY_CTX_set_signature_md(ctx, EVP_sha256()) <= 0 ||
			EVP_PKEY_sign(ctx, signature, &made, digest, digest_size) <= 0 ||
			made != signature_size) {
		code = replyworker_error();
	}
	EVP_PKEY_CTX_free(ctx);
	return code;
}
*/
import "C"

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"runtime"
)

// SigningLibrary names what makes the signatures of this binary: OpenSSL, in the version that was
// loaded, which need not be the one that it was built with.
func SigningLibrary() string { return C.GoString(C.OpenSSL_version(C.OPENSSL_VERSION)) }

// opensslKey signs with OpenSSL: PKCS #1 v1.5 with SHA-256 and nothing else. It is safe for concurrent
// use. The key is in OpenSSL's memory, which is wiped and freed after the last use of the opensslKey.
type opensslKey struct {
	public *rsa.PublicKey
	key    *C.EVP_PKEY
	// slots is as many as there are processors for Go. A call into C keeps its thread: without a bound
	// hundreds of calls at once would make hundreds of threads.
	slots chan struct{}
}

// newSigner hands a key that was checked to OpenSSL, and proves it with one signature.
func newSigner(key *rsa.PrivateKey) (crypto.Signer, error) {
	der := x509.MarshalPKCS1PrivateKey(key)
	defer clear(der)
	k := &opensslKey{
		public: &rsa.PublicKey{N: key.N, E: key.E},
		slots:  make(chan struct{}, runtime.GOMAXPROCS(0)),
	}
	if code := C.replyworker_load(cBytes(der), C.size_t(len(der)), &k.key); code != 0 {
		return nil, opensslError("private key", code)
	}
	runtime.AddCleanup(k, func(key *C.EVP_PKEY) { C.EVP_PKEY_free(key) }, k.key)

	sum := sha256.Sum256(nil)
	signature, err := k.Sign(nil, sum[:], crypto.SHA256)
	if err != nil {
		return nil, err
	}
	if err := rsa.VerifyPKCS1v15(k.public, crypto.SHA256, sum[:], signature); err != nil {
		return nil, errors.New("private key: what OpenSSL signs with it the public key does not verify")
	}
	return k, nil
}

func (k *opensslKey) Public() crypto.PublicKey { return k.public }

// Sign makes the same bytes as [rsa.PrivateKey.Sign] does. It needs no random source.
func (k *opensslKey) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if _, pss := opts.(*rsa.PSSOptions); pss || opts == nil || opts.HashFunc() != crypto.SHA256 {
		return nil, errors.New("openssl: signs PKCS #1 v1.5 with SHA-256 and nothing else")
	}
	if len(digest) != sha256.Size {
		return nil, fmt.Errorf("openssl: a digest of %d bytes, and one of SHA-256 has %d", len(digest), sha256.Size)
	}
	signature := make([]byte, k.public.Size())
	k.slots <- struct{}{}
	code := C.replyworker_sign(k.key, cBytes(digest), C.size_t(len(digest)), cBytes(signature), C.size_t(len(signature)))
	<-k.slots
	runtime.KeepAlive(k)
	if code != 0 {
		return nil, opensslError("sign", code)
	}
	return signature, nil
}

// cBytes is the memory of b, which is not empty.
func cBytes(b []byte) *C.uchar { return (*C.uchar)(&b[0]) }

func opensslError(doing string, code C.ulong) error {
	var text [256]C.char // as much as OpenSSL's manual advises
	C.ERR_error_string_n(code, &text[0], C.size_t(len(text)))
	return fmt.Errorf("openssl: %s: %s", doing, C.GoString(&text[0]))
}
