package wxclient_test

import (
	"crypto/rsa"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"replyworker/internal/wxclient"
)

func TestOnlyGoodSignaturesAreSuccess(t *testing.T) {
	t.Parallel()
	set := func(name string, values ...string) func(*testing.T, http.Header) {
		return func(_ *testing.T, h http.Header) { h[name] = values }
	}
	at := func(d time.Duration) func(*testing.T, http.Header) {
		return func(t *testing.T, h http.Header) {
			t.Helper()
			clear(h)
			maps.Copy(h, signedHeaderAt(t, okBody, testNow().Add(d)))
		}
	}
	resigned := func(timestamp, nonce string) func(*testing.T, http.Header) {
		return func(t *testing.T, h http.Header) {
			t.Helper()
			h["Wechatpay-Timestamp"], h["Wechatpay-Nonce"] = []string{timestamp}, []string{nonce}
			h["Wechatpay-Signature"] = []string{
				sign(t, privateKey(t, "platform_key.pem"), timestamp+"\n"+nonce+"\n"+okBody+"\n"),
			}
		}
	}
	for _, tc := range []struct {
		name   string
		change func(*testing.T, http.Header)
		class  wxclient.Class // zero: success
		text   string
	}{
		{"good", func(*testing.T, http.Header) {}, 0, ""},
		{"299 s old", at(-299 * time.Second), 0, ""},
		{"299 s ahead", at(299 * time.Second), 0, ""},
		{"300 s old", at(-300 * time.Second), wxclient.ClassUnknown, "5 minutes or more"},
		{"300 s ahead", at(300 * time.Second), wxclient.ClassUnknown, "5 minutes or more"},
		{"an hour old", at(-time.Hour), wxclient.ClassUnknown, "5 minutes or more"},
		{"leading zeros, signed as sent", resigned("001735689600", "n"), 0, ""},
		{"milliseconds", resigned("1735689600000", "n"), wxclient.ClassUnknown, "5 minutes or more"},
		{"largest int64", resigned("9223372036854775807", "n"), wxclient.ClassUnknown, "5 minutes or more"},
		{"beyond int64", resigned("9223372036854775808", "n"), wxclient.ClassUnknown, "out of range"},
		{"smallest int64", resigned("-9223372036854775808", "n"), wxclient.ClassUnknown, "no number"},
		{"plus sign", resigned("+1735689600", "n"), wxclient.ClassUnknown, "no number"},
		{"fraction", resigned("1735689600.0", "n"), wxclient.ClassUnknown, "no number"},
		{"line end in the nonce", resigned("1735689600", "n\nx"), wxclient.ClassUnknown, "line end"},
		{"no timestamp", set("Wechatpay-Timestamp"), wxclient.ClassUnknown, "not signed: 0 values of Wechatpay-Timestamp"},
		{"empty timestamp", set("Wechatpay-Timestamp", ""), wxclient.ClassUnknown, "not signed"},
		{"no nonce", set("Wechatpay-Nonce"), wxclient.ClassUnknown, "not signed"},
		{"no signature", set("Wechatpay-Signature"), wxclient.ClassUnknown, "not signed"},
		{"no serial", set("Wechatpay-Serial"), wxclient.ClassUnknown, "not signed"},
		{"two serials", set("Wechatpay-Serial", keyID, keyID), wxclient.ClassUnknown, "2 values"},
		{"two nonces", set("Wechatpay-Nonce", "a", "b"), wxclient.ClassUnknown, "2 values"},
		{"no signature type", set("Wechatpay-Signature-Type"), 0, ""},
		{"other signature type", set("Wechatpay-Signature-Type", "WECHATPAY2-SM2-WITH-SM3"), wxclient.ClassUnknown, "SM2"},
		{
			"two signature types", set("Wechatpay-Signature-Type", "WECHATPAY2-SHA256-RSA2048", "x"),
			wxclient.ClassUnknown, "signature type",
		},
		{"nonce changed", set("Wechatpay-Nonce", "other"), wxclient.ClassUnknown, "verification error"},
		{"timestamp changed", set("Wechatpay-Timestamp", "1735689601"), wxclient.ClassUnknown, "verification error"},
		{"not base64", set("Wechatpay-Signature", "!!!"), wxclient.ClassUnknown, "not base64"},
		{
			"signature cut", func(_ *testing.T, h http.Header) {
				h["Wechatpay-Signature"][0] = h["Wechatpay-Signature"][0][:340]
			}, wxclient.ClassUnknown, "verification error",
		},
		{
			"base64 with a line end", func(_ *testing.T, h http.Header) { h["Wechatpay-Signature"][0] += "\n" },
			wxclient.ClassUnknown, "not base64",
		},
		{
			"base64 with other spare bits", func(_ *testing.T, h http.Header) {
				s := h["Wechatpay-Signature"][0] // 256 bytes: "==" and four spare bits before it
				const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
				last := strings.IndexByte(alphabet, s[341])
				h["Wechatpay-Signature"][0] = s[:341] + alphabet[last|1:last|1+1] + "=="
			}, wxclient.ClassUnknown, "not base64",
		},
		{
			"another key's signature", func(t *testing.T, h http.Header) {
				t.Helper()
				h["Wechatpay-Signature"][0] = sign(t, privateKey(t, "merchant_key.pem"), "1735689600\nn\n"+okBody+"\n")
			}, wxclient.ClassUnknown, "verification error",
		},
		{
			"probe", func(_ *testing.T, h http.Header) {
				h["Wechatpay-Signature"][0] = "WECHATPAY/SIGNTEST/" + h["Wechatpay-Signature"][0]
			}, wxclient.ClassUnknown, "probe of the API's",
		},
		{
			"probe with a key id that is new", func(_ *testing.T, h http.Header) {
				h["Wechatpay-Signature"][0] = "WECHATPAY/SIGNTEST/x"
				h["Wechatpay-Serial"][0] = "5157F09EFDC096DE15EBE81A47057A7200000000"
			}, wxclient.ClassUnknown, "probe of the API's",
		},
		{"certificate serial", set("Wechatpay-Serial", certSerial), 0, ""},
		{"certificate serial in lower case", set("Wechatpay-Serial", strings.ToLower(certSerial)), 0, ""},
		{"certificate serial without its leading zero", set("Wechatpay-Serial", certSerial[1:]), 0, ""},
		{
			"key id in lower case", set("Wechatpay-Serial", strings.ToLower(keyID)),
			wxclient.ClassUnknownKey, "not configured",
		},
		{"unknown key id", set("Wechatpay-Serial", "PUB_KEY_ID_9"), wxclient.ClassUnknownKey, "key PUB_KEY_ID_9, which"},
		{"unknown certificate", set("Wechatpay-Serial", "ABCDEF"), wxclient.ClassUnknownKey, "not configured"},
		{
			"unknown key id, unsigned", func(_ *testing.T, h http.Header) {
				h["Wechatpay-Serial"] = []string{"PUB_KEY_ID_9"}
				delete(h, "Wechatpay-Signature")
			}, wxclient.ClassUnknown, "not signed",
		},
		{
			"unknown key id, stale", func(_ *testing.T, h http.Header) {
				h["Wechatpay-Serial"] = []string{"PUB_KEY_ID_9"}
				h["Wechatpay-Timestamp"] = []string{"1735689000"}
			}, wxclient.ClassUnknown, "5 minutes or more",
		},
		{"everything missing", func(_ *testing.T, h http.Header) { clear(h) }, wxclient.ClassUnknown, "not signed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			h := signedHeader(t, okBody)
			tc.change(t, h)
			c := newClient(t, wxclient.Config{Transport: answer(200, h, okBody)})
			got, err := c.Reply(t.Context(), wxclient.Primary, newMerchant(t), complaintID, replyBody)
			if tc.class == 0 {
				require.NoError(t, err)
				require.Equal(t, "300285320210322170000071077", got.LogID)
				return
			}
			require.Zero(t, got)
			e := checkError(t, err)
			require.Equal(t, tc.class, e.Class, err)
			require.ErrorContains(t, err, tc.text)
			require.True(t, e.Sent)
			require.NotContains(t, err.Error(), "300285320210322170000071077", "an unverified log_id is shown")
			if tc.class == wxclient.ClassUnknownKey {
				require.Equal(t, h["Wechatpay-Serial"][0], e.KeyID)
			} else {
				require.Empty(t, e.KeyID)
			}
		})
	}
}

func TestAnyChangeOfTheBodyIsSeen(t *testing.T) {
	t.Parallel()
	m := newMerchant(t)
	m.Key = stubSigner{m.Key.Public()}
	h := signedHeader(t, okBody)
	for i := range okBody {
		changed := []byte(okBody)
		changed[i] ^= 1
		e := replyError(t, newClient(t, wxclient.Config{Transport: answer(200, h, string(changed))}), m)
		require.Equal(t, wxclient.ClassUnknown, e.Class)
	}
	for _, body := range []string{"", okBody + "\n", okBody[:len(okBody)-1]} {
		e := replyError(t, newClient(t, wxclient.Config{Transport: answer(200, h, body)}), m)
		require.Equal(t, wxclient.ClassUnknown, e.Class)
	}
}

func TestTimeIsTakenWhenTheAnswerIsThere(t *testing.T) {
	t.Parallel()
	times := []time.Time{testNow(), testNow().Add(10 * time.Second)}
	h := signedHeaderAt(t, okBody, testNow().Add(305*time.Second))
	c := newClient(t, wxclient.Config{Transport: answer(200, h, okBody), Now: func() time.Time {
		now := times[0]
		times = times[1:]
		return now
	}})
	_, err := c.Reply(t.Context(), wxclient.Primary, newMerchant(t), complaintID, replyBody)
	require.NoError(t, err)
}

func FuzzVerify(f *testing.F) {
	good := signedHeader(f, okBody)
	seed := func(name string) string { return good[name][0] }
	timestamp, nonce, serial := seed("Wechatpay-Timestamp"), seed("Wechatpay-Nonce"), seed("Wechatpay-Serial")
	signature, kind := seed("Wechatpay-Signature"), seed("Wechatpay-Signature-Type")
	f.Add(timestamp, nonce, serial, signature, kind, []byte(okBody))
	f.Add(timestamp, nonce+"\n"+okBody[:5], serial, signature, kind, []byte(okBody)[5:])
	f.Add(timestamp, nonce, certSerial, signature, "", []byte(okBody))
	f.Add("-1", "", "PUB_KEY_ID_", "WECHATPAY/SIGNTEST/", "x", []byte(nil))
	f.Add("9223372036854775807", nonce, serial, "====", kind, []byte("{}"))

	m := newMerchant(f)
	m.Key = stubSigner{m.Key.Public()}
	// Nobody has signed anything with this one.
	m.AnswerKeys["F5765756002FDD77"] = &privateKey(f, "merchant_key.pem").PublicKey
	f.Fuzz(func(t *testing.T, ts, n, id, sig, typ string, body []byte) {
		h := http.Header{
			"Wechatpay-Timestamp": {ts}, "Wechatpay-Nonce": {n}, "Wechatpay-Serial": {id},
			"Wechatpay-Signature": {sig}, "Wechatpay-Signature-Type": {typ},
		}
		if typ == "" {
			delete(h, "Wechatpay-Signature-Type")
		}
		c := newClient(t, wxclient.Config{Transport: answer(200, h, string(body))})
		_, err := c.Reply(t.Context(), wxclient.Primary, m, complaintID, replyBody)
		signed := ts == timestamp && n == nonce && string(body) == okBody && sig == signature
		if err == nil {
			require.True(t, signed, "accepted what was not signed")
			return
		}
		e := checkError(t, err)
		require.True(t, slices.Contains([]wxclient.Class{wxclient.ClassUnknown, wxclient.ClassUnknownKey}, e.Class))
		if signed && id == keyID && typ == kind {
			t.Errorf("refused what was signed: %v", err)
		}
	})
}

func TestPublishedVector(t *testing.T) {
	t.Parallel()
	// The message of the vector is "source", which is no request; signing is compared as it is.
	key := privateKey(t, "wechatpay-go/key.pem")
	want := strings.TrimSpace(string(readFile(t, "wechatpay-go/source.sig")))
	require.Equal(t, want, sign(t, key, "source"))

	public, serial, err := wxclient.ParsePublicKey(readFile(t, "wechatpay-go/certificate.pem"))
	require.NoError(t, err)
	require.Equal(t, "F5765756002FDD77", serial)
	require.Equal(t, &key.PublicKey, public)

	// And an answer under that certificate is verified as any other.
	h := signedHeader(t, okBody)
	h["Wechatpay-Serial"] = []string{serial}
	h["Wechatpay-Signature"] = []string{
		sign(t, key, h["Wechatpay-Timestamp"][0]+"\n"+h["Wechatpay-Nonce"][0]+"\n"+okBody+"\n"),
	}
	m := newMerchant(t)
	m.AnswerKeys = map[string]*rsa.PublicKey{serial: public}
	m.AnswerKeyID = serial
	_, err = newClient(t, wxclient.Config{Transport: answer(200, h, okBody)}).
		Reply(t.Context(), wxclient.Primary, m, complaintID, replyBody)
	require.NoError(t, err)
}
