package wxclient_test

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"image"
	"image/jpeg"
	"image/png"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"replyworker/internal/wxclient"
)

func pngImage(tb testing.TB) []byte {
	tb.Helper()
	var b bytes.Buffer
	require.NoError(tb, png.Encode(&b, image.NewGray(image.Rect(0, 0, 3, 3))))
	return b.Bytes()
}

func jpegImage(tb testing.TB) []byte {
	tb.Helper()
	var b bytes.Buffer
	require.NoError(tb, jpeg.Encode(&b, image.NewGray(image.Rect(0, 0, 3, 3)), nil))
	return b.Bytes()
}

// bmpImage is one pixel of 24 bits.
func bmpImage() []byte {
	b := make([]byte, 58)
	copy(b, "BM")
	binary.LittleEndian.PutUint32(b[2:], 58)
	binary.LittleEndian.PutUint32(b[10:], 54)
	binary.LittleEndian.PutUint32(b[14:], 40)
	return b
}

func TestImagesAreKnownByTheirContent(t *testing.T) {
	t.Parallel()
	largest := append(pngImage(t), bytes.Repeat([]byte{0}, wxclient.MaxImageBytes-len(pngImage(t)))...)
	withPreview := append([]byte("\xff\xd8\xff\xe1 preview: \xff\xd8\xff\xda..\xff\xd9"), jpegImage(t)[2:]...)
	for _, tc := range []struct {
		name, file string
		content    []byte
		filename   string // empty: refused
		problem    string
	}{
		{"png", "a.png", pngImage(t), "a.png", ""},
		{"jpeg", "a.jpg", jpegImage(t), "a.jpg", ""},
		{"bmp", "a.bmp", bmpImage(), "a.bmp", ""},
		{"as large as may be", "a.png", largest, "a.png", ""},
		{"jpeg with a preview", "a.jpg", withPreview, "a.jpg", ""},
		{"the ending goes with the content", "scan.JPEG", jpegImage(t), "scan.jpg", ""},
		{"the name says another kind", "a.jpg", pngImage(t), "a.png", ""},
		{"no ending", "photo", pngImage(t), "photo.png", ""},
		{"folders are left out", "../x/a.png", pngImage(t), "a.png", ""},
		{"folders of Windows are left out", `C:\x\a.png`, pngImage(t), "a.png", ""},
		{"non-ASCII name", "截图.png", pngImage(t), "image-", ""},
		{"quotes and line ends", "a\"\r\nX: y.png", pngImage(t), "image-", ""},
		{"hidden file", ".png", pngImage(t), "image-", ""},
		{"name as long as may be", strings.Repeat("a", 124) + ".png", pngImage(t), strings.Repeat("a", 124) + ".png", ""},
		{"name too long", strings.Repeat("a", 125) + ".png", pngImage(t), "image-", ""},

		{"empty", "a.png", nil, "", "the file is empty"},
		{"too large", "a.png", append(largest, 0), "", "the file has 2097153 bytes, the API takes 2097152 (2 MiB) at most"},
		{"text named png", "a.png", []byte("hello, world"), "", "no JPEG, PNG or BMP"},
		{"text that begins as a BMP", "a.bmp", []byte("BMW is a make of cars, not an image"), "", "no JPEG, PNG or BMP"},
		{"gif", "a.png", []byte("GIF89a;;;;;;;;;"), "", "no JPEG, PNG or BMP"},
		{"png cut off", "a.png", pngImage(t)[:len(pngImage(t))-1], "", "cut off"},
		{"jpeg cut off", "a.jpg", jpegImage(t)[:len(jpegImage(t))-2], "", "cut off"},
		{"jpeg with a preview cut off", "a.jpg", withPreview[:len(withPreview)-2], "", "cut off"},
		{"bmp cut off", "a.bmp", bmpImage()[:57], "", "cut off"},
		{"bmp of two letters", "a.bmp", []byte("BM"), "", "no JPEG, PNG or BMP"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			img, err := wxclient.NewImage(tc.file, tc.content)
			if tc.filename == "" {
				require.ErrorContains(t, err, tc.problem)
				return
			}
			require.NoError(t, err)
			require.True(t, strings.HasPrefix(img.Filename, tc.filename), img.Filename)
			sum := sha256.Sum256(tc.content)
			require.Equal(t, hex.EncodeToString(sum[:]), img.SHA256)
			require.Equal(t, len(tc.content), img.Bytes)
		})
	}
}

// sentUpload is an upload as it came over the wire.
type sentUpload struct {
	request *http.Request
	body    []byte
}

// upload sends an image to a server that answers as given, and returns what it got.
func upload(t testing.TB, img *wxclient.Image, answerBody string) (sentUpload, wxclient.Upload, error) {
	t.Helper()
	got := make(chan sentUpload, 1)
	h := signedHeader(t, answerBody)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			got <- sentUpload{r, body}
		}
		maps.Copy(w.Header(), h)
		io.WriteString(w, answerBody)
	}))
	defer s.Close()
	c := newClient(t, wxclient.Config{PrimaryURL: s.URL})
	defer c.Close()
	u, err := c.UploadImage(t.Context(), wxclient.Primary, newMerchant(t), img)
	return <-got, u, err
}

// TestWhatIsSignedOfAnUploadIsWhatIsSent holds, for any name and content: the part "meta", byte for byte
// as it came over the wire, is what the signature covers, and says what the part "file" is.
func TestWhatIsSignedOfAnUploadIsWhatIsSent(t *testing.T) {
	t.Parallel()
	public := &privateKey(t, "merchant_key.pem").PublicKey
	rapid.Check(t, func(rt *rapid.T) {
		name := rapid.OneOf(rapid.String(), rapid.StringMatching(`[ -~]{1,140}\.(png|jpg|jpeg|bmp)`)).Draw(rt, "name")
		content := append(pngImage(t), rapid.SliceOfN(rapid.Byte(), 0, 2000).Draw(rt, "tail")...)
		img, err := wxclient.NewImage(name, content)
		require.NoError(rt, err)
		sent, u, err := upload(t, img, `{"media_id":"media-1"}`)
		require.NoError(rt, err)
		require.Equal(rt, wxclient.Upload{MediaID: "media-1", RequestID: "08F4A1"}, u)

		require.Equal(rt, "POST /v3/merchant-service/images/upload", sent.request.Method+" "+sent.request.RequestURI)
		_, params, err := mime.ParseMediaType(sent.request.Header.Get("Content-Type"))
		require.NoError(rt, err)
		parts := multipart.NewReader(bytes.NewReader(sent.body), params["boundary"])
		meta, err := parts.NextPart()
		require.NoError(rt, err)
		require.Equal(rt, "meta", meta.FormName())
		require.Equal(rt, "application/json", meta.Header.Get("Content-Type"))
		metaBytes, err := io.ReadAll(meta)
		require.NoError(rt, err)
		require.NoError(rt, checkSignature(sent.request, metaBytes, public))

		file, err := parts.NextPart()
		require.NoError(rt, err)
		fileBytes, err := io.ReadAll(file)
		require.NoError(rt, err)
		require.Equal(rt, content, fileBytes)
		require.Equal(rt, "image/png", file.Header.Get("Content-Type"))
		var said struct{ Filename, SHA256 string }
		require.NoError(rt, json.Unmarshal(metaBytes, &said))
		require.Equal(rt, said.Filename, file.FileName())
		require.LessOrEqual(rt, len(said.Filename), 128)
		require.Regexp(rt, `^[A-Za-z0-9_-][A-Za-z0-9._-]*\.png$`, said.Filename)
		sum := sha256.Sum256(fileBytes)
		require.Equal(rt, hex.EncodeToString(sum[:]), said.SHA256)
		_, err = parts.NextPart()
		require.ErrorIs(rt, err, io.EOF)
	})
}

var authPart = regexp.MustCompile(`(\w+)="([^"]*)"`)

func checkSignature(r *http.Request, signed []byte, public *rsa.PublicKey) error {
	parts := map[string]string{}
	for _, m := range authPart.FindAllStringSubmatch(r.Header.Get("Authorization"), -1) {
		parts[m[1]] = m[2]
	}
	message := r.Method + "\n" + r.RequestURI + "\n" + parts["timestamp"] + "\n" + parts["nonce_str"] + "\n" + string(signed) + "\n"
	raw, err := base64.StdEncoding.DecodeString(parts["signature"])
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(message))
	return rsa.VerifyPKCS1v15(public, crypto.SHA256, sum[:], raw)
}

func TestUploadsThatAreNoSuccess(t *testing.T) {
	t.Parallel()
	img, err := wxclient.NewImage("a.png", pngImage(t))
	require.NoError(t, err)
	for name, body := range map[string]string{
		"no media_id":       `{}`,
		"blank media_id":    `{"media_id":" "}`,
		"media_id no text":  `{"media_id":5}`,
		"media_id too long": `{"media_id":"` + strings.Repeat("x", 513) + `"}`,
		"error code":        `{"media_id":"m","code":"PARAM_ERROR"}`,
		"no JSON":           `media`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, u, err := upload(t, img, body)
			require.Zero(t, u)
			require.Equal(t, wxclient.ClassUnknown, checkError(t, err).Class)
		})
	}
}

func TestUploadBeforeAnythingIsSent(t *testing.T) {
	t.Parallel()
	img, err := wxclient.NewImage("a.png", pngImage(t))
	require.NoError(t, err)
	c := newClient(t, wxclient.Config{Transport: fake(func(*http.Request) (*http.Response, error) {
		return nil, errors.New("nothing is to be sent")
	})})
	_, err = c.UploadImage(t.Context(), wxclient.Backup, newMerchant(t), img)
	require.Equal(t, wxclient.ClassHostFailed, checkError(t, err).Class)
	m := newMerchant(t)
	m.Key = nil
	_, err = c.UploadImage(t.Context(), wxclient.Primary, m, img)
	require.Equal(t, wxclient.ClassCredentials, checkError(t, err).Class)
}
