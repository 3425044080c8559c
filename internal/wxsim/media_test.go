package wxsim_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"replyworker/internal/wxsim"
)

// newUpload is a right upload, unless it is changed.
type newUpload struct {
	filename, metaName string
	meta               string // Instead of the one that fits.
	metaType, fileType string
	content            []byte
	twice              bool
}

func pngBytes(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, image.NewGray(image.Rect(0, 0, 2, 2))))
	return b.Bytes()
}

func uploadCall(t testing.TB, change func(*newUpload)) *call {
	t.Helper()
	u := newUpload{filename: "a.png", metaName: "meta", metaType: "application/json", fileType: "image/png", content: pngBytes(t)}
	change(&u)
	if u.meta == "" {
		sum := sha256.Sum256(u.content)
		u.meta = fmt.Sprintf(`{"filename": %q, "sha256": %q}`, u.filename, hex.EncodeToString(sum[:]))
	}
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	part := func(disposition, contentType string, content []byte) {
		to, err := w.CreatePart(textproto.MIMEHeader{"Content-Disposition": {disposition}, "Content-Type": {contentType}})
		require.NoError(t, err)
		_, err = to.Write(content)
		require.NoError(t, err)
	}
	part(`form-data; name="`+u.metaName+`"`, u.metaType, []byte(u.meta))
	part(`form-data; name="file"; filename="`+u.filename+`"`, u.fileType, u.content)
	if u.twice {
		part(`form-data; name="file"; filename="`+u.filename+`"`, u.fileType, u.content)
	}
	require.NoError(t, w.Close())
	c := newCall(t, "", "")
	c.target, c.body, c.signedBody = "/v3/merchant-service/images/upload", body.String(), u.meta
	c.header.Set("Content-Type", w.FormDataContentType())
	return c
}

func TestUploadIsTakenAndRemembered(t *testing.T) {
	t.Parallel()
	sim := newSim(t, func(c *wxsim.Config) { c.MaxMedia = 2 })
	content := pngBytes(t)
	var ids []string
	for range 3 {
		r := direct(t, sim, wxsim.Backup, uploadCall(t, func(*newUpload) {}))
		require.Equal(t, http.StatusOK, r.status, "body: %s", r.body)
		require.NoError(t, r.verify(t))
		var out map[string]string
		require.NoError(t, json.Unmarshal(r.body, &out))
		ids = append(ids, out["media_id"])
	}
	media := sim.Media()
	require.Len(t, media, 2, "the latest ones")
	sum := sha256.Sum256(content)
	for i, m := range media {
		require.Equal(t, ids[i+1], m.MediaID)
		require.Equal(t, hex.EncodeToString(sum[:]), m.SHA256)
		require.Equal(t, "a.png image/png backup", m.Filename+" "+m.ContentType+" "+string(m.Host))
		require.Equal(t, len(content), m.Bytes)
	}
	require.NotEqual(t, ids[0], ids[1])
	require.Equal(t, int64(3), sim.Stats().Uploads)
	require.Zero(t, sim.Stats().Effects)
	require.Equal(t, wxsim.OperationUpload, sim.Calls()[0].Operation)
}

func TestUploadChecks(t *testing.T) {
	t.Parallel()
	large := func(n int) []byte { return append(pngBytes(t), make([]byte, n-len(pngBytes(t)))...) }
	for _, tc := range []struct {
		name   string
		change func(*newUpload)
		spoil  func(*call)
		status int
		text   string
	}{
		{"as large as may be", func(u *newUpload) { u.content = large(2 << 20) }, nil, 200, ""},
		{"image/jpg is called so by the API", func(u *newUpload) {
			u.filename, u.fileType, u.content = "a.jpg", "image/jpg", []byte("\xff\xd8\xff\xe0 and so on")
		}, nil, 200, ""},
		{"one byte too large", func(u *newUpload) { u.content = large(2<<20 + 1) }, nil, 400, "has 2097153 bytes"},
		{"much too large", func(u *newUpload) { u.content = large(4 << 20) }, nil, 400, "请求体过大"},
		{"empty", func(u *newUpload) { u.content = nil }, nil, 400, "has 0 bytes"},
		{"text", func(u *newUpload) { u.content = []byte("hello") }, nil, 400, "is text/plain"},
		{"called another kind", func(u *newUpload) { u.fileType = "image/bmp" }, nil, 400, "is called image/bmp"},
		{"other hash", func(u *newUpload) { u.meta = `{"filename":"a.png","sha256":"00"}` }, nil, 400, "sha256"},
		{"other name in meta", func(u *newUpload) { u.meta = `{"filename":"b.png","sha256":"00"}` }, nil, 400, "is not that of the part"},
		{"no hash", func(u *newUpload) { u.meta = `{"filename":"a.png"}` }, nil, 400, "want filename and sha256"},
		{"more in meta", func(u *newUpload) { u.meta = `{"filename":"a.png","sha256":"0","x":1}` }, nil, 400, "want filename"},
		{"wrong ending", func(u *newUpload) { u.filename = "a.jpeg" }, nil, 400, "must end in"},
		{"name too long", func(u *newUpload) { u.filename = strings.Repeat("a", 125) + ".png" }, nil, 400, "1 to 128"},
		{"meta of another type", func(u *newUpload) { u.metaType = "text/plain" }, nil, 400, "must be application/json"},
		{"other part", func(u *newUpload) { u.metaName = "data" }, nil, 400, "want meta and file"},
		{"part twice", func(u *newUpload) { u.twice = true }, nil, 400, "want meta and file"},
		{"no multipart", func(*newUpload) {}, func(c *call) { c.header.Set("Content-Type", "application/json") }, 400, "multipart"},
		{"cut off", func(*newUpload) {}, func(c *call) { c.body = c.body[:len(c.body)-20] }, 400, "unexpected EOF"},
		{"the whole body signed", func(*newUpload) {}, func(c *call) { c.signedBody = c.body }, 401, "sign not match"},
		{"no User-Agent", func(*newUpload) {}, func(c *call) { c.header.Del("User-Agent") }, 400, "User-Agent"},
		{"other key id", func(*newUpload) {}, func(c *call) { c.header.Set("Wechatpay-Serial", "x") }, 400, "Wechatpay-Serial"},
		{"wrong method", func(*newUpload) {}, func(c *call) { c.method = http.MethodPut }, 405, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			sim := newSim(t)
			c := uploadCall(t, tc.change)
			if tc.spoil != nil {
				tc.spoil(c)
			}
			r := direct(t, sim, wxsim.Primary, c)
			require.Equal(t, tc.status, r.status, "body: %s", r.body)
			require.Contains(t, string(r.body), tc.text)
			if tc.status != http.StatusOK {
				require.Empty(t, sim.Media())
			}
		})
	}
}

func TestFaultsOfOneOperation(t *testing.T) {
	t.Parallel()
	sim := newSim(t)
	require.NoError(t, sim.Set(
		wxsim.Fault{Kind: wxsim.KindStatus, Status: 403, Operation: wxsim.OperationUpload, Count: 1},
		wxsim.Fault{Kind: wxsim.KindWrongSignature, Operation: wxsim.OperationUpload, Count: 1},
		wxsim.Fault{Kind: wxsim.KindNoLogID, Operation: wxsim.OperationHistory},
	))
	r := direct(t, sim, wxsim.Primary, newCall(t, "c-1", "id-1"))
	require.Equal(t, http.StatusOK, r.status, "the fault is not of replies")
	r = direct(t, sim, wxsim.Primary, uploadCall(t, func(*newUpload) {}))
	require.Equal(t, http.StatusForbidden, r.status)
	require.Equal(t, "NO_AUTH", r.code(t))
	require.Empty(t, sim.Media())
	r = direct(t, sim, wxsim.Primary, uploadCall(t, func(*newUpload) {}))
	require.Equal(t, http.StatusOK, r.status)
	require.Error(t, r.verify(t))
	require.Len(t, sim.Media(), 1, "it took effect")
	r = direct(t, sim, wxsim.Primary, historyCall(t, "c-1", ""))
	require.Equal(t, "{}", string(r.body))
	require.NoError(t, r.verify(t))

	require.ErrorContains(t, sim.Set(wxsim.Fault{Kind: wxsim.KindReset, Operation: "delete"}), `operation "delete"`)
	require.Error(t, sim.Set(wxsim.Fault{Kind: wxsim.KindDown, Operation: wxsim.OperationReply}))
}
