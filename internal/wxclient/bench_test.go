package wxclient_test

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/wxclient"
)

// BenchmarkReply is a whole call but the network. Compare it with BenchmarkSign, its largest part.
func BenchmarkReply(b *testing.B) {
	h := signedHeader(b, okBody)
	c := newClient(b, wxclient.Config{Transport: fake(func(req *http.Request) (*http.Response, error) {
		return answer(http.StatusOK, h, okBody)(req)
	})})
	m := newMerchant(b)
	b.ReportAllocs()
	for b.Loop() {
		_, err := c.Reply(b.Context(), wxclient.Primary, m, complaintID, replyBody)
		require.NoError(b, err)
	}
}

// BenchmarkReplyWithoutRSA is what the package adds to signing: all but the signature's making.
func BenchmarkReplyWithoutRSA(b *testing.B) {
	h := signedHeader(b, okBody)
	c := newClient(b, wxclient.Config{Transport: answer(http.StatusOK, h, okBody)})
	m := newMerchant(b)
	m.Key = stubSigner{m.Key.Public()}
	b.ReportAllocs()
	for b.Loop() {
		_, err := c.Reply(b.Context(), wxclient.Primary, m, complaintID, replyBody)
		require.NoError(b, err)
	}
}

// BenchmarkSign holds what signs in this build against crypto/rsa. Where they differ (-tags openssl) the two
// also take turns, so that whatever else the machine does slows down both: that gives the ratio of their
// medians, which is how many times as fast this build's signer is.
func BenchmarkSign(b *testing.B) {
	goes, ours := crypto.Signer(privateKey(b, "merchant_key.pem")), signer(b, "merchant_key.pem")
	sum := sha256.Sum256(replyBody)
	sign := func(b *testing.B, key crypto.Signer) {
		b.Helper()
		_, err := key.Sign(nil, sum[:], crypto.SHA256)
		require.NoError(b, err)
	}
	b.Run("crypto-rsa", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			sign(b, goes)
		}
	})
	if _, same := ours.(*rsa.PrivateKey); same {
		return
	}
	b.Run(strings.ReplaceAll(wxclient.SigningLibrary(), " ", "-"), func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			sign(b, ours)
		}
	})
	b.Run("in-turns", func(b *testing.B) {
		var took [2][]time.Duration
		for b.Loop() {
			for i, key := range []crypto.Signer{goes, ours} {
				began := time.Now()
				sign(b, key)
				took[i] = append(took[i], time.Since(began))
			}
		}
		median := func(all []time.Duration) float64 {
			slices.Sort(all)
			return float64(all[len(all)/2])
		}
		b.ReportMetric(median(took[0])/median(took[1]), "ratio")
	})
}
