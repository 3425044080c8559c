package wxsim

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	maxImageBytes = 2 << 20
	maxFilename   = 128
)

// Media is an image that was uploaded. The API says nothing of the same image uploaded twice; here each
// upload has a media_id of its own, so that a client relies on neither.
type Media struct {
	MediaID     string    `json:"media_id"`
	MchID       string    `json:"mchid"`
	Filename    string    `json:"filename"`
	ContentType string    `json:"content_type"` // By the content, not as the client called it.
	SHA256      string    `json:"sha256"`       // In hex, of the image's bytes.
	Bytes       int       `json:"bytes"`
	Host        Host      `json:"host"`
	Time        time.Time `json:"time"`
}

// upload is what stands in the parts of an upload.
type upload struct {
	meta         []byte
	filename     string // Of the part "file".
	contentType  string // Of the part "file", as the client calls it.
	content      []byte
	detectedType string
}

// checkMultipart takes the body apart. What is signed is the part "meta".
func checkMultipart(r *request) *answer {
	media, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "multipart/form-data" || params["boundary"] == "" {
		a := errorAnswer(http.StatusBadRequest, codeInvalidRequest, "Http头Content-Type必须为multipart/form-data",
			&errorDetail{Field: "Content-Type", Value: short(r.Header.Get("Content-Type")), Location: "header"})
		return &a
	}
	if err := r.upload.read(multipart.NewReader(bytes.NewReader(r.body), params["boundary"])); err != nil {
		return uploadRefusal("body", err.Error())
	}
	r.signed = r.upload.meta
	return nil
}

func uploadRefusal(field, issue string) *answer {
	a := errorAnswer(http.StatusBadRequest, codeParam, "参数错误:"+field,
		&errorDetail{Field: field, Issue: issue, Location: "body"})
	return &a
}

// read reads the two parts, each exactly once and nothing besides.
func (u *upload) read(from *multipart.Reader) error {
	var names []string
	for {
		part, err := from.NextRawPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("multipart: %w", err)
		}
		content, err := io.ReadAll(part)
		if err != nil {
			return fmt.Errorf("part %q: %w", short(part.FormName()), err)
		}
		names = append(names, part.FormName())
		contentType, _, err := mime.ParseMediaType(part.Header.Get("Content-Type"))
		switch part.FormName() {
		case "meta":
			if err != nil || contentType != "application/json" {
				return errors.New("the part meta must be application/json")
			}
			u.meta = content
		case "file":
			if err != nil {
				return errors.New("the part file has no Content-Type")
			}
			u.content, u.contentType, u.filename = content, contentType, part.FileName()
		}
	}
	if slices.Sort(names); !slices.Equal(names, []string{"file", "meta"}) {
		return fmt.Errorf("parts are %q, want meta and file", names)
	}
	return nil
}

// checkImage holds the file against what the signed meta says of it, and against the API's limits.
func checkImage(r *request) *answer {
	var meta struct {
		Filename *string `json:"filename"`
		SHA256   *string `json:"sha256"`
	}
	dec := json.NewDecoder(bytes.NewReader(r.upload.meta))
	dec.DisallowUnknownFields()
	if dec.Decode(&meta) != nil || meta.Filename == nil || meta.SHA256 == nil || dec.More() {
		return uploadRefusal("meta", "want filename and sha256")
	}
	u := &r.upload
	u.detectedType = http.DetectContentType(u.content)
	sum := sha256.Sum256(u.content)
	ending := strings.ToLower(path.Ext(*meta.Filename))
	switch {
	case *meta.Filename == "" || utf8.RuneCountInString(*meta.Filename) > maxFilename:
		return uploadRefusal("filename", "length must be 1 to 128")
	case *meta.Filename != u.filename:
		return uploadRefusal("filename", "is not that of the part file")
	case !slices.Contains([]string{".jpg", ".bmp", ".png"}, ending):
		return uploadRefusal("filename", "must end in .jpg, .bmp or .png")
	case len(u.content) == 0 || len(u.content) > maxImageBytes:
		return uploadRefusal("file", fmt.Sprintf("has %d bytes, want 1 to %d", len(u.content), maxImageBytes))
	case *meta.SHA256 != hex.EncodeToString(sum[:]):
		return uploadRefusal("sha256", "is not that of the file")
	case !slices.Contains([]string{"image/jpeg", "image/bmp", "image/png"}, u.detectedType):
		return uploadRefusal("file", "is "+u.detectedType+", want an image of kind jpg, bmp or png")
	case u.contentType != u.detectedType && (u.contentType != "image/jpg" || u.detectedType != "image/jpeg"):
		return uploadRefusal("file", "is "+u.detectedType+" and is called "+short(u.contentType))
	}
	return nil
}

// keep remembers an upload under a new media_id.
func (l *ledger) keep(c *Call, u upload) (mediaID string) {
	sum := sha256.Sum256(u.content)
	m := Media{
		MediaID: "SIM_" + rand.Text() + rand.Text(), MchID: c.MchID, Filename: u.filename, ContentType: u.detectedType,
		SHA256: hex.EncodeToString(sum[:]), Bytes: len(u.content), Host: c.Host, Time: c.Time,
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.media.push(m)
	l.stats.Uploads++
	return m.MediaID
}

func mediaBody(mediaID string) []byte { return encode(map[string]string{"media_id": mediaID}) }

// Media returns the uploads that are remembered, in the order in which they happened.
func (s *Sim) Media() []Media {
	s.ledger.mu.Lock()
	defer s.ledger.mu.Unlock()
	out := make([]Media, 0, s.ledger.media.len())
	for i := range s.ledger.media.len() {
		out = append(out, s.ledger.media.at(i))
	}
	return out
}
