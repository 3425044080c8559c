package sdk_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/wechatpay-apiv3/wechatpay-go/core"
	"github.com/wechatpay-apiv3/wechatpay-go/core/auth/verifiers"
	"github.com/wechatpay-apiv3/wechatpay-go/core/option"

	"replyworker/internal/wxclient"
	"replyworker/internal/wxsim"
)

const uploadPath = "/v3/merchant-service/images/upload"

func pngBytes(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, image.NewGray(image.Rect(0, 0, 2, 2))))
	return b.Bytes()
}

// simulator is the API simulator with both clients of one merchant.
type simulator struct {
	sim    *wxsim.Sim
	url    string
	keys   keys
	ours   *wxclient.Client
	theirs *core.Client
}

func newSimulator(t *testing.T) *simulator {
	t.Helper()
	k := newKeys(t)
	sim, err := wxsim.New(wxsim.Config{
		Merchants:   map[string]wxsim.MerchantKey{mchID: {Serial: mchSerial, Key: &k.merchant.PublicKey}},
		AnswerKeyID: keyID, AnswerKey: k.platform,
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, sim.Close()) })
	server := httptest.NewServer(sim.Handler(wxsim.Primary))
	t.Cleanup(server.Close)
	ours, err := wxclient.New(wxclient.Config{PrimaryURL: server.URL})
	require.NoError(t, err)
	t.Cleanup(ours.Close)
	return &simulator{sim, server.URL, k, ours, sdkClient(t, k)}
}

func sdkClient(t *testing.T, k keys) *core.Client {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	c, err := core.NewClient(t.Context(),
		option.WithWechatPayPublicKeyAuthCipher(mchID, mchSerial, k.merchant, keyID, &k.platform.PublicKey),
		option.WithHTTPClient(&http.Client{Transport: transport}))
	require.NoError(t, err)
	return c
}

// sdkUpload uploads as services/fileuploader does, whose own paths are those of other endpoints.
func sdkUpload(t *testing.T, c *core.Client, url, filename, contentType string, content []byte) (*core.APIResult, error) {
	t.Helper()
	meta, err := core.ParameterToJSON(map[string]any{
		"filename": core.String(filename), "sha256": core.String(fmt.Sprintf("%x", sha256.Sum256(content))),
	})
	require.NoError(t, err)
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	require.NoError(t, core.CreateFormField(w, "meta", "application/json", []byte(meta)))
	require.NoError(t, core.CreateFormFile(w, filename, contentType, content))
	require.NoError(t, w.Close())
	return c.Upload(t.Context(), url+uploadPath, meta, body.String(), w.FormDataContentType())
}

func TestTheSimulatorTakesTheSDKsUpload(t *testing.T) {
	t.Parallel()
	s := newSimulator(t)
	content := pngBytes(t)
	result, err := sdkUpload(t, s.theirs, s.url, "a.png", "image/png", content)
	require.NoError(t, err)
	var answer struct {
		MediaID string `json:"media_id"`
	}
	require.NoError(t, core.UnMarshalResponse(result.Response, &answer))

	img, err := wxclient.NewImage("a.png", content)
	require.NoError(t, err)
	u, err := s.ours.UploadImage(t.Context(), wxclient.Primary, s.merchant(), img)
	require.NoError(t, err)

	media := s.sim.Media()
	require.Len(t, media, 2)
	require.Equal(t, answer.MediaID, media[0].MediaID)
	require.Equal(t, u.MediaID, media[1].MediaID)
	media[1].MediaID, media[1].Time = media[0].MediaID, media[0].Time
	require.Equal(t, media[0], media[1], "the simulator sees no difference")

	_, err = sdkUpload(t, s.theirs, s.url, "a.png", "image/png", []byte("text"))
	require.ErrorContains(t, err, "PARAM_ERROR")
}

func (s *simulator) merchant() *wxclient.Merchant { return s.keys.wxMerchant() }

// multipartOf is what matters of an upload's body: its parts in their order.
func multipartOf(t *testing.T, r *http.Request) (parts []string, meta []byte) {
	t.Helper()
	_, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	require.NoError(t, err)
	from := multipart.NewReader(r.Body, params["boundary"])
	for {
		part, err := from.NextPart()
		if err == io.EOF {
			return parts, meta
		}
		require.NoError(t, err)
		content, err := io.ReadAll(part)
		require.NoError(t, err)
		if part.FormName() == "meta" {
			meta = content
		}
		parts = append(parts, fmt.Sprintf("%s %s %s %x", part.FormName(), part.FileName(), part.Header.Get("Content-Type"), content))
	}
}

func TestOurUploadIsTheSDKs(t *testing.T) {
	t.Parallel()
	k := newKeys(t)
	requests := make(chan *http.Request, 2)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			r.Body = io.NopCloser(bytes.NewReader(body))
			requests <- r
		}
	}))
	defer server.Close()
	content := pngBytes(t)
	img, err := wxclient.NewImage("a.png", content)
	require.NoError(t, err)
	ours, err := wxclient.New(wxclient.Config{PrimaryURL: server.URL})
	require.NoError(t, err)
	defer ours.Close()
	_, err = ours.UploadImage(t.Context(), wxclient.Primary, k.wxMerchant(), img)
	require.Error(t, err) // the answer is unsigned
	_, err = sdkUpload(t, sdkClient(t, k), server.URL, "a.png", "image/png", content)
	require.Error(t, err)

	our := <-requests
	ourParts, meta := multipartOf(t, our)
	theirParts, _ := multipartOf(t, <-requests)
	require.Equal(t, theirParts, ourParts)

	parts := map[string]string{}
	for _, m := range authPart.FindAllStringSubmatch(our.Header.Get("Authorization"), -1) {
		parts[m[1]] = m[2]
	}
	message := fmt.Sprintf("POST\n%s\n%s\n%s\n%s\n", uploadPath, parts["timestamp"], parts["nonce_str"], meta)
	require.NoError(t, verifiers.NewSHA256WithRSAPubkeyVerifier(mchSerial, k.merchant.PublicKey).
		Verify(t.Context(), parts["serial_no"], message, parts["signature"]))
}

func TestBothReadTheSimulatorsHistory(t *testing.T) {
	t.Parallel()
	s := newSimulator(t)
	reply, err := s.ours.Reply(t.Context(), wxclient.Primary, s.merchant(), complaintID, replyBody)
	require.NoError(t, err)
	page, err := s.ours.History(t.Context(), wxclient.Primary, s.merchant(), complaintID, 1, 0)
	require.NoError(t, err)
	require.Equal(t, 2, page.Total)
	require.Equal(t, reply.LogID, page.Entries[0].LogID)

	result, err := s.theirs.Get(t.Context(),
		s.url+"/v3/merchant-service/complaints-v2/"+complaintID+"/negotiation-historys?limit=1&offset=0")
	require.NoError(t, err)
	var answer struct {
		Data []struct {
			LogID         string          `json:"log_id"`
			NormalMessage json.RawMessage `json:"normal_message"`
		} `json:"data"`
		TotalCount int `json:"total_count"`
	}
	require.NoError(t, core.UnMarshalResponse(result.Response, &answer))
	require.Equal(t, page.Total, answer.TotalCount)
	require.Equal(t, page.Entries[0].LogID, answer.Data[0].LogID)
	require.JSONEq(t, string(page.Entries[0].NormalMessage), string(answer.Data[0].NormalMessage))
}
