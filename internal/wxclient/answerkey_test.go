package wxclient_test

import (
	"crypto/rsa"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"replyworker/internal/wxclient"
)

// TestPlatformCertificates: the serial is the id, in any case and with or without leading zeros.
func TestPlatformCertificates(t *testing.T) {
	t.Parallel()
	k, err := wxclient.ParseAnswerKey(readFile(t, "platform_cert.pem"))
	require.NoError(t, err)
	require.NotEmpty(t, k.Serial)
	require.False(t, k.NotAfter.IsZero())
	for _, id := range []string{k.Serial, strings.ToLower(k.Serial), "00" + k.Serial, strings.TrimLeft(k.Serial, "0")} {
		require.NoError(t, k.Fits(id), id)
	}
	for _, id := range []string{"", "PUB_KEY_ID_1", k.Serial + "0", "1" + k.Serial[1:] + "F", strings.Repeat("0", len(k.Serial))} {
		require.ErrorContains(t, k.Fits(id), "a platform certificate with serial "+k.Serial, id)
	}
	public := wxclient.AnswerKey{Key: k.Key}
	require.NoError(t, public.Fits("PUB_KEY_ID_1"), "the id of a public key is not in its file")
}

// TestAnUnknownKeyIsNamedBesideThoseThatAreKnown, not all where there are many.
func TestAnUnknownKeyIsNamedBesideThoseThatAreKnown(t *testing.T) {
	t.Parallel()
	m := newMerchant(t)
	for i := range 20 {
		m.AnswerKeys[fmt.Sprintf("PUB_KEY_ID_Z%02d", i)] = &rsa.PublicKey{}
	}
	h := signedHeader(t, okBody)
	h.Set("Wechatpay-Serial", "PUB_KEY_ID_OF_NOBODY")
	e := replyError(t, newClient(t, wxclient.Config{Transport: answer(http.StatusOK, h, okBody)}), m)
	require.Equal(t, wxclient.ClassUnknownKey, e.Class)
	require.Equal(t, "PUB_KEY_ID_OF_NOBODY", e.KeyID)
	require.ErrorContains(t, e, "PUB_KEY_ID_OF_NOBODY, which is not configured (")
	require.ErrorContains(t, e, m.AnswerKeyID+", ")
	require.ErrorContains(t, e, "more is): add that WeChat Pay key")
	require.Less(t, len(e.Error()), 600)
}
