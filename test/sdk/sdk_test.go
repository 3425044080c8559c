package sdk_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/wechatpay-apiv3/wechatpay-go/core"
	"github.com/wechatpay-apiv3/wechatpay-go/core/auth/verifiers"
	"github.com/wechatpay-apiv3/wechatpay-go/core/option"
	"github.com/wechatpay-apiv3/wechatpay-go/utils"
	"go.uber.org/goleak"

	"replyworker/internal/wxclient"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	mchID       = "1900000001"
	mchSerial   = "1DDE55AD98ED71D6EDD4A4A16996DE7B47773A8C"
	keyID       = "PUB_KEY_ID_0000000000000024101100397200000006"
	nonce       = "d824f2e086d3c1df967785d13fcd22ef"
	complaintID = "200201820200101080076610000"
	okBody      = `{"log_id":"300285320210322170000071077"}`
)

var replyBody = []byte(`{"complainted_mchid":"1900012181","message":{"custom_data":"<您好> & more\n"},` +
	`"idempotent_id":"1"}`)

type keys struct{ merchant, platform *rsa.PrivateKey }

func newKeys(t *testing.T) keys {
	t.Helper()
	merchant, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	platform, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	return keys{merchant, platform}
}

func (k keys) wxMerchant() *wxclient.Merchant {
	return &wxclient.Merchant{
		MchID: mchID, CertSerial: mchSerial, Key: k.merchant,
		AnswerKeyID: keyID, AnswerKeys: map[string]*rsa.PublicKey{keyID: &k.platform.PublicKey},
	}
}

// ours sends one reply to u with the worker's client.
func ours(t *testing.T, u string, m *wxclient.Merchant, id string) (wxclient.Answer, error) {
	t.Helper()
	c, err := wxclient.New(wxclient.Config{PrimaryURL: u, UserAgent: "replyworker/test"})
	require.NoError(t, err)
	defer c.Close()
	return c.Reply(t.Context(), wxclient.Primary, m, id, replyBody)
}

// theirs sends the same reply with the SDK.
func theirs(t *testing.T, u string, k keys) error {
	t.Helper()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	c, err := core.NewClient(t.Context(),
		option.WithWechatPayPublicKeyAuthCipher(mchID, mchSerial, k.merchant, keyID, &k.platform.PublicKey),
		option.WithHTTPClient(&http.Client{Transport: transport}))
	require.NoError(t, err)
	result, err := c.Post(t.Context(),
		u+"/v3/merchant-service/complaints-v2/"+complaintID+"/response-immediate-service", replyBody)
	if result != nil && result.Response != nil {
		result.Response.Body.Close()
	}
	return err
}

var authPart = regexp.MustCompile(`(\w+)="([^"]*)"`)

// checkRequest verifies a request's signature with the SDK, over what came over the wire.
func checkRequest(t *testing.T, r *http.Request, public *rsa.PublicKey) {
	t.Helper()
	body, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	require.Equal(t, replyBody, body)

	scheme, rest, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	require.Equal(t, "WECHATPAY2-SHA256-RSA2048", scheme)
	parts := map[string]string{}
	for _, m := range authPart.FindAllStringSubmatch(rest, -1) {
		parts[m[1]] = m[2]
	}
	require.Len(t, parts, 5)
	require.Equal(t, mchID, parts["mchid"])
	require.Len(t, parts["nonce_str"], 32)
	message := fmt.Sprintf("%s\n%s\n%s\n%s\n%s\n", r.Method, r.RequestURI, parts["timestamp"], parts["nonce_str"], body)
	require.NoError(t, verifiers.NewSHA256WithRSAPubkeyVerifier(mchSerial, *public).
		Verify(t.Context(), parts["serial_no"], message, parts["signature"]))
}

func TestTheSDKVerifiesOurRequests(t *testing.T) {
	t.Parallel()
	k := newKeys(t)
	for _, id := range []string{complaintID, "a/b?c%d e+f:g", "投诉", "%2F", "..."} {
		t.Run(id, func(t *testing.T) {
			t.Parallel()
			requests := make(chan *http.Request, 1)
			s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if err == nil {
					r.Body = io.NopCloser(bytes.NewReader(body))
					requests <- r
				}
			}))
			defer s.Close()
			_, err := ours(t, s.URL, k.wxMerchant(), id)
			require.Error(t, err) // the answer is unsigned
			r := <-requests
			checkRequest(t, r, &k.merchant.PublicKey)
			// The server reads the id back as one segment.
			segment := strings.Split(r.RequestURI, "/")[4]
			back, err := url.PathUnescape(segment)
			require.NoError(t, err)
			require.Equal(t, id, back)
		})
	}
}

// A signed answer, to be spoiled.
type signedAnswer struct {
	status int
	header http.Header
	body   string
}

func newAnswer(t *testing.T, key *rsa.PrivateKey, timestamp, body string) *signedAnswer {
	t.Helper()
	signature, err := utils.SignSHA256WithRSA(timestamp+"\n"+nonce+"\n"+body+"\n", key)
	require.NoError(t, err)
	return &signedAnswer{status: http.StatusOK, body: body, header: http.Header{
		"Wechatpay-Timestamp": {timestamp}, "Wechatpay-Nonce": {nonce}, "Wechatpay-Serial": {keyID},
		"Wechatpay-Signature": {signature}, "Wechatpay-Signature-Type": {"WECHATPAY2-SHA256-RSA2048"},
	}}
}

func ago(d time.Duration) string { return strconv.FormatInt(time.Now().Add(-d).Unix(), 10) }

// agreement says what the two clients are to make of an answer.
type agreement int

const (
	bothAccept agreement = iota
	bothRefuse
	onlySDKAccepts // because we are stricter; the reason is in the case's name
	onlyWeAccept
)

func TestWeAgreeWithTheSDKOnAnswers(t *testing.T) {
	t.Parallel()
	k := newKeys(t)
	header := func(name string, values ...string) func(*signedAnswer) {
		return func(a *signedAnswer) { a.header[name] = values }
	}
	same := func(*signedAnswer) {}
	for _, tc := range []struct {
		name      string
		timestamp string
		body      string
		key       *rsa.PrivateKey
		change    func(*signedAnswer)
		want      agreement
		class     wxclient.Class // where we refuse
	}{
		{"good", ago(0), okBody, k.platform, same, bothAccept, 0},
		{"good 201", ago(0), okBody, k.platform, func(a *signedAnswer) { a.status = 201 }, bothAccept, 0},
		{"four minutes old", ago(4 * time.Minute), okBody, k.platform, same, bothAccept, 0},
		{"four minutes ahead", ago(-4 * time.Minute), okBody, k.platform, same, bothAccept, 0},
		{"no signature type", ago(0), okBody, k.platform, header("Wechatpay-Signature-Type"), bothAccept, 0},

		{
			"body tampered with", ago(0), okBody, k.platform,
			func(a *signedAnswer) { a.body = strings.Replace(a.body, "3002", "3003", 1) }, bothRefuse, wxclient.ClassUnknown,
		},
		{
			"nonce tampered with", ago(0), okBody, k.platform,
			header("Wechatpay-Nonce", "x"), bothRefuse, wxclient.ClassUnknown,
		},
		{
			"timestamp tampered with", ago(5 * time.Second), okBody, k.platform,
			header("Wechatpay-Timestamp", ago(0)), bothRefuse, wxclient.ClassUnknown,
		},
		{"wrong key", ago(0), okBody, k.merchant, same, bothRefuse, wxclient.ClassUnknown},
		{
			"unknown key id", ago(0), okBody, k.platform,
			header("Wechatpay-Serial", "PUB_KEY_ID_9"), bothRefuse, wxclient.ClassUnknownKey,
		},
		{"no timestamp", ago(0), okBody, k.platform, header("Wechatpay-Timestamp"), bothRefuse, wxclient.ClassUnknown},
		{"no nonce", ago(0), okBody, k.platform, header("Wechatpay-Nonce"), bothRefuse, wxclient.ClassUnknown},
		{"no serial", ago(0), okBody, k.platform, header("Wechatpay-Serial"), bothRefuse, wxclient.ClassUnknown},
		{"no signature", ago(0), okBody, k.platform, header("Wechatpay-Signature"), bothRefuse, wxclient.ClassUnknown},
		{"stale", ago(301 * time.Second), okBody, k.platform, same, bothRefuse, wxclient.ClassUnknown},
		{"from the future", ago(-310 * time.Second), okBody, k.platform, same, bothRefuse, wxclient.ClassUnknown},
		{"milliseconds", ago(0) + "000", okBody, k.platform, same, bothRefuse, wxclient.ClassUnknown},
		{"timestamp is no number", "now", okBody, k.platform, same, bothRefuse, wxclient.ClassUnknown},
		{
			"probe", ago(0), okBody, k.platform, header("Wechatpay-Signature", "WECHATPAY/SIGNTEST/"+strings.Repeat("A", 325)),
			bothRefuse, wxclient.ClassUnknown,
		},
		{"not base64", ago(0), okBody, k.platform, header("Wechatpay-Signature", "?"), bothRefuse, wxclient.ClassUnknown},
		{
			"401, signed", ago(0), okBody, k.platform,
			func(a *signedAnswer) { a.status = 401 }, bothRefuse, wxclient.ClassCredentials,
		},
		{
			"500, signed", ago(0), okBody, k.platform,
			func(a *signedAnswer) { a.status = 500 }, bothRefuse, wxclient.ClassTransient,
		},
		{
			"429, unsigned", ago(0), `{"code":"FREQUENCY_LIMITED"}`, k.platform,
			func(a *signedAnswer) { a.status, a.header = 429, http.Header{} }, bothRefuse, wxclient.ClassSlowDown,
		},

		// Where the two differ. The SDK judges the signature only; what the answer says is its user's.
		{
			"204 without a body: no log_id", ago(0), "", k.platform,
			func(a *signedAnswer) { a.status = 204 }, onlySDKAccepts, wxclient.ClassUnknown,
		},
		{
			"202: not processed yet", ago(0), okBody, k.platform,
			func(a *signedAnswer) { a.status = 202 }, onlySDKAccepts, wxclient.ClassTransient,
		},
		{"no log_id", ago(0), "{}", k.platform, same, onlySDKAccepts, wxclient.ClassUnknown},
		{"error code", ago(0), `{"log_id":"1","code":"X"}`, k.platform, same, onlySDKAccepts, wxclient.ClassUnknown},
		{
			"the SDK ignores the signature type", ago(0), okBody, k.platform,
			header("Wechatpay-Signature-Type", "SM2"), onlySDKAccepts, wxclient.ClassUnknown,
		},
		{
			"the SDK takes the first of several values", ago(0), okBody, k.platform,
			func(a *signedAnswer) { a.header.Add("Wechatpay-Nonce", "x") }, onlySDKAccepts, wxclient.ClassUnknown,
		},
		// The SDK signs the number that it read, we the text that was sent, as the API's rules say.
		{"leading zero, signed as sent", "0" + ago(0), okBody, k.platform, same, onlyWeAccept, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			a := newAnswer(t, tc.key, tc.timestamp, tc.body)
			tc.change(a)
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				for name, values := range a.header {
					w.Header()[name] = values
				}
				w.WriteHeader(a.status)
				io.WriteString(w, a.body) //nolint:errcheck // a 204 takes none
			}))
			defer s.Close()

			_, ourErr := ours(t, s.URL, k.wxMerchant(), complaintID)
			theirErr := theirs(t, s.URL, k)
			require.Equal(t, tc.want == bothAccept || tc.want == onlyWeAccept, ourErr == nil, "ours: %v", ourErr)
			require.Equal(t, tc.want == bothAccept || tc.want == onlySDKAccepts, theirErr == nil, "the SDK's: %v", theirErr)
			if ourErr != nil {
				var e *wxclient.Error
				require.True(t, errors.As(ourErr, &e))
				require.Equal(t, tc.class, e.Class, ourErr)
			}
		})
	}
}

func TestTheSDKReadsTheSameKeys(t *testing.T) {
	t.Parallel()
	k := newKeys(t)
	private, err := x509.MarshalPKCS8PrivateKey(k.merchant)
	require.NoError(t, err)
	public, err := x509.MarshalPKIXPublicKey(&k.platform.PublicKey)
	require.NoError(t, err)
	serial, _ := new(big.Int).SetString("0A1B2C3D4E5F60718293A4B5C6D7E8F901234567", 16)
	certificate, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour),
	}, &x509.Certificate{}, &k.platform.PublicKey, k.platform)
	require.NoError(t, err)
	text := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }

	ourPrivate, err := wxclient.ParsePrivateKey(text("PRIVATE KEY", private))
	require.NoError(t, err)
	theirPrivate, err := utils.LoadPrivateKey(string(text("PRIVATE KEY", private)))
	require.NoError(t, err)
	require.True(t, theirPrivate.Equal(ourPrivate))

	ourPublic, none, err := wxclient.ParsePublicKey(text("PUBLIC KEY", public))
	require.NoError(t, err)
	require.Empty(t, none)
	theirPublic, err := utils.LoadPublicKey(string(text("PUBLIC KEY", public)))
	require.NoError(t, err)
	require.Equal(t, theirPublic, ourPublic)

	_, ourSerial, err := wxclient.ParsePublicKey(text("CERTIFICATE", certificate))
	require.NoError(t, err)
	theirCertificate, err := utils.LoadCertificate(string(text("CERTIFICATE", certificate)))
	require.NoError(t, err)
	require.Equal(t, utils.GetCertificateSerialNumber(*theirCertificate), ourSerial)
}
