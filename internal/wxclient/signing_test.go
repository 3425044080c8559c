package wxclient_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"math/big"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"replyworker/internal/wxclient"
)

// newKey makes a key of that many bits, and the signer that this build reads from its file.
func newKey(tb testing.TB, bits int) (*rsa.PrivateKey, crypto.Signer) {
	tb.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	require.NoError(tb, err)
	return key, readKey(tb, key)
}

func readKey(tb testing.TB, key *rsa.PrivateKey) crypto.Signer {
	tb.Helper()
	signer, err := wxclient.ParsePrivateKey(block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key)))
	require.NoError(tb, err)
	return signer
}

// requireSameSignatures holds a signer against crypto/rsa. PKCS #1 v1.5 leaves nothing to chance: there is
// one right signature.
func requireSameSignatures(tb testing.TB, key *rsa.PrivateKey, signer crypto.Signer, digests int) {
	tb.Helper()
	require.True(tb, key.PublicKey.Equal(signer.Public()), "the signer shows another public key")
	for range digests {
		digest := make([]byte, sha256.Size)
		rand.Read(digest)
		want, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest)
		require.NoError(tb, err)
		got, err := signer.Sign(rand.Reader, digest, crypto.SHA256)
		require.NoError(tb, err)
		require.Equal(tb, want, got, "digest %x", digest)
	}
}

func TestSignaturesAreThoseOfCryptoRSA(t *testing.T) {
	t.Parallel()
	t.Run("the key of the tests", func(t *testing.T) {
		t.Parallel()
		requireSameSignatures(t, privateKey(t, "merchant_key.pem"), signer(t, "merchant_key.pem"), 200)
	})
	t.Run("keys made anew", func(t *testing.T) {
		t.Parallel()
		for range 5 {
			key, signer := newKey(t, 2048)
			requireSameSignatures(t, key, signer, 20)
		}
	})
	t.Run("a modulus that fills no whole bytes", func(t *testing.T) {
		t.Parallel()
		key, signer := newKey(t, 2050)
		requireSameSignatures(t, key, signer, 20)
	})
	t.Run("larger keys", func(t *testing.T) {
		t.Parallel()
		for _, bits := range []int{3072, 4096} {
			key, signer := newKey(t, bits)
			requireSameSignatures(t, key, signer, 5)
		}
	})
}

// TestOneKeySignsForMany is about the race detector, and about keys that are dropped while others sign.
func TestOneKeySignsForMany(t *testing.T) {
	t.Parallel()
	key, shared := newKey(t, 2048)
	digest := sha256.Sum256([]byte("the same for all"))
	want, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest[:])
	require.NoError(t, err)

	var wg sync.WaitGroup
	wrong := make(chan []byte, 1)
	for range 32 {
		wg.Go(func() {
			for i := range 20 {
				signer := shared
				if i%4 == 0 {
					if own, err := wxclient.ParsePrivateKey(block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key))); err == nil {
						signer = own
					}
				}
				got, err := signer.Sign(nil, digest[:], crypto.SHA256)
				if err != nil || string(got) != string(want) {
					select {
					case wrong <- got:
					default:
					}
				}
			}
		})
	}
	wg.Wait()
	require.Empty(t, wrong, "a signature among many differs")
}

// TestKeysThatDoNotHoldTogetherAreRefused has files whose numbers are not of one key, as a damaged disk or a
// mean hand would make them. A signature by CRT with a wrong part would give the key away.
func TestKeysThatDoNotHoldTogetherAreRefused(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(k *pkcs1){
		"modulus":          func(k *pkcs1) { k.N.Add(k.N, big.NewInt(2)) },
		"exponent":         func(k *pkcs1) { k.E = 3 },
		"even exponent":    func(k *pkcs1) { k.E = 65536 },
		"private exponent": func(k *pkcs1) { k.D.Add(k.D, big.NewInt(2)) },
		"prime":            func(k *pkcs1) { k.P.Add(k.P, big.NewInt(2)) },
		"CRT exponent":     func(k *pkcs1) { k.Dp.Add(k.Dp, big.NewInt(2)) },
		"CRT coefficient":  func(k *pkcs1) { k.Qinv.Add(k.Qinv, big.NewInt(2)) },
		"zero modulus":     func(k *pkcs1) { k.N.SetInt64(0) },
		"negative prime":   func(k *pkcs1) { k.Q.Neg(k.Q) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newPKCS1(privateKey(t, "merchant_key.pem"))
			damage(k)
			signer, err := wxclient.ParsePrivateKey(block("RSA PRIVATE KEY", k.marshal(t)))
			require.Error(t, err)
			require.Nil(t, signer)
		})
	}
	t.Run("undamaged", func(t *testing.T) {
		t.Parallel()
		_, err := wxclient.ParsePrivateKey(block("RSA PRIVATE KEY", newPKCS1(privateKey(t, "merchant_key.pem")).marshal(t)))
		require.NoError(t, err)
	})
}
