package wxclient

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
)

// ErrNotImage says that a file is no image of a kind that the API takes.
var ErrNotImage = errors.New("the file is no JPEG, PNG or BMP by its content")

// imageKind is a kind of image that the API takes.
type imageKind struct{ ending, contentType string }

var (
	kindJPEG = imageKind{".jpg", "image/jpeg"}
	kindPNG  = imageKind{".png", "image/png"}
	kindBMP  = imageKind{".bmp", "image/bmp"}

	errCutOff = errors.New("the file is an image that was cut off: its end is missing")
)

// kindOf tells an image's kind by its content, and whether its end is there. It decodes nothing: an
// image of few bytes may be one of very many pixels.
func kindOf(content []byte) (imageKind, error) {
	const (
		pngHead  = "\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR"
		pngEnd   = "IEND\xaeB\x60\x82"
		jpegHead = "\xff\xd8\xff"
		jpegScan = "\xff\xda"
		jpegEnd  = "\xff\xd9"
	)
	var kind imageKind
	var whole bool
	switch {
	case hasHead(content, pngHead):
		kind, whole = kindPNG, bytes.Contains(content, []byte(pngEnd))
	case hasHead(content, jpegHead):
		// Of a preview inside, the end comes before the scan of the image itself.
		kind, whole = kindJPEG, bytes.LastIndex(content, []byte(jpegEnd)) > bytes.LastIndex(content, []byte(jpegScan))
	case hasHead(content, "BM"):
		return kindBMP, checkBMP(content)
	default:
		return imageKind{}, ErrNotImage
	}
	if !whole {
		return imageKind{}, errCutOff
	}
	return kind, nil
}

func hasHead(content []byte, head string) bool { return bytes.HasPrefix(content, []byte(head)) }

// checkBMP looks further than the two letters with which a text may begin, too: at the sizes of the
// second header that there are, and at how long the file says that it is.
func checkBMP(content []byte) error {
	const sizeAt, headerAt = 2, 14
	headers := []uint32{12, 16, 40, 52, 56, 64, 108, 124}
	if len(content) < headerAt+4 || !slices.Contains(headers, binary.LittleEndian.Uint32(content[headerAt:])) {
		return ErrNotImage
	}
	// Some programs leave the size zero.
	if size := binary.LittleEndian.Uint32(content[sizeAt:]); uint64(size) > uint64(len(content)) {
		return errCutOff
	}
	return nil
}
