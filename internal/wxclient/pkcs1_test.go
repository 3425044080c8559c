package wxclient_test

import (
	"crypto/rsa"
	"encoding/asn1"
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"
)

// pkcs1 is an RSAPrivateKey of RFC 8017, A.1.2, whose numbers a test may damage.
type pkcs1 struct {
	Version int
	N       *big.Int
	E       int
	D, P, Q *big.Int
	Dp, Dq  *big.Int
	Qinv    *big.Int
}

func newPKCS1(key *rsa.PrivateKey) *pkcs1 {
	number := func(n *big.Int) *big.Int { return new(big.Int).Set(n) }
	return &pkcs1{
		N: number(key.N), E: key.E, D: number(key.D), P: number(key.Primes[0]), Q: number(key.Primes[1]),
		Dp: number(key.Precomputed.Dp), Dq: number(key.Precomputed.Dq), Qinv: number(key.Precomputed.Qinv),
	}
}

func (k *pkcs1) marshal(t *testing.T) []byte {
	t.Helper()
	der, err := asn1.Marshal(*k)
	require.NoError(t, err)
	return der
}
