package wxclient

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"path"
	"strings"
)

const (
	pathUpload = "/v3/merchant-service/images/upload"

	// MaxImageBytes is the largest image that the API takes.
	MaxImageBytes = 2 << 20

	maxFilename     = 128
	maxMediaIDChars = 512
)

// Upload is an image that the API took: its answer's signature is verified and it has a media_id.
type Upload struct {
	MediaID   string
	RequestID string // the Request-ID header; empty where there was none
}

// Image is an image as it is uploaded, the same bytes at each attempt. It is read-only and safe for
// concurrent use.
type Image struct {
	Filename string // as the API is told; see NewImage
	SHA256   string // of the file, in hex
	Bytes    int    // of the file

	meta        []byte // what is signed: the part "meta", byte for byte
	body        []byte
	contentType string
}

// NewImage makes an image of a file's name and content. It refuses what the API would refuse: what is
// no JPEG, PNG or BMP by its content, whatever its name says, is empty, or larger than [MaxImageBytes];
// and a file that was cut off, which the API may take and nobody could look at.
//
// The API is told the name's last part, with the ending that goes with the content. Where that is not
// made of ASCII letters, digits, dots, underlines and hyphens, or is too long, another name takes its
// place: it stands in a header, in which other characters are read in different ways.
func NewImage(name string, content []byte) (*Image, error) {
	switch {
	case len(content) == 0:
		return nil, errors.New("the file is empty")
	case len(content) > MaxImageBytes:
		return nil, fmt.Errorf("the file has %d bytes, the API takes %d (2 MiB) at most", len(content), MaxImageBytes)
	}
	kind, err := kindOf(content)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(content)
	img := &Image{SHA256: hex.EncodeToString(sum[:]), Bytes: len(content)}
	img.Filename = filename(name, kind, img.SHA256)
	if img.meta, err = json.Marshal(struct {
		Filename string `json:"filename"`
		SHA256   string `json:"sha256"`
	}{img.Filename, img.SHA256}); err != nil {
		return nil, fmt.Errorf("meta: %w", err)
	}
	return img, img.compose(kind, content)
}

// compose makes the multipart body.
func (img *Image) compose(kind imageKind, content []byte) error {
	var body bytes.Buffer
	body.Grow(len(content) + 1<<10)
	w := multipart.NewWriter(&body)
	for _, part := range [...]struct {
		disposition, contentType string
		content                  []byte
	}{
		{`form-data; name="meta"`, jsonType, img.meta},
		{multipart.FileContentDisposition("file", img.Filename), kind.contentType, content},
	} {
		h := textproto.MIMEHeader{"Content-Disposition": {part.disposition}, "Content-Type": {part.contentType}}
		to, err := w.CreatePart(h)
		if err != nil {
			return fmt.Errorf("multipart: %w", err)
		}
		if _, err := to.Write(part.content); err != nil {
			return fmt.Errorf("multipart: %w", err)
		}
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("multipart: %w", err)
	}
	img.body, img.contentType = body.Bytes(), w.FormDataContentType()
	return nil
}

// UploadImage uploads an image for image blocks, in exactly one request. What is signed is the part
// "meta", not the whole body.
//
//	POST {host}/v3/merchant-service/images/upload
//
// Errors are as those of [Client.Reply]. It may be repeated after every error: the API knows no id of
// an upload, so one that is repeated may make a second media_id of the same image, which nobody sees
// and which does no harm.
func (c *Client) UploadImage(ctx context.Context, host Host, m *Merchant, img *Image) (Upload, error) {
	if fault := c.ready(ctx, host, m); fault != nil {
		return Upload{}, fault
	}
	got, fault := c.exchange(ctx, host, m, outgoing{
		method: http.MethodPost, path: escapedPath{plain: pathUpload, raw: pathUpload}, contentType: img.contentType,
		signed: img.meta, body: img.body, maxAnswer: maxBodyBytes,
	})
	if fault != nil {
		return Upload{}, fault
	}
	fields, err := parseFields(got.body)
	if err == nil {
		id, ok := text(fields["media_id"])
		if ok && isPlain(id, maxMediaIDChars) {
			return Upload{MediaID: id, RequestID: requestID(got.header)}, nil
		}
		err = errors.New("answer has no media_id")
	}
	return Upload{}, got.noSuccess(host, err)
}

// filename is the name that the API is told. It asks for an ending of .jpg, .bmp or .png
// (https://pay.weixin.qq.com/doc/v3/partner/4012467222, read 2026-11-23).
func filename(name string, kind imageKind, sum string) string {
	base := path.Base(strings.ReplaceAll(name, `\`, "/"))
	stem := strings.TrimSuffix(base, path.Ext(base))
	if full := stem + kind.ending; stem != "" && len(full) <= maxFilename && isFilename(full) {
		return full
	}
	return "image-" + sum[:12] + kind.ending
}

func isFilename(s string) bool {
	for i := range len(s) {
		if !isUnreserved(s[i]) || s[i] == '~' {
			return false
		}
	}
	return s[0] != '.'
}
