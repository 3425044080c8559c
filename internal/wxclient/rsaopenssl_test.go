//go:build openssl

package wxclient_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"math/big"
	"os"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/wxclient"
)

func TestOpenSSLSigns(t *testing.T) {
	t.Parallel()
	require.Regexp(t, `^OpenSSL [3-9]\.`, wxclient.SigningLibrary())
	_, isGo := signer(t, "merchant_key.pem").(*rsa.PrivateKey)
	require.False(t, isGo, "a key of crypto/rsa, and the build asks for OpenSSL")
}

func TestOpenSSLSignsNothingElse(t *testing.T) {
	t.Parallel()
	key := signer(t, "merchant_key.pem")
	sum := make([]byte, 64)
	for name, tc := range map[string]struct {
		digest []byte
		opts   crypto.SignerOpts
		want   string
	}{
		"PSS":             {sum[:32], &rsa.PSSOptions{Hash: crypto.SHA256}, "PKCS #1 v1.5 with SHA-256 and nothing else"},
		"another hash":    {sum, crypto.SHA512, "PKCS #1 v1.5 with SHA-256 and nothing else"},
		"no hash":         {sum[:32], crypto.Hash(0), "PKCS #1 v1.5 with SHA-256 and nothing else"},
		"no options":      {sum[:32], nil, "PKCS #1 v1.5 with SHA-256 and nothing else"},
		"no digest":       {nil, crypto.SHA256, "a digest of 0 bytes"},
		"a short digest":  {sum[:31], crypto.SHA256, "a digest of 31 bytes"},
		"the whole input": {sum, crypto.SHA256, "a digest of 64 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			signature, err := key.Sign(rand.Reader, tc.digest, tc.opts)
			require.ErrorContains(t, err, tc.want)
			require.Nil(t, signature)
		})
	}
}

// TestOpenSSLProvesAKeyFirst gives it what ParsePrivateKey lets nobody give it.
func TestOpenSSLProvesAKeyFirst(t *testing.T) {
	t.Parallel()
	key := *privateKey(t, "merchant_key.pem")
	key.N = new(big.Int).Add(key.N, big.NewInt(2))
	signer, err := wxclient.NewSigner(&key)
	require.ErrorContains(t, err, "what OpenSSL signs with it the public key does not verify")
	require.Nil(t, signer)
}

// TestOpenSSLKeepsFewThreads has far more signatures asked for at once than there are processors.
func TestOpenSSLKeepsFewThreads(t *testing.T) {
	key := signer(t, "merchant_key.pem")
	digest := make([]byte, sha256.Size)
	before := pprof.Lookup("threadcreate").Count()
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			for range 5 {
				_, err := key.Sign(nil, digest, crypto.SHA256)
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	more := pprof.Lookup("threadcreate").Count() - before
	require.LessOrEqual(t, more, 2*runtime.GOMAXPROCS(0)+8, "threads that 200 signatures at once have made")
}

// TestOpenSSLFreesWhatItTakes watches the process grow. Each key that stayed would be 5 KiB, 20 MiB in all,
// and what a signature needs 400 bytes, 4 MiB in all.
func TestOpenSSLFreesWhatItTakes(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the size of the process is read from /proc")
	}
	key := privateKey(t, "merchant_key.pem")
	read := func(keys int) {
		for range keys {
			_, err := wxclient.NewSigner(key)
			require.NoError(t, err)
		}
	}
	kept := signer(t, "merchant_key.pem")
	signMany := func(signatures int) {
		digest := make([]byte, sha256.Size)
		for range signatures {
			_, err := kept.Sign(nil, digest, crypto.SHA256)
			require.NoError(t, err)
		}
	}
	read(2000)
	signMany(400)
	before := settled()
	read(4000)
	keys := settled()
	signMany(10000)
	signatures := settled()
	t.Logf("resident: %d KiB before, %d after 4,000 keys, %d after 10,000 signatures", before>>10, keys>>10, signatures>>10)
	require.Less(t, keys-before, 12<<20, "bytes that the process grew by with 4,000 keys read and dropped")
	require.Less(t, signatures-keys, 2<<20, "bytes that the process grew by with 10,000 signatures")
}

// settled is the resident bytes of the process once nothing is left to be cleaned up.
func settled() int {
	for range 5 {
		runtime.GC()
		runtime.Gosched()
	}
	// Cleanups run beside the program: the last one to be queued says that those before it were begun.
	done := make(chan struct{})
	func() {
		last := new([16]byte)
		runtime.AddCleanup(last, func(done chan struct{}) { close(done) }, done)
	}()
	runtime.GC()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
	}
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	pages, err := strconv.Atoi(strings.Fields(string(statm))[1])
	if err != nil {
		return 0
	}
	return pages * os.Getpagesize()
}
