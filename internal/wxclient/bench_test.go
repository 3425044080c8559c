package wxclient_test

import (
	"crypto"
	"crypto/sha256"
	"net/http"
	"testing"

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

func BenchmarkSign(b *testing.B) {
	key := privateKey(b, "merchant_key.pem")
	sum := sha256.Sum256(replyBody)
	b.ReportAllocs()
	for b.Loop() {
		_, err := key.Sign(nil, sum[:], crypto.SHA256)
		require.NoError(b, err)
	}
}
